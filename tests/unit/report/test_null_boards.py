"""Boards of worthless methods, by the functions of benchmarks/statistics/null_boards.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "statistics" / "null_boards.py"
BOARDS = 200
LIMIT = 0.05 + 2 * (0.05 * 0.95 / BOARDS) ** 0.5


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("null_boards", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["null_boards"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    [
        "hapt, equal variances",
        pytest.param("hapt, unequal variances", marks=pytest.mark.slow),
        pytest.param("hapt, heavy tails", marks=pytest.mark.slow),
    ],
)
def test_worthless_methods_are_rarely_called_significant(study: ModuleType, name: str) -> None:
    (world,) = [w for w in study.WORLDS if w.name == name]
    found = study.false_positives(world, 3, BOARDS, resamples=200)
    assert found[study.REPORTED] <= LIMIT
    assert found["covered"] >= 1 - LIMIT
    assert found["plain t without v"] > 0, "the boards are not trivial"


def test_effects_on_groups_that_all_seeds_share_are_no_gains(study: ModuleType) -> None:
    """Each method is better on some subjects and worse on others: without v, this is called a gain."""
    (world,) = [w for w in study.WORLDS if w.name == "hapt, method x group"]
    found = study.false_positives(world, 10, 60, resamples=200)
    assert found["plain t without v"] > 0.3
    assert found[study.REPORTED] <= 0.1


def test_a_large_gain_is_found(study: ModuleType) -> None:
    (world,) = [w for w in study.WORLDS if w.name == "hapt, equal variances"]
    found = study.power(world, 5, 10.0, 20, resamples=200)
    assert found["reported, Bonferroni"] > 0.8
    assert found["reported, Holm"] >= found["reported, Bonferroni"]


def test_worthless_methods_have_the_floors_accuracy(study: ModuleType) -> None:
    """Whatever varies, the expected accuracy is `base`."""
    rng = np.random.default_rng(0)
    for world in study.WORLDS:
        means = [study.outcomes(world, 3, rng).mean() for _ in range(30)]
        assert np.mean(means) == pytest.approx(world.base, abs=0.025)
