"""What the workflows of this repository do. Needs pmbench and the plugins of requirements.txt, and git.

    python ci.py referee BASE HEAD OUT    # checks what commit HEAD adds to commit BASE
    python ci.py site OUT                 # writes the board as pages for a browser

`referee` writes OUT/comment.md and OUT/report.json, and ends with 1 unless every check has passed. Run it in
a checkout of BASE: the code that runs is that of BASE and of installed packages. Files of HEAD are data.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = re.compile(r"submissions/[0-9]{4}-[0-9]{2}-[0-9]{2}-[a-z0-9][a-z0-9-]*")
PLAIN = ("100644", "100755")
"""Modes of regular files in git: links and submodules have others."""


def referee(base: str, head: str, out: Path) -> int:
    """Checks one submission; returns the exit code of the referee."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        folder = submission_of(base, head)
    except ValueError as error:
        (out / "comment.md").write_text(f"## Referee: refused\n\n{error}\n", encoding="utf-8")
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "request")
        git("worktree", "add", "--quiet", "--detach", str(tree), head)
        try:
            command = [sys.executable, "-m", "pmbench", "verify", str(tree / folder)]
            command += ["--level", "reinfer", "--records", "submissions", "--base", git("rev-parse", base)]
            command += ["--comment", str(out / "comment.md"), "--json"]
            with (out / "report.json").open("w", encoding="utf-8") as report:
                code = subprocess.run(command, stdout=report).returncode
        finally:
            git("worktree", "remove", "--force", str(tree))
    if not (out / "comment.md").exists():
        (out / "comment.md").write_text(
            "## Referee: failed\n\nSee the log of this check.\n", encoding="utf-8"
        )
    return code


def submission_of(base: str, head: str) -> str:
    """The one folder that a request adds; raises ValueError if it changes anything else."""
    changes = git("diff", "--name-status", "--no-renames", "-z", f"{base}...{head}", "--").split("\0")[:-1]
    kinds, names = changes[::2], changes[1::2]
    if not names:
        raise ValueError("The request changes nothing.")
    folders = {"/".join(name.split("/")[:2]) for name in names}
    if len(folders) != 1 or not FOLDER.fullmatch(folder := folders.pop()):
        raise ValueError("A request adds one folder `submissions/<date>-<handle>`, and changes nothing else.")
    if git("ls-tree", base, "--", folder):
        raise ValueError(f"{folder} is there already; a new submission has a folder of its own.")
    if set(kinds) != {"A"}:
        raise ValueError("A request adds files; it changes and removes none that are there.")
    listed = git("ls-tree", "-r", "-z", head, "--", "submissions").split("\0")[:-1]
    if any(line.split(" ", 1)[0] not in PLAIN for line in listed):
        raise ValueError("A submission holds regular files alone: no links, no submodules.")
    return folder


def site(out: Path) -> int:
    """Draws the board of all submissions, with what referees have found."""
    command = [sys.executable, "-m", "pmbench", "leaderboard", "--records", "submissions"]
    return subprocess.run([*command, "--attestations", "attestations", "--site", str(out)]).returncode


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip("\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("referee")
    check.add_argument("base")
    check.add_argument("head")
    check.add_argument("out", type=Path)
    commands.add_parser("site").add_argument("out", type=Path)
    given = parser.parse_args()
    return referee(given.base, given.head, given.out) if given.command == "referee" else site(given.out)


if __name__ == "__main__":
    sys.exit(main())
