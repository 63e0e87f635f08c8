"""Hooks are documented and tested; nothing of one machine is committed."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path

import pytest

import pmbench
from pmbench.contracts import hooks

REPOSITORY = Path(pmbench.__file__).parents[1]
HOOKS = sorted(
    name for name, _ in inspect.getmembers(hooks, inspect.isfunction) if name.startswith("pmbench_")
)
OF_ONE_MACHINE = ("/wo" + "rk/", "fi" + "le://", "/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/")


def committed() -> list[Path]:
    """Tracked files, and those that are about to be."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True)
    return [
        path for name in done.stdout.decode().split("\0") if name and (path := REPOSITORY / name).is_file()
    ]


def test_there_are_hooks():
    assert HOOKS == [
        "pmbench_backbones",
        "pmbench_datasets",
        "pmbench_epoch_finished",
        "pmbench_methods",
        "pmbench_metrics",
        "pmbench_modality_kinds",
        "pmbench_published",
        "pmbench_run_finished",
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_docstring_and_is_documented(hook):
    assert inspect.getdoc(getattr(hooks, hook))
    assert hook in (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_exercised_by_a_test(hook):
    tests = [*(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "plugins").glob("*/tests/*.py")]
    others = [path for path in tests if path != Path(__file__)]
    assert any(f"def {hook}(" in path.read_text(encoding="utf-8") for path in others), (
        f"no test implements {hook}"
    )


def test_nothing_of_one_machine_is_committed():
    found = []
    for path in committed():
        content = path.read_bytes()
        if b"\0" in content[:8000]:
            continue
        text = content.decode(errors="replace")
        found += [(str(path.relative_to(REPOSITORY)), sign) for sign in OF_ONE_MACHINE if sign in text]
    assert not found


def test_no_lock_file_with_registry_addresses_is_committed():
    names = {path.name for path in committed()}
    assert not names & {"uv.lock", "poetry.lock", "Pipfile.lock", "pip.conf", ".netrc", ".pypirc"}


SUBJECT = re.compile(r"[a-z0-9][a-z0-9 ,_.-]*: [a-z0-9`].*[^.]")
FIRST = "tests: preparing and recipes in modules of their own"


def test_commit_subjects():
    """Area first, in 72 characters: `store: write artifacts atomically`. Checked from FIRST on."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    log = ["git", "log", "--no-merges", "--format=%s"]
    done = subprocess.run(log, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    subjects = done.stdout.splitlines()
    recent = subjects[: subjects.index(FIRST)] if FIRST in subjects else []
    wrong = [s for s in recent if len(s) > 72 or not SUBJECT.fullmatch(s)]
    assert not wrong, "expected `area: imperative` in at most 72 characters"


def test_every_plugin_has_what_a_distribution_needs():
    for folder in sorted((REPOSITORY / "plugins").glob("pmbench-*")):
        for name in ("pyproject.toml", "README.md", "tests"):
            assert (folder / name).exists(), f"{folder.name} has no {name}"
        assert "entry-points.pmbench" in (folder / "pyproject.toml").read_text(encoding="utf-8")
