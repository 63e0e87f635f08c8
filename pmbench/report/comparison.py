"""Comparison of the rows of one board on the same test samples: gains, gaps, ranks, controls, claims."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics.builtin import Metric
from .gaps import Pair, gain_and_gap, gap_recovered
from .ranks import PairTest, ranking
from .resampling import Resampled, resample
from .rows import ENSEMBLE, FLOOR, REQUIRED, Row, applies, find_ceiling, find_controls, find_floor
from .statistics import (
    Comparison,
    Difference,
    Prior,
    compare_all,
    error_of,
    paired,
    prior_of,
    smallest_gain,
)


@dataclass(frozen=True)
class Contrast:
    """A method against a control; the family are the methods that are compared with that control."""

    label: str
    control: str
    comparison: Comparison


@dataclass(frozen=True)
class Claim:
    """A method's headline claim: it beats the floor and every control that applies to it.

    `beaten` and `failed`: these rows, by the simultaneous intervals. `missing`: rows that the claim needs and
    the board lacks. `p`: the largest p of the comparisons, 1 if one has the wrong sign, times the number of
    methods; None if one cannot be tested. An intersection-union test: the largest p needs no correction for
    the number of rows that are beaten.
    """

    label: str
    beaten: tuple[str, ...]
    failed: tuple[str, ...]
    missing: tuple[str, ...]
    p: float | None

    @property
    def holds(self) -> bool:
        return bool(self.beaten) and not self.failed and not self.missing


@dataclass(frozen=True)
class Paired:
    """Rows with common test samples, by label. `grouped`: whether whole groups of samples are resampled."""

    metric: Metric
    resampled: dict[str, Resampled]
    grouped: bool = False

    def family(
        self, rows: Sequence[Row], reference: Row, claims: Sequence[bool] | None = None
    ) -> list[Comparison | None]:
        """Comparisons of rows with one reference, positive if the row is better; see `compare_all`."""
        return compare_all([self.difference(row, reference) for row in rows], claims)

    def difference(self, first: Row, second: Row) -> Difference | None:
        """None for a row compared with itself, one without samples, or without a common seed."""
        one, other = self.resampled.get(first.label), self.resampled.get(second.label)
        if one is None or other is None or first is second:
            return None
        return paired(one, other, higher_is_better=self.metric.higher_is_better)

    def gain_and_gap(self, row: Row, floor: Row, ceiling: Row, prior: Prior) -> Pair | None:
        """Gain of the row and gap on common seeds; None without samples of all three."""
        method, low, high = (self.resampled.get(r.label) for r in (row, floor, ceiling))
        if method is None or low is None or high is None:
            return None
        return gain_and_gap(method, low, high, prior, higher_is_better=self.metric.higher_is_better)


def pair(rows: Sequence[Row], metric: Metric, remarks: list[str]) -> Paired:
    """The rows, resampled; a row tested on other samples than the floor is left out with a remark."""
    floor = find_floor(rows)
    tests: dict[int, tuple[str, np.ndarray]] = {}
    groups: dict[int, np.ndarray] = {}
    disputed: set[int] = set()
    predicted: dict[str, dict[int, np.ndarray]] = {}
    for row in sorted(rows, key=lambda r: (r is not floor, r.label)):
        for record in row.records:
            if record.samples is None or record.digests is None:
                continue
            seed, digest = record.cell.seed, record.digests.labels
            labels, predictions = record.samples.unpack()
            known = tests.setdefault(seed, (digest, labels))
            if known[0] != digest or not np.array_equal(known[1], labels):
                remarks.append(
                    f"{row.label}, seed {seed}: tested on other samples than the rest, so not compared"
                )
                continue
            predicted.setdefault(row.label, {})[seed] = predictions
            found = record.samples.unpack_groups()  # None in older records
            if found is not None and not np.array_equal(groups.setdefault(seed, found), found):
                disputed.add(seed)
    for seed in sorted(disputed):
        del groups[seed]
        remarks.append(f"seed {seed}: records name different groups of test samples, so none are used")
    if metric.recomputable:
        resampled = resample(
            {seed: labels for seed, (_, labels) in tests.items()},
            predicted,
            metric,
            num_classes=rows[0].cell.num_classes,
            positive=rows[0].cell.positive_class,
            test_sets={seed: digest for seed, (digest, _) in tests.items()},
            groups=groups,
        )
    else:
        resampled = {}
        for row in rows:
            values = {r.cell.seed: r.metrics[metric.name] for r in row.records}
            if seeds := predicted.get(row.label):
                resampled[row.label] = Resampled.of_values({seed: values[seed] for seed in seeds})
    return Paired(metric, resampled, bool(groups))


def against_floor(rows: Sequence[Row], samples: Paired) -> list[Row]:
    """Rows with gain over the floor and gap recovered: ranked ones first, unsealed ones last."""
    sign = -1 if samples.metric.higher_is_better else 1
    chosen = find_ceiling(rows, samples.metric)
    rows = [dataclasses.replace(row, ceiling=row is chosen) for row in rows]
    floor, ceiling = find_floor(rows), next((row for row in rows if row.ceiling), None)
    rows = sorted(rows, key=lambda r: (not r.rankable, not r.sealed, sign * r.interval.mean, r.label))
    if floor is not None:
        differences = [samples.difference(r, floor) if r.rankable else None for r in rows]
        claims = [row.competes for row in rows]
        counted = [d for d, claim in zip(differences, claims, strict=True) if claim and d is not None]
        prior, family = prior_of(counted), max(1, len(counted))
        gains = compare_all(differences, claims)
        found = []
        for row, difference, gain in zip(rows, differences, gains, strict=True):
            both = None
            if ceiling is not None and difference is not None:
                both = samples.gain_and_gap(row, floor, ceiling, prior)
            error = None if difference is None else error_of(difference, prior)
            gap = gap_recovered(both, family)
            found.append(dataclasses.replace(row, gain=gain, error=error, gap=gap, pair=both))
        rows = found
    return list(rows)


def with_ranks(rows: Sequence[Row], samples: Paired) -> tuple[list[Row], tuple[PairTest, ...]]:
    """The rows with their ranks, and the tests of all pairs of ranked rows."""
    resampled = samples.resampled
    ranked = {r.label: resampled[r.label] for r in rows if r.rankable and r.label in resampled}
    found = ranking(ranked, higher_is_better=samples.metric.higher_is_better)
    return [dataclasses.replace(row, rank=found.ranks.get(row.label)) for row in rows], found.pairs


def smallest_of(rows: Sequence[Row], samples: Paired) -> float | None:
    """Smallest gain over the floor that the tests of the methods find with a probability of 80 %."""
    floor = find_floor(rows)
    if floor is None:
        return None
    differences = [samples.difference(r, floor) for r in rows if r.competes]
    return smallest_gain([d for d in differences if d is not None], len(floor.seeds))


def contrasts(rows: Sequence[Row], paired: Paired) -> list[Contrast]:
    """Contrasts of all methods with all controls, with the ensemble only for several networks.

    The common variance and the family are those of all methods of the table for every control, so that all
    verdicts are at one level.
    """
    methods = [row for row in rows if row.competes]
    found = []
    for control in find_controls(rows):
        comparisons = paired.family(methods, control)
        found += [
            Contrast(row.label, control.label, c)
            for row, c in zip(methods, comparisons, strict=True)
            if c is not None and applies(control, row)
        ]
    return found


def claims(rows: Sequence[Row], against: Sequence[Contrast]) -> list[Claim]:
    """The headline claims of the methods, in the order of the rows; `against` are the contrasts."""
    floor, controls = find_floor(rows), find_controls(rows)
    found = []
    for row in (r for r in rows if r.competes):
        compared = {} if floor is None or row.gain is None else {floor.label: row.gain}
        compared |= {c.control: c.comparison for c in against if c.label == row.label}
        needed = [floor.label if floor else FLOOR]
        needed += [c.label for c in controls if applies(c, row)]
        present = {c.cell.method for c in controls}
        required = [REQUIRED] + [ENSEMBLE] * (row.networks > 1)
        missing = [label for label in needed if label not in compared]
        missing += [name for name in required if name not in present]
        beaten = tuple(label for label, c in compared.items() if c.better)
        failed = tuple(label for label, c in compared.items() if not c.better)
        adjusted = [c.adjusted if c.difference > 0 else 1.0 for c in compared.values()]
        known = [p for p in adjusted if p is not None]
        p = max(known) if known and len(known) == len(adjusted) and not missing else None
        found.append(Claim(row.label, beaten, failed, tuple(missing), p))
    return found
