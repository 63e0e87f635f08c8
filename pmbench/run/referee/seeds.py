"""Checks over seeds and rows: mandated seeds, reference rows, copies, plausibility. Level: recompute."""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...errors import DataError, RecordError
from ...report.boards import table_of
from ...report.record import Record, metric_of
from ...report.rows import ENSEMBLE, label_of
from ...report.submission import Entry
from ..request import REFERENCES
from .case import Case
from .outcome import Problem
from .outcomes import logits_of

ALIKE, SAME = 0.9995, 0.9999999
"""Correlations of centred logits of copies: of other seeds, and of other rows of the same seed."""
ERRORS = 30
"""Samples that two results have to get wrong before their errors are compared."""
ERRORS_ALIKE = 0.98
"""Share of equal classes, among samples that one of two results gets wrong, from which one is a copy."""
LEVEL = 1e-4
"""Probability with which an honest result lies outside of what the other seeds allow."""


def seeds_are_the_mandated_ones(case: Case) -> Iterator[Problem]:
    """Every row has each of the seeds that the submission declares, once, and no other."""
    statement = case.submission.statement
    if statement is None:
        return
    mandated = set(range(statement.seeds))
    for label, entries in rows(case.submission.entries).items():
        seeds = [entry.record.cell.seed for entry in entries]
        file = entries[0].file
        if lacking := sorted(mandated - set(seeds)):
            yield Problem(
                file, f"{label} lacks seed {', '.join(map(str, lacking))} of 0 to {statement.seeds - 1}"
            )
        if other := sorted(set(seeds) - mandated):
            yield Problem(file, f"{label} has seed {', '.join(map(str, other))}, which is not mandated")
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            yield Problem(file, f"{label} has seed {', '.join(map(str, twice))} twice")


def references_are_there(case: Case) -> Iterator[Problem]:
    """Floor, candidates for the ceiling and control stand beside the methods, on the same data and recipe."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in case.submission.entries:
        groups[table_of(entry.record)].append(entry)
    for entries in groups.values():
        plain = {
            entry.record.cell.method
            for entry in entries
            if not entry.record.cell.placebo and not entry.record.cell.matched_epochs
        }
        needed = list(REFERENCES)
        if any(
            entry.record.cost and entry.record.cost.networks > 1 for entry in entries if _is_method(entry)
        ):
            needed.append(ENSEMBLE)
        if lacking := [name for name in needed if name not in plain]:
            yield Problem(entries[0].file, f"its table lacks the reference rows {', '.join(lacking)}")


def _is_method(entry: Entry) -> bool:
    return entry.record.cell.role == "method"


def stages_agree(case: Case) -> Iterator[Problem]:
    """A stage that several records share has the same cost, samples and epochs in all of them."""
    first: dict[str, tuple[str, dict[str, object]]] = {}
    for entry in case.submission.done:
        for stage in entry.record.stages:
            facts = stage.model_dump(exclude={"reused"})
            file, expected = first.setdefault(stage.key, (entry.file, facts))
            other = [n for n, v in facts.items() if v != expected[n] and None not in (v, expected[n])]
            if other:  # older records lack some facts
                yield Problem(entry.file, f"stage {stage.key[:12]} has another {other[0]} than in {file}")


def predictions_are_no_copies(case: Case) -> Iterator[Problem]:
    """No result repeats that of another seed, another method, or another entry."""
    done = case.submission.done
    logits: dict[str, np.ndarray] = {}
    for entry in done:
        try:
            logits[entry.file] = _centred(logits_of(entry))
        except DataError:
            continue  # another check says so
    by_test: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in done:
        if entry.file in logits and entry.record.digests is not None:
            by_test[entry.record.digests.labels, logits[entry.file].size].append(entry)
    for entries in by_test.values():
        for a, b in itertools.combinations(entries, 2):
            if _may_be_alike(a.record, b.record):
                continue
            correlation = float((logits[a.file] * logits[b.file]).sum())
            if correlation > (SAME if a.record.cell.seed == b.record.cell.seed else ALIKE):
                yield Problem(
                    b.file, f"its predictions are those of {a.file} (correlation {correlation:.6f})"
                )
    for entry in done:
        for other in case.own:
            mine, theirs = entry.record.cell, other.cell
            if (mine.method, mine.seed) == (theirs.method, theirs.seed):
                continue  # a method with options that hardly matter
            if other.status == "done" and not _may_be_alike(entry.record, other):
                reason = copied(entry.record, other)
                if reason:
                    yield Problem(entry.file, reason)


def _may_be_alike(a: Record, b: Record) -> bool:
    """Whether two results have the same last stage, or one is an ablation, which may change nothing."""
    same = bool(a.stages and b.stages) and a.stages[-1].key == b.stages[-1].key
    return same or a.cell_key == b.cell_key or bool(a.cell.ablation or b.cell.ablation)


def _centred(logits: np.ndarray) -> np.ndarray:
    """Logits (N, K) without what no probability depends on, of length 1."""
    centred = logits.astype(np.float64) - logits.mean(1, keepdims=True)
    return centred / max(float(np.linalg.norm(centred)), 1e-12)


def copied(record: Record, other: Record) -> str:
    """Why a record's predicted classes are a copy of those of another one, or empty."""
    a, b = record.samples, other.samples
    if a is None or b is None or (a.count, a.labels) != (b.count, b.labels):
        return ""
    try:
        (labels, mine), (_, theirs) = a.unpack(), b.unpack()
    except RecordError:
        return ""
    wrong = (mine != labels) | (theirs != labels)
    if wrong.sum() < ERRORS or np.mean(mine[wrong] == theirs[wrong]) < ERRORS_ALIKE:
        return ""
    name = f"{label_of(other.cell)}, seed {other.cell.seed}"
    return f"its errors are those of {name} on the board ({other.cell_key[:12]})"


def results_are_plausible(case: Case) -> Iterator[Problem]:
    """No seed lies outside of what the other seeds of its row, and the spread of all rows, allow.

    A training that breaks down gives such a value honestly. It is refused where it serves a claim: a method
    that is too good, a floor or a control that is too bad.
    """
    for entries in _by_table(case).values():
        of_rows = rows(entries)
        values = {label: [_value(entry) for entry in of_row] for label, of_row in of_rows.items()}
        for label, place, reason in implausible(values):
            entry, others = of_rows[label][place], values[label][:place] + values[label][place + 1 :]
            if serves_a_claim(entry.record, float(np.mean(others))):
                yield Problem(entry.file, reason)


def serves_a_claim(record: Record, others: float) -> bool:
    """Whether a result that is unlike the mean of its row's other seeds makes a method look better."""
    name = record.primary or ""
    metric = metric_of(record, name)
    better = (record.metrics[name] > others) == (metric is None or metric.higher_is_better)
    worst = record.cell.role in ("floor", "control")
    return not better if worst else better or record.cell.role != "method"


def implausible(values: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, int, str]]:
    """(row, place, reason) of the values that lie outside the prediction interval of the others of their row.

    The variance is pooled over rows, without the value itself, or that of the row alone where it is
    significantly larger. The level holds for all values together.
    """
    from scipy.stats import f, t

    count = sum(map(len, values.values()))
    for label, of_row in values.items():
        for place, value in enumerate(of_row):
            rest = {**values, label: [v for n, v in enumerate(of_row) if n != place]}
            own = rest[label]
            freedom = sum(len(some) - 1 for some in rest.values() if some)
            if len(own) < 2 or freedom < 4:
                continue
            squares = sum(float(np.var(some)) * len(some) for some in rest.values() if some)
            variance, alone = max(squares / freedom, 0.05**2), float(np.var(own, ddof=1))
            if f.sf(alone / variance, len(own) - 1, freedom) < LEVEL:
                variance, freedom = alone, len(own) - 1
            error = math.sqrt(variance * (1 + 1 / len(own)))
            limit = float(t.ppf(1 - LEVEL / (2 * count), freedom)) * error
            if abs(value - float(np.mean(own))) > limit:
                yield (
                    label,
                    place,
                    f"{value:.2f} is no plausible result beside {np.mean(own):.2f} of its other seeds "
                    f"(± {limit:.2f})",
                )


def results_agree_with_the_board(case: Case) -> Iterator[Problem]:
    """A cell that the referee holds already has the same result, within the spread of its seeds."""
    own: dict[str, Record] = {record.cell_key: record for record in case.own if record.status == "done"}
    for entries in _by_table(case).values():
        for label, of_row in rows(entries).items():
            known = [(entry, own[entry.record.cell_key]) for entry in of_row if entry.record.cell_key in own]
            spread = (
                float(np.std([_value(entry) for entry in of_row], ddof=1)) if len(of_row) > 2 else math.inf
            )
            for entry, other in known:
                theirs = other.metrics.get(entry.record.primary or "", math.nan)
                if abs(_value(entry) - theirs) > max(4 * spread, 1.0):
                    reason = f"{label} has {_value(entry):.2f}; the same cell on the board has {theirs:.2f}"
                    yield Problem(entry.file, reason)


def _by_table(case: Case) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in case.submission.done:
        found[json.dumps([table_of(entry.record), entry.record.primary])].append(entry)
    return found


def _value(entry: Entry) -> float:
    return entry.record.metrics[entry.record.primary or ""]


def rows(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Table and label -> its entries by seed."""
    found: dict[str, list[Entry]] = defaultdict(list)
    labels: dict[str, set[str]] = defaultdict(set)
    for entry in sorted(entries, key=lambda e: (e.record.cell.seed, e.file)):
        key = json.dumps([table_of(entry.record), label_of(entry.record.cell)])
        labels[label_of(entry.record.cell)].add(key)
        found[key].append(entry)
    names = {}
    for label, keys in labels.items():
        for key in keys:
            cell = found[key][0].record.cell
            names[key] = label if len(keys) == 1 else f"{label} ({cell.dataset}, {cell.protocol})"
    if len(set(names.values())) < len(names):
        return dict(found)
    return {names[key]: of_row for key, of_row in found.items()}


CHECKS = (
    seeds_are_the_mandated_ones,
    references_are_there,
    stages_agree,
    predictions_are_no_copies,
    results_are_plausible,
    results_agree_with_the_board,
)
