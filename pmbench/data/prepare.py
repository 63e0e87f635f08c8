"""From the official form of a data set to the ready-to-train one: checked, resumable, whole or not there."""

from __future__ import annotations

import csv
import errno
import io
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ..contracts.dataset import Dataset
from ..contracts.samples import Files, Part
from ..errors import DataError, DataNotPrepared
from ..files import explain, file_digest, publish, write_json, write_text
from .download import Report
from .prepared import SCHEMA, Prepared, damaged, data_folder, open_prepared
from .shards import Problem, Shard, cut, join_frames, join_rows, read_all, stored_as_frames
from .unpack import unpacked


def find_or_prepare(dataset: Dataset, root: Path) -> Prepared:
    """The prepared form; an embedded data set is prepared on first use."""
    try:
        return open_prepared(dataset, root)
    except DataNotPrepared:
        source = dataset.find_source()
        if source is None:
            raise
        return prepare(dataset, source, root)


def prepare(
    dataset: Dataset,
    source: Path,
    root: Path,
    report: Report = lambda what, done, total: None,
    *,
    workers: int = 0,
    codec: str = "jpeg",
    skip_damaged: bool = False,
    incomplete: bool = False,
) -> Prepared:
    """Reads the official form at `source`, checks it, and writes the prepared form under `root`.

    Safe to call again and from several processes: what is whole stays, what is not is written anew. Files are
    read in `workers` processes (0: in this one); a preparation that was interrupted goes on where it was.
    Files that cannot be read are an error, or with `skip_damaged` leave their training samples without that
    modality; a test sample without its target modality is always an error. `incomplete` takes a source with
    fewer samples than there should be, and every record says so.
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
    with lock:
        with suppress(DataNotPrepared, DataError):
            prepared = open_prepared(dataset, root)
            if not damaged(prepared):
                shutil.rmtree(partial, ignore_errors=True)
                return prepared
        try:
            try:
                tree = unpacked(source, partial / "source", report) if dataset.unpack else source
                dataset = dataset.at(tree)
                parts = _read(dataset, tree)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # while unpacking
                    raise
                what = f"{error.filename or source} cannot be read: {error.strerror or error}"
                raise DataError(f"data set {dataset.name!r}: {what}") from error
            lacks = check_counts(dataset, parts, incomplete)
            shards = {
                (name, m.name): cut(partial / "shards", name, m, files, codec)
                for name, part in parts.items()
                for m in dataset.modalities
                if isinstance(files := part.arrays[m.name], Files)
            }
            problems = _decode(shards, workers, report)
            _refuse(dataset, parts, problems, partial / "problems.csv", skip_damaged)
            lacks += [f"{len(problems)} files that cannot be read"] if problems else []
            ready = partial / "ready"
            shutil.rmtree(ready, ignore_errors=True)
            written = {}
            for name, part in parts.items():
                written[name] = _write_part(ready, dataset, name, part, shards)
                report(f"writing {name}", len(part.ids), len(part.ids))
            _test_has_target(dataset, written, parts)
            write_json(
                ready / "manifest.json",
                {
                    "schema": SCHEMA,
                    "dataset": dataset.name,
                    "version": dataset.version,
                    "parts": written,
                    "lacks": lacks,
                    "declared": dataset.declaration,
                },
            )
            publish(ready, folder)
            shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise explain(error, folder) from error
        finally:
            shutil.rmtree(partial / "ready", ignore_errors=True)
            with suppress(OSError):
                partial.rmdir()  # only where nothing is kept for the next attempt
    return open_prepared(dataset, root)


def _places(dataset: Dataset, root: Path) -> tuple[Path, Path, FileLock]:
    """The prepared form, what there is of it until it is whole, and the lock of both."""
    folder = data_folder(dataset, root)
    return folder, root / f".{folder.name}.partial", FileLock(root / f".{folder.name}.lock")


def tidy(dataset: Dataset, root: Path) -> None:
    """Removes what a preparation that was killed at its end has left, if none is going on."""
    _, partial, lock = _places(dataset, root)
    with suppress(Timeout, OSError), lock.acquire(timeout=0):
        shutil.rmtree(partial, ignore_errors=True)


def _read(dataset: Dataset, tree: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    whose: dict[str, str] = {}
    for name, part in dataset.read(tree):
        if name in parts:
            raise DataError(f"data set {dataset.name!r} gives part {name!r} twice")
        check_part(dataset, name, part)
        for one in part.ids:
            if (other := whose.setdefault(one, name)) != name:
                raise DataError(
                    f"data set {dataset.name!r}: id {one!r} is in both {other!r} and {name!r}",
                    "a sample belongs to one part, and ids are unique over all of them",
                )
        parts[name] = part
    return parts


def _decode(shards: Mapping[tuple[str, str], Sequence[Shard]], workers: int, report: Report) -> list[Problem]:
    every = [shard for cut_ in shards.values() for shard in cut_]
    if not every:
        return []
    every[0].path.parent.mkdir(parents=True, exist_ok=True)
    total, done = sum(len(shard.files.items) for shard in every), 0
    report("reading files", 0, total)

    def step(shard: Shard) -> None:
        nonlocal done
        done += len(shard.files.items)
        report("reading files", done, total)

    return read_all(every, workers, step)


def _refuse(
    dataset: Dataset, parts: Mapping[str, Part], problems: Sequence[Problem], path: Path, skip: bool
) -> None:
    """Raises DataError where files cannot be read, unless that is to be skipped and no test needs them."""
    if not problems:
        return
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("part", "modality", "id", "reason"))
    writer.writerows((p.part, p.modality, parts[p.part].ids[p.sample], p.reason) for p in problems)
    write_text(path, table.getvalue())
    needed = [p for p in problems if p.part in dataset.part_names(test=True) and p.modality in dataset.target]
    if skip and not needed:
        return
    told = needed if skip else problems
    some = "; ".join(p.reason for p in told[:3]) + ("; ..." if len(told) > 3 else "")
    if skip:
        raise DataError(
            f"{len(needed)} test samples of {dataset.name!r} cannot be read in their target modality: {some}",
            f"a test set must be whole: get these files again, and run the same command; all are in {path}",
        )
    raise DataError(
        f"{len(problems)} files of {dataset.name!r} cannot be read: {some}",
        f"get them again and run the same command, which goes on where it was; or leave them out of training "
        f"with --skip-damaged; all are listed in {path}",
    )


def _test_has_target(dataset: Dataset, written: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    for name in sorted(dataset.part_names(test=True) & written.keys()):
        for modality in dataset.target:
            missing = written[name]["files"][modality].get("missing", 0)
            if missing:
                files = parts[name].arrays[modality]
                assert isinstance(files, Files)
                first = next(
                    (i for i, item in zip(parts[name].ids, files.items, strict=True) if item is None), ""
                )
                raise DataError(
                    f"{missing} samples of part {name!r} of {dataset.name!r} lack {modality!r}, on which "
                    f"they are tested, for example {first!r}",
                    "the source is incomplete",
                )


def check_part(dataset: Dataset, name: str, part: Part) -> None:
    """Raises DataError unless a part has what the data set declares: shapes, labels, finite numbers, unique
    ids.
    """
    where = f"data set {dataset.name!r}, part {name!r}"
    count = len(part.ids)
    if odd := [one for one in part.ids if not isinstance(one, str)]:
        raise DataError(f"{where}: id {odd[0]!r} is {type(odd[0]).__name__}; expected text")
    if len(set(part.ids)) != count:
        seen: set[str] = set()
        twice = next(i for i in part.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise DataError(f"{where}: id {twice!r} occurs more than once")
    if part.labels.shape != (count,) or (part.groups is not None and len(part.groups) != count):
        raise DataError(f"{where}: {count} ids, labels of shape {part.labels.shape}; expected one a sample")
    if part.labels.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {part.labels.dtype}; expected whole numbers")
    if count and not (part.labels.min() >= -1 and part.labels.max() < len(dataset.classes)):
        raise DataError(
            f"{where}: labels from {part.labels.min()} to {part.labels.max()}; "
            f"expected -1 or 0 to {len(dataset.classes) - 1}"
        )
    for modality in dataset.modalities:
        if modality.name in ("labels", "index") or not re.fullmatch(r"[\w-]+", modality.name):
            raise DataError(
                f"data set {dataset.name!r}: no modality can be called {modality.name!r}",
                "a name has letters, digits, '-' and '_'; labels and index are other files of a part",
            )
        array = part.arrays.get(modality.name)
        if isinstance(array, Files):
            if len(array.items) != count:
                raise DataError(
                    f"{where}, modality {modality.name!r}: {len(array.items)} files for {count} samples"
                )
            continue
        if array is None or array.shape != (count, *modality.shape):
            found = "nothing" if array is None else f"shape {array.shape}"
            raise DataError(
                f"{where}, modality {modality.name!r}: {found}; expected {(count, *modality.shape)}"
            )
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{where}, modality {modality.name!r}: values are {array.dtype}; expected numbers"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(1))[0])
            raise DataError(f"{where}, modality {modality.name!r}: sample {part.ids[bad]!r} is not finite")


def check_counts(dataset: Dataset, parts: Mapping[str, Part], incomplete: bool = False) -> list[str]:
    """Raises DataError where counts differ from what the data set's source states; where fewer are allowed,
    says how many there are.
    """
    lacks = []
    for name, expected in dataset.expected.items():
        if absent := [one for one in name.split("+") if one not in parts]:
            raise DataError(
                f"data set {dataset.name!r} has no part {absent[0]!r}; its parts: {', '.join(parts)}"
            )
        labels = np.concatenate([parts[one].labels for one in name.split("+")])
        counted = np.bincount(labels[labels >= 0], minlength=len(dataset.classes)).tolist()
        found, wanted = (counted, list(expected)) if isinstance(expected, tuple) else (len(labels), expected)
        if found == wanted:
            continue
        if not incomplete or np.sum(found) > np.sum(wanted):
            raise DataError(
                f"data set {dataset.name!r}, part {name!r}: found {found} samples, expected {wanted}",
                "the source is incomplete or not the official one; to work with what is there, give "
                "--incomplete",
            )
        lacks.append(f"part {name}: {np.sum(found)} samples of {np.sum(wanted)}")
    return lacks


def _write_part(
    ready: Path,
    dataset: Dataset,
    name: str,
    part: Part,
    shards: Mapping[tuple[str, str], Sequence[Shard]],
) -> dict[str, Any]:
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
    write_json(folder / "index.json", {"ids": list(part.ids), "groups": groups})
    counted = np.bincount(part.labels[part.labels >= 0], minlength=len(dataset.classes)).tolist()
    return {
        "count": len(part.ids),
        "classes": counted,
        "files": {
            path.stem: _described(path, f"{name}/{path.name}", missing.get(path.stem, 0))
            for path in sorted(folder.iterdir())
        },
    }


def _described(path: Path, file: str, missing: int) -> dict[str, Any]:
    stat = path.stat()
    return {
        "file": file,
        "sha256": file_digest(path),
        "bytes": stat.st_size,
        **({"mtime_ns": stat.st_mtime_ns} if path.suffix == ".arrow" else {}),
        **({"missing": missing} if missing else {}),
    }
