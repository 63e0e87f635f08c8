"""Backbones: encoders of one modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ContractError
from .modality import Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..networks.modules import Encoder

PROVIDES = ("pooled", "maps", "mean")
"""Pooled features; maps; and "mean", where the pooled features are the mean of the last map over its grid."""

Converter = Callable[[Mapping[str, "Tensor"]], Mapping[str, "Tensor"]]


@dataclass(frozen=True)
class Weights:
    """Selected pretrained weights: their name and the SHA-256 of their tensors, which enters every key.

    `digest` has its 64 hexadecimal digits.
    """

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} {self.digest[:12]}"


@dataclass(frozen=True)
class Pretrained:
    """Pretrained weights available for a backbone.

    `urls` maps names of weights to URLs of checkpoints. `convert` maps a checkpoint's tensors by name to the
    tensors of the encoder for the modality of pretraining; it drops heads and keeps unknown names. Tensors
    of the encoder whose names contain `fresh` are in no checkpoint and keep their random init.
    """

    urls: Mapping[str, str]
    convert: Converter
    fresh: str = ""


def renamed(make: Callable[[], tuple[nn.Module, nn.Module]], heads: tuple[str, ...] = ()) -> Converter:
    """A `Pretrained.convert` for encoders made of parts of a library's model.

    `make` returns the library's model and an encoder that shares its tensors. The converter renames shared
    tensors, and drops all others and those of the modules named in `heads`.
    """

    def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        library, encoder = make()
        ours = {id(tensor): name for name, tensor in encoder.state_dict(keep_vars=True).items()}
        theirs = library.state_dict(keep_vars=True).items()
        names = {name: ours.get(id(tensor), "") for name, tensor in theirs}
        names |= {name: "" for name in tensors if name.startswith(tuple(f"{head}." for head in heads))}
        return {new: tensor for name, tensor in tensors.items() if (new := names.get(name, name))}

    return convert


@dataclass(frozen=True)
class Backbone:
    """An encoder architecture of one size; made by the decorator `pm.backbone`.

    `name` holds the size, `summary` is one line for lists. `kinds` are the modality kinds that it accepts,
    `provides` a subset of {"pooled", "maps", "mean"}; "mean" says that the pooled vector is the mean of the
    last map over its grid, so that a head can classify regions. `build(modality, size)` returns an Encoder
    whose stem takes the modality's channels. The optional `tail(kind, size, start, channels)` returns the
    encoder's blocks from `start` on for a map of `channels` channels; fusion networks join maps at block
    `fuse_at`. `pretrained` describes the available weights, `weights` the selected ones; None means random
    init. `libraries` names the distributions besides torch whose modules it uses; their versions enter every
    key.
    """

    name: str
    kinds: frozenset[str]
    provides: frozenset[str]
    summary: str
    size: int
    build: Callable[[Modality, int], Encoder] = field(repr=False)
    tail: Callable[[str, int, int, int], Encoder] | None = field(default=None, repr=False)
    fuse_at: int = 1
    pretrained: Pretrained | None = field(default=None, repr=False, hash=False)
    weights: Weights | None = None
    libraries: tuple[str, ...] = ()

    def accepts(self, modality: Modality) -> bool:
        return modality.kind in self.kinds

    @property
    def label(self) -> str:
        """The name, with the selected weights if any."""
        return f"{self.name} ({self.weights})" if self.weights else self.name


@dataclass(frozen=True)
class BackboneFamily:
    """An open set of backbones named `<prefix><rest>`, for example `timm/resnet18`.

    `make(rest)` returns the backbone; raises UnknownName for unknown names. `summary` is one line for lists.
    `kinds` and `provides` are the unions over its members.
    """

    prefix: str
    kinds: frozenset[str]
    provides: frozenset[str]
    summary: str
    make: Callable[[str], Backbone] = field(repr=False)

    @property
    def name(self) -> str:
        """The prefix with three dots, for lists."""
        return f"{self.prefix}..."


def backbone(
    name: str,
    *,
    kinds: tuple[str, ...],
    provides: tuple[str, ...],
    sizes: Mapping[str, int],
    tail: Callable[[str, int, int, int], Encoder] | None = None,
    fuse_at: int = 1,
    pretrained: Mapping[str, Pretrained] | None = None,
    libraries: tuple[str, ...] = (),
) -> Callable[[Callable[[Modality, int], Encoder]], tuple[Backbone, ...]]:
    """Decorator: turns a function `(modality, size) -> Encoder` into one backbone per size, `name-<label>`.

    `sizes` maps labels to sizes; label "" gives the plain `name`. `pretrained` maps labels to available
    weights. See `pm.Backbone` for the rest. Raises ContractError for unknown `provides`.
    """
    if unknown := set(provides) - set(PROVIDES):
        raise ContractError(
            f"backbone {name!r}: provides {sorted(unknown)} unknown; known are {', '.join(PROVIDES)}"
        )

    def make(build: Callable[[Modality, int], Encoder]) -> tuple[Backbone, ...]:
        summary = (build.__doc__ or "").strip().partition("\n")[0]
        return tuple(
            Backbone(
                f"{name}-{label}" if label else name,
                frozenset(kinds),
                frozenset(provides),
                summary,
                size,
                build,
                tail,
                fuse_at,
                (pretrained or {}).get(label),
                libraries=libraries,
            )
            for label, size in sizes.items()
        )

    return make
