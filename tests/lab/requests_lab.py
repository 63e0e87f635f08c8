"""Repositories of results with real git: an origin, clones, requests, and the script of the workflows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pmbench
from pmbench.run.new_repository import write_repository


def git(folder: Path, *args: str) -> str:
    names = ("-c", "user.name=Jane", "-c", "user.email=jane@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *names, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Board:
    """A bare repository `origin`, and clones of it."""

    root: Path

    @classmethod
    def new(cls, root: Path) -> Board:
        write_repository(
            root / "first", {"pmbench": pmbench.__version__, "pmbench-kd": "0.1.0", "torch": "2"}
        )
        git(root / "first", "init", "--quiet", "-b", "main")
        git(root / "first", "add", ".")
        git(root / "first", "commit", "--quiet", "-m", "repository: add rules, guide and workflows")
        git(root, "clone", "--quiet", "--bare", "first", "origin.git")
        return cls(root)

    def clone(self, name: str) -> Path:
        git(self.root, "clone", "--quiet", "origin.git", name)
        return self.root / name

    def request(self, name: str, change: Callable[[Path], None]) -> str:
        """Pushes a branch with a change; returns its commit."""
        clone = self.clone(f"by-{name}")
        git(clone, "switch", "--quiet", "-c", name)
        change(clone)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--allow-empty", "-m", f"submissions: add {name}")
        git(clone, "push", "--quiet", "origin", name)
        return git(clone, "rev-parse", "HEAD")


def ci(
    clone: Path, *args: str | Path, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the script of the workflows as they do."""
    command = [python, "ci.py", *map(str, args)]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=500)


def referee(board: Board, name: str, head: str, **settings: str) -> tuple[int, str, Any]:
    """Exit code, comment and report of the referee of `main` over a commit, in a clone of its own."""
    clone = board.clone(f"referee-{name}")
    git(clone, "fetch", "--quiet", "origin", head)
    done = ci(clone, "referee", "origin/main", head, "report", **settings)
    report = clone / "report" / "report.json"
    comment = (clone / "report" / "comment.md").read_text(encoding="utf-8")
    assert git(clone, "worktree", "list").count("\n") == 0, "the tree of the request is removed"
    return done.returncode, comment, json.loads(report.read_text()) if report.exists() else None
