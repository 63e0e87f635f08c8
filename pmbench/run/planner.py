"""Asks methods for their stages, the only part of planning that runs their code."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..contracts.dataset import Dataset
from ..contracts.method import Method
from ..contracts.recipe import Recipe
from ..contracts.setting import Setting
from ..data.access import only
from ..errors import PluginError, PmbenchError, Unsupported, UsageError, as_answer, from_answer
from ..plugins import CORE, Registry
from ..plugins.excerpt import excerpt, loaded
from ..processes import cores
from ..store.documents import StageDocument, write_stages
from ..store.keys import CellSpec
from ..tracebacks import error_text, printable, trace_of

SECONDS_FOR_A_CELL = 0.5


@dataclass(frozen=True)
class Question:
    """Which stages has a method, with these options, in the setting of a cell?"""

    method: str
    options: dict[str, Any]
    spec: CellSpec


@dataclass(frozen=True)
class Stages:
    """The stages of a method in a setting, the last one at the end, or why there are none.

    `skip`: the method does not support the setting. `failure`: its plan failed. `error`: the user's options
    are wrong, as JSON. `trace` is the traceback of a failure.
    """

    stages: tuple[StageDocument, ...] = ()
    skip: str = ""
    failure: str = ""
    error: dict[str, Any] | None = None
    trace: str = ""


def stages_of(
    questions: Sequence[Question], registry: Registry, datasets: Mapping[str, Dataset], hidden: Sequence[Path]
) -> list[Stages]:
    """An answer to each question; raises the UsageError of wrong options.

    With a host, each distribution plans in a process of its own, and what it answers is checked here.
    `hidden` are folders of prepared data, which a plan in this process may not open.
    """
    found: dict[int, Stages] = {}
    by_owner: dict[str, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        by_owner[registry.offer("method", question.method).distribution].append(place)
    for owner in [o for o in by_owner if registry.host is None or o == CORE]:
        for place in by_owner.pop(owner):
            question = questions[place]
            with only(f"the plan of {question.method!r}", hidden, []):
                found[place] = _stages(question, registry, datasets)

    def asked(owner: str) -> list[Stages]:
        return _asked(owner, [questions[place] for place in by_owner[owner]], registry, datasets)

    with ThreadPoolExecutor(cores()) as pool:
        for places, stages in zip(by_owner.values(), pool.map(asked, by_owner), strict=True):
            found |= zip(places, stages, strict=True)
    for one in found.values():
        if one.error is not None:
            raise from_answer(one.error)
    return [found[place] for place in range(len(questions))]


def answers(registry: Registry, plugins: Mapping[str, Any], questions: list[Any]) -> list[Any]:
    """The answers of one distribution, in its process, as JSON."""
    whole = loaded(plugins, registry.distributions)
    datasets = {name: whole.dataset(name) for name in {q["spec"]["dataset"] for q in questions}}
    return [
        msgspec.to_builtins(_stages(msgspec.convert(question, Question), whole, datasets))
        for question in questions
    ]


def _asked(
    owner: str, questions: Sequence[Question], registry: Registry, datasets: Mapping[str, Dataset]
) -> list[Stages]:
    used = {q.spec.dataset for q in questions}
    backbones = sorted({name for q in questions for _, name in q.spec.backbones})
    metrics = sorted({metric for name in used for metric in datasets[name].metrics})
    options = {
        "plugins": excerpt(registry, {name: datasets[name] for name in used}, backbones, metrics),
        "questions": [dataclasses.asdict(question) for question in questions],
    }
    assert registry.host is not None
    try:
        found = registry.host.call(
            "pmbench.run.planner:answers",
            [owner],
            options,
            limit=registry.host.limit + SECONDS_FOR_A_CELL * len(questions),
        )
        answered = msgspec.convert(found, list[Stages])
        if len(answered) != len(questions):
            raise PluginError(f"{owner} planned {len(answered)} of {len(questions)} cells")
        return [dataclasses.replace(_checked(one), trace=printable(one.trace)) for one in answered]
    except (PluginError, msgspec.ValidationError) as error:
        return [failed(question.method, error) for question in questions]


def _checked(found: Stages) -> Stages:
    """Raises PluginError for stages whose fields refer to none before them."""
    for place, stage in enumerate(found.stages):
        if not all(isinstance(parent, int) and 0 <= parent < place for parent in stage.parents):
            raise PluginError(f"stage {stage.kind} names a parent that is not there")
    if not (found.stages or found.skip or found.failure or found.error):
        raise PluginError("neither stages nor a reason were given")
    return found


def _stages(question: Question, registry: Registry, datasets: Mapping[str, Dataset]) -> Stages:
    method = registry.method(question.method)
    setting = question.spec.resolve(datasets[question.spec.dataset], {}, registry).setting
    return stages_in(method, setting, question.options, question.spec.recipe)


def stages_in(method: Method, setting: Setting, options: Mapping[str, Any], recipe: Recipe) -> Stages:
    """Calls the plan of a method, in this process."""
    try:
        return Stages(tuple(write_stages(method.last_stage(setting, **options), recipe)))
    except Unsupported as error:
        return Stages(skip=error.message)
    except UsageError as error:
        return Stages(error=as_answer(error))
    except PmbenchError as error:
        return failed(method.name, error)
    except (Exception, SystemExit) as error:
        return Stages(failure=f"plan of {method.name} raised {error_text(error)}", trace=trace_of(error))


def failed(method: str, error: Exception) -> Stages:
    """What a plan that is wrong gives."""
    return Stages(failure=f"plan of {method}: {error}", trace=trace_of(error))
