"""Settings: target and privileged modalities of a protocol, with their backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import Unsupported
from .backbone import Backbone
from .modality import Modality


@dataclass(frozen=True)
class Setting:
    """The learning problem of a method: train on `target` and `privileged`, test on `target` alone.

    `num_classes` is K. `demands` may hold "unlabelled" (some training samples have no label) and "unpaired"
    (some have no privileged modality). `modalities` and `backbones` map names of modalities to their
    declaration and to the selected backbone.
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
        """The single target modality; raises Unsupported for several."""
        return self._single(self.target, "target")

    def only_privileged(self) -> str:
        """The single privileged modality; raises Unsupported for several or none."""
        return self._single(self.privileged, "privileged")

    @staticmethod
    def _single(names: tuple[str, ...], role: str) -> str:
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise Unsupported(f"needs exactly one {role} modality, this setting has {len(names)} ({listed})")
        return names[0]

    def aligned(self, first: str, second: str) -> bool:
        """Whether both modalities are on one grid."""
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

    def require_mean(self, *names: str) -> None:
        """Raises Unsupported unless every named modality's pooled features are the mean of its last map."""
        for name in names:
            backbone = self.backbones[name]
            if "mean" not in backbone.provides:
                raise Unsupported(
                    f"shows regions of the last map of {name!r} to the head, but backbone {backbone.name!r} "
                    "does not pool by their mean, so that its head was made for other vectors",
                    "choose one that lists `mean` in `pmbench list backbones`",
                )

    def require_aligned(self, first: str, second: str) -> None:
        """Raises Unsupported unless both modalities are on one grid."""
        if not self.aligned(first, second):
            raise Unsupported(
                f"compares maps position by position, but {first!r} and {second!r} are not aligned"
            )
