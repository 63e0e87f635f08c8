"""Which changes of a checkout records state."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pmbench.run.provenance import has_changes


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("a = 1\n")
    (tmp_path / "notes.md").write_text("notes\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*author, "commit", "-qm", "first")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_new_files_count_in_imported_packages_alone(checkout: Path) -> None:
    package = str(checkout / "package")
    assert not has_changes(checkout, [package])
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").touch()
    assert not has_changes(checkout, [package])
    (checkout / "package" / "more.py").touch()
    assert has_changes(checkout, [package])


def test_every_change_of_a_tracked_file_counts(checkout: Path) -> None:
    (checkout / "notes.md").write_text("other notes\n")
    assert has_changes(checkout, [str(checkout / "package")])
