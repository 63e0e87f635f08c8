"""What a prepared form was made from, and how its source differs from that now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contracts.dataset import Dataset
from ..contracts.samples import Files, Part
from ..errors import DataError, PmbenchError
from ..files import file_digest, write_json
from .prepared import Prepared

SOURCES = "sources.json"


def write_sources(
    path: Path,
    dataset: Dataset,
    source: Path,
    parts: Mapping[str, Part],
    readers: Mapping[str, str],
    known: Mapping[str, list[Any]],
) -> None:
    """Writes the source of a data set that files of the user declare: rows, readers by modality, and size,
    time and digest of their files. Of other data sets only the path of the official form.
    """
    content: dict[str, Any] = {"source": str(source.resolve())}
    if dataset.declaration is not None:
        content |= {"declared": dataset.declaration, "rows": _rows(source, parts), "readers": readers}
        described = [source / name for name in dataset.declaration.get("described_by", ())]
        files = [*_files(parts), *(file for file in described if file.exists())]
        content["files"] = {relative(f, source): [*_stat(f), digest_now(f, source, known)] for f in files}
    write_json(path, content)


def source_of(prepared: Prepared) -> Path | None:
    """Path of the official form or the user's folder; None where it was not noted."""
    found = _noted(prepared).get("source")
    return Path(found) if found else None


def changes(prepared: Prepared, source: Path | None = None) -> list[str]:
    """How the user's folder differs from what was prepared, in words; empty if it does not.

    Empty for official data sets, and if the folder is gone: the prepared form is complete. A file whose size
    or time differs counts only if its digest does, too.
    """
    noted = _noted(prepared)
    source = source or source_of(prepared)
    if source is None or "rows" not in noted or not source.is_dir():
        return []
    described = set(noted["declared"].get("described_by", ())) - noted["files"].keys()
    added = any((source / name).exists() for name in described)
    if not added and all(_same(source / name, value) for name, value in noted["files"].items()):
        return []
    try:
        dataset = prepared.dataset.named(prepared.dataset.name.partition("/")[2]).at(source)
        parts = dict(dataset.read(source))
    except PmbenchError as error:
        return [f"it cannot be read: {error.message}"]
    found = []
    declared, before = json.loads(json.dumps(dataset.declaration)), noted["declared"]
    if other := [k for k in sorted(declared.keys() | before) if declared.get(k) != before.get(k)]:
        found.append(f"other {', '.join(other)}")
    rows, before = _rows(source, parts), noted["rows"]
    counts = (
        (len(rows.keys() - before.keys()), "added"),
        (len(before.keys() - rows.keys()), "removed"),
        (sum(rows[i] != before[i] for i in rows.keys() & before.keys()), "changed"),
    )
    found += [f"{count} sample{'s' * (count > 1)} {what}" for count, what in counts if count]
    altered = [name for file in _files(parts) if (name := _altered(file, source, noted["files"]))]
    if altered:
        found.append(f"{len(altered)} file{'s' * (len(altered) > 1)} with other contents ({altered[0]})")
    return found


def check_unchanged(prepared: Prepared) -> None:
    """Raises DataError if the user's folder has changed since it was prepared."""
    if found := changes(prepared):
        raise DataError(
            f"{source_of(prepared)} has changed since {prepared.dataset.name!r} was prepared: "
            f"{'; '.join(found)}",
            f"`pmbench data prepare {prepared.dataset.name}` prepares what has changed",
        )


def known_files(prepared: Prepared) -> Mapping[str, list[Any]]:
    """Path relative to the source -> size, time in nanoseconds and digest of each file when it was read."""
    return _noted(prepared).get("files", {})


def digest_now(file: Path, source: Path, known: Mapping[str, list[Any]]) -> str:
    """Digest of a file, the noted one if size and time are those noted."""
    noted = known.get(relative(file, source))
    return noted[2] if noted and noted[:2] == _stat(file) else _digest(file)


def reusable(
    prepared: Prepared, source: Path, parts: Mapping[str, Part], readers: Mapping[str, str]
) -> dict[str, dict[str, tuple[str, int]]]:
    """Modality -> path relative to the source -> part and position of a sample that was read from the same
    contents by the same reader.
    """
    noted, known = _noted(prepared), known_files(prepared)
    order = [values["name"] for values in noted.get("declared", {}).get("readings", ())]
    same = {m for m in order if readers.get(m) == noted["readers"].get(m)}
    fresh = {relative(file, source) for file in _files(parts) if not _altered(file, source, known)}
    found: dict[str, dict[str, tuple[str, int]]] = {m: {} for m in same}
    for part in prepared.manifest["parts"]:
        for at, i in enumerate(prepared.index(part)[0]):
            files = zip(order, noted["rows"][i][3] if i in noted["rows"] else (), strict=False)
            for modality, file in files:
                if modality in same and file in fresh:
                    found[modality][file] = (part, at)
    return found


def _altered(file: Path, source: Path, known: Mapping[str, list[Any]]) -> str:
    name = relative(file, source)
    noted = known.get(name)
    if noted is None or not file.exists():
        return name
    return "" if noted[:2] == _stat(file) or noted[2] == _digest(file) else name


def _noted(prepared: Prepared) -> dict[str, Any]:
    try:
        return json.loads((prepared.folder / SOURCES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _rows(source: Path, parts: Mapping[str, Part]) -> dict[str, list[Any]]:
    """Id -> part, label, group and files of each sample."""
    rows = {}
    for name, part in parts.items():
        groups: Sequence[str | None] = part.groups or [None] * len(part.ids)
        items = [part.arrays[m].items for m in part.arrays if isinstance(part.arrays[m], Files)]  # type: ignore[union-attr]
        for n, i in enumerate(part.ids):
            files = [relative(column[n], source) if column[n] else None for column in items]
            rows[i] = [name, int(part.labels[n]), groups[n], files]
    return rows


def _files(parts: Mapping[str, Part]) -> list[Path]:
    arrays = [array for part in parts.values() for array in part.arrays.values()]
    return list(
        dict.fromkeys(i for a in arrays if isinstance(a, Files) for i in a.items if isinstance(i, Path))
    )


def _same(file: Path, noted: list[Any]) -> bool:
    try:
        return _stat(file) == noted[:2]
    except OSError:
        return False


def relative(file: Path, source: Path) -> str:
    """Path of a file relative to the folder `source`, or its whole path if it lies elsewhere."""
    return file.relative_to(source).as_posix() if file.is_relative_to(source) else str(file)


def _stat(file: Path) -> list[int]:
    if not file.is_dir():
        stat = file.stat()
        return [stat.st_size, stat.st_mtime_ns]
    stats = [p.stat() for p in file.iterdir() if p.is_file()]
    return [sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _digest(file: Path) -> str:
    if not file.is_dir():
        return file_digest(file)
    from ..store.keys import digest

    return digest([[p.name, file_digest(p)] for p in sorted(file.iterdir()) if p.is_file()])
