"""Tables that describe a folder of recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pmbench as pm


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of a CSV file, `columns` alone; raises DataError if it lacks one of them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise pm.DataError(
                    f"{path} has no column {', '.join(missing)}", f"expected the columns {', '.join(columns)}"
                )
            for row in reader:
                yield reader.line_num, {name: row[name] or "" for name in columns}
    except (OSError, UnicodeDecodeError) as error:
        raise pm.DataError(
            f"{path} cannot be read: {error}", "the README of pmbench-apg says what it holds"
        ) from error
