"""Rows of one board against each other, on the same test samples: floor, ceiling, controls, ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .boards import Contrast, Row
from .metrics import Metric
from .resampling import Resampled, resample
from .statistics import (
    Comparison,
    Gap,
    compare,
    discordant,
    gap_recovered,
    holm,
    mcnemar,
    rank_groups,
)

ENSEMBLE = "target_ensemble"
"""The control of methods that run two networks at test; the other controls are for every method."""


@dataclass(frozen=True)
class Paired:
    """By seed: labels (N,), and under a row's label its predictions (N,) where it was tested on them."""

    metric: Metric
    labels: dict[int, np.ndarray]
    predicted: dict[str, dict[int, np.ndarray]]
    resampled: dict[str, Resampled]

    def compare(self, first: Row, second: Row) -> Comparison | None:
        """How much better `first` is, in points; None without a common seed."""
        if first.label not in self.resampled or second.label not in self.resampled:
            return None
        return compare(
            self.resampled[first.label],
            self.resampled[second.label],
            higher_is_better=self.metric.higher_is_better,
        )


def pair(rows: Sequence[Row], metric: Metric, remarks: list[str]) -> Paired:
    """Resamples all rows. A row tested on other samples than the floor is left out there, with a remark."""
    floor = find_floor(rows)
    tests: dict[int, tuple[str, np.ndarray]] = {}
    predicted: dict[str, dict[int, np.ndarray]] = {}
    for row in sorted(rows, key=lambda r: (r is not floor, r.label)):
        for record in row.records:
            if record.samples is None or record.digests is None:
                continue
            seed, digest = record.cell.seed, record.digests.labels
            labels, of_row = record.samples.unpack()
            known = tests.setdefault(seed, (digest, labels))
            if known[0] == digest and np.array_equal(known[1], labels):
                predicted.setdefault(row.label, {})[seed] = of_row
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
        resampled = {
            row.label: Resampled.of_values(
                {
                    r.cell.seed: r.metrics[metric.name]
                    for r in row.records
                    if r.cell.seed in predicted[row.label]
                }
            )
            for row in rows
            if row.label in predicted
        }
    return Paired(metric, labels_by_seed, predicted, resampled)


def find_floor(rows: Sequence[Row]) -> Row | None:
    """The sealed floor with the fewest options set."""
    floors = [r for r in rows if r.cell.role == "floor" and r.rankable]
    return min(floors, key=lambda r: (len(r.cell.options), -len(r.seeds), r.label), default=None)


def find_ceiling(rows: Sequence[Row], metric: Metric) -> Row | None:
    """The best of the ceilings."""
    sign = -1 if metric.higher_is_better else 1
    ceilings = [r for r in rows if r.cell.role == "ceiling"]
    return min(ceilings, key=lambda r: (sign * r.interval.mean, r.label), default=None)


def against_floor(rows: Sequence[Row], paired: Paired) -> list[Row]:
    """The rows with gap recovered, gain over the floor, p, rank; best first, unranked, unsealed last."""
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
        return None  # McNemar's test is about shares of correct samples
    predicted = paired.predicted
    return mcnemar(*discordant(paired.labels, predicted[row.label], predicted[floor.label]))[1]


def _gap(row: Row, floor: Row, ceiling: Row | None, paired: Paired) -> Gap | None:
    if ceiling is None or not row.rankable:
        return None
    labels = (row.label, floor.label, ceiling.label)
    if not all(label in paired.resampled for label in labels):
        return None
    of_row, of_floor, of_ceiling = (paired.resampled[label] for label in labels)
    return gap_recovered(of_row, of_floor, of_ceiling, higher_is_better=paired.metric.higher_is_better)


def contrasts(rows: Sequence[Row], paired: Paired) -> list[Contrast]:
    """Every ranked method against the controls on the board, a two-network one against the ensemble too."""
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
