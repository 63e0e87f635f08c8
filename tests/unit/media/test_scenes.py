"""Scenes of miniatures."""

from __future__ import annotations

import numpy as np
import pytest

from pmbench.testing.media import MOTIONS, clip, moving


@pytest.mark.parametrize("motion", MOTIONS)
def test_motions(motion):
    for seed in range(20):
        centre, radius, seen = moving(motion, 60, np.random.default_rng(seed))
        steps = {"up": -np.diff(centre[:, 0]), "down": np.diff(centre[:, 0]), "growing": np.diff(radius)}
        steps |= {"shrinking": -np.diff(radius), "sideways": np.diff(centre[:, 1])}
        if motion == "blinking":
            assert 0.2 < seen.mean() < 0.8
        else:
            moved = steps.pop(motion)
            right = moved > 0
            assert right.mean() > 0.9 or (motion == "sideways" and right.mean() < 0.1)
            assert seen.all()


def test_thirty_classes_differ():
    def drawn(label: int) -> np.ndarray:
        rng, scene = np.random.default_rng(0), np.random.default_rng(1)
        return clip(label, 16, (24, 32), rng, scene)

    clips = {drawn(label).tobytes() for label in range(30)}
    assert len(clips) == 30
