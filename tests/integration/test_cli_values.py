"""`pmbench run --values small`: a set of its own on the record, and a leaderboard of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # real runs

SOURCE = '''
from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class TunedOptions(pm.DistillOptions):
    imitation: float = pm.option(0.75, "weight of the soft term", within="[0, 1]")


@pm.method("tuned", paper="made up", small={"imitation": 0.25})
def tuned(setting: pm.Setting, options: TunedOptions) -> pm.Stage:
    """Distillation with values for small data"""
    return pm.Distill(pm.Stream(setting.only_privileged()), setting.target, options)


@pm.hookimpl
def pmbench_methods():
    return [tuned]
'''
RUN = ("run", "-m", "tuned,self_train", "-d", "planted", "--seed", "0", "--set", "recipe.epochs=1",
       "--workers", "1", "--device", "cpu")  # fmt: skip


@pytest.mark.science
def test_sets_of_values_are_kept_apart(workspace: Any) -> None:
    workspace.install("pmbench-tuned", SOURCE)
    paper = workspace.run_cli(*RUN, "--json").json()
    small = workspace.run_cli(*RUN, "--values", "small", "--json").json()
    assert small["trained"] == 1, "only the last stage of `tuned` differs"
    cells = {r["cell"]["method"]: r["cell"] for r in small["records"]}
    assert {(c["value_set"]) for c in cells.values()} == {"small"}
    assert (cells["tuned"]["values"], cells["tuned"]["options"]) == ("small", {"imitation": 0.25})
    assert (cells["self_train"]["values"], cells["self_train"]["options"]) == ("paper", {})
    assert {r["cell"]["value_set"] for r in paper["records"]} == {"paper"}
    pages = workspace.out / "tables"
    first = (pages / "planted-shared-10.md").read_text(encoding="utf-8")
    second = (pages / "planted-shared-10-small-values.md").read_text(encoding="utf-8")
    assert "hyper-parameters: paper values" in first
    assert "`tuned`" in first
    assert "imitation" not in first
    assert second.startswith("# planted, shared-10, small values")
    assert "`tuned[imitation=0.25]`" in second
    assert len(list((workspace.out / "records").rglob("*.json"))) == len(paper["records"]) + len(
        small["records"]
    )


def test_boards_as_json_say_which_set(workspace: Any) -> None:
    workspace.install("pmbench-tuned", SOURCE)
    workspace.run_cli(*RUN, "--values", "small", "--no-references")
    (board,) = json.loads(workspace.run_cli("leaderboard", "--json").stdout)
    assert board["values"] == "small"
    assert {r["method"]: r["values"] for r in board["rows"]} == {
        "tuned[imitation=0.25]": "small",
        "self_train": "paper",
    }
