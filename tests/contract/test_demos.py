"""Demos stand for real data sets: the same modalities and splits, on files that real encoders write."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmbench.data.demo import write_demo
from pmbench.data.prepare import prepare
from pmbench.testing.collect import registry, suite_of

DEMOS = {name: registry().dataset(name) for name in registry().names("dataset") if name.endswith(":demo")}


def test_demos_are_declared_as_what_they_stand_for():
    assert len(DEMOS) >= 19
    for name, demo in DEMOS.items():
        real = registry().dataset(demo.demo_of)
        assert name == f"{real.name}:demo"
        assert [(m.name, m.kind, m.flip) for m in demo.modalities] == [
            (m.name, m.kind, m.flip) for m in real.modalities
        ]
        assert (demo.target, demo.privileged, demo.splits) == (real.target, real.privileged, real.splits)
        assert set(demo.classes) <= set(real.classes)
        assert demo.metrics == real.metrics
        assert f"data prepare {real.name} --demo" in demo.not_prepared(Path("data")).hint


@pytest.mark.slow
@pytest.mark.parametrize("name", ["utd-mhad:demo"])
def test_contract_of_prepared_demos(name, tmp_path):
    """The contract checks that need data, which real data sets skip where their files are not there.

    One data set of video and sensors; the readers of the others have tests.
    """
    folder = write_demo(registry(), name, tmp_path)
    prepare(DEMOS[name], folder, tmp_path)
    suite = suite_of("dataset", name, data=tmp_path)
    results = {check.name: suite.result(check) for check in suite.checks}
    failed = {check: r.reason for check, r in results.items() if r.outcome == "failed"}
    assert set(failed) <= {"expected_counts_are_declared"}  # of the real data set, not of its demo
    assert sum(r.outcome == "passed" for r in results.values()) >= 8, results
