"""The server of child processes: real processes that answer, fail, hang and leave others behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pmbench.isolation.forkserver import ChildError, Forkserver

FUNCTIONS = """
import os, subprocess, sys, time

def echo(arguments, answer):
    answer({"got": arguments, "pid": os.getpid(), "environment": sorted(os.environ)})

def preloaded(arguments, answer):
    answer({"modules": [m for m in ("decimal", "sqlite3") if m in sys.modules]})

def prints(arguments, answer):
    print('{"forged": 1}', flush=True)
    answer({"true": 1})

def leaves(arguments, answer):
    raise SystemExit(3)

def exits(arguments, answer):
    os._exit(7)

def dies(arguments, answer):
    os.kill(os.getpid(), 9)

def babbles(arguments, answer):
    answer({"first": 1})
    for fd in range(3, 64):
        try:
            os.write(fd, arguments["text"].encode())
        except OSError:
            pass

def computes(arguments, answer):
    block = bytearray(64 << 20)
    started = time.process_time()
    while time.process_time() - started < 0.3:
        pass
    answer({"bytes": len(block)})

def hangs(arguments, answer):
    children = [subprocess.Popen(["sleep", "60"]), subprocess.Popen(["setsid", "sleep", "60"])]
    answer({"pids": [os.getpid(), *(c.pid for c in children)]})
    time.sleep(60)

def leaves_children(arguments, answer):
    children = [subprocess.Popen(["sleep", "60"]), subprocess.Popen(["setsid", "sleep", "60"])]
    answer({"pids": [c.pid for c in children]})
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "child_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Forkserver(["decimal"], {"PATH": os.environ["PATH"]})
    yield made
    made.close()


def run(server, name, timeout_s=None, **arguments):
    child = server.start(f"child_functions:{name}", arguments, timeout_s, {"GIVEN": "1"})
    return list(child.answers()), child.wait()


def gone(pid, seconds=5.0):
    """Whether a process ends within some seconds (a zombie has ended)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_each_child_is_a_process_of_its_own_with_the_environment_it_is_given(server):
    (one,), used = run(server, "echo", x=[1, "two"])
    (two,), _ = run(server, "echo")
    assert one["got"] == {"x": [1, "two"]}
    assert one["pid"] != two["pid"] != os.getpid()
    assert one["environment"] == ["GIVEN"]
    assert (used.code, used.seconds < 5) == (0, True)


def test_modules_are_imported_before_the_fork(server):
    assert run(server, "preloaded")[0] == [{"modules": ["decimal"]}]


def test_what_a_child_prints_is_no_answer(server, capfd):
    assert run(server, "prints")[0] == [{"true": 1}]
    assert "forged" in capfd.readouterr().err


@pytest.mark.parametrize(("name", "code"), [("leaves", 1), ("exits", 7), ("dies", -signal.SIGKILL)])
def test_a_child_that_ends_early_ends_alone(server, name, code):
    answers, used = run(server, name)
    assert (answers, used.code) == ([], code)
    assert run(server, "echo")[1].code == 0


@pytest.mark.parametrize(("text", "words"), [("no json\n", "sent no JSON"), ("[1]\n", "no object")])
def test_what_is_no_json_object_is_an_error(server, text, words):
    child = server.start("child_functions:babbles", {"text": text})
    with pytest.raises(ChildError, match=words):
        list(child.answers())
    child.wait()


def test_what_a_child_used_is_measured(server):
    answers, used = run(server, "computes")
    assert answers[0]["bytes"] == 64 << 20
    assert 0.3 <= used.cpu_seconds < 5
    assert used.seconds >= 0.3
    assert used.peak_bytes > 64 << 20


def test_a_child_that_hangs_is_killed_with_what_it_started(server):
    child = server.start("child_functions:hangs", {}, timeout_s=1.0)
    ((answer),) = list(child.answers())
    assert child.wait().code == -signal.SIGKILL
    assert child.timed_out
    assert all(gone(pid) for pid in answer["pids"])


def test_what_a_child_leaves_behind_is_killed(server):
    answers, used = run(server, "leaves_children")
    assert used.code == 0
    assert all(gone(pid) for pid in answers[0]["pids"])


def test_close_ends_all_children(server):
    child = server.start("child_functions:hangs", {})
    pids = next(child.answers())["pids"]
    server.close()
    assert all(gone(pid) for pid in pids)
    with pytest.raises(ChildError, match="the server of child processes has ended"):
        child.wait()


def test_children_end_when_the_server_is_killed(server):
    child = server.start("child_functions:hangs", {})
    pid, *_ = next(child.answers())["pids"]
    server._server.kill()
    assert gone(pid)
    with pytest.raises(ChildError):
        child.wait()
    assert run(server, "echo")[1].code == 0, "the next child starts a new server"


def test_children_end_with_the_process_that_started_them(tmp_path, server):
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import os
from pmbench.isolation.forkserver import Forkserver
server = Forkserver([], dict(os.environ))
child = server.start("child_functions:hangs", {{}})
print(*next(child.answers())["pids"], server._server.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 4
    assert all(gone(pid) for pid in pids)


def test_the_server_has_no_site_folder_and_the_environment_it_is_given():
    made = Forkserver([], {})
    try:
        child = made.start("json:loads", {})
        assert list(child.answers()) == []
        assert child.wait().code == 1
        server = Path(f"/proc/{made._server.pid}")
        arguments = (server / "cmdline").read_bytes().split(b"\0")
        assert arguments[1:3] == [b"-I", b"-S"]
        assert b"PATH=" not in (server / "environ").read_bytes()
    finally:
        made.close()
