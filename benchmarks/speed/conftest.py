"""Prepared data for all benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pmbench.data.prepare import find_or_prepare
from pmbench.plugins import load_plugins

sys.path.insert(0, str(Path(__file__).parent))  # `measuring`, and modules that share code


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    registry = load_plugins()
    for name in ("hapt", "planted"):
        find_or_prepare(registry.dataset(name), root)
    return root
