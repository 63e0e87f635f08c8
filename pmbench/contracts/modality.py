"""A modality: a named input stream, its kind and the shape of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

KINDS: Mapping[str, str] = {
    "vector": "(D,) features",
    "sequence": "(C, T) channels by time steps: inertial, seismic, acoustic, log-mel as channels",
    "image": "(C, H, W): rgb, depth, infrared, spectrum, log-mel as a picture",
    "clip": "(C, T, H, W): video, optical flow",
}
"""Modality kinds a backbone can accept, with the shape of one sample."""


@dataclass(frozen=True)
class Modality:
    """A named input stream as a network sees it.

    `shape` is one sample's shape without the batch, as listed for its kind in `KINDS`. `unit` is what the
    numbers are measured in. Modalities that name the same `grid` are aligned: position (h, w), or time step
    t, of one shows what the same position of the other shows, and augmentation draws are shared between them.

    What is stored as frames (`Files`) may be larger than `shape`: a random part of it is cut out in training,
    the middle at test. `flip` says what half of the training samples undergo: "" nothing, "mirror" left and
    right change places, "negate" likewise with the first channel's sign reversed (horizontal optical flow).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    unit: str
    grid: str = ""
    flip: Literal["", "mirror", "negate"] = ""

    @property
    def channels(self) -> int:
        return self.shape[0]
