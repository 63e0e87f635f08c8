"""What a prepared form was made from, and how its source differs from that now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..contracts.dataset import Dataset
from ..contracts.samples import Files, Part
from ..errors import DataError, PmbenchError
from ..files import file_digest, write_json
from ..store.keys import digest
from .prepared import Prepared, open_prepared

SOURCES = "sources.json"


def describe(
    dataset: Dataset, source: Path, parts: Mapping[str, Part], earlier: Prepared | None
) -> dict[str, Any]:
    """The source of a data set as JSON values. Of a user's folder: declaration, rows, and size, time and
    digest of each file, by its path relative to `source`. Of an official form only its path.

    To be called before the files are read, so that one which changes meanwhile is noticed later. A file with
    size and time as in `earlier` is not read for its digest. Raises DataError for files that cannot be read.
    """
    content: dict[str, Any] = {"source": str(source.resolve())}
    if dataset.declaration is None or dataset.unpack:
        return content
    known = _noted(earlier).get("files", {}) if earlier is not None else {}
    arrays = {name: part.arrays for name, part in parts.items()}
    modalities = [
        m.name for m in dataset.modalities if all(isinstance(a[m.name], Files) for a in arrays.values())
    ]
    rows, files = {}, {}
    for name, part in parts.items():
        items = [part.arrays[m].items for m in modalities]  # type: ignore[union-attr]
        for n, i in enumerate(part.ids):
            mine = [relative(column[n], source) if column[n] else None for column in items]
            rows[i] = [name, int(part.labels[n]), part.groups[n] if part.groups else None, mine]
            files.update(dict.fromkeys(file for file in mine if file))
    described = [n for n in dataset.declaration.get("described_by", ()) if (source / n).exists()]
    try:
        for name in (*files, *described):
            stat, noted = _stat(source / name), known.get(name)
            files[name] = [*stat, noted[2] if noted and noted[:2] == stat else _digest(source / name)]
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {error.strerror or error}") from error
    declared = json.loads(json.dumps(dataset.declaration))
    return content | {"declared": declared, "modalities": modalities, "rows": rows, "files": files}


def source_of(prepared: Prepared) -> Path | None:
    """Path of the official form or the user's folder; None where it was not noted."""
    found = _noted(prepared).get("source")
    return Path(found) if found else None


def earlier_source(dataset: Dataset, root: Path) -> Path | None:
    """Where the prepared form of a data set came from, if that is noted and still there."""
    try:
        source = source_of(open_prepared(dataset, root))
    except PmbenchError:
        return None  # what is prepared cannot be opened; preparing it anew mends that
    return source if source is not None and source.exists() else None


def changes(prepared: Prepared, source: Path | None = None) -> list[str]:
    """How the user's folder differs from what was prepared, in words; empty if it does not.

    Empty for official data sets, and if the folder is gone: the prepared form is complete. A file whose size
    or time differs counts only if its digest does, too; size and time are then noted anew. Raises DataError
    if the folder cannot be read any more.
    """
    source = source or source_of(prepared)
    if source is None or looks_unchanged(prepared, source):
        return []
    if type(prepared.dataset).read is Dataset.read:  # its code is in another process
        return ["its files have other sizes or times"]
    dataset = prepared.dataset.named(prepared.dataset.name.partition("/")[2]).at(source)
    return differences(prepared, describe(dataset, source, dict(dataset.read(source)), prepared))


def looks_unchanged(prepared: Prepared, source: Path) -> bool:
    """Whether all files have the size and time that were noted; also of an official form, and a folder that
    is gone.
    """
    noted = _noted(prepared)
    if "rows" not in noted or not source.is_dir():
        return True
    described = set(noted["declared"].get("described_by", ())) - noted["files"].keys()
    added = any((source / name).exists() for name in described)
    return not added and all(_same(source / name, value) for name, value in noted["files"].items())


def differences(prepared: Prepared, now: Mapping[str, Any]) -> list[str]:
    """How the source that `describe` found differs from what was prepared, in words.

    Without a difference, sizes and times are noted anew.
    """
    before, found = _noted(prepared), list[str]()
    keys = sorted(now["declared"].keys() | before["declared"].keys())
    if other := [k for k in keys if now["declared"].get(k) != before["declared"].get(k)]:
        found.append(f"other {', '.join(other)}")
    rows, earlier = now["rows"], before["rows"]
    common = rows.keys() & earlier.keys()
    counts = (
        (len(rows.keys() - common), "added"),
        (len(earlier.keys() - common), "removed"),
        (sum(rows[i] != earlier[i] for i in common), "changed"),
    )
    found += [f"{count} sample{'s' * (count > 1)} {what}" for count, what in counts if count]
    read = {file for *_, files in rows.values() for file in files if file} & before["files"].keys()
    if altered := sorted(file for file in read if before["files"][file][2] != now["files"][file][2]):
        found.append(f"{len(altered)} file{'s' * (len(altered) > 1)} with other contents ({altered[0]})")
    if not found and now["source"] == before["source"]:
        with suppress(PmbenchError):
            write_json(prepared.folder / SOURCES, {**before, "files": now["files"]})
    return found


def check_unchanged(prepared: Prepared) -> None:
    """Raises DataError if the user's folder has changed since it was prepared, or cannot be read any more."""
    if found := changes(prepared):
        raise DataError(
            f"{source_of(prepared)} has changed since {prepared.dataset.name!r} was prepared: "
            f"{'; '.join(found)}",
            f"`pmbench data prepare {prepared.dataset.name}` prepares what has changed",
        )


def reusable(
    prepared: Prepared, content: Mapping[str, Any], readers: Mapping[str, str]
) -> dict[str, dict[str, tuple[str, int]]]:
    """Modality -> path relative to the source -> part and position of a sample that was read from the same
    contents by the same reader. `content` is what `describe` says of the source now.
    """
    noted = _noted(prepared)
    before, now = noted.get("files", {}), content.get("files", {})
    fresh = {name for name, (*_, found) in now.items() if name in before and before[name][2] == found}
    order = noted.get("modalities", ())
    same = {m for m in order if readers.get(m) == noted["readers"].get(m)}
    found: dict[str, dict[str, tuple[str, int]]] = {m: {} for m in same}
    for part in prepared.manifest["parts"]:
        for at, i in enumerate(prepared.index(part)[0]):
            for modality, file in zip(order, noted["rows"][i][3] if order else (), strict=True):
                if modality in same and file in fresh:
                    found[modality][file] = (part, at)
    return found


def relative(file: Path, source: Path) -> str:
    """Path of a file relative to the folder `source`, or its whole path if it lies elsewhere."""
    return file.relative_to(source).as_posix() if file.is_relative_to(source) else str(file)


def _noted(prepared: Prepared) -> dict[str, Any]:
    try:
        return json.loads((prepared.folder / SOURCES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _same(file: Path, noted: Sequence[Any]) -> bool:
    try:
        return _stat(file) == list(noted[:2])
    except OSError:
        return False


def _stat(file: Path) -> list[int]:
    """Size in bytes and time of change in nanoseconds; of a folder the sum and the latest of its files."""
    if not file.is_dir():
        stat = file.stat()
        return [stat.st_size, stat.st_mtime_ns]
    stats = [p.stat() for p in file.iterdir() if p.is_file()]
    return [sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _digest(file: Path) -> str:
    if not file.is_dir():
        return file_digest(file)
    return digest([[p.name, file_digest(p)] for p in sorted(file.iterdir()) if p.is_file()])
