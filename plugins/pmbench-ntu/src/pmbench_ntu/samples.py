"""Names of samples, and the parts that they belong to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pmbench as pm

NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")

TRAINING_60 = frozenset([1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38])
TRAINING_120 = TRAINING_60 | frozenset(
    [45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103]
)
"""Training subjects of cross-subject."""

TEST_CAMERA = 1
VALIDATION_PER_CLASS = 31
VALIDATION_SUBJECT = "P001"


@dataclass(frozen=True, order=True)
class Sample:
    """One recording: `SsssCcccPpppRrrrAaaa`, all numbers from 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    @property
    def name(self) -> str:
        return (
            f"S{self.setup:03d}C{self.camera:03d}P{self.subject:03d}R{self.replication:03d}A{self.action:03d}"
        )

    @property
    def group(self) -> str:
        return f"P{self.subject:03d}"


def sample(name: str) -> Sample:
    match = NAME.fullmatch(name)
    if not match:
        raise pm.DataError(f"{name!r} is not the name of a sample; expected SsssCcccPpppRrrrAaaa")
    return Sample(*map(int, match.groups()))


def parts_60(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """The six atoms of cross-subject and cross-view: who is seen (`learnt` subjects or `new` ones) by which
    camera (`front` for camera 1, `side` for the others, `held` for validation of cross-view).
    """
    ordered = sorted(samples)
    held = cross_view_validation(ordered)
    found: dict[str, list[Sample]] = {
        f"{who}-{seen}": [] for who in ("learnt", "new") for seen in ("front", "side", "held")
    }
    for s in ordered:
        who = "learnt" if s.subject in TRAINING_60 else "new"
        seen = "front" if s.camera == TEST_CAMERA else "held" if s in held else "side"
        found[f"{who}-{seen}"].append(s)
    return found


def parts_120(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """The four atoms of cross-subject and cross-setup: `learnt` or `new` subjects, `even` or `odd` setups."""
    found: dict[str, list[Sample]] = {f"{w}-{p}": [] for w in ("learnt", "new") for p in ("even", "odd")}
    for s in sorted(samples):
        who = "learnt" if s.subject in TRAINING_120 else "new"
        found[f"{who}-{'odd' if s.setup % 2 else 'even'}"].append(s)
    return found


def cross_view_validation(samples: Sequence[Sample]) -> frozenset[Sample]:
    """31 training samples of each action, as Garcia et al. draw them: numpy's generator with seed 0 goes
    through the actions in order and takes from their names, sorted. Of an action with fewer than twice as
    many, half.
    """
    import numpy as np

    by_action: dict[int, list[Sample]] = defaultdict(list)
    for s in samples:
        if s.camera != TEST_CAMERA:
            by_action[s.action].append(s)
    rng = np.random.RandomState(0)
    held: set[Sample] = set()
    for action in sorted(by_action):
        there = sorted(by_action[action])
        count = min(VALIDATION_PER_CLASS, len(there) // 2)
        held |= {there[i] for i in rng.choice(len(there), count, replace=False)}
    return frozenset(held)
