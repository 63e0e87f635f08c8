"""Fixtures `fake` (bench, batches, networks) and `slow` (losses in plain loops)."""

import importlib.util
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def _load(name):
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"pmbench_tests_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake():
    return _load("fake_bench")


@pytest.fixture(scope="session")
def slow():
    return _load("slow_losses")
