"""The code that a process may read, and the data beside it that it may not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import pmbench
from pmbench.isolation import rights
from pmbench.isolation.landlock import version
from pmbench.plugins import load_plugins

DATASETS = load_plugins().offers["dataset"]
FOUND = {name: offers[0].value.find_source() for name, offers in DATASETS.items()}
SOURCES = {name: source for name, source in FOUND.items() if source is not None}
FILES = {name: path for name, path in SOURCES.items() if path.suffix != ".py"}


def covers(granted: rights.Rights, path: Path) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(Path(one).resolve()) for one in granted.read)


@pytest.fixture(scope="module")
def granted():
    return rights.of_code((), (), FILES.values(), gpu=False, processes=1)


def test_there_are_embedded_data_sets():
    assert {"hapt", "mfeat", "pines"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_data_inside_packages_is_left_out(granted, name):
    files = [FILES[name]] if FILES[name].is_file() else [p for p in FILES[name].rglob("*") if p.is_file()]
    assert files
    assert not any(covers(granted, path) for path in files)


def test_code_is_included(granted):
    for module in (pmbench, np, sys.modules["pmbench_mfeat"], sys.modules["json"]):
        assert covers(granted, Path(module.__file__))


def test_nothing_else_of_the_working_folder_is(granted):
    root = Path(pmbench.__file__).parents[1]
    for name in ("leaderboard", "README.md", "tests", "benchmarks"):
        assert not covers(granted, root / name)


def test_only_several_processes_may_use_the_network(granted):
    several = rights.of_code((), (), (), gpu=False, processes=2)
    assert (granted.network, several.network) == (False, True)
    assert "/dev/shm" in several.write
    assert "/dev/shm" not in granted.write


@pytest.mark.slow
@pytest.mark.skipif(not version(), reason="this kernel has no Landlock")
def test_under_these_rights_plugins_load_and_their_data_does_not_open(afresh, tmp_path):
    code = f"""
from pathlib import Path
from pmbench.isolation import rights
from pmbench.plugins import load_plugins
from pmbench.plugins.inside import use_scratch
files = [Path(p) for p in {[str(p) for p in FILES.values()]!r}]
rights.of_code((), (Path({str(tmp_path)!r}),), files, gpu=False, processes=1).apply()
use_scratch({str(tmp_path)!r})
registry = load_plugins()
import torch, torchvision, timm
print(len(registry.broken), len(registry.names("method")) > 10)
for path in files:
    try:
        path.read_bytes() if path.is_file() else next(p for p in path.rglob("*") if p.is_file()).read_bytes()
        print("read", path)
    except PermissionError:
        print("refused")
"""
    lines = afresh(code).splitlines()
    assert lines[0] == "0 True"
    assert lines[1:] == ["refused"] * len(FILES)
