"""Fixtures `fake` and `slow` of the core's own tests."""

import importlib.util
from pathlib import Path

import pytest
import torch

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
