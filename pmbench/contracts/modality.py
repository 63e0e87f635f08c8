"""A modality: a named input stream, its kind and the shape of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModalityKind:
    """A kind of modality, by the shape of one sample; a backbone declares which kinds it accepts.

    `shape` names the axes. `examples` are shapes that every backbone of the kind is checked on.
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
    """A named input stream as a network sees it.

    `shape` is one sample's shape without the batch, as its `ModalityKind` names it. `unit` is what the
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
