"""Teachers of methods on a board: their own results, and comparisons of methods that have equal ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ..metrics.builtin import Metric
from .comparison import Paired
from .ranks import Rank, rank_intervals
from .record import Record
from .rows import Row, Teacher
from .statistics import Comparison, compare_all


@dataclass(frozen=True)
class EqualTeachers:
    """Methods of one teacher, the best mean first, with ranks among themselves."""

    teacher: Teacher
    ranks: tuple[tuple[Row, Rank], ...]


@dataclass(frozen=True)
class TeacherChange:
    """A method under another teacher against itself; `comparison` is positive if `label` is better."""

    label: str
    against: str
    comparison: Comparison


def with_teachers(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """The rows with their teachers.

    A teacher is another row if that row is the one that the method declares and if, for every seed that both
    have, the stages of the method hold its last stage. Its result is the mean over these seeds.
    """
    return [dataclasses.replace(row, teacher=_teacher(row, rows, metric)) for row in rows]


def _teacher(row: Row, rows: Sequence[Row], metric: Metric) -> Teacher | None:
    name = row.cell.teacher
    if name is None:
        return None
    keys = {r.cell.seed: {s.key for s in r.stages} for r in row.records}
    for other in rows:
        if other.cell.method != name:
            continue
        common = [r for r in other.records if r.cell.seed in keys]
        if common and all(last_stage(r) in keys[r.cell.seed] for r in common):
            value = sum(r.metrics[metric.name] for r in common) / len(common)
            return Teacher(name, other.label, value)
    return Teacher(name)


def last_stage(record: Record) -> str:
    """Key of the stage that is no ancestor of another."""
    parents = {parent for stage in record.stages for parent in stage.parents}
    return next(stage.key for stage in record.stages if stage.key not in parents)


def equal_teachers(rows: Sequence[Row], paired: Paired) -> list[EqualTeachers]:
    """The methods of each teacher that two or more have, compared by all pairs, Holm-corrected."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.competes and row.teacher is not None and row.teacher.label and row.label in paired.resampled:
            groups.setdefault(row.teacher.label, []).append(row)
    found = []
    for label in sorted(groups):
        same = groups[label]
        if len(same) > 1:
            higher = paired.metric.higher_is_better
            ranks = rank_intervals(
                {r.label: paired.resampled[r.label] for r in same}, higher_is_better=higher
            )
            assert same[0].teacher is not None
            found.append(EqualTeachers(same[0].teacher, tuple((r, ranks[r.label]) for r in same)))
    return found


def teacher_changes(rows: Sequence[Row], paired: Paired) -> list[TeacherChange]:
    """Each method under another teacher against the same method under the teacher of its paper.

    The family are all these comparisons of the table.
    """
    pairs = []
    for row in (r for r in rows if r.competes and r.cell.teacher is not None):
        rest = {n: v for n, v in row.cell.options.items() if n != "teacher"}
        for other in rows:
            plain = other.cell.method == row.cell.method and other.cell.options == rest
            if plain and other is not row and other.cell.teacher != row.cell.teacher:
                pairs.append((row, other))
    comparisons = compare_all([paired.difference(row, other) for row, other in pairs])
    return [
        TeacherChange(row.label, other.label, c)
        for (row, other), c in zip(pairs, comparisons, strict=True)
        if c is not None
    ]
