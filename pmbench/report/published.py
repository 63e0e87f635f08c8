"""Numbers that papers print, in the words of this project: `published.csv`.

Every number of five papers' result tables, ablations and quoted literature (`lit_*`) included. Fractions are
turned into percent. `f1` of the CGAN paper is its "average F-score", which it does not define. Whether `acer`
of the MMH paper is standard or `acer_mmh` cannot be told from the paper.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from ..errors import RecordError

COLUMNS = (
    "paper",
    "table",
    "method",
    "variant",
    "train_modalities",
    "test_modalities",
    "dataset",
    "protocol",
    "metric",
    "value",
    "higher_is_better",
)


@dataclass(frozen=True)
class Published:
    """One printed number. `paper` is a citation, `value` in percent, or for metric `parameters` a count."""

    paper: str
    table: str
    method: str
    variant: str
    train_modalities: tuple[str, ...]
    test_modalities: tuple[str, ...]
    dataset: str
    protocol: str
    metric: str
    value: float
    higher_is_better: bool


def parse(lines: Iterable[str]) -> tuple[Published, ...]:
    """Rows of a file like `published.csv`; raises RecordError for a file that is not like it."""
    reader = csv.DictReader(lines, strict=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise RecordError(
            f"published numbers have columns {reader.fieldnames}; expected {', '.join(COLUMNS)}"
        )
    rows = []
    for row in reader:
        try:
            rows.append(
                Published(
                    **{name: row[name] for name in ("paper", "table", "method", "variant")},
                    train_modalities=tuple(row["train_modalities"].split("+")),
                    test_modalities=tuple(row["test_modalities"].split("+")),
                    **{name: row[name] for name in ("dataset", "protocol", "metric")},
                    value=float(row["value"]),
                    higher_is_better={"true": True, "false": False}[row["higher_is_better"]],
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(
                f"published numbers, line {reader.line_num}: cannot be read: {error!r}"
            ) from error
    return tuple(rows)


@lru_cache(maxsize=1)
def load() -> tuple[Published, ...]:
    """The numbers that come with pmbench."""
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    return parse(text.splitlines())


def printed_at(place: Sequence[str], rows: Iterable[Published] | None = None) -> tuple[Published, ...]:
    """What is printed at (paper, table, variant), in the order of the file; nothing for an empty place."""
    return tuple(
        row for row in (load() if rows is None else rows) if [row.paper, row.table, row.variant] == [*place]
    )


def published_for(
    method: str, dataset: str, protocol: str, metric: str, rows: Iterable[Published] | None = None
) -> tuple[Published, ...]:
    """What papers print for a method, in the order of the file; several if there are variants or papers."""
    wanted = (method, dataset, protocol, metric)
    return tuple(
        row
        for row in (load() if rows is None else rows)
        if (row.method, row.dataset, row.protocol, row.metric) == wanted
    )
