"""A backbone: encoder for one modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ContractError
from .setting import KINDS, Modality

if TYPE_CHECKING:
    from .network import Encoder

PROVIDES = ("pooled", "maps")


@dataclass(frozen=True)
class Backbone:
    """A named family of encoders, at one size.

    `build(modality, size)` gives an Encoder whose stem takes the modality's channels. `tail(kind, size,
    start, channels)`, if offered, gives the encoder's blocks from `start` on for a map of `channels`
    channels: fusion networks join maps there, at block `fuse_at`. `weights` maps the name of pretrained
    weights to their SHA-256, which enters the key of every stage.
    """

    name: str
    kinds: frozenset[str]
    provides: frozenset[str]
    summary: str
    size: int
    build: Callable[[Modality, int], Encoder] = field(repr=False)
    tail: Callable[[str, int, int, int], Encoder] | None = field(default=None, repr=False)
    fuse_at: int = 1
    weights: Mapping[str, str] = field(default_factory=dict, hash=False)

    def accepts(self, modality: Modality) -> bool:
        return modality.kind in self.kinds


def backbone(
    name: str,
    *,
    kinds: tuple[str, ...],
    provides: tuple[str, ...],
    sizes: Mapping[str, int],
    tail: Callable[[str, int, int, int], Encoder] | None = None,
    fuse_at: int = 1,
) -> Callable[[Callable[[Modality, int], Encoder]], tuple[Backbone, ...]]:
    """Makes backbones of a function `(modality, size) -> Encoder`, one for each named size: `name-<size>`."""
    for what, given, known in (("kinds", kinds, KINDS), ("provides", provides, PROVIDES)):
        strange = set(given) - set(known)
        if strange:
            raise ContractError(
                f"backbone {name!r}: {what} {sorted(strange)} unknown; known are {', '.join(known)}"
            )

    def make(build: Callable[[Modality, int], Encoder]) -> tuple[Backbone, ...]:
        summary = (build.__doc__ or "").strip().partition("\n")[0]
        return tuple(
            Backbone(
                f"{name}-{label}", frozenset(kinds), frozenset(provides), summary, size, build, tail, fuse_at
            )
            for label, size in sizes.items()
        )

    return make
