"""A repository of results with real git: its files, its workflows, good and bad requests, and its board."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from requests_lab import Board, ci, git, referee

import pmbench
from pmbench.run.new_repository import write_repository

STATED = ("--handle", "jane", "--contact", "jane@example.org", "--data-terms", "synthetic", "--seeds", "1")
JANE = "submissions/2026-01-31-jane"


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "board"
    write_repository(folder, {"pmbench": "0.1.0", "pmbench-kd": "0.1.0", "pmbench-mine": "3", "torch": "2"})
    return folder


def test_the_new_repository_has_rules_guide_and_what_the_referee_runs(files: Path) -> None:
    lines = (files / "requirements.txt").read_text().splitlines()
    assert lines[1:] == ["pmbench==0.1.0", "pmbench-kd==0.1.0"], "no plugin of somebody else"
    rules = (files / "RULES.md").read_text()
    for words in ("test part", "Privileged modalities", "Data and pretrained weights", "Budget", "forbidden"):
        assert words in rules
    citation = yaml.safe_load((files / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert not list(files.rglob("__pycache__"))
    with pytest.raises(pmbench.errors.UsageError, match="not an empty folder"):
        write_repository(files, {})


def test_no_job_that_sees_a_request_has_a_secret_or_runs_its_code(files: Path) -> None:
    text = (files / ".github" / "workflows" / "referee.yml").read_text()
    assert "secrets." not in text
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {}
    check, comment = flow["jobs"]["referee"], flow["jobs"]["comment"]
    assert check["permissions"] == {"contents": "read"}
    (checkout,) = [s["with"] for s in check["steps"] if s.get("uses", "").startswith("actions/checkout")]
    assert checkout["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert checkout["persist-credentials"] is False
    runs = [step["run"] for job in (check, comment) for step in job["steps"] if "run" in step]
    assert 'python ci.py referee "$BASE" "$HEAD" report' in runs
    assert not any("${{" in run for run in runs), "no text of a request becomes part of a command"
    assert not any("checkout" in step.get("uses", "") for step in comment["steps"])
    assert comment["permissions"] == {"pull-requests": "write"}
    site = yaml.safe_load((files / ".github" / "workflows" / "site.yml").read_text())
    assert site["jobs"]["build"]["permissions"] == {"contents": "read"}
    assert any(step.get("run") == "python ci.py site board" for step in site["jobs"]["build"]["steps"])


# --- requests that are refused before anything is read ------------------------------------------------------


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board.new(tmp_path_factory.mktemp("board"))


def write(clone: Path, name: str, text: str = "x") -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text(text)


def own_rules(clone: Path) -> None:
    write(clone, f"{JANE}/submission.toml")
    write(clone, "RULES.md", "none")


def own_referee(clone: Path) -> None:
    write(clone, "ci.py", "print('passed')")


def two_folders(clone: Path) -> None:
    write(clone, f"{JANE}/submission.toml")
    write(clone, "submissions/2026-01-31-joe/submission.toml")


def attests_itself(clone: Path) -> None:
    write(clone, "attestations/a.json", "{}")


def link(clone: Path) -> None:
    (clone / JANE).mkdir(parents=True)
    (clone / JANE / "submission.toml").symlink_to("../../README.md")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda clone: None, "changes nothing"),
        (own_rules, "one folder"),
        (own_referee, "one folder"),
        (two_folders, "one folder"),
        (attests_itself, "one folder"),
        (link, "no links"),
    ],
)
def test_a_request_that_changes_anything_else_is_refused(
    board: Board, change: Callable[[Path], None], words: str
) -> None:
    name = getattr(change, "__name__", "").strip("<>")
    code, comment, report = referee(board, name, board.request(name, change))
    assert (code, report) == (1, None)
    assert words in comment


# --- requests with results ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def submitted(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Any]:
    """A board, and a workspace whose run is published in `board` as a submission."""
    root = tmp_path_factory.mktemp("submitted")
    for folder in ("store", "data", "results"):
        shutil.copytree(finished.root / folder, root / folder)
    workspace = dataclasses.replace(finished, root=root)
    board = Board.new(root)
    done = workspace.run_cli("publish", "results", "--to", clone := board.clone("jane"), *STATED)
    assert done.code == 0, done.stderr
    assert f"git -C {clone} switch -c" in done.stdout
    return board, workspace


@pytest.mark.slow
def test_a_good_request_passes_and_a_bad_one_is_refused(submitted: tuple[Board, Any]) -> None:
    board, workspace = submitted
    environment = {"PMBENCH_DATA": str(workspace.data), "PMBENCH_STORE": str(workspace.store)}
    (folder,) = (board.root / "jane" / "submissions").glob("*-jane")

    def good(clone: Path) -> None:
        shutil.copytree(folder, clone / "submissions" / folder.name)

    def bad(clone: Path) -> None:
        good(clone)
        (path,) = clone.glob("submissions/*/records/**/target_only-*s0.json")
        record = json.loads(path.read_text())
        record["metrics"][record["primary"]] += 5
        path.write_text(json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False) + "\n")

    code, comment, report = referee(board, "good", head := board.request("good", good), **environment)
    assert (code, report["verdict"], report["reached"]) == (0, "passed", "reinfer"), comment
    assert comment.startswith("## Referee: every check passed\n\nLevel: re-inferred.")
    assert comment.count("**new**") == 5
    assert "`target_only`" in comment
    code, comment, report = referee(board, "bad", board.request("bad", bad), **environment)
    assert (code, report["verdict"]) == (1, "refused")
    assert "/target_only-" in comment.partition("### Refused")[2]
    assert "**new**" not in comment

    # merged, attested, and on the board
    clone = board.clone("maintainer")
    git(clone, "fetch", "--quiet", "origin", head)
    git(clone, "merge", "--quiet", "--ff-only", head)
    by = ("--attest", clone / "attestations", "--by", "maintainer", "--level", "recompute")
    done = workspace.run_cli("verify", clone / "submissions" / folder.name, *by)
    assert done.code == 0, done.stderr
    done = ci(clone, "site", "pages", **environment)
    assert done.returncode == 0, done.stderr
    assert "of 5 rows, 5 are recomputed" in (clone / "pages" / "index.html").read_text()
    git(clone, "add", "attestations")
    git(clone, "commit", "--quiet", "-m", "attestations: add those of jane's records")
    git(clone, "push", "--quiet", "origin", "main")

    # what is there is not changed any more
    def more(clone: Path) -> None:
        write(clone, f"submissions/{folder.name}/records/more.json", "{}")

    code, comment, _ = referee(board, "more", board.request("more", more))
    assert code == 1
    assert "is there already" in comment
