"""What a study has chosen, for a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import StoreError, UsageError
from ...plugins import Registry
from ...report.cell import TuningStudy
from ...report.text import joined
from ..request import DEFAULT_DATASET, Request, Tuned, expanded
from .files import HINT, read_tuned

BOUND = {"datasets": "--dataset", "protocols": "--protocol", "backbones": "--backbone", "recipe": "--recipe"}
BOUND |= {"weights": "--weights"}
"""Fields of a request that a study binds, and their options."""


def complete(request: Request, folder: Path | str | None, registry: Registry) -> Request:
    """The request with all names, and with the rows and the defaults of the study in a folder, if any."""
    if folder:
        request = with_tuned(request, Path(folder), registry)
    return expanded(replace(request, datasets=request.datasets or (DEFAULT_DATASET,)), registry)


def with_tuned(request: Request, folder: Path, registry: Registry) -> Request:
    """The request with rows of tuned values beside those of its methods, from a finished study.

    Methods, data set, protocol, backbone, recipe and weights that are not given are those of the study.
    Raises UsageError for others than these, for methods that it has not tuned, and for seeds of its search.
    """
    found, digest = read_tuned(folder)
    own: dict[str, Any] = {
        "datasets": (found.dataset,),
        "protocols": (found.protocol,),
        "backbones": (found.backbone,) if found.backbone else (),
        "recipe": found.recipe,
        "weights": found.weights,
    }
    given = {name: getattr(request, name) or value for name, value in own.items()}
    for name, value in own.items():
        if given[name] != value:
            shown, theirs = (", ".join(v) if isinstance(v, tuple) else v for v in (given[name], value))
            raise UsageError(
                f"{BOUND[name]} {shown}: the study {found.name!r} was made with {theirs or 'the default'}",
                f"leave {BOUND[name]} out, or tune for it",
            )
    if request.value_set != "paper":
        raise UsageError(f"--values {request.value_set} and --tuned are both values: give one of them")
    if used := sorted(set(request.seeds) & set(found.seeds)):
        raise UsageError(
            f"seed {used[0]} has chosen the values of the study {found.name!r}", "give other seeds"
        )
    if not found.methods:
        raise UsageError(
            f"the study {found.name!r} has tuned none of its methods: "
            + "; ".join(f"{label}: {why}" for label, why in found.skipped.items())
        )
    tuned = []
    for label, one in found.methods.items():
        method = registry.method(one.method)
        try:
            study = TuningStudy(
                name=found.name,
                digest=digest,
                trials=found.trials,
                sampler=found.sampler,
                best=list(one.best),
                confirmed=list(one.confirmed),
            )
        except ValueError as error:  # pydantic's errors are ValueErrors
            raise StoreError(f"the study in {folder} is damaged: {label}: {error}", HINT) from error
        tuned.append(Tuned(method.name, method.parse(one.given), method.parse(one.options), study))
    methods = request.methods or tuple(found.methods)
    names = {name.partition("[")[0] for name in methods}
    if "all" not in names and not names & {one.method for one in tuned}:
        raise UsageError(
            f"the study {found.name!r} has tuned {joined(list(found.methods))}, not {joined(list(methods))}"
        )
    return replace(request, **given, methods=methods, tuned=tuple(tuned))
