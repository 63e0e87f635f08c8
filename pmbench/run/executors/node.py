"""What runs on a node of a cluster: whether the node fits the run, and the tasks that it is given."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ...errors import StoreError, as_answer
from ...files import file_digest
from ...isolation import landlock
from ...isolation.forkserver import Child, Forkserver
from ..worker import Report, Resources, Task, perform
from .child import Job, WorkerDied, do, make_server


@dataclass(frozen=True)
class Expected:
    """What every node of a run has to have.

    `probe` is a file in the store that has its name as text; `manifests` are those of prepared data with
    their digests.
    """

    probe: Path
    manifests: Mapping[Path, str]
    software: Mapping[str, str]


def software() -> dict[str, str]:
    """Versions and places that have to be the same on all nodes."""
    return {
        "Python": platform.python_version(),
        "Python environment": sys.prefix,
        "folder of pmbench": str(Path(__file__).parents[2]),
        **{name: importlib.metadata.version(name) for name in ("pmbench", "torch")},
    }


def problems(expected: Expected) -> list[str]:
    """What is wrong with this node; empty if it fits the run."""
    mine = software()
    found = [f"{n} is {mine[n]}, not {value}" for n, value in expected.software.items() if mine[n] != value]
    probe = expected.probe
    try:
        if probe.read_text(encoding="ascii") != probe.name:
            raise OSError("it holds something else")
    except (OSError, ValueError):
        found.append(f"it does not see the store {probe.parent}")
    for path, digest in expected.manifests.items():
        try:
            same = file_digest(path) == digest
        except OSError:
            same = False
        if not same:
            found.append(f"it does not see the prepared data {path.parent}, or has other data there")
    return found


def look(expected: Expected) -> dict[str, Any]:
    """Problems of this node, a file that it wrote beside the probe, and its version of Landlock."""
    found, written = problems(expected), expected.probe.with_name(f".ray-{uuid.uuid4().hex}.tmp")
    if not found:
        try:
            written.touch()
        except OSError as error:
            found.append(f"it cannot write to the store {written.parent}: {error.strerror}")
    return {"problems": found, "written": str(written), "landlock": landlock.version()}


_servers: dict[int, Forkserver] = {}
"""Fork servers of this process by the threads of a stage."""


def carry_out(job: Job, expected: Expected) -> Iterator[dict[str, Any]]:
    """Does a job under the lock of its stage. Yields `{"epochs": ..., "values": ...}` while it trains.

    The last object is `{"result": fields of TaskResult}`, `{"error": ...}` or `{"died": reason}`. Ends this
    process if its parent, the raylet, has ended: Ray lets a task go on then, under the lock of its stage.
    """
    raylet = os.getppid()
    if found := problems(expected):
        yield {"error": as_answer(StoreError(f"a node that came later does not fit: {found[0]}"))}
        return
    told: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_perform, args=(job, told), daemon=True).start()
    message: dict[str, Any] = {"epochs": ()}
    while "epochs" in message:
        if os.getppid() != raylet:
            os._exit(1)  # its lock and its child processes end with it
        with suppress(Empty):
            message = told.get(timeout=1)
            yield message


def _perform(job: Job, told: SimpleQueue[dict[str, Any]]) -> None:
    children: set[Child] = set()

    def work(task: Task, resources: Resources, report: Report) -> float:
        if resources.threads not in _servers:
            _servers[resources.threads] = make_server(resources)
        return do(job, _servers[resources.threads], children, report)

    def report(key: str, done: int, total: int, values: Mapping[str, Any] | None) -> None:
        told.put({"epochs": (done, total), "values": values})

    try:
        told.put({"result": vars(perform(job.task, job.resources, report, work))})
    except WorkerDied as died:
        told.put({"died": str(died)})
    except BaseException as error:
        told.put({"error": as_answer(error)})
