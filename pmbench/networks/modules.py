"""Networks shared by backbones and methods, and their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ContractError

Inputs = Mapping[str, Tensor]


class Output(NamedTuple):
    """Output of networks that are evaluated.

    `logits` (B, K); `pooled` (B, D), the features before the head; `maps`, one (B, C_l, *grid_l) per block.
    Fusion networks return the maps after the point of fusion.
    """

    logits: Tensor
    pooled: Tensor
    maps: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class MapInfo:
    """Declaration of a feature map: channels, and stride (input positions per map position) of each axis."""

    channels: int
    stride: tuple[int, ...]


class Encoder(nn.Module):
    """Encoder of one modality: stem, blocks in order, pool. Each block outputs a map.

    `maps` declares the maps (empty if the blocks output none), `features` is the width D of the pooled
    vector. `pool` reduces the output of the last block to (B, D).
    """

    def __init__(
        self,
        stem: nn.Module,
        blocks: Sequence[nn.Module],
        pool: nn.Module,
        maps: Sequence[MapInfo],
        features: int,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.pool = pool
        self.maps = tuple(maps)
        self.features = features

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(B, *shape) -> maps, pooled (B, D)."""
        x = self.stem(x)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return tuple(maps) if self.maps else (), self.pool(x)


class Head(nn.Linear):
    """Linear classifier: features (B, D) -> logits (B, K)."""


class Classifier(nn.Module):
    """Encoder and head on the modality `fed`: batch -> Output."""

    def __init__(self, fed: str, encoder: Encoder, head: Head, bottleneck: nn.Module | None = None) -> None:
        super().__init__()
        self.fed = fed
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.head = head

    def forward(self, batch: Inputs) -> Output:
        maps, pooled = self.encoder(batch[self.fed])
        if self.bottleneck is not None:
            pooled = self.bottleneck(pooled)
        return Output(self.head(pooled), pooled, maps)


class Fusion(nn.Module):
    """One network over several modalities: batch -> Output.

    With a `tail`, the trunks' last maps are joined along channels and the tail's blocks and pool follow.
    Without, the trunks' pooled vectors are joined and pass a two-layer perceptron of width D.
    """

    def __init__(
        self,
        trunks: Mapping[str, Encoder],
        tail: Encoder | None,
        features: int,
        num_classes: int,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        self.trunks = nn.ModuleDict(trunks)
        self.tail = tail
        if tail is None:
            joined = sum(e.features for e in trunks.values())
            hidden = hidden or features
            self.joint = nn.Sequential(
                nn.Linear(joined, hidden), nn.ReLU(), nn.Linear(hidden, features), nn.ReLU()
            )
        self.head = Head(features, num_classes)

    def forward(self, batch: Inputs) -> Output:
        if self.tail is None:
            pooled = self.joint(torch.cat([trunk(batch[m])[1] for m, trunk in self.trunks.items()], 1))
            return Output(self.head(pooled), pooled)
        joined = torch.cat([trunk(batch[m])[0][-1] for m, trunk in self.trunks.items()], 1)
        maps, pooled = self.tail(joined)
        return Output(self.head(pooled), pooled, maps)


class Joint(nn.Module):
    """The stem of a tail: (B, k C, *grid), k maps joined, -> (B, C, *grid), linear at every position.

    Its init is the mean of the k maps, which keeps the input distribution of pretrained blocks.
    """

    def __init__(self, joined: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(joined, channels, bias=False)
        count = joined // channels
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(channels).repeat(1, count) / count)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.movedim(1, -1)).movedim(-1, 1)


def tail_of(encoder: Encoder, start: int, joined: int) -> Encoder:
    """The encoder's blocks from `start` on, behind a Joint for maps of `joined` channels."""
    before = encoder.maps[start - 1]
    maps = [
        MapInfo(m.channels, tuple(a // b for a, b in zip(m.stride, before.stride, strict=True)))
        for m in encoder.maps[start:]
    ]
    blocks = list(encoder.blocks[start:])
    return Encoder(Joint(joined, before.channels), blocks, encoder.pool, maps, encoder.features)


class Mean(nn.Module):
    """Ensemble of networks: mean of the logits, concatenated pooled features."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, batch: Inputs) -> Output:
        outputs = [network(batch) for network in self.networks]
        logits = torch.stack([o.logits for o in outputs]).mean(0)
        return Output(logits, torch.cat([o.pooled for o in outputs], 1))


class Frozen(nn.Module):
    """A finished network in evaluation mode with frozen parameters; gradients pass through to its input.

    Attributes of the wrapped network (`head`, `encoder`, ...) are available on the wrapper.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def forward(self, batch: Inputs) -> Any:
        return self.network(batch)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


class Nets(nn.Module):
    """Networks of a stage by name: `Nets(student=..., teacher=...)`, accessed as `nets.student`."""

    def __init__(self, **networks: nn.Module) -> None:
        super().__init__()
        for name, network in networks.items():
            if not isinstance(network, nn.Module):
                raise ContractError(f"Nets({name}=...) is a {type(network).__name__}, not a torch module")
            self.add_module(name, network)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> nn.Module: ...

    def forward(self, batch: Inputs) -> Output:
        raise ContractError("Nets are a container; call one of the networks inside")
