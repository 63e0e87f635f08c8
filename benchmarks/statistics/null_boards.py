"""How often boards of worthless methods call something significant, and how often real gains are found.

Simulates test outcomes of 15 methods and a floor, and tests them with pmbench's own functions. Prints the
tables of docs/statistics.md:

    python benchmarks/statistics/null_boards.py               # fifteen minutes on one core
    python benchmarks/statistics/null_boards.py --boards 1000 # an hour

A method m gets sample n of group g right under seed s if

    z_msn + hard_n + hard_g + own_mn + own_mg < threshold_ms

with normal terms: noise of the seed, difficulty of sample and group (equal for all), and the effects that the
method alone has on a sample and a group, equal for all its seeds. The threshold is set so that the expected
accuracy under seed s is `base` plus an effect of the seed, in points, whose mean is 0: a worthless method has
exactly the floor's expected accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pmbench.metrics.builtin import METRICS
from pmbench.report.resampling import Resampled, resample
from pmbench.report.statistics import (
    LEVEL,
    Difference,
    Prior,
    compare_all,
    error_of,
    holm,
    paired,
    two_sided,
)

METHODS = 15
HAPT = (310, 421, 298, 352, 285, 390, 262, 333, 345)
"""Windows of the nine test subjects, made up, as unequal as real ones; 2,996 together."""
MFEAT = (1,) * 1000
REPORTED, GIVEN = "reported", (3, 5, 10)


@dataclass(frozen=True)
class World:
    """What outcomes are drawn from.

    `sd`: standard deviation of the seed's effect, in points; `spread`: that of its logarithm over methods;
    `tails`: degrees of freedom of the seed's effect, 0 for a normal one; `shared`: share of its variance that
    all methods have in common; `own`, `own_group`: sd of a method's effect on a sample and on a group, where
    the noise of a seed has sd 1.
    """

    name: str
    groups: tuple[int, ...] = MFEAT
    sd: float = 2.5
    spread: float = 0.0
    tails: int = 0
    shared: float = 0.0
    own: float = 0.0
    own_group: float = 0.0
    methods: int = METHODS
    base: float = 0.7


WORLDS = (
    World("mfeat, equal variances"),
    World("mfeat, unequal variances", spread=0.5),
    World("mfeat, large and very unequal variances", sd=5.0, spread=0.8),
    World("mfeat, heavy tails", tails=3),
    World("mfeat, correlated methods", shared=0.7),
    World("mfeat, method x sample", sd=1.0, own=1.0),
    World("hapt, equal variances", HAPT),
    World("hapt, unequal variances", HAPT, spread=0.5),
    World("hapt, large and very unequal variances", HAPT, sd=5.0, spread=0.8),
    World("hapt, heavy tails", HAPT, tails=3),
    World("hapt, correlated methods", HAPT, shared=0.7),
    World("hapt, method x sample", HAPT, sd=1.0, own=1.0),
    World("hapt, method x group", HAPT, sd=1.0, own_group=0.4),
    World("hapt, 3 methods, unequal variances", HAPT, spread=0.5, methods=3),
    World("hapt, 1 method", HAPT, methods=1),
)


def outcomes(world: World, seeds: int, rng: np.random.Generator, gain: float = 0.0) -> np.ndarray:
    """Whether each method, the floor first, gets each sample right under each seed: (1 + M, S, N) bool."""
    from scipy.special import ndtri

    rows, size = 1 + world.methods, sum(world.groups)
    group = np.repeat(np.arange(len(world.groups)), world.groups)
    unit = rng.standard_t(world.tails, (rows, seeds)) if world.tails else rng.normal(size=(rows, seeds))
    if world.tails > 2:
        unit *= np.sqrt((world.tails - 2) / world.tails)
    unit = np.sqrt(1 - world.shared) * unit + np.sqrt(world.shared) * rng.normal(size=(1, seeds))
    scale = world.sd * np.exp(rng.normal(0, world.spread, (rows, 1)) - world.spread**2)
    accuracy = world.base + (scale * unit + gain * (np.arange(rows) > 0)[:, None]) / 100
    total = 1 + 1 + 0.3**2 * (len(world.groups) < size) + world.own**2 + world.own_group**2
    threshold = np.sqrt(total) * ndtri(np.clip(accuracy, 0.02, 0.98))
    own = rng.normal(0, 1, (rows, size)) * world.own if world.own else 0.0
    hard = rng.normal(size=size) + own  # N, or M N
    if len(world.groups) < size:
        effects = rng.normal(0, 0.3, len(world.groups))
        effects = effects + world.own_group * rng.normal(size=(rows, len(world.groups)))
        hard = hard + effects[:, group]
    noise = rng.normal(size=(rows, seeds, size))
    return noise + np.broadcast_to(hard, (rows, size))[:, None] < threshold[..., None]


def board(world: World, right: np.ndarray, resamples: int) -> dict[str, Resampled]:
    """The rows as pmbench resamples them."""
    rows, seeds, size = right.shape
    labels = np.ones(size, int)
    grouped = len(world.groups) < size
    codes = np.repeat(np.arange(len(world.groups)), world.groups)
    return resample(
        dict.fromkeys(range(seeds), labels),
        {f"m{row:02}": {s: right[row, s].astype(int) for s in range(seeds)} for row in range(rows)},
        METRICS["accuracy"],
        num_classes=2,
        groups=dict.fromkeys(range(seeds), codes) if grouped else None,
        resamples=resamples,
    )


def differences(of: dict[str, Resampled]) -> list[Difference]:
    floor, *methods = of.values()
    found = [paired(method, floor) for method in methods]
    return [d for d in found if d is not None]


# --- tests that are not in pmbench, for comparison ----------------------------------------------------------


def with_prior(known: list[Difference], prior: Prior, few_units: bool = True) -> np.ndarray:
    """p-values of t with another prior; without `few_units`, with d0 + S - 1 degrees of freedom."""
    p = []
    for d in known:
        found = error_of(d, prior)
        df = prior.df + len(d.seeds) - 1
        p.append(1.0 if found is None else two_sided(d.value / found[0], found[1] if few_units else df))
    return np.array(p)


def alternatives(known: list[Difference]) -> dict[str, np.ndarray]:
    """p-values by test: the reported one, and those that it was chosen from."""
    variances = [d.between or 0.0 for d in known]
    median = Prior(float(np.median(variances)), 4.0)
    reported = [c.p for c in compare_all(known) if c is not None]
    return {
        REPORTED: np.array([1.0 if p is None else p for p in reported]),
        "median s0, d0 = 4": with_prior(known, median, few_units=False),
        "plain t": with_prior(known, Prior(0.0, 0.0)),
        "plain t without v": with_prior([replace(d, sampling=0.0) for d in known], Prior(0.0, 0.0)),
    }


def significant(p: np.ndarray, correction: str) -> np.ndarray:
    if correction == "Holm":
        return np.array([x is not None and x < LEVEL for x in holm([float(x) for x in p])])
    return len(p) * p < LEVEL


# --- studies ------------------------------------------------------------------------------------------------


def false_positives(world: World, seeds: int, boards: int, resamples: int = 400) -> dict[str, float]:
    """Test -> share of boards of worthless methods that call any significant.

    `covered` is the share of boards whose simultaneous intervals all hold 0, the true gain.
    """
    rng = np.random.default_rng([seeds, sum(map(ord, world.name))])
    counts: dict[str, float] = {}
    for _ in range(boards):
        known = differences(board(world, outcomes(world, seeds, rng), resamples))
        for name, p in alternatives(known).items():
            counts[name] = counts.get(name, 0) + bool(significant(p, "Holm").any())
        holds = all(
            c is None or c.low is None or c.high is None or c.low <= 0 <= c.high for c in compare_all(known)
        )
        counts["covered"] = counts.get("covered", 0) + holds
    return {name: count / boards for name, count in counts.items()}


def power(world: World, seeds: int, gain: float, boards: int, resamples: int = 400) -> dict[str, float]:
    """Test -> share of methods found, where all methods gain `gain` points."""
    rng = np.random.default_rng([seeds, int(gain), sum(map(ord, world.name))])
    shares: dict[str, list[float]] = {}
    for _ in range(boards):
        known = differences(board(world, outcomes(world, seeds, rng, gain), resamples))
        tests = alternatives(known)
        for correction in ("Bonferroni", "Holm"):
            found = significant(tests[REPORTED], correction)
            shares.setdefault(f"{REPORTED}, {correction}", []).append(float(found.mean()))
        shares.setdefault("plain t, Holm", []).append(float(significant(tests["plain t"], "Holm").mean()))
    return {name: float(np.mean(values)) for name, values in shares.items()}


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5, 7, 10, 20])
    given = parser.parse_args()
    error = 100 * np.sqrt(0.05 * 0.95 / given.boards)
    print(f"Boards with a false positive, in %, of {given.boards} (standard error at 5 %: {error:.1f}):\n")
    results = {(w.name, s): false_positives(w, s, given.boards) for w in WORLDS for s in given.seeds}
    columns = [f"{s} seeds" for s in given.seeds]
    for test in (REPORTED, "median s0, d0 = 4", "plain t", "plain t without v", "covered"):
        shares = ([w.name, *(f"{100 * results[w.name, s][test]:.1f}" for s in given.seeds)] for w in WORLDS)
        print(f"{test}\n\n{table([test, *columns], shares)}\n", flush=True)
    print("Power, in %: share of methods found where all 15 gain\n")
    rows = []
    for world in (WORLDS[0], WORLDS[1], WORLDS[6], WORLDS[7]):
        for gain in (3.0, 5.0, 10.0):
            found = [power(world, s, gain, max(20, given.boards // 5)) for s in GIVEN]
            for name in found[0]:
                rows.append([f"{world.name}, +{gain:.0f}, {name}", *(f"{100 * f[name]:.0f}" for f in found)])
    print(table(["setting, gain, test", *(f"{s} seeds" for s in GIVEN)], rows))


if __name__ == "__main__":
    main()
