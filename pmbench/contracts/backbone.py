"""A backbone: encoder for one modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ContractError
from .modality import Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..networks.modules import Encoder

PROVIDES = ("pooled", "maps")

Converter = Callable[[Mapping[str, "Tensor"]], Mapping[str, "Tensor"]]


@dataclass(frozen=True)
class Weights:
    """Pretrained weights: what they go by, and the SHA-256 of their tensors, which is part of every key."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} {self.digest[:12]}"


@dataclass(frozen=True)
class Pretrained:
    """The pretrained weights that a backbone may start from.

    `urls` maps their names to addresses. `convert` takes the tensors of such a file, by the names of the
    library that made it, to those of the encoder for the modality it was trained on: heads are left out, what
    it does not know is left as it is. Tensors of the encoder whose names contain `fresh` are in no file.
    """

    urls: Mapping[str, str]
    convert: Converter
    fresh: str = ""


def renamed(make: Callable[[], tuple[nn.Module, nn.Module]], heads: tuple[str, ...] = ()) -> Converter:
    """`Pretrained.convert` for an encoder made of parts of a library's model.

    `make` gives the library's model and an encoder that shares its tensors. What the encoder does not share
    is left out, and what lies in a module of the file that is named in `heads`.
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
    """A named family of encoders, at one size.

    `build(modality, size)` gives an Encoder whose stem takes the modality's channels. `tail(kind, size,
    start, channels)`, if offered, gives the encoder's blocks from `start` on for a map of `channels`
    channels: fusion networks join maps there, at block `fuse_at`. `pretrained` says what it may start from,
    `weights` what it does start from; without, from chance. `libraries` names the distributions, besides
    torch, whose code it is made of: their versions are part of every key.
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
        """Its name, with the weights it starts from, if any."""
        return f"{self.name} ({self.weights})" if self.weights else self.name


@dataclass(frozen=True)
class BackboneFamily:
    """Backbones without number, named `prefix` and what `make` takes: `timm/` and the name of a model.

    `make(rest of the name)` gives the backbone, or raises UnknownName. `kinds` and `provides` are those that
    its members may have.
    """

    prefix: str
    kinds: frozenset[str]
    provides: frozenset[str]
    summary: str
    make: Callable[[str], Backbone] = field(repr=False)

    @property
    def name(self) -> str:
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
    """Makes backbones of a function `(modality, size) -> Encoder`, one for each named size: `name-<size>`.

    The size "" is called `name` alone. `pretrained` says by size which weights there are.
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
