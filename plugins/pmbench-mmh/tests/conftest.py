"""Fixture `slow_mmh`: RAD and DAD in plain loops."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def slow_mmh():
    path = Path(__file__).with_name("slow_mmh.py")
    spec = importlib.util.spec_from_file_location("pmbench_tests_slow_mmh", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
