"""A plugin of a stranger, from its wheel in an environment of its own to a row of a board with real git."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from requests_lab import Board, ci, git, referee

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # real runs

EXAMPLE = Path(__file__).parents[2] / "docs" / "example" / "pmbench_follow.py"
PROJECT = """
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "pmbench-follow"
version = "0.3"
dependencies = ["pmbench"]

[project.urls]
Source = "https://example.org/pmbench-follow"

[project.entry-points.pmbench]
follow = "pmbench_follow"
"""
STATED = ("--handle", "jane", "--contact", "jane@example.org", "--data-terms", "synthetic", "--seeds", "1")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin of the tutorial, built as its author would."""
    if shutil.which("uv") is None:
        pytest.skip("uv, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    shutil.copyfile(EXAMPLE, folder / "pmbench_follow.py")
    command = ["uv", "build", "--quiet", "--wheel", "--out-dir", "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip(f"the build system of the wheel cannot be had: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of a new environment with the wheel; pmbench is seen through a path file."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    where = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    shared = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(where, "shared.pth").write_text(shared)
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--offline", "--python", str(python)]
    subprocess.run([*install, str(wheel)], check=True)
    return str(python)


def test_from_a_wheel_to_a_row_of_the_board(workspace: Any, python: str) -> None:
    def pmbench(*args: str | Path) -> Any:
        return workspace.run_cli(*args, program=(python, "-m", "pmbench"))

    listed = pmbench("show", "follow", "--json").json()
    assert (listed["distribution"], listed["version_of_distribution"]) == ("pmbench-follow", "0.3")
    done = pmbench("check", "follow")
    assert done.code == 0, done.stdout + done.stderr
    run = ("-m", "follow", "-d", "planted", "--seeds", "1", "--set", "recipe.epochs=1", "--device", "cpu")
    done = pmbench("run", *run, "--workers", "1")
    assert done.code == 0, done.stderr

    board = Board.new(workspace.root)
    clone = board.clone("jane")
    done = pmbench("publish", "results", "--to", clone, *STATED)
    assert done.code == 0, "its own author knows the plugin"
    (folder,) = (clone / "submissions").glob("*-jane")
    assert 'where = "https://example.org/pmbench-follow"' in (folder / "submission.toml").read_text()
    head = board.request("jane", lambda other: shutil.copytree(folder, other / "submissions" / folder.name))

    # the workflow imports no plugin that it does not know
    settings = {"PMBENCH_DATA": str(workspace.data), "PMBENCH_STORE": str(workspace.store)}
    code, comment, report = referee(board, "jane", head, python=python, **settings)
    assert (code, report["verdict"]) == (1, "not checked")
    assert "pmbench-follow is no known plugin, and not imported" in comment
    assert "**new**" in comment

    # a maintainer has read its source, merges, and attests
    own = board.clone("maintainer")
    git(own, "fetch", "--quiet", "origin", head)
    git(own, "merge", "--quiet", "--ff-only", head)
    submission = own / "submissions" / folder.name
    by = ("--plugin", "pmbench-follow", "--attest", own / "attestations", "--by", "maintainer")
    done = pmbench("verify", submission, "--level", "recompute", *by)
    assert done.code == 0, done.stdout + done.stderr
    assert "passed; reached level recompute" in done.stdout
    done = ci(own, "site", "pages", python=python, **settings)
    assert done.returncode == 0, done.stderr
    (page,) = (own / "pages" / "tables").glob("*.html")
    rows = [line for line in page.read_text().splitlines() if 'data-value="follow"' in line]
    assert any('data-value="recomputed">recomputed</td>' in row for row in rows)
