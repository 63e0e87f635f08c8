"""The finished trials of a study, in optuna's journal: one study of optuna for each method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ...errors import StoreError
from ...files import explain
from .sampling import Spaces, distributions, params_of

Direction = Literal["maximize", "minimize"]
if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Trial:
    """A finished trial. `number` is 0 for the default values.

    `values`: those of the searched options. `scores`: on validation data, in percent, by seed; empty if the
    trial failed, for the reason `failure`. `seconds`: training time of all its stages, as if none had been
    reused. `stages`: keys, for each seed, the last stage at the end.
    """

    method: str
    number: int
    values: dict[str, Any]
    scores: tuple[float, ...] = ()
    seconds: float = 0.0
    stages: tuple[tuple[str, ...], ...] = ()
    failure: str = ""

    @property
    def score(self) -> float | None:
        """Mean over seeds; None if the trial failed."""
        return fmean(self.scores) if self.scores else None


class Journal:
    """Trials are appended one by one, each in one write; one that was cut off by a kill is run again."""

    def __init__(self, path: Path, spaces: Mapping[str, Spaces], *, higher_is_better: bool) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        self.path, self.spaces = path, spaces
        _repair(path)
        lock = JournalFileOpenLock(str(path.with_name(".journal")))
        try:
            storage = JournalStorage(JournalFileBackend(str(path), lock))
            known = {study.study_name for study in storage.get_all_studies()}
            self._studies: dict[str, Study] = {}
            for method in spaces:
                if method in known:
                    self._studies[method] = optuna.load_study(study_name=method, storage=storage)
                else:
                    direction: Direction = "maximize" if higher_is_better else "minimize"
                    self._studies[method] = optuna.create_study(
                        storage=storage, study_name=method, direction=direction
                    )
        except OSError as error:
            raise explain(error, path) from error
        except Exception as error:
            raise _damaged(path, f"optuna cannot read it: {error}") from error
        for method in spaces:
            self.trials(method)  # raises for a damaged one

    def trials(self, method: str) -> dict[int, Trial]:
        """The finished trials of a method by number."""
        return {trial.number: trial for trial, _ in self._read(method)}

    def frozen(self, method: str) -> list[FrozenTrial]:
        """The finished trials as optuna has them, in the order of their numbers."""
        return [frozen for _, frozen in sorted(self._read(method), key=lambda both: both[0].number)]

    def add(self, trial: Trial) -> None:
        from optuna.trial import TrialState, create_trial

        spaces = self.spaces[trial.method]
        params = params_of(spaces, trial.values)
        found = distributions(spaces)
        try:
            self._studies[trial.method].add_trial(
                create_trial(
                    state=TrialState.FAIL if trial.score is None else TrialState.COMPLETE,
                    value=trial.score,
                    params=params,
                    distributions={name: found[name] for name in params},
                    user_attrs={"trial": msgspec.to_builtins(asdict(trial))},
                )
            )
        except OSError as error:
            raise explain(error, self.path) from error

    def _read(self, method: str) -> list[tuple[Trial, FrozenTrial]]:
        found = []
        for frozen in self._studies[method].get_trials(deepcopy=False):
            try:
                trial = msgspec.convert(frozen.user_attrs["trial"], Trial)
            except (KeyError, msgspec.ValidationError) as error:
                raise _damaged(self.path, f"trial {frozen.number} of {method}: {error}") from error
            found.append((trial, frozen))
        if len({trial.number for trial, _ in found}) < len(found):
            raise _damaged(self.path, f"{method} has a trial twice")
        return found


def _repair(path: Path) -> None:
    """Cuts off a last line that was not written to its end; raises StoreError for other damage."""
    try:
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with path.open("r+b") as file:
                file.truncate(len(whole))
    except OSError as error:
        raise explain(error, path) from error
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise _damaged(path, f"line {number} is no JSON") from error


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path} is damaged: {what}",
        "remove the folder of the study and give its command again: stages that are stored are not trained "
        "again",
    )
