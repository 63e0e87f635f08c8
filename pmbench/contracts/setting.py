"""Which modalities there are, which of them are privileged, and what the data asks of a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..errors import Unsupported

if TYPE_CHECKING:
    from .backbone import Backbone

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


@dataclass(frozen=True)
class Setting:
    """What a method is asked to do: learn from `target` and `privileged`, be tested on `target` alone.

    `demands` says what training samples may lack under the protocol: "unlabelled" (some have no label),
    "unpaired" (some have no privileged modality). `backbones` maps each modality to the backbone chosen for
    it.
    """

    target: tuple[str, ...]
    privileged: tuple[str, ...]
    num_classes: int
    modalities: Mapping[str, Modality] = field(hash=False)
    backbones: Mapping[str, Backbone] = field(hash=False)
    demands: frozenset[str] = frozenset()

    @property
    def all(self) -> tuple[str, ...]:
        """Target modalities, then privileged ones."""
        return (*self.target, *self.privileged)

    def only_target(self) -> str:
        """The single target modality; raises Unsupported where the setting has several."""
        return self._single(self.target, "target")

    def only_privileged(self) -> str:
        """The single privileged modality; raises Unsupported where the setting has several or none."""
        return self._single(self.privileged, "privileged")

    @staticmethod
    def _single(names: tuple[str, ...], role: str) -> str:
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise Unsupported(f"needs exactly one {role} modality, this setting has {len(names)} ({listed})")
        return names[0]

    def aligned(self, first: str, second: str) -> bool:
        """Whether both modalities are declared on one grid."""
        grid = self.modalities[first].grid
        return bool(grid) and grid == self.modalities[second].grid

    def require_maps(self, *names: str) -> None:
        """Raises Unsupported unless the backbone of every named modality provides feature maps."""
        for name in names:
            backbone = self.backbones[name]
            if "maps" not in backbone.provides:
                raise Unsupported(
                    f"needs feature maps of {name!r}, but backbone {backbone.name!r} gives pooled features "
                    "only",
                    "choose one that lists `maps` in `pmbench list backbones`",
                )

    def require_aligned(self, first: str, second: str) -> None:
        """Raises Unsupported unless the two modalities lie on one grid."""
        if not self.aligned(first, second):
            raise Unsupported(
                f"compares maps position by position, but {first!r} and {second!r} are not aligned"
            )
