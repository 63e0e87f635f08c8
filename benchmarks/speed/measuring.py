"""What pytest-benchmark has measured."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture


def shortest(benchmark: BenchmarkFixture) -> float:
    """Seconds of the shortest round."""
    assert benchmark.stats is not None, "nothing was timed"
    return float(benchmark.stats.stats.min)
