"""The list of samples: `manifest.csv`, as people and spreadsheets write it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pmbench as pm

TABLE = "manifest.csv"
NEEDED = {"id": "a name of each sample", "label": "its class", "split": "train, validation or test"}
PARTS = ("train", "validation", "test")
HELP = (
    f"{TABLE} has a line for each sample with the columns id, label, split (train, validation or test), "
    "group if samples belong together, and for each modality one of paths; `pmbench data new` writes one"
)
SYNONYMS = {
    "id": ("id", "sample", "sample_id", "name", "clip", "key"),
    "label": ("label", "class", "category", "y"),
    "split": ("split", "set", "part", "partition", "subset"),
    "group": ("group", "subject", "person", "participant", "speaker", "patient", "user", "session"),
}
SPLITS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "te"), "test"),
}


@dataclass(frozen=True)
class Table:
    """Samples by line. Each row has id, label, split, group and one path (or "") for each of `files`.

    `notes` say what was understood in another way than written.
    """

    path: Path
    rows: tuple[Mapping[str, str], ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]


def read_table(folder: Path, name: str = TABLE, named: Mapping[str, str] | None = None) -> Table:
    """The table `name` in `folder`, or at that path. `named` maps id, label, split and group to its columns.

    Separators `,` `;` and tab, and UTF-8, UTF-16 and Windows-1252 are told apart. Raises DataError that names
    the line.
    """
    path = folder / name
    text, notes = _decoded(path)
    header, *lines = list(_records(path, text)) or [[]]
    columns = [column.strip() for column in header]
    if twice := [c for c in columns if c and columns.count(c) > 1]:
        raise pm.DataError(f"{path} has more than one column {twice[0]!r}", HELP)
    roles = _roles(path, columns, named or {}, notes)
    if lacking := [role for role in NEEDED if role not in roles]:
        raise pm.DataError(
            f"{path} has no column {lacking[0]!r}; its columns: {', '.join(columns[:10]) or 'none'}"
            f"{', ...' if len(columns) > 10 else ''}",
            f"add it, with {NEEDED[lacking[0]]}; or name its column in [columns] of dataset.toml",
        )
    if not lines:
        raise pm.DataError(f"{path} has no samples", HELP)
    rows = []
    for number, line in enumerate(lines, 2):
        cells = dict(zip(columns, (cell.strip() for cell in line), strict=False))
        if len(line) > len(columns) and any(cell.strip() for cell in line[len(columns) :]):
            raise pm.DataError(
                f"{path}, line {number}: {pm.plural(len(line), 'cell')}; the header has "
                f"{pm.plural(len(columns), 'column')}",
                "put cells that hold the separator in double quotes",
            )
        row = {role: cells.get(column, "") for role, column in roles.items()}
        rows.append(_checked(path, number, {"group": "", **row}))
        rows[-1].update({c: cells.get(c, "") for c in columns if c and c not in roles.values()})
    _check_ids(path, rows)
    others = [c for c in columns if c and c not in roles.values()]
    files = _files(path, folder, rows, others, notes)
    return Table(path, tuple(rows), tuple(files), tuple(notes))


def _decoded(path: Path) -> tuple[str, list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise pm.DataError(f"{path} cannot be read: {error.strerror or error}", HELP) from error
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        notes = [] if encoding == "utf-8-sig" else [f"{path.name} is read as {encoding}"]
        return text, notes
    raise pm.DataError(f"{path} is no text in UTF-8, UTF-16 or Windows-1252", "save it as UTF-8")


def _records(path: Path, text: str) -> Sequence[list[str]]:
    head = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise pm.DataError(f"{path} cannot be read: {error}", HELP) from error
    return [record for record in found if any(cell.strip() for cell in record)]


def _roles(path: Path, columns: Sequence[str], named: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """id, label, split, group -> the column that holds it."""
    roles = {}
    for role, synonyms in SYNONYMS.items():
        if role in named:
            if named[role] not in columns:
                raise pm.DataError(
                    f"{path} has no column {named[role]!r} for {role}; its columns: {', '.join(columns)}"
                )
            roles[role] = named[role]
            continue
        by_name = {column.casefold().replace(" ", "_"): column for column in reversed(columns)}
        found = next((by_name[s] for s in synonyms if s in by_name), None)
        if found is not None:
            roles[role] = found
            if found != role:
                notes.append(f"column {found!r} is read as {role}")
    return roles


def _checked(path: Path, line: int, row: dict[str, str]) -> dict[str, str]:
    split = SPLITS.get(row["split"].casefold())
    if split is None:
        raise pm.DataError(f"{path}, line {line}: split {row['split']!r}; expected {', '.join(PARTS)}")
    if not row["id"] or (split == "test" and not row["label"]):
        raise pm.DataError(f"{path}, line {line}: a sample needs an id, and for the test a label")
    return {**row, "split": split, "line": str(line)}


def _check_ids(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    lines: dict[str, str] = {}
    for row in rows:
        if (first := lines.setdefault(row["id"], row["line"])) != row["line"]:
            raise pm.DataError(f"{path}, lines {first} and {row['line']}: id {row['id']!r} occurs twice")


def _files(
    path: Path, folder: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str], notes: list[str]
) -> list[str]:
    """The columns whose cells are paths; raises DataError that counts the missing files of each."""
    found, missing = [], []
    for column in columns:
        cells = [(row["line"], row[column]) for row in rows if row[column]]
        # not Path.exists, which raises for names that are too long
        gone = [(line, cell) for line, cell in cells if not os.path.exists(folder / cell)]
        if len(gone) == len(cells) and not any(_like_path(cell) for _, cell in cells):
            notes.append(f"column {column!r} holds no paths and is not used")
            continue
        found.append(column)
        missing += [(column, line, cell) for line, cell in gone]
    if missing:
        named = "; ".join(f"line {line}: {column} {cell[:100]!r}" for column, line, cell in missing[:5])
        raise pm.DataError(
            f"{path}: {pm.plural(len(missing), 'file does', 'files do')} not exist in {folder}: {named}"
            f"{'; ...' if len(missing) > 5 else ''}",
            "paths are relative to the folder of the table; an empty cell is a missing modality",
        )
    return found


def _like_path(cell: str) -> bool:
    suffix = Path(cell).suffix
    return "/" in cell or "\\" in cell or (1 < len(suffix) <= 6 and not suffix[1:].isdecimal())
