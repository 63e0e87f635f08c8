"""Carries out a study: trials of all methods, their confirmation, and the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec

from ...errors import OTHER_CHOICE, NothingToRun, StoreError, UsageError
from ...files import check_writable, explain
from ...plugins import Registry
from ...report.text import option_text
from ...store.keys import digest
from ...store.locks import lock_of
from ..coordinator import Watcher
from ..plan import PlannedCell
from ..worker import Resources
from .files import JOURNAL, SUMMARY, Chosen, Confirmation, TunedFile, open_study, write_ledger, write_tuned
from .journal import Journal, Trial
from .request import TuningRequest
from .sampling import batches, parzen, quasi_random, require_optuna
from .training import Trainer
from .trials import Cells, Tunable, Values, check_validation, only_protocol, tunables


@dataclass
class Tuner:
    """One study. `execute()` may be called again after any interruption."""

    request: TuningRequest
    registry: Registry
    resources: Resources
    out: Path
    workers: int
    watcher: Watcher
    make_pool: Callable[..., Any]
    _quasi: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def execute(self) -> TunedFile:
        """Runs the trials that have not finished, confirms the best ones and writes the files of the study.

        Raises UsageError for a request that cannot be, or for a folder with a study of another one,
        StoreError for damaged files, NothingToRun if no method can be tuned.
        """
        require_optuna()
        methods, skipped = tunables(self.request, self.registry)
        protocol = only_protocol(self.request, self.registry)
        check_writable(self.out)
        with _alone(self.out):
            self.trainer = Trainer(self.registry, self.resources, self.workers, self.watcher, self.make_pool)
            cells = (
                self._cells([(one, one.defaults) for one in methods], self.request.seeds) if methods else None
            )
            for one in methods:
                first = cells.of(one, one.defaults)[0] if cells else None
                if first and (reason := first.skip or first.failure):
                    skipped[one.label] = reason
            self.methods = [one for one in methods if one.label not in skipped]
            if not self.methods or cells is None:
                by_reason = {why: [n for n, w in skipped.items() if w == why] for why in skipped.values()}
                raise NothingToRun(
                    "no method can be tuned: "
                    + "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items()),
                    f"{OTHER_CHOICE}; `pmbench show METHOD` shows what is searched",
                )
            prepared = cells.plan.prepared[self.request.dataset]
            check_validation(prepared, protocol, (*self.request.seeds, *self.request.confirming))
            metric = cells.plan.cells[0].context.metrics[0]
            # as in training: validation data has no gallery
            self.higher = metric.needs == "features" or metric.higher_is_better
            searched = {one.label: {n: one.method.search[n] for n in one.spaces} for one in self.methods}
            facts = {"protocol": protocol.name, "spaces": searched, "data": digest(prepared.fingerprint)}
            name = open_study(self.out, self.request, facts)
            spaces = {one.label: one.spaces for one in self.methods}
            self.journal = Journal(self.out / JOURNAL, spaces, higher_is_better=self.higher)
            with self.trainer:
                for numbers in batches(self.request.sampler, self.request.trials):
                    self._run(numbers)
                best = {one.label: self._best(one) for one in self.methods}
                again = self._confirm(best)
            return self._finish(name, protocol.name, metric.title, best, again, skipped)

    # --- trials ---------------------------------------------------------------------------------------------

    def _cells(self, wanted: Sequence[tuple[Tunable, Values]], seeds: tuple[int, ...]) -> Cells:
        return Cells(self.request, self.registry, self.resources.data, self.trainer.store, wanted, seeds)

    def _values(self, one: Tunable, number: int) -> dict[str, Any]:
        """The values of a trial. Those of all trials before it are known where they count."""
        if number == 0:
            return one.defaults
        if one.label not in self._quasi:
            count = len(batches(self.request.sampler, self.request.trials)[0]) - 1
            self._quasi[one.label] = quasi_random(one.spaces, count)
        if number <= len(self._quasi[one.label]):
            return self._quasi[one.label][number - 1]
        before = [f for f in self.journal.frozen(one.label) if f.user_attrs["trial"]["number"] < number]
        return parzen(one.spaces, before, number, higher_is_better=self.higher)

    def _run(self, numbers: range) -> None:
        """Runs the trials of these numbers of all methods, whose values are known now."""
        wanted = [(one, number, self._values(one, number)) for number in numbers for one in self.methods]
        cells = self._cells([(one, values) for one, _, values in wanted], self.request.seeds)
        waiting: list[tuple[Tunable, int, dict[str, Any]]] = []
        for one, number, values in wanted:
            kept = self.journal.trials(one.label).get(number)
            if kept is None:
                waiting.append((one, number, values))
            elif _plain(kept.values) != _plain(values) or kept.stages != cells.stages(one, values):
                raise UsageError(
                    f"{self.out}: code or data has changed since trial {number} of {one.label}, so the study "
                    "cannot go on",
                    "give another --out",
                )

        def after(failed: Mapping[str, str]) -> None:
            ended = []
            for entry in waiting:
                one, number, values = entry
                found = self._outcome(cells, cells.of(one, values), failed)
                if found is not None:
                    self.journal.add(
                        Trial(one.label, number, values, stages=cells.stages(one, values), **found)
                    )
                    ended.append(entry)
            if ended:
                waiting[:] = [entry for entry in waiting if entry not in ended]
                self._write_ledger([])

        self.trainer.train(
            cells.plan, [cell for one, _, values in waiting for cell in cells.of(one, values)], after
        )

    def _outcome(
        self, cells: Cells, of: Sequence[PlannedCell], failed: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Scores and seconds of cells, or why they failed; None as long as one of them trains."""
        for cell in of:
            if reason := cell.skip or cell.failure or failed.get(cell.key):
                return {"failure": reason}
        if not all(cells.plan.nodes[cell.key].stored for cell in of):
            return None
        store = self.trainer.store
        scores = [store.stage(cell.key)["selected"]["value"] for cell in of]
        if None in scores:
            return {"failure": "what its last stage delivers has no score on validation data"}
        costs = [store.stage(key)["cost"] for key in dict.fromkeys(key for cell in of for key in cell.keys)]
        seconds = sum(max(cost["seconds"], cost.get("process_seconds", 0.0)) for cost in costs)
        return {"scores": tuple(map(float, scores)), "seconds": round(seconds, 3)}

    def _trials(self, one: Tunable) -> list[Trial]:
        return [trial for _, trial in sorted(self.journal.trials(one.label).items())]

    def _best(self, one: Tunable) -> Trial | None:
        """The trial with the best score, the first of equal ones; None if all have failed."""
        sign = -1 if self.higher else 1
        known = [trial for trial in self._trials(one) if trial.score is not None]
        return min(known, key=lambda t: (sign * (t.score or 0.0), t.number), default=None)

    # --- the outcome ----------------------------------------------------------------------------------------

    def _confirm(self, best: Mapping[str, Trial | None]) -> list[Confirmation]:
        """Trains default and best values under seeds that chose nothing."""
        wanted = []
        for one in self.methods:
            trial = best[one.label]
            if trial is not None:
                wanted.append((one, 0, one.defaults))
                if trial.number:
                    wanted.append((one, trial.number, self._values(one, trial.number)))
        if not wanted:
            return []
        seeds = self.request.confirming
        cells = self._cells([(one, values) for one, _, values in wanted], seeds)
        of = [cell for one, _, values in wanted for cell in cells.of(one, values)]
        failed = self.trainer.train(cells.plan, of, lambda failed: None)
        found = []
        for one, number, values in wanted:
            outcome = self._outcome(cells, cells.of(one, values), failed)
            assert outcome is not None, "all stages have ended"
            scores, failure = outcome.get("scores", ()), outcome.get("failure", "")
            found.append(Confirmation(one.label, number, seeds, scores, cells.stages(one, values), failure))
        return found

    def _write_ledger(self, again: Sequence[Confirmation]) -> str:
        trials = [trial for one in self.methods for trial in self._trials(one)]
        return write_ledger(self.out, self.request.seeds, trials, again)

    def _finish(
        self,
        name: str,
        protocol: str,
        metric: str,
        best: Mapping[str, Trial | None],
        again: Sequence[Confirmation],
        skipped: dict[str, str],
    ) -> TunedFile:
        from .summary import summary

        chosen = {}
        for one in self.methods:
            trial = best[one.label]
            if trial is None:
                skipped[one.label] = f"every trial failed: {self._trials(one)[0].failure}"
                continue
            confirmed = {a.number: fmean(a.scores) for a in again if a.method == one.label and a.scores}
            chosen[one.label] = Chosen(
                method=one.method.name,
                given=_texts(one.given),
                options=_texts(one.options(self._values(one, trial.number))),
                trial=trial.number,
                best=tuple(best_so_far([t.score for t in self._trials(one)], self.higher)),
                confirmed=(confirmed.get(0), confirmed.get(trial.number)),
            )
        request = self.request
        found = TunedFile(
            name=name,
            dataset=request.dataset,
            protocol=protocol,
            backbone=request.backbone,
            recipe=request.recipe,
            weights=request.weights,
            metric=metric,
            trials=request.trials,
            sampler=request.sampler,
            seeds=request.seeds,
            confirming=request.confirming,
            ledger=self._write_ledger(again),
            methods=chosen,
            skipped=skipped,
        )
        trials = {one.label: self._trials(one) for one in self.methods}
        (self.out / SUMMARY).write_text(summary(found, trials, again), encoding="utf-8")
        write_tuned(self.out, found)
        if not chosen:
            raise NothingToRun(
                f"no method could be tuned: {'; '.join(f'{n}: {why}' for n, why in skipped.items())}",
                OTHER_CHOICE,
            )
        return found


def best_so_far(scores: Sequence[float | None], higher_is_better: bool) -> Iterator[float | None]:
    """The best score of the first 1, 2, ... trials; None before the first that has one."""
    best: float | None = None
    for score in scores:
        if score is not None and (best is None or (score > best) == higher_is_better):
            best = score
        yield best


def _texts(options: Values) -> dict[str, str]:
    return {name: option_text(value) for name, value in sorted(options.items())}


def _plain(values: Values) -> str:
    return json.dumps(msgspec.to_builtins(dict(values)), sort_keys=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds the lock of a study; raises StoreError if another process does."""
    lock = lock_of(out / ".study.lock", out)
    try:
        mine = lock.acquire()
    except OSError as error:
        raise explain(error, out) from error
    if not mine:
        raise StoreError(f"another pmbench tune works in {out}", "wait for its end, or give another --out")
    try:
        yield
    finally:
        lock.release()
