"""Readers of damaged files give an array or refuse the file: no other exception, no crash, no hang."""

from __future__ import annotations

import damaging
import numpy as np
import pytest

QUICK, THOROUGH = 40, 1000


def check(found) -> None:
    failed = [f"{kind}, file {number}: {answer}" for kind, number, answer in found["failures"]]
    assert not failed, "\n\n".join(failed)
    answers = [sum(counts[answer] for counts in found["counts"].values()) for answer in ("array", "refused")]
    assert min(answers) > 0.1 * sum(answers), (
        answers
    )  # damage is neither too weak nor too strong to test much


@pytest.mark.slow
def test_some_damaged_files(tmp_path):
    check(damaging.run(tmp_path, QUICK, seed=0))


@pytest.mark.slow
@pytest.mark.science
def test_a_thousand_damaged_files(tmp_path):
    check(damaging.run(tmp_path, THOROUGH, seed=1))


def test_damage_is_repeatable_and_changes_files():
    content = np.random.default_rng(0).bytes(2000)
    made = [damaging.damaged(content, np.random.default_rng([0, n])) for n in range(50)]
    assert made == [damaging.damaged(content, np.random.default_rng([0, n])) for n in range(50)]
    assert len({*made, content}) == 51
    assert min(map(len, made)) < 1500 < 2100 < max(map(len, made))


def test_failures_are_noticed(tmp_path):
    child = damaging.Child(limit=20.0)
    try:
        assert child.read("crash", tmp_path) == "crashed: -6"
        assert "ValueError: cannot reshape" in child.read("mistake", tmp_path)
        assert child.read("image jpg", tmp_path / "missing.jpg") == "refused"
    finally:
        child.close()
    child = damaging.Child(limit=0.5)
    assert child.read("hang", tmp_path) == "no answer after 0.5 seconds"
    child.close()
