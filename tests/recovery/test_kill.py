"""Killed at any instant, the same command goes on where it was and ends with the bits of an undisturbed run
(P7).
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable

import pytest
from run_processes import Workspace, alive, checkpoints, is_server, kill_group, process_tree, wait_for

pytestmark = pytest.mark.slow  # real runs

STAGES = ("--method", "kd,target_only", "--no-references", "--dataset", "hapt", "--seed", "0")  # three stages
RUN = (*STAGES, "--workers", "2", "--set", "recipe.epochs=4")


def test_kill_9_at_any_moment_leaves_the_bits_of_an_undisturbed_run(
    make_workspace: Callable[[str], Workspace],
) -> None:
    calm, harried = make_workspace("calm"), make_workspace("harried")
    undisturbed = calm.finish(*RUN)
    rng = random.Random(20240229)
    moments = {
        "start": lambda: time.sleep(rng.uniform(0.1, 2.0)) or True,
        "middle of an epoch": lambda: checkpoints(harried) and (time.sleep(rng.uniform(0, 0.4)) or True),
        "write of a stage": lambda: list(harried.store.glob("??/.*.tmp")),
        "after some stage": lambda: harried.finished_stages() and (time.sleep(rng.uniform(0, 3)) or True),
        "write of predictions or a record": lambda: (
            list(harried.out.rglob(".*.tmp")) or list(harried.out.rglob("*.json"))
        ),
    }
    struck = []
    for name, moment in moments.items():
        process = harried.start(*RUN)
        if (
            wait_for(lambda m=moment, p=process: p.poll() is not None or m(), 120, pause=0.0005)
            and process.poll() is None
        ):
            kill_group(process)
            struck.append(name)
    assert len(struck) >= len(moments) - 1, f"the run ended before it could be killed; only {struck}"
    rest = harried.finish(*RUN)

    assert harried.finished_stages() == calm.finished_stages()
    assert harried.predictions() == calm.predictions()
    for mine, theirs in zip(rest["records"], undisturbed["records"], strict=True):
        assert mine["metrics"] == theirs["metrics"]
        assert mine["cell_key"] == theirs["cell_key"]
        assert mine["validation"] == theirs["validation"]
        assert mine["digests"]["predictions"] == theirs["digests"]["predictions"]
    assert not checkpoints(harried)
    assert not list(harried.store.glob("??/.*.tmp"))

    again = harried.finish(*RUN)
    assert (again["trained"], again["reused"]) == (0, len(rest["records"]))


def test_a_killed_worker_is_replaced_and_the_run_ends_well(
    make_workspace: Callable[[str], Workspace],
) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*RUN)
    assert wait_for(lambda: checkpoints(workspace), 120)
    (server, *_) = [pid for pid in process_tree(process.pid) if is_server(pid)]
    victim = next(pid for pid in process_tree(server) if pid != server)
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert {r["status"] for r in json.loads(stdout)["records"]} == {"done"}


ENDLESS = ("--method", "target_only", "--dataset", "planted", "--seed", "0", "--no-references")
SHARED = (*ENDLESS, "--workers", "1", "--devices", "2", "--set", "recipe.epochs=100000")


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(RUN, id="workers"),
        pytest.param(SHARED, id="processes of one stage"),
    ],
)
def test_workers_leave_when_the_command_is_killed_alone(
    make_workspace: Callable[[str], Workspace], run: tuple[str, ...]
) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*run)
    assert wait_for(lambda: checkpoints(workspace), 120)
    members = process_tree(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert wait_for(lambda: not alive(members), 15), "orphans are still running"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_all_processes_at_once_and_the_next_start_resumes(
    make_workspace: Callable[[str], Workspace], sent: signal.Signals, code: int
) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*RUN)
    assert wait_for(lambda: checkpoints(workspace), 120)
    start, members = time.monotonic(), process_tree(process.pid)
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as a terminal does
    else:
        process.send_signal(sent)
    _, stderr = process.communicate(timeout=30)
    assert wait_for(lambda: not alive(members), 10)
    assert time.monotonic() - start < 3
    assert process.returncode == code
    assert "same command to resume" in stderr
    assert "Traceback" not in stderr
    assert "leaked" not in stderr  # by the tracker of semaphores, which ends last
    assert checkpoints(workspace)
    assert {r["status"] for r in workspace.finish(*RUN)["records"]} == {"done"}


def test_two_runs_of_the_same_command_share_the_work(make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("workspace")
    run = ("--method", "kd", "--no-references", "--dataset", "planted", "--seeds", "2", "--workers", "1")
    both = [workspace.start(*run) for _ in range(2)]
    ended = [p.communicate(timeout=300) for p in both]
    assert [p.returncode for p in both] == [0, 0], ended
    results = [json.loads(stdout) for stdout, _ in ended]
    assert sum(r["trained"] for r in results) == len(workspace.finished_stages())
    assert [r["metrics"] for r in results[0]["records"]] == [r["metrics"] for r in results[1]["records"]]
