"""Verdicts that hang on a single seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .comparison import Paired, claims, contrasts
from .rows import Row, find_floor
from .verdict import UNTESTED, verdict_of

FEWEST_SEEDS = 5
"""Seeds of a table from which on one of them is left out; with fewer, little is left."""


def with_edges(rows: Sequence[Row], paired: Paired) -> list[Row]:
    """The rows, each method with the seeds that its verdict hangs on: without one of them it is another.

    Gains, contrasts with the controls and claims are computed as for the whole table.
    """
    floor = find_floor(rows)
    seeds = sorted({seed for r in paired.resampled.values() for seed in r.seeds})
    if floor is None or len(seeds) < FEWEST_SEEDS:
        return list(rows)
    verdicts = _verdicts(rows, paired)
    edges: dict[str, list[int]] = {}
    for seed in seeds:
        kept = {label: r.at(tuple(s for s in r.seeds if s != seed)) for label, r in paired.resampled.items()}
        without = dataclasses.replace(paired, resampled={label: r for label, r in kept.items() if r.seeds})
        gains = without.family(rows, floor, [row.competes for row in rows])
        changed = [dataclasses.replace(r, gain=g) for r, g in zip(rows, gains, strict=True)]
        for label, verdict in _verdicts(changed, without).items():
            if verdict not in (verdicts[label], UNTESTED, "-"):  # too few seeds are left of some rows
                edges.setdefault(label, []).append(seed)
    return [dataclasses.replace(row, edge=tuple(edges.get(row.label, ()))) for row in rows]


def _verdicts(rows: Sequence[Row], paired: Paired) -> dict[str, str]:
    found = {claim.label: claim for claim in claims(rows, contrasts(rows, paired))}
    return {row.label: verdict_of(row.gain, found.get(row.label)) for row in rows if row.competes}
