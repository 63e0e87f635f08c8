"""Modalities: named input streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModalityKind:
    """A kind of modality, by the shape of one sample; a backbone declares which kinds it accepts.

    `name` is what modalities and backbones call it, `shape` names the axes. `examples` are shapes that every
    backbone of the kind is checked on.
    """

    name: str
    shape: str
    examples: tuple[tuple[int, ...], ...]


KINDS: Mapping[str, ModalityKind] = {
    kind.name: kind
    for kind in (
        ModalityKind("vector", "(D,): features", ((12,), (5,))),
        ModalityKind(
            "sequence",
            "(C, T): channels by time steps; inertial, seismic, acoustic, log-mel as channels",
            ((6, 32), (1, 21)),
        ),
        ModalityKind(
            "image",
            "(C, H, W): rgb, depth, infrared, spectrum, log-mel as an image",
            ((3, 32, 32), (1, 21, 32)),
        ),
        ModalityKind("clip", "(C, T, H, W): video, optical flow", ((3, 8, 32, 32), (1, 8, 21, 32))),
    )
}
"""The built-in kinds; plugins offer others by the hook `pmbench_modality_kinds`."""


@dataclass(frozen=True)
class Modality:
    """A named input stream.

    `name` is that of its data set, such as "rgb". `shape` is the shape of one sample at the network's input,
    with the axes of its `kind`. `unit` is the unit of measurement. Modalities with the same `grid` are
    aligned: equal positions (h, w) or time steps t show the same content, and augmentation shares its random
    draws between them.

    Stored frames (`Files`) may be larger than `shape`: training takes random crops, test center crops.
    `flip`, applied to half of the training samples: "" none, "mirror" a horizontal flip, "negate" a
    horizontal flip that negates the first channel (horizontal optical flow).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    unit: str
    grid: str = ""
    flip: Literal["", "mirror", "negate"] = ""

    @property
    def channels(self) -> int:
        """The first axis of `shape`."""
        return self.shape[0]
