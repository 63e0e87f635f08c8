"""Runs of the command in processes that tests kill, and what these leave behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Workspace:
    """A store, prepared data and results below one folder, and the processes started on them."""

    root: Path
    data: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def start(self, *arguments: str, **extra: Any) -> subprocess.Popen[str]:
        """`pmbench run ...` in a session of its own, so that all of its processes can be killed as one."""
        command = [
            sys.executable,
            "-m",
            "pmbench",
            "run",
            *arguments,
            "--store",
            str(self.store),
            "--data",
            str(self.data),
            "--out",
            str(self.out),
            "--json",
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **extra,
        )
        self.started.append(process)
        return process

    def finish(self, *arguments: str) -> dict[str, Any]:
        """Runs to the end and returns what `--json` printed; fails with the error output otherwise."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
        return json.loads(stdout)

    def finished_stages(self) -> dict[str, str]:
        """Key -> SHA-256 of the weights."""
        return {
            path.parent.name: hashlib.sha256((path.parent / "weights.safetensors").read_bytes()).hexdigest()
            for path in self.store.glob("??/[0-9a-f]*/stage.json")
        }

    def predictions(self) -> dict[str, str]:
        found = sorted((self.out / "predictions").rglob("*.parquet"))
        return {str(p.relative_to(self.out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def kill_group(process: subprocess.Popen[str]) -> None:
    """kill -9 for the command and its servers; returns when all processes that they started are gone."""
    members = process_tree(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert wait_for(lambda: not alive(members), 10), "processes outlive the command that started them"


def process_tree(root: int) -> list[int]:
    """A process and its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def is_server(pid: int) -> bool:
    """Whether a process is the server of those that train."""
    return b"pmbench.run.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(pid)
    return found


def wait_for(condition: Callable[[], Any], timeout: float, pause: float = 0.005) -> Any:
    """The condition's first true value; None after `timeout` seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)
    return None


def checkpoints(workspace: Workspace) -> list[Path]:
    return list(workspace.store.glob("??/*.work/checkpoint"))
