"""Fixtures `fake` and `slow` of the core's own tests, and of this plugin's."""

import importlib.util
from pathlib import Path

import pytest
import torch

import pmbench as pm

torch.set_num_threads(1)
SHARED = Path(__file__).parents[3] / "tests" / "unit" / "builtin"


def _load(name):
    spec = importlib.util.spec_from_file_location(f"pmbench_tests_{name}", SHARED / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake():
    return _load("fake_bench")


@pytest.fixture(scope="session")
def slow():
    return _load("slow_losses")


@pytest.fixture(scope="session")
def loops():
    path = Path(__file__).with_name("slow_mmh.py")
    spec = importlib.util.spec_from_file_location("pmbench_tests_slow_mmh", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scene(fake, monkeypatch):
    """The fake bench, with images of 32 x 32 besides: rgb, depth and ir on one grid, thermal on none."""
    for name, channels, grid in (
        ("rgb", 3, "scene"),
        ("depth", 1, "scene"),
        ("ir", 1, "scene"),
        ("thermal", 1, ""),
    ):
        monkeypatch.setitem(
            fake.MODALITIES, name, pm.Modality(name, "image", (channels, 32, 32), "1", grid=grid)
        )
    monkeypatch.setitem(fake.BACKBONE_OF, "image", "cnn2d-8")
    return fake
