"""Runs `pmbench` in processes forked from one that has imported it: a second faster than a new interpreter.

The server imports no plugin and no torch, has one thread, and runs no command itself. Runs without plugins of
their own share the server of their training processes.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from shared_server import SharedServer

import pmbench.run.coordinator
import pmbench.run.referee.case
from pmbench.run.worker import Resources

PRELOAD = (
    "pmbench.cli", "pmbench.run.coordinator", "pmbench.run.recording", "pmbench.evaluation.scoring",
    "pmbench.report.pages.folder", "pmbench.report.terminal", "pyarrow.parquet", "rich.table", "numpy",
)  # fmt: skip


class ForkedCli:
    """The server, started on first use."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __call__(
        self, args: list[str], cwd: Path, environment: Mapping[str, str], timeout_s: float
    ) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `pmbench ARGS` in `cwd`; raises TimeoutError after `timeout_s`."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdout", "stderr")]
            request = {
                "args": args,
                "cwd": str(cwd),
                "environment": dict(environment),
                "files": [*map(str, files)],
            }
            channel = self._ensure()
            channel.settimeout(timeout_s)
            channel.sendall(json.dumps(request).encode() + b"\n")
            try:
                code = int(channel.recv(100))
            except TimeoutError:
                self.close()
                raise
            return code, *(file.read_text(encoding="utf-8") for file in files)

    def _ensure(self) -> socket.socket:
        if self._channel is None:
            self._channel, far = socket.socketpair()
            kept = {
                n: v
                for n, v in os.environ.items()
                if not n.startswith(("PMBENCH", "XDG", "COV", "PYTHONPATH"))
            }
            with far:
                self._server = subprocess.Popen(
                    [sys.executable, "-c", f"import forked_cli; forked_cli.serve({far.fileno()})"],
                    env={**kept, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    pass_fds=[far.fileno()], start_new_session=True,
                )  # fmt: skip
        return self._channel

    def close(self) -> None:
        if self._server is not None and self._channel is not None:
            self._channel.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        self._server = self._channel = None


def serve(descriptor: int) -> NoReturn:
    """Forks a process for each request, a line of JSON, and answers with its exit code."""
    for name in PRELOAD:
        importlib.import_module(name)
    assert "torch" not in sys.modules
    server = SharedServer.of(Resources(Path(), Path()))
    channel = socket.socket(fileno=descriptor)
    for line in channel.makefile("rb"):
        request = json.loads(line)
        has_plugins = os.path.isdir(request["environment"].get("PYTHONPATH", ""))
        shares = request["args"][:1] in (["run"], ["verify"], ["publish"]) and not has_plugins
        if shares:
            server.launch()
        pid = os.fork()
        if pid == 0:
            channel.close()
            if shares:
                pmbench.run.coordinator.make_server = lambda resources: server
                pmbench.run.referee.case.Forkserver = lambda preload, environment: server
            _run(**request)
        _, status = os.waitpid(pid, 0)
        channel.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(args: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> NoReturn:
    """What the console script `pmbench` does."""
    for descriptor, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    place = sys.path.index(str(Path(__file__).parent))
    sys.path[place : place + 1] = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[0] = str(Path(sys.executable).parent)
    sys.argv[:] = ["pmbench", *args]
    code: Any = 0
    try:
        importlib.import_module("pmbench.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
