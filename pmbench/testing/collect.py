"""Contract checks of installed plugins, by name."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.options import split_variant
from ..errors import UnknownName
from ..plugins import Registry, load_plugins
from .outcome import Check, Suite

if TYPE_CHECKING:
    from ..contracts.backbone import Backbone
    from ..contracts.dataset import Dataset
    from ..contracts.method import Method
    from .trial import Trial

_KINDS = {"method": "method", "dataset": "data set", "backbone": "backbone"}


def contract_tests(name: str) -> Callable[..., None]:
    """A pytest function with all checks of the method, data set or backbone of that name.

    >>> test_contract = contract_tests("kd")  # doctest: +SKIP
    """
    import pytest

    @pytest.mark.parametrize(("suite", "check"), [pytest.param(s, c, id=c.name) for s, c in checks_for(name)])
    def test_contract(suite: Suite, check: Check) -> None:
        report(suite, check)

    return test_contract


def report(suite: Suite, check: Check) -> None:
    """Reports the result of a check to pytest."""
    import pytest

    result = suite.result(check)
    if result.outcome == "failed":
        pytest.fail(f"{suite.kind} {suite.name!r}, {check.name}: {result.reason}", pytrace=False)
    if result.outcome == "skipped":
        pytest.skip(result.reason)
    if result.outcome == "allowed":
        pytest.xfail(result.reason)


def checks_for(name: str) -> list[tuple[Suite, Check]]:
    """All checks of plugins named `name`, each with its suite."""
    return [(suite, check) for suite in suites_for(name) for check in suite.checks]


def suites_for(name: str, *, dataset: str = "", data: Path | None = None) -> list[Suite]:
    """One suite for each method, data set or backbone named `name`; raises UnknownName if there is none.

    `name` may be a variant of a method: `kd[teacher=privileged]`.
    With `dataset`, a method is checked on a few samples of that data set instead of synthetic ones. `data` is
    the folder of prepared data sets; without it, embedded ones are prepared in a temporary folder.
    """
    found = registry()
    if name.endswith("]"):
        plain, options = split_variant(name)
        method = found.method(plain)
        variant = method.but(**method.parse(options))
        return [dataclasses.replace(method_suite(variant, dataset=dataset, data=data), name=name)]
    kinds = [kind for kind in _KINDS if found.has(kind, name)]
    if not kinds:
        known = [n for kind in _KINDS for n in found.names(kind)]
        hint = "`pmbench list` shows what is installed; install the distribution that offers it with pip"
        if found.broken:
            hint += f"; not loaded: {', '.join(f'{b.distribution} ({b.error})' for b in found.broken)}"
        raise UnknownName("method, data set or backbone", name, known, hint)
    return [suite_of(kind, name, dataset=dataset, data=data) for kind in kinds]


def suite_of(kind: str, name: str, *, dataset: str = "", data: Path | None = None) -> Suite:
    """The suite of one plugin; raises PluginError if two distributions offer it."""
    found = registry()
    value = found.offer(kind, name).value
    if kind == "method":
        return method_suite(value, dataset=dataset, data=data)
    checks = _of_dataset(value, found, data) if kind == "dataset" else _of_backbone(value, found)
    return Suite(_KINDS[kind], name, checks)


def method_suite(method: Method, *, dataset: str = "", data: Path | None = None) -> Suite:
    """The suite of a method, installed or not."""
    return Suite("method", method.name, _of_method(method, registry(), dataset, data), method.exceptions)


def usual_case(method: Method) -> str:
    """The first synthetic case that the method supports, on which its checks run by default, or ""."""
    from .miniature import CASES

    for case in CASES:
        trial = _trial(method, registry(), case, False, None)
        if not trial.supported():
            return case
    return ""


@lru_cache(maxsize=1)
def registry() -> Registry:
    return load_plugins()


def _folder() -> Path:
    """A temporary folder that is removed at the end of this process."""
    made = tempfile.TemporaryDirectory(prefix="pmbench-check-")
    _folders.append(made)
    return Path(made.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _of_method(method: Method, found: Registry, dataset: str, data: Path | None) -> list[Check]:
    from . import method_checks, sealed_checks
    from .miniature import CASES

    cited = method_checks.check_paper_is_cited
    checks = [Check(_rule(cited), partial(cited, method))]
    for case in [dataset] if dataset else CASES:
        trial = _Late(partial(_trial, method, found, case, bool(dataset), data))
        for function in (*method_checks.CHECKS, *sealed_checks.CHECKS):
            checks.append(Check(_rule(function), trial.check(function), case))
    return checks


class _Late:
    """A trial created on first use; its checks are skipped if the setting is not supported."""

    def __init__(self, make: Callable[[], Trial]) -> None:
        self._make = functools.cache(make)

    def check(self, function: Callable[[Any], None]) -> Callable[[], None]:
        def run() -> None:
            from .outcome import Skipped
            from .trial import one_thread

            trial = self._make()
            if reason := trial.supported():
                raise Skipped(reason)
            with one_thread():
                function(trial)

        return run


def _trial(method: Method, found: Registry, case: str, real: bool, data: Path | None) -> Trial:
    from .miniature import FEW, sampled, synthetic
    from .trial import Trial

    if real:
        from ..data.prepare import find_or_prepare

        small = sampled(find_or_prepare(found.dataset(case), data or _folder()))
    else:
        small = synthetic(case)
    trial = Trial(method, small, found, _folder())
    if not trial.supported():
        return trial
    others = [Trial(method, small, found, trial.folder, f"few-{FEW}")]
    if not real:
        others.append(Trial(method, synthetic(case, beside=True), found, trial.folder))
    return next((other for other in others if not other.supported()), trial)


def _of_dataset(dataset: Dataset, found: Registry, data: Path | None) -> list[Check]:
    from . import dataset_checks

    if "/" in dataset.name and data is not None:
        from ..data.prepared import open_prepared

        dataset = open_prepared(dataset, data).dataset
    sample = dataset_checks.Sample(dataset, found, _folder(), data)
    return [Check(_rule(function), partial(function, sample)) for function in dataset_checks.CHECKS]


def _of_backbone(backbone: Backbone, found: Registry) -> list[Check]:
    from . import backbone_checks

    kinds = [found.offer("modality_kind", name).value for name in found.names("modality_kind")]
    return [
        Check(_rule(function), partial(function, specimen), case)
        for case, specimen in backbone_checks.specimens(backbone, kinds)
        for function in backbone_checks.CHECKS
    ]


def _rule(function: Callable[..., None]) -> str:
    return function.__name__.removeprefix("check_")
