"""What the quick commands may not import, and how they end."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

HEAVY = ("torch", "scipy.stats", "matplotlib", "lightning_fabric", "pyarrow", "pandas")
WATCHED = """
import json, sys
from pmbench.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("data", "list"),
        *(
            pytest.param(args, marks=pytest.mark.slow)
            for args in (
                ("show", "hoffman"),
                ("leaderboard", "--check"),
                ("plan", "-m", "all", "-d", "planted", "--json"),
            )
        ),
    ],
    ids=" ".join,
)
def test_light(finished: Any, args: tuple[str, ...]) -> None:
    done = finished.run_cli(*args, program=(sys.executable, "-c", WATCHED))
    assert done.code == 0, done.stderr
    modules = set(json.loads(done.stderr.splitlines()[-1]))
    assert modules.isdisjoint(HEAVY), modules & set(HEAVY)


@pytest.mark.parametrize("args", [("list",), ("store", "list"), ("leaderboard",)], ids=" ".join)
def test_no_numbers_without_need(workspace: Any, args: tuple[str, ...]) -> None:
    """What computes nothing does not import numpy; nor does the leaderboard of an empty workspace."""
    done = workspace.run_cli(*args, program=(sys.executable, "-c", WATCHED))
    assert "numpy" not in json.loads(done.stderr.splitlines()[-1])


def test_every_command_has_help(run_cli: Any) -> None:
    text = run_cli("--help").stdout
    for command in ("plan", "list", "show", "data", "leaderboard", "plugins", "store"):
        assert f"  {command} " in text
    assert "--older-than" in run_cli("store", "prune", "--help").stdout


@pytest.mark.parametrize("args", [("lst",), ("store", "lst"), ("list", "--jsn"), ("plan", "--seeds", "0")])
def test_usage_errors_exit_2(run_cli: Any, args: tuple[str, ...]) -> None:
    done = run_cli(*args)
    assert done.code == 2
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(workspace: Any) -> None:
    done = workspace.run_cli("show", "zzzzzzz", "--debug")
    assert done.code != 0
    assert "Traceback" in done.stderr
