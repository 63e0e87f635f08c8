"""`pmbench publish` and `pmbench verify`: from results to attestations on the board."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
"""A plugin of somebody else."""

import pmbench as pm


@pm.method("mine", paper="none")
def mine(setting: pm.Setting) -> pm.Stage:
    """The privileged network's student"""
    return pm.Stream(setting.only_target(), replica=7)


@pm.hookimpl
def pmbench_methods():
    return [mine]
'''
RUN = ("run", "-m", "mine", "-d", "planted", "--seeds", "1", "--set", "recipe.epochs=1", "--device", "cpu")
STATED = ("--handle", "jane", "--contact", "jane@example.org", "--data-terms", "synthetic", "--seeds", "1")
SOURCE = ("--source", "pmbench-mine=https://example.org/mine")


@pytest.fixture(scope="module")
def published(new_workspace: Any) -> tuple[Any, Path, Any]:
    """A workspace with a method of its own, the submission of its run, and how `publish` ended."""
    workspace = new_workspace("published")
    workspace.install("pmbench-mine", PLUGIN)
    done = workspace.run_cli(*RUN, "--workers", "1")
    assert done.code == 0, done.stderr
    lacking = workspace.run_cli("publish", "results", "--to", "board", *STATED)
    assert lacking.error == "where to get pmbench-mine is not known"
    done = workspace.run_cli("publish", "results", "--to", "board", *STATED, *SOURCE, "--date", "2999-01-01")
    assert "is in the future" in done.stdout
    assert done.code == 1
    assert "it was removed" in done.stderr
    done = workspace.run_cli("publish", "results", "--to", "board", *STATED, *SOURCE, "-m", "mine")
    (folder,) = (workspace.root / "board" / "submissions").iterdir()
    return workspace, folder, done


@pytest.mark.slow
def test_publish_runs_the_referee_and_says_what_to_do_next(published):
    _, folder, done = published
    assert done.code == 0, done.stderr
    assert "passed; reached level reinfer" in done.stdout
    assert "predictions: 6 files" in done.stdout
    assert "Next: add this folder, and nothing else, to a clone of a repository of results" in done.stdout
    assert {p.name for p in folder.iterdir()} == {"submission.toml", "records", "predictions", "programs"}
    assert 'where = "https://example.org/mine"' in (folder / "submission.toml").read_text()


@pytest.mark.slow
def test_a_plugin_is_imported_if_the_referee_asks_for_it(published):
    workspace, folder, _ = published
    done = workspace.run_cli("verify", folder, "--level", "recompute", "--json")
    found = json.loads(done.stdout)
    assert (done.code, found["verdict"], found["reached"]) == (1, "not checked", None)
    assert "pmbench-mine is no known plugin" in done.stdout
    done = workspace.run_cli("verify", folder, "--level", "recompute", "--plugin", "pmbench-mine", "--json")
    found = json.loads(done.stdout)
    assert (done.code, found["verdict"], found["reached"]) == (0, "passed", "recompute")


@pytest.mark.slow
def test_attestations_withdrawals_and_staleness_reach_the_board(published):
    workspace, folder, _ = published
    by = ("--attest", "results/attestations", "--by", "referee")
    plugin = ("--plugin", "pmbench-mine")
    done = workspace.run_cli("verify", folder, "--level", "recompute", *plugin, *by)
    assert "6 attestations in results/attestations: recompute" in done.stdout, done.stderr

    def shown() -> dict[str, str]:
        rows = workspace.run_cli("leaderboard", "--json").json()[0]["rows"]
        return {row["method"]: row["verification"] for row in rows}

    assert set(shown().values()) == {"recomputed"}
    done = workspace.run_cli("verify", "results/records", "--stale", *plugin, *by)
    assert "0 of 6 records are stale; 0 notes written" in done.stdout, done.stderr
    done = workspace.run_cli("verify", "results/records", "--stale")
    assert "0 of 6 records are stale, 1 not checked" in done.stdout
    assert done.code == 1
    done = workspace.run_cli("verify", "results/records", "--stale", "--plugin", "mine")
    assert "unknown distribution with plugins 'mine'" in done.error
    source = workspace.site / "pmbench_mine.py"
    source.write_text(PLUGIN.replace("replica=7", "replica=8"))
    done = workspace.run_cli("verify", "results/records", "--stale", *plugin, *by)
    assert "1 of 6 records are stale; 1 notes written" in done.stdout, done.stderr
    assert shown()["mine"] == "recomputed, stale"
    done = workspace.run_cli("verify", folder, "--level", "recompute", *plugin)
    assert done.code == 1
    assert "the source of pmbench-mine that is stated is not the one that the referee has" in done.stdout
    assert "not checked" in done.error or "not verified" in done.error
    done = workspace.run_cli("verify", folder, "--withdraw", "a defect", *by)
    assert "6 withdrawals" in done.stdout
    assert set(shown().values()) == {"withdrawn"}
    assert len(list((workspace.out / "attestations").iterdir())) == 13, "nothing is deleted"


@pytest.mark.slow
def test_many_foreign_files_are_counted(published, tmp_path):
    workspace, folder, _ = published
    clone = tmp_path / "clone"
    shutil.copytree(folder, clone / "submissions" / folder.name)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "base")):
        subprocess.run([*git, *words], cwd=clone, check=True)
    for number in range(8):
        (clone / f"file{number}").touch()
    checked = (clone / "submissions" / folder.name, "--level", "recompute", "--base", "HEAD")
    done = workspace.run_cli("verify", *checked)
    assert done.stdout.count("is changed, too") == 5
    assert "and 3 more: --json has all" in done.stdout
    assert workspace.run_cli("verify", *checked, "--json").stdout.count("is changed, too") == 8
