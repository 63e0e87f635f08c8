"""Preparation: from the official form of a data set to the prepared form; checked, resumable, atomic."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ..contracts.dataset import Dataset
from ..contracts.samples import Files, Part
from ..errors import DataError, DataNotPrepared, PluginError, PmbenchError, plural
from ..files import explain, file_digest, held, publish, write_json
from ..plugins import CORE, Registry
from ..tracebacks import error_text
from .checks import check_classes, check_counts, check_part, check_targets
from .download import Report
from .duplicates import find_duplicates
from .prepared import SCHEMA, Prepared, damaged, data_folder, open_prepared
from .problems import LISTED, check_problems, skipped, write_problems
from .shards import Problem, Shard, cut, join_frames, join_rows, read_all, reader_digest, stored_as_frames
from .sources import SOURCES, check_unchanged, describe, differences, looks_unchanged, relative, reusable
from .unpack import unpacked


def find_or_prepare(dataset: Dataset, root: Path) -> Prepared:
    """The prepared form; prepares an embedded data set on first use, else raises DataNotPrepared."""
    try:
        prepared = open_prepared(dataset, root)
        check_unchanged(prepared)
        return prepared
    except DataNotPrepared:
        source = dataset.find_source()
        if source is None:
            raise
        return prepare(dataset, source, root)


def prepare_named(
    registry: Registry,
    name: str,
    source: Path,
    root: Path,
    report: Report = lambda what, done, total: None,
    *,
    workers: int = 0,
    codec: str = "jpeg",
    allow: Collection[str] = (),
    force: bool = False,
) -> Prepared:
    """As `prepare`, for a data set by name; with a host, its code runs in a process of its own.

    That process may read all files, and write below `root`. Raises PluginError for an exception of the data
    set's code.
    """
    offer = registry.offer("dataset", name)
    options: dict[str, Any] = {
        "name": name,
        "source": str(source.resolve()),
        "root": str(root.resolve()),
        "workers": workers,
        "codec": codec,
        "allow": list(allow),
        "force": force,
    }
    if registry.host is None or offer.distribution == CORE:
        prepare_here(registry, **options, report=report)
    else:
        root.mkdir(parents=True, exist_ok=True)
        registry.host.call(
            f"{__name__}:prepare_here",
            [offer.distribution],
            options,
            read=[Path("/")],
            write=[root, Path("/dev/shm")],
            limit=math.inf,
            report=report,
        )
    return open_prepared(offer.value, root)


def prepare_here(
    registry: Registry, name: str, source: str, root: str, report: Report, **options: Any
) -> None:
    """Prepares a data set in this process; raises PluginError for an exception of its code."""
    offer = registry.offer("dataset", name)
    try:
        prepare(offer.value, Path(source), Path(root), report, **options)
    except PmbenchError:
        raise
    except Exception as error:
        raise PluginError(
            f"data set {name!r} ({offer.distribution} {offer.version}) could not read {source}: "
            f"{error_text(error)}",
            "check that these are the official files; if so, this is a defect of the plugin (see --debug)",
        ) from error


def prepare(
    dataset: Dataset,
    source: Path,
    root: Path,
    report: Report = lambda what, done, total: None,
    *,
    workers: int = 0,
    codec: str = "jpeg",
    allow: Collection[str] = (),
    force: bool = False,
) -> Prepared:
    """The prepared form under `root`, written from the official form at `source` unless it is complete.

    Of a user's folder, samples whose files have not changed are kept. With `force` all is written anew.

    Safe to call again and from several processes; an interrupted preparation is resumed. Files are read in
    `workers` processes (0: in this one); `codec` of frames is "jpeg" or "raw".

    Raises DataError for an invalid source. With "damaged" in `allow`, training samples whose files cannot be
    read lack the modality instead; with "incomplete", a source may have fewer samples than it should; with
    "duplicates", equal samples may be in several parts, groups or modalities. Records state how many. A test
    sample without its target modality is always an error.
    """
    if not source.exists():
        raise DataError(
            f"{source} does not exist", f"give the official form of {dataset.name}: {dataset.source}"
        )
    folder, partial, lock = _places(dataset, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(error, root) from error
    with held(lock, f"prepares {dataset.name!r}"):
        earlier = None
        with suppress(DataNotPrepared, DataError):
            earlier = open_prepared(dataset, root)
            earlier = None if force or damaged(earlier) else earlier
        if earlier is not None and looks_unchanged(earlier, source):
            shutil.rmtree(partial, ignore_errors=True)
            return earlier
        try:
            dataset, parts = _read(dataset, source, partial / "source", report)
            content = describe(dataset, source, parts, earlier)
            if earlier is not None and not differences(earlier, content):
                return earlier
            lacks = check_counts(dataset, parts, "incomplete" in allow)
            if dataset.declaration is not None:
                check_classes(dataset, parts)
            shards, readers = _shards(dataset, source, parts, partial / "shards", codec, earlier, content)
            problems = _decode(shards, workers, report)
            if problems:
                write_problems(parts, problems, partial / LISTED)
                check_problems(dataset, problems, partial / LISTED, "damaged" in allow)
            lacks += [f"{plural(len(problems), 'file')} that cannot be read"] if problems else []
            ready = partial / "ready"
            shutil.rmtree(ready, ignore_errors=True)
            written = {}
            for name, part in parts.items():
                written[name] = _write_part(ready, dataset, name, part, shards)
                report(f"writing {name}", len(part.ids), len(part.ids))
            check_targets(dataset, written, parts)
            duplicates = find_duplicates(dataset, parts, ready)
            if duplicates and dataset.duplicates_are_errors:
                if "duplicates" not in allow:
                    raise DataError(
                        f"data set {dataset.name!r} has {duplicates}",
                        "equal samples in training and test fake results: remove one of each, give them one "
                        "group, or accept them with --duplicates, which every record then states",
                    )
                lacks.append(str(duplicates))
            write_json(ready / SOURCES, {**content, "readers": readers})
            if problems:
                write_problems(parts, problems, ready / LISTED)
            write_json(
                ready / "manifest.json",
                {
                    "schema": SCHEMA,
                    "dataset": dataset.name,
                    "version": dataset.version,
                    "parts": written,
                    "lacks": lacks,
                    "declared": dataset.declaration,
                    "notes": [*dataset.notes, *skipped(parts, problems, folder / LISTED)],
                    "duplicates": str(duplicates) if duplicates else "",
                },
            )
            publish(ready, folder)
            shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise explain(error, folder) from error
        finally:
            shutil.rmtree(partial / "ready", ignore_errors=True)
            with suppress(OSError):
                partial.rmdir()  # fails unless the folder is empty
    return open_prepared(dataset, root)


def _shards(
    dataset: Dataset,
    source: Path,
    parts: Mapping[str, Part],
    folder: Path,
    codec: str,
    earlier: Prepared | None,
    content: Mapping[str, Any],
) -> tuple[dict[tuple[str, str], list[Shard]], dict[str, str]]:
    """The shards of each part and modality, and the digest of each modality's reader."""
    files = {
        (name, m.name): array
        for name, part in parts.items()
        for m in dataset.modalities
        if isinstance(array := part.arrays[m.name], Files)
    }
    readers = {modality: reader_digest(array, codec) for (_, modality), array in files.items()}
    kept = reusable(earlier, content, readers) if earlier is not None else {}
    shards = {}
    for (name, modality), array in files.items():
        places = [
            kept.get(modality, {}).get(relative(item, source)) if isinstance(item, Path) else None
            for item in array.items
        ]
        reused = [
            None if place is None or earlier is None else (earlier.path(place[0], modality), place[1])
            for place in places
        ]
        shards[name, modality] = cut(folder, name, dataset.modality(modality), array, codec, reused)
    return shards, readers


def remove(dataset: Dataset, root: Path) -> list[Path]:
    """Removes the prepared form, and what an interrupted preparation left; returns what there was.

    Raises DataError while it is being prepared.
    """
    folder, partial, lock = _places(dataset, root)
    try:
        with lock.acquire(timeout=0):
            found = [path for path in (folder, partial) if path.exists()]
            for path in found:
                shutil.rmtree(path)
    except Timeout:
        raise DataError(f"{dataset.name!r} is being prepared by another process") from None
    except OSError as error:
        raise explain(error, folder) from error
    lock_path = Path(lock.lock_file)
    lock_path.unlink(missing_ok=True)
    return found


def _places(dataset: Dataset, root: Path) -> tuple[Path, Path, FileLock]:
    """The folder of the prepared form, the folder of a partial one, and the lock of both."""
    folder = data_folder(dataset, root)
    return folder, root / f".{folder.name}.partial", FileLock(root / f".{folder.name}.lock")


def tidy(dataset: Dataset, root: Path) -> None:
    """Removes the files of a preparation that was killed at its end, unless one is running."""
    _, partial, lock = _places(dataset, root)
    with suppress(Timeout, OSError), lock.acquire(timeout=0):
        shutil.rmtree(partial, ignore_errors=True)


def _read(dataset: Dataset, source: Path, scratch: Path, report: Report) -> tuple[Dataset, dict[str, Part]]:
    """The data set as declared by its source, and its checked parts by name."""
    parts: dict[str, Part] = {}
    part_of: dict[str, str] = {}
    try:
        tree = source
        if dataset.unpack:
            tree = unpacked(source, scratch, report, largest=dataset.unpacked_bytes)
        dataset = dataset.at(tree)
        for name, part in dataset.read(tree):
            if name in parts:
                raise DataError(f"data set {dataset.name!r} gives part {name!r} twice")
            check_part(dataset, name, part)
            for i in part.ids:
                if (other := part_of.setdefault(i, name)) != name:
                    raise DataError(
                        f"data set {dataset.name!r}: id {i!r} is in both {other!r} and {name!r}",
                        "a sample belongs to one part, and ids are unique over all parts",
                    )
            parts[name] = part
    except OSError as error:
        if error.errno == errno.ENOSPC:  # while unpacking
            raise
        reason = f"{error.filename or source} cannot be read: {error.strerror or error}"
        raise DataError(f"data set {dataset.name!r}: {reason}") from error
    return dataset, parts


def _decode(shards: Mapping[tuple[str, str], Sequence[Shard]], workers: int, report: Report) -> list[Problem]:
    """Reads the files of all shards; returns those that cannot be read."""
    all_shards = [shard for group in shards.values() for shard in group]
    if not all_shards:
        return []
    all_shards[0].path.parent.mkdir(parents=True, exist_ok=True)
    total, done = sum(map(_to_read, all_shards)), 0
    report("reading files", 0, total)

    def step(shard: Shard) -> None:
        nonlocal done
        if count := _to_read(shard):
            done += count
            report("reading files", done, total)

    return read_all(all_shards, workers, step)


def _to_read(shard: Shard) -> int:
    """Files of a shard besides those that an earlier prepared form holds."""
    return len(shard.files.items) - sum(place is not None for place in shard.reused)


def _write_part(
    ready: Path,
    dataset: Dataset,
    name: str,
    part: Part,
    shards: Mapping[tuple[str, str], Sequence[Shard]],
) -> dict[str, Any]:
    """Writes the files of a part; returns its entry of the manifest."""
    folder = ready / name
    folder.mkdir(parents=True)
    missing: dict[str, int] = {}
    for modality in dataset.modalities:
        m, array = modality.name, part.arrays[modality.name]
        if not isinstance(array, Files):
            np.save(folder / f"{m}.npy", np.ascontiguousarray(array), allow_pickle=False)
        elif stored_as_frames(modality, array):
            missing[m] = join_frames(folder / f"{m}.arrow", shards[name, m])
        else:
            missing[m] = join_rows(folder / f"{m}.npy", (len(array.items), *modality.shape), shards[name, m])
    np.save(folder / "labels.npy", part.labels.astype(np.int64), allow_pickle=False)
    groups = None if part.groups is None else [str(g) for g in part.groups]
    index: dict[str, Any] = {"ids": list(part.ids), "groups": groups}
    if part.attack_types is not None:
        index["attack_types"] = [str(kind) for kind in part.attack_types]
    write_json(folder / "index.json", index)
    counted = np.bincount(part.labels[part.labels >= 0], minlength=len(dataset.classes)).tolist()
    return {
        "count": len(part.ids),
        "classes": counted,
        "files": {
            path.stem: _entry(path, f"{name}/{path.name}", missing.get(path.stem, 0))
            for path in sorted(folder.iterdir())
        },
    }


def _entry(path: Path, file: str, missing: int) -> dict[str, Any]:
    """The manifest's entry of a file."""
    stat = path.stat()
    return {
        "file": file,
        "sha256": file_digest(path),
        "bytes": stat.st_size,
        **({"mtime_ns": stat.st_mtime_ns} if path.suffix == ".arrow" else {}),
        **({"missing": missing} if missing else {}),
    }
