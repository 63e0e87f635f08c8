"""Comparison of the rows of one board on the same test samples: floor, ceiling, controls, ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..metrics.builtin import Metric
from .record import CellInfo, PublishedNumber, Record
from .resampling import Resampled, resample
from .statistics import (
    Comparison,
    Gap,
    Interval,
    compare,
    discordant,
    gap_recovered,
    holm,
    mcnemar,
    rank_groups,
)
from .text import options_text

FLOOR, ENSEMBLE = "target_only", "target_ensemble"
"""The control of methods that run two networks at test; the other controls apply to every method."""


@dataclass(frozen=True)
class Row:
    """One method with one set of options. `records`: its finished cells, by seed.

    `rank` is None if the method uses a privileged modality at test, or is not sealed. `gap`, `gain`, `p` and
    `mid_p` compare it with the floor: `p` is Holm-corrected, `mid_p` is McNemar's, pooled over seeds and not
    corrected. `others` maps each metric but the board's to its interval over seeds and the published numbers.
    """

    label: str
    records: tuple[Record, ...]
    interval: Interval
    rank: int | None = None
    gap: Gap | None = None
    gain: Comparison | None = None
    p: float | None = None
    mid_p: float | None = None
    published: tuple[PublishedNumber, ...] = ()
    others: Mapping[str, tuple[Interval, tuple[PublishedNumber, ...]]] = field(default_factory=dict)

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
        """Number of networks that run at test."""
        return max((r.cost.networks for r in self.records if r.cost), default=1)

    @property
    def train_seconds(self) -> float:
        """Mean over seeds of the training time, as if no stage had been reused."""
        return float(np.mean([r.cost.train_seconds for r in self.records if r.cost]))

    @property
    def marks(self) -> list[str]:
        """Notes beside the label: role, privileged modalities used at test, values, not sealed."""
        cell = self.cell
        found: list[str] = [cell.role] if cell.role != "method" else []
        if cell.tests_on != "target":
            privileged = [m for m in cell.test_modalities if m in cell.privileged]
            found.append(f"given {', '.join(privileged)} at test")
        if cell.value_set != cell.values and cell.role == "method":
            found.append(f"{cell.values} values, it has no {cell.value_set} ones")
        weak = {r.provenance.isolation for r in self.records} - {"landlock", "unknown"}
        found += [f"isolation: {', '.join(sorted(weak))}"] if weak else []
        return found if self.sealed else [*found, "not sealed"]


@dataclass(frozen=True)
class Contrast:
    """A method against a control; `p` is Holm-corrected over the methods compared with that control."""

    label: str
    control: str
    comparison: Comparison
    p: float | None


def label_of(cell: CellInfo) -> str:
    """Label of a row: `kd`, `kd (temperature=2.0)`, or `rad [-IW] (weighting=uniform)` in an ablation."""
    name = f"{cell.method} [{cell.ablation.row}]" if cell.ablation else cell.method
    options = options_text(cell.options)
    return f"{name} ({options})" if options else name


@dataclass(frozen=True)
class Paired:
    """Rows with common test samples: by seed labels (N,), by row and seed predictions (N,), and draws."""

    metric: Metric
    labels: dict[int, np.ndarray]
    predicted: dict[str, dict[int, np.ndarray]]
    resampled: dict[str, Resampled]

    def compare(self, first: Row, second: Row) -> Comparison | None:
        """The comparison of two rows, positive if `first` is better; None without a common seed."""
        if first.label not in self.resampled or second.label not in self.resampled:
            return None
        return compare(
            self.resampled[first.label],
            self.resampled[second.label],
            higher_is_better=self.metric.higher_is_better,
        )


def pair(rows: Sequence[Row], metric: Metric, remarks: list[str]) -> Paired:
    """The rows, resampled; a row tested on other samples than the floor is left out with a remark."""
    floor = find_floor(rows)
    tests: dict[int, tuple[str, np.ndarray]] = {}
    predicted: dict[str, dict[int, np.ndarray]] = {}
    for row in sorted(rows, key=lambda r: (r is not floor, r.label)):
        for record in row.records:
            if record.samples is None or record.digests is None:
                continue
            seed, digest = record.cell.seed, record.digests.labels
            labels, predictions = record.samples.unpack()
            known = tests.setdefault(seed, (digest, labels))
            if known[0] == digest and np.array_equal(known[1], labels):
                predicted.setdefault(row.label, {})[seed] = predictions
            else:
                remarks.append(
                    f"{row.label}, seed {seed}: tested on other samples than the rest, so not compared"
                )
    labels_by_seed = {seed: labels for seed, (_, labels) in tests.items()}
    if metric.recomputable:
        resampled = resample(
            labels_by_seed,
            predicted,
            metric,
            num_classes=rows[0].cell.num_classes,
            positive=rows[0].cell.positive_class,
            test_sets={seed: digest for seed, (digest, _) in tests.items()},
        )
    else:
        resampled = {}
        for row in rows:
            values = {r.cell.seed: r.metrics[metric.name] for r in row.records}
            if seeds := predicted.get(row.label):
                resampled[row.label] = Resampled.of_values({seed: values[seed] for seed in seeds})
    return Paired(metric, labels_by_seed, predicted, resampled)


def find_floor(rows: Sequence[Row]) -> Row | None:
    """The sealed floor: `target_only` if it is on the board, with the fewest options set."""
    return min(_floors(rows), key=_floor_order, default=None)


def second_floors(rows: Sequence[Row]) -> list[Row]:
    """Other methods that call themselves floors."""
    floor = find_floor(rows)
    return [r for r in _floors(rows) if floor is not None and r.cell.method != floor.cell.method]


def _floors(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r.cell.role == "floor" and r.rankable]


def _floor_order(row: Row) -> tuple[object, ...]:
    return row.cell.method != FLOOR, len(row.cell.options), -len(row.seeds), row.label


def find_ceiling(rows: Sequence[Row], metric: Metric) -> Row | None:
    """The ceiling with the best mean."""
    sign = -1 if metric.higher_is_better else 1
    ceilings = [r for r in rows if r.cell.role == "ceiling"]
    return min(ceilings, key=lambda r: (sign * r.interval.mean, r.label), default=None)


def against_floor(rows: Sequence[Row], paired: Paired) -> list[Row]:
    """Rows with gap recovered, gain over the floor, p and rank: ranked ones first, unsealed ones last."""
    floor, ceiling = find_floor(rows), find_ceiling(rows, paired.metric)
    sign = -1 if paired.metric.higher_is_better else 1
    rows = sorted(rows, key=lambda r: (not r.rankable, not r.sealed, sign * r.interval.mean, r.label))
    if floor is not None:
        gains = [paired.compare(r, floor) if r.rankable and r is not floor else None for r in rows]
        p_values = holm([None if gain is None else gain.p for gain in gains])
        rows = [
            dataclasses.replace(
                row,
                gain=gain,
                p=p,
                mid_p=None if gain is None else _mid_p(row, floor, paired),
                gap=_gap(row, floor, ceiling, paired) if row is not floor else None,
            )
            for row, gain, p in zip(rows, gains, p_values, strict=True)
        ]
    by_label = {row.label: row for row in rows}

    def p_value(first: str, second: str) -> float | None:
        comparison = paired.compare(by_label[first], by_label[second])
        return None if comparison is None else comparison.p

    ranks = rank_groups([row.label for row in rows if row.rankable], p_value)
    return [dataclasses.replace(row, rank=ranks.get(row.label)) for row in rows]


def _mid_p(row: Row, floor: Row, paired: Paired) -> float | None:
    if paired.metric.name not in ("accuracy", "wa"):
        return None  # McNemar's test compares shares of correct samples
    predicted = paired.predicted
    return mcnemar(*discordant(paired.labels, predicted[row.label], predicted[floor.label]))[1]


def _gap(row: Row, floor: Row, ceiling: Row | None, paired: Paired) -> Gap | None:
    if ceiling is None or not row.rankable:
        return None
    labels = (row.label, floor.label, ceiling.label)
    if not all(label in paired.resampled for label in labels):
        return None
    resampled = [paired.resampled[label] for label in labels]
    return gap_recovered(*resampled, higher_is_better=paired.metric.higher_is_better)


def contrasts(rows: Sequence[Row], paired: Paired) -> list[Contrast]:
    """Contrasts of all ranked methods with all controls, with the ensemble only for several networks."""
    found = []
    controls = [r for r in rows if r.rankable and (r.cell.role == "control" or r.cell.method == ENSEMBLE)]
    for control in sorted(controls, key=lambda r: r.label):
        methods = [
            row
            for row in rows
            if row.rankable
            and row.cell.role == "method"
            and (control.cell.method != ENSEMBLE or row.networks > 1)
        ]
        comparisons = [(row.label, paired.compare(row, control)) for row in methods]
        known = [(label, c) for label, c in comparisons if c is not None]
        corrected = holm([c.p for _, c in known])
        found += [
            Contrast(label, control.label, c, p) for (label, c), p in zip(known, corrected, strict=True)
        ]
    return found
