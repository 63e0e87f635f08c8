"""The values that a leaderboard shows: a board per data set, protocol and choice of backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .metrics import Metric
from .published import Published
from .record import CellInfo, Record
from .statistics import Comparison, Gap, Interval

LEVELS = ("self-reported", "recomputed", "re-inferred", "retrained")


@dataclass(frozen=True)
class Row:
    """One method with one choice of options. `records`: its finished cells, by seed.

    `rank` is None for what is given a privileged modality at test, or is not sealed. `p` is Holm-corrected,
    `mid_p` is McNemar's, pooled over seeds and not corrected. `others`: metric -> its interval over seeds and
    what papers print, for all metrics but that of the board.
    """

    label: str
    records: tuple[Record, ...]
    interval: Interval
    rank: int | None = None
    gap: Gap | None = None
    gain: Comparison | None = None
    p: float | None = None
    mid_p: float | None = None
    published: tuple[Published, ...] = ()
    others: Mapping[str, tuple[Interval, tuple[Published, ...]]] = field(default_factory=dict)

    @property
    def cell(self) -> CellInfo:
        return self.records[0].cell

    @property
    def sealed(self) -> bool:
        return all(r.sealed for r in self.records)

    @property
    def rankable(self) -> bool:
        return self.sealed and self.cell.tests_on == "target"

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(r.cell.seed for r in self.records)

    @property
    def networks(self) -> int:
        """Networks that run at test."""
        return max((r.cost.networks for r in self.records if r.cost), default=1)

    @property
    def train_seconds(self) -> float:
        """Mean over seeds, as if nothing had been reused."""
        return float(np.mean([r.cost.train_seconds for r in self.records if r.cost]))

    @property
    def marks(self) -> list[str]:
        """What a reader must know: the role, what it is given at test, whether it is sealed."""
        cell = self.cell
        found: list[str] = [cell.role] if cell.role != "method" else []
        if cell.tests_on != "target":
            given = [m for m in cell.test_modalities if m in cell.privileged]
            found.append(f"given {', '.join(given)} at test")
        if cell.value_set != cell.values and cell.role == "method":
            found.append(f"{cell.values} values, it has no {cell.value_set} ones")
        return found if self.sealed else [*found, "not sealed"]

    @property
    def verification(self) -> str:
        """The weakest level among its records."""
        return min((r.verification for r in self.records), key=LEVELS.index)


@dataclass(frozen=True)
class Absent:
    """A method that has no number for some seeds. `status`: skipped, failed, or invalid."""

    label: str
    status: str
    reason: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Contrast:
    """A method against a control; `p` is Holm-corrected over the methods compared with that control."""

    label: str
    control: str
    comparison: Comparison
    p: float | None


@dataclass(frozen=True)
class AblationResult:
    """One row of a method's ablation; `name` is empty for the method itself. `absent` where it has no result.

    `comparison` is with the method itself, None where the row is just that; `p` is Holm-corrected over the
    rows of the method.
    """

    name: str
    options: Mapping[str, Any]
    row: Row | None = None
    absent: tuple[Absent, ...] = ()
    comparison: Comparison | None = None
    p: float | None = None
    printed: tuple[Published, ...] = ()


@dataclass(frozen=True)
class AblationTable:
    """A method, and what becomes of it when options change as in its paper's ablation tables."""

    label: str
    rows: tuple[AblationResult, ...]


@dataclass(frozen=True)
class Board:
    """`rows`: ranked ones by rank, then the others; `remarks`: what hampers the comparison.

    Rows of ablations are apart: no rank, p or mean of the others depends on them.
    """

    cell: CellInfo
    metric: Metric | None
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    floor: Row | None
    ceiling: Row | None
    seeds: tuple[int, ...]
    contrasts: tuple[Contrast, ...] = ()
    remarks: tuple[str, ...] = ()
    ablations: tuple[AblationTable, ...] = ()

    @property
    def title(self) -> str:
        values = f", {self.cell.value_set} values" if self.cell.value_set != "paper" else ""
        return f"{self.cell.dataset}, {self.cell.protocol}{values}"


def label_of(cell: CellInfo) -> str:
    """A method's name with the options that were set, `kd (temperature=2.0)`, and the ablation that it is."""
    name = f"{cell.method} [{cell.ablation.row}]" if cell.ablation else cell.method
    options = options_text(cell.options)
    return f"{name} ({options})" if options else name


def options_text(options: Mapping[str, Any]) -> str:
    """`alpha=0.5, temperature=2.0`."""
    return ", ".join(f"{name}={options[name]}" for name in sorted(options))


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 3`, `seeds 0, 1, 2`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
