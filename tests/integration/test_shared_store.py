"""Stages of a shared store are used, and nothing is written there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pmbench.store.store import Store


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Path -> time of change and size of everything below a folder."""
    found = {}
    for path in [root, *root.rglob("*")]:
        about = path.stat()
        found[str(path)] = (about.st_mtime_ns, about.st_size)
    return found


@pytest.mark.slow
def test_stages_and_programs_of_a_shared_store_are_used(finished: Any, workspace: Any) -> None:
    """`target_only` and its references are had without training; their programs come from there."""
    shared = workspace.root / "shared"
    for source, target in ((finished.store, shared), (finished.data, workspace.data)):
        shutil.copytree(source, target)
    entries = Store(shared).entries()
    unsealed = next(e for e in entries if "early_fusion" in e.methods)
    for path in (shared / unsealed.key[:2] / unsealed.key).glob("sealed-*"):
        path.unlink()
    for path in [shared, *shared.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(shared)
    args = ("-m", "target_only", "-d", "planted", "--seeds", "1", "--set", "recipe.epochs=1")
    args = (*args, "--shared-store", shared)
    planned = workspace.run_cli("plan", *args, "--json").json()["summary"]
    assert (planned["stages_to_train"], planned["stages_stored"]) == (0, len(entries))
    done = workspace.run_cli("run", *args, "--workers", "1", "--device", "cpu", "--json")
    assert done.code == 0, done.stderr
    assert done.json()["trained"] == 0
    assert state(shared) == before
    programs = [path.parent.name for path in workspace.store.rglob("sealed-*.pt2")]
    assert programs == [unsealed.key], "a program that is not there is sealed in the own store"
    assert Store(workspace.store).entries() == []
    assert workspace.run_cli("store", "verify", "--store", shared).code == 0


@pytest.mark.slow
def test_a_student_is_trained_from_a_teacher_of_a_shared_store(finished: Any, workspace: Any) -> None:
    """Its isolated process reads the teacher there."""
    shared = workspace.root / "shared"
    shutil.copytree(finished.store, shared)
    shutil.copytree(finished.data, workspace.data)
    before = state(shared)
    environment = {**workspace.environment, "PMBENCH_SHARED_STORE": str(shared)}
    elsewhere = type(workspace)(workspace.root, environment)
    args = ("-m", "kd", "-d", "planted", "--seeds", "1", "--set", "recipe.epochs=1", "--no-references")
    done = elsewhere.run_cli("run", *args, "--workers", "1", "--device", "cpu", "--json")
    assert done.code == 0, done.stderr
    assert done.json()["trained"] == 1
    (student,) = Store(workspace.store).entries()
    assert student.parents
    assert all(Store(shared).has(key) for key in student.parents)
    assert state(shared) == before


@pytest.mark.parametrize("name", ["nowhere", "store"])
def test_a_shared_store_is_another_folder(workspace: Any, name: str) -> None:
    os.makedirs(workspace.store)
    done = workspace.run_cli("plan", "-m", "kd", "-d", "planted", "--shared-store", workspace.root / name)
    assert done.code == 2
    assert "shared store" in done.error
