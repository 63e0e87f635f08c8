"""Recordings, and the official windows cut from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import pmbench as pm

LENGTH, HOP = 128, 64  # samples at 50 Hz
OFFICIAL = (7767, 3162)  # windows of all 12 labels of the training and the test subjects


@dataclass(frozen=True)
class Recording:
    """One experiment; `index` counts those of one user from 0.

    `signal` (N, 6) float32: acceleration in g, angular velocity in rad/s; `labels` (N,): 1..12, -1 for none.
    """

    user: int
    index: int
    signal: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Windows:
    """`ids` name user, recording and first sample; `users` (N,), `labels` (N,), `signals` (N, 6, 128)."""

    ids: list[str]
    users: np.ndarray
    labels: np.ndarray
    signals: np.ndarray


def cut(recordings: Iterable[Recording]) -> Windows:
    """Windows of 128 samples, half overlapping, inside each bout: a maximal run of one label."""
    ids, users, labels, signals = [], [], [], []
    for recording in recordings:
        changes = np.flatnonzero(np.diff(recording.labels)) + 1
        bounds = [0, *changes.tolist(), len(recording.labels)]
        for start, end in pairwise(bounds):
            label = int(recording.labels[start]) if end > start else -1
            if label < 1:
                continue
            for first in range(start, end - LENGTH + 1, HOP):
                ids.append(f"u{recording.user:02d}-r{recording.index}-w{first:05d}")
                users.append(recording.user)
                labels.append(label)
                signals.append(recording.signal[first : first + LENGTH].T)
    stacked = np.stack(signals) if signals else np.zeros((0, 6, LENGTH), np.float32)
    return Windows(ids, np.array(users, np.int64), np.array(labels, np.int64), stacked)


def check_official(windows: Windows, tested: np.ndarray) -> None:
    """Raises DataError unless there are as many windows as officially; `tested` (N,): of test subjects."""
    counts = (int((~tested).sum()), int(tested.sum()))
    if counts != OFFICIAL:
        raise pm.DataError(
            f"{counts[0]} training and {counts[1]} test windows; the official data set has {OFFICIAL[0]} and "
            f"{OFFICIAL[1]} (12 labels)",
            "the source is incomplete or was changed: get it again",
        )
    if not np.isfinite(windows.signals).all():
        raise pm.DataError("the source holds numbers that are not finite", "get it again")
