"""Checks against a plan of the same cells by the referee, which trains nothing. Level: recompute."""

from __future__ import annotations

from collections.abc import Iterator

from ...plugins import CORE
from ...report.record import Record
from ...report.submission import FILE
from ..plan import PlannedCell
from ..published import averages_for, published_for
from ..recording import cell_info, digests_of_data, rule_of
from .case import KNOWN, Case, Unknown, Wrong, distributions_of
from .outcome import Problem


def plugins_are_stated(case: Case) -> Iterator[Problem]:
    """The statement names every plugin that the records rest on, and no other."""
    statement = case.submission.statement
    if statement is None:
        return
    stated = {plugin.distribution for plugin in statement.plugins}
    if unknown := sorted(stated - KNOWN - set(case.plugins)):
        reason = f"{', '.join(unknown)} is no known plugin, and not imported; --plugin NAME does so, isolated"
        yield Problem(FILE, reason, checked=False)
    used = {
        name
        for entry in case.submission.entries
        for name in distributions_of(case.registry, entry.record.cell)
    }
    if lacking := sorted(used - stated - {CORE}):
        yield Problem(FILE, f"names no plugin {lacking[0]}, which records rest on")


def cells_are_as_planned(case: Case) -> Iterator[Problem]:
    """Identity, stages, keys and what follows from them are those that the referee plans itself."""
    for entry in case.submission.entries:
        planned = case.plans[entry.file]
        if isinstance(planned, Unknown):
            yield Problem(entry.file, str(planned), checked=False)
            continue
        if isinstance(planned, Wrong):
            yield Problem(entry.file, str(planned))
            continue
        found = list(differences(case, entry.record, planned))
        other = case.differs(entry) if found else ""
        for reason in found:
            hint = f"; {other}: install what is stated" if other else ""
            yield Problem(entry.file, f"{reason}{hint}", checked=not other)


def differences(case: Case, record: Record, planned: PlannedCell) -> Iterator[str]:
    """What a record says otherwise than the plan of its cell."""
    if planned.failure:
        yield f"its plan fails: {planned.failure}"
        return
    info = cell_info(planned)
    for name in type(info).model_fields:
        if getattr(info, name) != getattr(record.cell, name):
            yield f"{name} is {getattr(record.cell, name)!r}; planned is {getattr(info, name)!r}"
    if record.published != published_for(planned, case.registry.published):
        yield "its published numbers are not those of the papers"
    if record.averages != averages_for(planned, case.registry.published):
        yield "the means over protocols that it names are not those of its data set"
    if record.status == "failed":
        yield f"a cell that failed is no result: {record.reason}"
        return
    if (record.status == "skipped") != bool(planned.skip):
        yield f"is {record.status}; planned is {f'a skip: {planned.skip}' if planned.skip else 'a result'}"
        return
    if record.status == "done":
        yield from _of_result(case, record, planned)
    if record.cell_key != planned.identity:
        yield f"its key is {record.cell_key[:12]}; planned is {planned.identity[:12]}"
    if record.row_key not in (None, planned.row_key):
        yield f"the key of its row is {record.row_key[:12]}; planned is {planned.row_key[:12]}"


def _of_result(case: Case, record: Record, planned: PlannedCell) -> Iterator[str]:
    stages = dict(zip(planned.keys, planned.stages, strict=True))
    if {stage.key for stage in record.stages} != stages.keys():  # their order has changed with versions
        found = ", ".join(stage.key[:12] for stage in record.stages if stage.key not in stages) or "too few"
        yield f"its stages are not those of the plan ({found})"
    for run in record.stages:
        stage = stages.get(run.key)
        if stage is None:
            continue
        parents = [planned.keys[parent] for parent in stage.parents]
        if (run.stage, run.parents, run.reads) != (stage.kind, parents, list(stage.reads)):
            yield f"stage {run.key[:12]} is described otherwise than planned"
        if run.epochs != stage.recipe.epochs:
            yield f"stage {run.key[:12]} has {run.epochs} epochs; planned are {stage.recipe.epochs}"
    if record.cost is not None and record.cost.networks != planned.method.networks:
        yield f"{record.cost.networks} networks at test; the method has {planned.method.networks}"
    if not record.sealed:
        yield "is not sealed"
    if lacking := [text for text in planned.method.deviations if text not in record.deviations]:
        yield f"conceals a deviation: {lacking[0]}"
    if record.validation is None or record.validation.rule != rule_of(planned):
        yield f"its epoch is selected by another rule than {rule_of(planned)!r}"
    if record.digests is not None:
        for name, digest in digests_of_data(planned, case.prepared(record.cell.dataset)).items():
            if getattr(record.digests, name) != digest:
                yield f"the digest of its {name} is not that of the referee's own prepared data"


CHECKS = (plugins_are_stated, cells_are_as_planned)
