"""Output of commands: tables, lines of name and value, quantities."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterable, Sequence

import typer

DAY = 86400.0


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Prints a table. In a pipe each row is one line; a terminal folds long cells."""
    aligned = set(right)
    if sys.stdout.isatty():
        _rich_table(columns, [[_one_line(value) for value in row] for row in rows], aligned)
        return
    padded = []
    for title, *cells in zip(columns, *rows, strict=True):
        values = [title, *map(str, cells)]
        shown = {value: _one_line(value) for value in set(values)}  # many rows have few values
        width = max(map(len, shown.values()))
        pad = str.rjust if title in aligned else str.ljust
        texts = {value: pad(text, width) for value, text in shown.items()}
        head, *rest = map(texts.__getitem__, values)
        padded.append([head, "-" * width, *rest])
    typer.echo("\n".join(map(str.rstrip, map("  ".join, zip(*padded, strict=True)))))


def _rich_table(columns: Sequence[str], lines: Sequence[Sequence[str]], aligned: set[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in aligned else "left", overflow="fold")
    for line in lines:
        drawn.add_row(*map(Text, line))
    Console().print(drawn)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Prints aligned lines of name and value; omits empty values, prints a list as one line each."""
    shown = [(name, value) for name, value in pairs if value not in (None, "", [], (), {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        values = value if isinstance(value, list) else [value]
        for i, one in enumerate(values):
            typer.echo(f"{name if i == 0 else '':<{width}}  {_one_line(one)}")


def heading(text: str) -> None:
    typer.echo(f"\n{text}\n")


def size_text(size: float) -> str:
    """`935 B`, `12.3 kB`, `1.8 GB`."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= 0.9995 * factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def date_text(moment: object) -> str:
    """Seconds since 1970 as local `2026-03-31 14:05`; `-` for anything else."""
    if not isinstance(moment, int | float):
        return "-"
    return _minute_text(int(moment // 60))


@functools.lru_cache(maxsize=1 << 16)
def _minute_text(minutes: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(60 * minutes))


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
