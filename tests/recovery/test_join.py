"""`--join`: identical commands share the work, one of them writes, and the death of that one is no loss."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from run_processes import Workspace, checkpoints, kill_group, wait_for

pytestmark = pytest.mark.slow  # real runs

RUN = ("--method", "kd,target_only", "--no-references", "--dataset", "planted", "--seeds", "3")
RUN = (*RUN, "--workers", "1", "--device", "cpu", "--join", "--set", "recipe.epochs=60")
STAGES, CELLS = 9, 6  # so long that on a busy machine, too, the others start before the first one ends


def test_others_finish_what_a_killed_writer_leaves(make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("workspace")
    writer = workspace.start(*RUN)
    assert wait_for(lambda: list(workspace.out.glob(".join-*")) and checkpoints(workspace), 120)
    others = [workspace.start(*RUN) for _ in range(2)]
    assert wait_for(lambda: len(checkpoints(workspace)) > 1 or writer.poll() is not None, 120)
    assert writer.poll() is None, "it ended before it could be killed"
    kill_group(writer)
    before = {path: path.stat().st_mtime_ns for path in workspace.store.glob("??/*/stage.json")}
    ended = [process.communicate(timeout=300) for process in others]
    assert [process.returncode for process in others] == [0, 0], ended
    results = [json.loads(stdout) for stdout, _ in ended]

    assert len(workspace.finished_stages()) == STAGES
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished stage was trained again"
    assert STAGES - len(before) <= sum(r["trained"] for r in results) <= STAGES
    assert min(r["left"] for r in results) == 0, "nobody took the place of the writer"
    for result in results:
        assert len(result["records"]) + result["left"] == CELLS
        assert (result["leaderboard"] is None) == bool(result["left"])
    assert len(workspace.predictions()) == len(list((workspace.out / "records").rglob("*.json"))) == CELLS
    assert (workspace.out / "LEADERBOARD.md").is_file()

    again = workspace.finish(*RUN)
    assert (again["trained"], again["reused"], again["left"]) == (0, CELLS, 0)
