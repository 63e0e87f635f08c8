"""The values of trials, by optuna's samplers. Equal arguments give equal values: a study can be resumed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...contracts.search import Choices, Space
from ...errors import UsageError
from ...seeding import derive
from .request import Sampler

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Spaces = Mapping[str, Space]
QUASI_RANDOM = 9
"""Quasi-random trials, after the one with default values, before a Parzen estimator chooses."""
DIGITS = 3
"""Significant digits of a value from an interval, so that it can be read and given again."""


def require_optuna() -> None:
    """Raises UsageError if optuna is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "pmbench tune needs optuna, which is not installed",
            "install it with: pip install 'pmbench[tune]'",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def batches(sampler: Sampler, trials: int) -> list[range]:
    """Numbers of the trials after the default's that can be chosen at once, in order."""
    first = trials if sampler == "qmc" else min(trials, 1 + QUASI_RANDOM)
    return [range(first), *(range(number, number + 1) for number in range(first, trials))]


def quasi_random(spaces: Spaces, count: int) -> list[dict[str, Any]]:
    """The first `count` points of a scrambled Sobol sequence; longer sequences begin with shorter ones."""
    import optuna
    from optuna.trial import create_trial

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=_seed("qmc"))
    study, found = _empty(sampler), distributions(spaces)
    # the sampler takes the space from the first trial, and chooses all those after it
    lowest = {name: one.low for name, one in found.items()}  # type: ignore[attr-defined]
    study.add_trial(create_trial(params=lowest, distributions=dict(found), value=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy: the points are balanced for powers of two
        return [values_of(spaces, study.ask(dict(found)).params) for _ in range(count)]


def parzen(
    spaces: Spaces, finished: Sequence[FrozenTrial], number: int, *, higher_is_better: bool
) -> dict[str, Any]:
    """Values of the trial `number`, after those that have finished, in the order of their numbers."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=_seed("tpe", number), n_startup_trials=0)
    study = _empty(sampler, higher_is_better)
    study.add_trials(finished)
    return values_of(spaces, study.ask(dict(distributions(spaces))).params)


def distributions(spaces: Spaces) -> dict[str, BaseDistribution]:
    """Spaces as optuna has them; choices are places in their order."""
    from optuna.distributions import FloatDistribution, IntDistribution

    def of(space: Space) -> BaseDistribution:
        if isinstance(space, Choices):
            return IntDistribution(0, len(space.values) - 1)
        if space.whole:
            return IntDistribution(int(space.low), int(space.high), log=space.log)
        return FloatDistribution(space.low, space.high, log=space.log)

    return {name: of(space) for name, space in spaces.items()}


def values_of(spaces: Spaces, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values of options from parameters of optuna."""

    def of(space: Space, value: Any) -> Any:
        if isinstance(space, Choices):
            return space.values[value]
        if space.whole:
            return int(value)
        return min(max(float(f"{value:.{DIGITS}g}"), space.low), space.high)

    return {name: of(space, params[name]) for name, space in spaces.items()}


def params_of(spaces: Spaces, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of optuna from values of options, without those that are in no space: defaults may be."""
    found: dict[str, Any] = {}
    for name, space in spaces.items():
        value = values[name]
        if isinstance(space, Choices):
            if value in space.values:
                found[name] = space.values.index(value)
        elif value is not None and space.low <= value <= space.high:
            found[name] = value
    return found


def _empty(sampler: BaseSampler, higher_is_better: bool = True) -> Any:
    import optuna

    return optuna.create_study(sampler=sampler, direction="maximize" if higher_is_better else "minimize")


def _seed(*purpose: object) -> int:
    return derive(0, "tune", *purpose) % 2**32
