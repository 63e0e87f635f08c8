"""Wheels and sdists of all distributions."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROJECTS = [REPOSITORY, *sorted((REPOSITORY / "plugins").glob("pmbench-*"))]
OPT_IN = {"pmbench-htad"}
"""Plugins whose data has terms of its own, which the extra `all` leaves out."""
LISTENERS = {f"pmbench-{name}" for name in ("mlflow", "tensorboard", "wandb")}
"""Plugins that act on every run once they are installed, with large libraries; each has an extra."""


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", text)[0] for text in requirements}


def test_the_extra_all_has_every_plugin() -> None:
    found = project(REPOSITORY)
    plugins = {folder.name for folder in PROJECTS[1:]}
    assert (
        names(found["project"]["optional-dependencies"]["all"]) - {"pmbench"} == plugins - OPT_IN - LISTENERS
    )
    extras = found["project"]["optional-dependencies"]
    assert {name for extra in ("mlflow", "tensorboard", "wandb") for name in extras[extra]} == LISTENERS
    assert names(found["dependency-groups"]["dev"]) >= OPT_IN
    assert set(found["tool"]["uv"]["sources"]) == plugins | {"pmbench"}


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_every_distribution_says_what_an_index_shows(folder: Path) -> None:
    found = project(folder)["project"]
    assert found["version"] == project(REPOSITORY)["project"]["version"]
    assert found["license"].startswith("Apache-2.0")  # data in a package may have a second one
    assert (folder / found["readme"]).is_file()
    assert len(found["description"]) > 20
    if folder is not REPOSITORY:
        assert any(re.fullmatch(r"pmbench(\[.*\])?>=0\.1,<0\.2", text) for text in found["dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_every_distribution_builds(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = (folder,) if folder == REPOSITORY else (folder / "src",)
    tracked = subprocess.run(
        ["git", "ls-files", "pmbench" if folder == REPOSITORY else "src"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if tracked.returncode == 0:
        files = {str((folder / line).relative_to(packages[0])) for line in tracked.stdout.split()}
        assert inside == files
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "PKG-INFO"} <= members
    assert not any(name.startswith(("leaderboard/", "plugins/", "tests/lab")) for name in members)
    assert sdist.stat().st_size < 4_000_000
