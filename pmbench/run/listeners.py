"""Calls the hooks of a run: each listening distribution in a process of its own, which nobody waits for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec

from ..contracts.event import Epoch
from ..errors import PluginError, as_answer, from_answer
from ..isolation.forkserver import Answer, Child, ChildError
from ..plugins import CORE, LISTENING, Host, Registry
from ..report.record import Record
from ..tracebacks import error_text, trace_of

EPOCH, RECORD = LISTENING


class Listeners:
    """The listening processes of one run, started when there is something to tell them.

    What is told waits in a queue. A process that dies, or does not end a call in `Host.limit` seconds (three
    times that for the first call, which imports libraries), is told nothing more; one whose hook raises is
    told what comes next. The registry notes each error once.
    """

    def __init__(self, registry: Registry, out: Path) -> None:
        self._registry, self._out = registry, out
        self._running: dict[str, _Listener] = {}
        self._noted: set[tuple[str, str, str]] = set()

    def epoch(self, event: Epoch) -> None:
        self._tell(EPOCH, asdict(event))

    def record(self, record: Record) -> None:
        self._tell(RECORD, record.model_dump(mode="json"))

    def close(self) -> None:
        """Waits until everything has been told, and ends the processes."""
        for listener in self._running.values():
            listener.queue.put(None)
        for listener in self._running.values():
            listener.thread.join()

    def kill(self) -> None:
        for listener in self._running.values():
            listener.kill()

    def _tell(self, hook: str, value: Mapping[str, Any]) -> None:
        host = self._registry.host
        for distribution in [name for name, hooks in self._registry.hooks.items() if hook in hooks]:
            if host is None or distribution == CORE:
                try:
                    heard(self._registry, distribution, hook, value)
                except PluginError as error:
                    self._note(distribution, hook, error)
                continue
            if distribution not in self._running:
                self._running[distribution] = _Listener(self, host, distribution, self._out)
            self._running[distribution].queue.put((hook, value))

    def _note(self, distribution: str, hook: str, error: Exception) -> None:
        if (what := (distribution, hook, str(error))) not in self._noted:
            self._noted.add(what)
            self._registry.note_broken(distribution, hook, str(error), trace_of(error))


class _Listener:
    """The process of one distribution, and the thread that talks to it."""

    def __init__(self, listeners: Listeners, host: Host, distribution: str, out: Path) -> None:
        self.queue: SimpleQueue[tuple[str, Mapping[str, Any]] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"pmbench-{distribution}")
        self._listeners, self._host, self._distribution = listeners, host, distribution
        self._folder = (out / "listeners" / distribution).resolve()
        self._child: Child | None = None
        self.thread.start()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
        self.queue.put(None)

    def _run(self) -> None:
        hook = RECORD
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._host.process(
                "pmbench.run.listeners:listen",
                [self._distribution],
                {"distribution": self._distribution},
                write=[self._folder],
                folder=self._folder,
                network=True,
                talks=True,
                environment=own_variables(self._distribution),
            ) as child:
                self._child = child
                answers, limit = child.answers(), 3 * self._host.limit
                while (told := self.queue.get()) is not None:
                    hook, value = told
                    child.limit(limit)
                    child.send({"hook": hook, "value": value})
                    self._answered(hook, child, answers)
                    child.limit(None)
                    limit = self._host.limit
                child.end()
                child.limit(self._host.limit)
                child.wait()
        except (PluginError, ChildError, OSError) as error:
            self._listeners._note(self._distribution, hook, error)

    def _answered(self, hook: str, child: Child, answers: Iterator[Mapping[str, Any]]) -> None:
        """Waits for the end of a call; raises PluginError if the process has ended, or could not start."""
        answer = next(answers, None)
        if answer is None:
            code = child.wait().code
            reason = "was killed, as the call took too long" if child.timed_out else f"ended with code {code}"
            raise PluginError(
                f"the process of {self._distribution} {reason}; it is told nothing more in this run"
            )
        if isinstance(answer.get("error"), dict):
            raise from_answer(answer["error"])
        if isinstance(answer.get("raised"), dict):
            self._listeners._note(self._distribution, hook, from_answer(answer["raised"]))


def own_variables(distribution: str) -> dict[str, str]:
    """Environment variables that start with the name of a distribution: `MLFLOW_` for `pmbench-mlflow`."""
    prefix = distribution.removeprefix("pmbench-").upper().replace("-", "_").replace(".", "_") + "_"
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


def listen(registry: Registry, distribution: str, answer: Answer) -> None:
    """Calls the hooks of a distribution with what this process receives, and answers after each call."""
    for told in answer.received():
        try:
            heard(registry, distribution, told["hook"], told["value"])
            answer({"raised": None})
        except PluginError as error:
            answer({"raised": as_answer(error)})


def heard(registry: Registry, distribution: str, hook: str, value: Mapping[str, Any]) -> None:
    """Calls the implementations of a hook that this process has loaded; raises PluginError if one raises."""
    given = msgspec.convert(value, Epoch) if hook == EPOCH else Record.model_validate(value)
    for name, function in registry.listeners[distribution]:
        if name == hook:
            try:
                function(given)
            except Exception as error:
                raise PluginError(error_text(error)) from error
