"""Child processes that start in milliseconds: forked from a server that has imported torch once.

A child runs one function of pmbench on JSON arguments and answers with lines of JSON. The server runs no code
of plugins, measures what each child used, and kills what a child leaves behind.

The fork server of `multiprocessing` does not fit: its children answer with pickles, which run code in the
process that reads them, and it does not tell what a child used.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

LONGEST = 1 << 28
"""Bytes that an answer of a child may have."""
_KILL_WITH_PARENT, _ADOPT_ORPHANS = 1, 36
"""Options of prctl."""


class ChildError(Exception):
    """A child process, or the server of child processes, ended early or sent something else than JSON."""


@dataclass(frozen=True)
class Usage:
    """What a child process used. `code` is its exit code, or minus the signal that ended it."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


@contextlib.contextmanager
def interrupts_delayed() -> Iterator[None]:
    """Delays Ctrl-C in this thread. Processes that are started meanwhile never see it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the process that starts children --------------------------------------------------------------------


class Forkserver:
    """Client of a server process, which is started on first use.

    The server imports the modules, and calls the functions ("module:name"), that `preload` names.
    `environment` holds all of its environment variables. It runs no `.pth` file, `sitecustomize` or other
    start-up code of installed packages.
    """

    def __init__(self, preload: Sequence[str], environment: Mapping[str, str]) -> None:
        self._preload, self._environment = list(preload), dict(environment)
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def launch(self) -> None:
        """Starts the server, which goes on to import its modules, unless it runs."""
        with self._lock:
            self._ensure()

    def start(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout_s: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """A child that calls `function` ("module:name") with (arguments, answer).

        `environment` holds all of its environment variables. It is killed after `timeout_s` seconds. Raises
        ChildError if the server cannot be started.
        """
        work, far_work = socket.socketpair()
        reports, far_reports = socket.socketpair()
        try:
            with far_work, far_reports, self._lock:
                far = [far_work.fileno(), far_reports.fileno()]
                socket.send_fds(self._ensure(), [function.encode()], far)
        except OSError as error:
            work.close()
            reports.close()
            raise ChildError(f"the server of child processes cannot be reached: {error}") from error
        request = {"environment": dict(environment or {}), "arguments": arguments}
        return Child(work, reports, request, timeout_s)

    def _ensure(self) -> socket.socket:
        """The channel of a running server."""
        if self._server is not None and self._channel is not None and self._server.poll() is None:
            return self._channel
        if self._channel is not None:
            self._channel.close()
        channel, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        paths = [str(Path(__file__).parents[2]), *(p for p in sys.path if p)]
        code = (
            f"import sys; sys.path[:] = {list(dict.fromkeys(paths))!r}\n"
            f"sys.pycache_prefix = {sys.pycache_prefix!r}\n"
            f"sys.dont_write_bytecode = {sys.dont_write_bytecode}\n"
            "from pmbench.isolation.forkserver import serve\n"
            f"serve({far.fileno()}, {self._preload!r})"
        )
        with far, interrupts_delayed():
            self._server = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env=self._environment,
                pass_fds=[far.fileno()],
            )
        self._channel = channel
        return channel

    def close(self) -> None:
        """Ends the server and its children."""
        with self._lock:
            server, channel = self._server, self._channel
            self._server = self._channel = None
        if channel is not None:
            channel.close()
        if server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(2)
            server.kill()
            server.wait()


class Child:
    """A child process."""

    def __init__(
        self,
        work: socket.socket,
        reports: socket.socket,
        request: Mapping[str, Any],
        timeout_s: float | None,
    ) -> None:
        self._work, self._reports = work, reports
        self.timed_out = False
        self._timer: threading.Timer | None = None
        self.limit(timeout_s)
        line = json.dumps(request).encode() + b"\n"
        self._request = threading.Thread(target=self._send, args=(line,), daemon=True)
        self._request.start()

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._work.sendall(line)

    def send(self, value: Mapping[str, Any]) -> None:
        """Sends one more JSON object (`Answer.received`); waits for the child to read it if it is large."""
        self._request.join()
        self._send(json.dumps(value).encode() + b"\n")

    def end(self) -> None:
        """Tells the child that no more is sent."""
        self._request.join()
        with contextlib.suppress(OSError):
            self._work.shutdown(socket.SHUT_WR)

    def limit(self, timeout_s: float | None) -> None:
        """Kills the child `timeout_s` seconds from now, in place of the limit before; None is no limit."""
        if self._timer is not None:
            self._timer.cancel()
        if timeout_s is not None:
            self._timer = threading.Timer(timeout_s, self._time_out)
            self._timer.daemon = True
            self._timer.start()

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill()

    def answers(self) -> Iterator[dict[str, Any]]:
        """The JSON objects that the child sends until it ends; raises ChildError for anything else."""
        with self._work.makefile("rb") as file, contextlib.suppress(ConnectionError):
            while line := file.readline(LONGEST):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    self.kill()
                    raise ChildError(f"a child process sent no JSON: {error}") from error
                if not isinstance(value, dict):
                    self.kill()
                    raise ChildError("a child process sent JSON that is no object")
                yield value

    def wait(self) -> Usage:
        """What the child used, once it has ended; raises ChildError if the server has ended."""
        with self._reports, self._reports.makefile("rb") as file:
            line = file.readline()
        self.limit(None)
        self._work.close()
        if not line:
            raise ChildError("the server of child processes has ended")
        return Usage(**json.loads(line))

    def kill(self) -> None:
        """Kills the child and the processes that it has started."""
        with contextlib.suppress(OSError):
            self._reports.shutdown(socket.SHUT_WR)


# --- in the server ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Running:
    reports: socket.socket
    started: float


def serve(descriptor: int, preload: Sequence[str]) -> NoReturn:
    """Forks a child for each request on a socket, until its other end is closed."""
    try:
        _serve(socket.socket(fileno=descriptor), preload)
    except Exception as error:  # such as too little memory for torch
        sys.stderr.write(f"The server of child processes ended: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    os._exit(1)


def _serve(channel: socket.socket, preload: Sequence[str]) -> NoReturn:
    for name in preload:
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()
    gc.collect()
    gc.freeze()  # collections in a child do not copy the pages of the server
    _prctl(_ADOPT_ORPHANS, 1)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, _Running] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for event, _ in selector.select():
                if event.fileobj == woken:
                    os.read(woken, 1 << 16)
                    _reap(running, selector)
                elif event.fileobj is channel:
                    request, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 2)
                    if not request:
                        _end(running)
                        os._exit(0)  # libraries of torch complain on a regular exit
                    work, reports = (socket.socket(fileno=d) for d in descriptors)
                    pid = _fork(request.decode(), work)
                    work.close()
                    running[pid] = _Running(reports, time.monotonic())
                    selector.register(reports, selectors.EVENT_READ, pid)
                elif event.data in running:
                    selector.unregister(event.fileobj)
                    _kill(event.data)


def _reap(running: dict[int, _Running], selector: selectors.BaseSelector) -> None:
    """Reports the children that have ended, and kills the processes that they leave."""
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if (child := running.pop(pid, None)) is None:
            continue
        _kill(pid)
        _kill_orphans(running)
        usage = Usage(
            code=os.waitstatus_to_exitcode(status),
            seconds=time.monotonic() - child.started,
            cpu_seconds=used.ru_utime + used.ru_stime,
            peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        )
        with contextlib.suppress(KeyError):
            selector.unregister(child.reports)
        with child.reports, contextlib.suppress(OSError):
            child.reports.sendall(json.dumps(asdict(usage)).encode() + b"\n")


def _end(running: Mapping[int, _Running]) -> None:
    """Kills all children and what they have started."""
    for pid in running:
        _kill(pid)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
            _kill_orphans({})


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _kill_orphans(running: Mapping[int, _Running]) -> None:
    """Kills processes whose parent, a child of the server, has ended; Linux gives them to the server."""
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, path.read_text().split()):
            if pid not in running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# --- in the child -------------------------------------------------------------------------------------------


class Answer:
    """The way from a child to the process that started it; a call sends a JSON object."""

    def __init__(self, work: socket.socket, lines: BinaryIO) -> None:
        self._work, self._lines, self._lock = work, lines, threading.Lock()

    def __call__(self, value: Mapping[str, Any]) -> None:
        with self._lock:
            self._work.sendall(json.dumps(value).encode() + b"\n")

    def received(self) -> Iterator[dict[str, Any]]:
        """The JSON objects that come after the arguments (`Child.send`), until `Child.end`."""
        return map(json.loads, self._lines)


def _fork(function: str, work: socket.socket) -> int:
    """Forks a child that runs `function`; returns its process id to the server."""
    server = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _leave_server(server, keep=work.fileno())
        _run(function, work)
    except BaseException as error:  # the child must not return into the loop of the server
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(1)


def _leave_server(server: int, keep: int) -> None:
    """Gives up everything that belongs to the server: group, handlers, open files."""
    os.setsid()
    _prctl(_KILL_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(2, 1)  # standard output belongs to the command
    os.closerange(3, keep)
    os.closerange(keep + 1, 1 << 16)


def _run(function: str, work: socket.socket) -> None:
    lines = work.makefile("rb")
    request = json.loads(lines.readline())
    os.environ.clear()
    os.environ.update(request["environment"])
    answer = Answer(work, lines)
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(request["arguments"], answer)
    sys.stderr.flush()
    os._exit(0)


def add_site_packages() -> None:
    """Runs the `.pth` files of installed packages, which the server leaves out."""
    import site

    for folder in [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]:
        site.addsitedir(folder)
