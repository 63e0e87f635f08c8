"""The plugin of the tutorial is installed and used as its reader would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # real runs

EXAMPLE = Path(__file__).parents[2] / "docs" / "example" / "pmbench_follow.py"


def test_the_tutorial_plugin_runs(workspace: Any, run_cli: Any) -> None:
    workspace.install("pmbench-follow", EXAMPLE.read_text(encoding="utf-8"))
    listed = json.loads(run_cli("show", "follow", "--json").stdout)
    assert "arXiv:1412.6550" in json.dumps(listed)
    done = run_cli(
        "run", "--method", "follow", "--dataset", "planted", "--seed", "0", "--no-references",
        "--workers", "1", "--set", "weight=0.5", "--set", "recipe.epochs=2", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    mine = [r for r in result["records"] if r["cell"]["method"] == "follow"]
    assert [r["status"] for r in mine] == ["done"]
    assert mine[0]["cell"]["options"] == {"weight": 0.5}
