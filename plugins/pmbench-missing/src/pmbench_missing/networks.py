"""Streams that may lack an input, and networks that make the missing input from another one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pmbench as pm


class Instead(nn.Module):
    """What a stream is given, or its head, where the modality is missing.

    `value` (C, 1, ...) for inputs of `shape`, or (D,) for pooled features (`shape` is None); with `learned`
    it is a parameter.
    """

    def __init__(self, value: Tensor, shape: tuple[int, ...] | None, *, learned: bool = False) -> None:
        super().__init__()
        self.shape = shape
        if learned:
            self.value = nn.Parameter(value)
        else:
            self.register_buffer("value", value)

    def put(self, there: Tensor, missing: Tensor) -> Tensor:
        """`there` (B, ...) with the value in the rows that `missing` (B,) marks."""
        return torch.where(missing.view(-1, *(1,) * (there.dim() - 1)), self.value, there)


class Elements(nn.Module):
    """Dropout of the elements of an input (B, C, ...), in training: a dropped one is `value` (C, 1, ...).

    The others are moved away from it by 1 / (1 - rate), as by dropout of the raw input.
    """

    def __init__(self, rate: float, value: Tensor) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("value", value)

    def forward(self, x: Tensor) -> Tensor:
        return self.value + F.dropout(x - self.value, self.rate) if self.training else x


class Streams(nn.Module):
    """One network for each modality, of which samples may lack some: batch -> mean of the logits.

    `instead`: modality -> what takes its place, at the input or at the pooled features. `elements`: modality
    -> dropout of its input's elements, for those that have it.
    """

    def __init__(
        self,
        streams: Mapping[str, pm.Classifier],
        instead: Mapping[str, Instead],
        elements: Mapping[str, Elements],
    ) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)
        self.instead = nn.ModuleDict(instead)
        self.elements = nn.ModuleDict(elements)

    def logits(self, batch: pm.Batch, missing: Mapping[str, Tensor]) -> Tensor:
        """(B, K). `missing`: modality -> (B,) bool."""
        each = []
        for m, stream in self.streams.items():
            x, instead = batch[m], self.instead[m]
            if m in self.elements:
                x = self.elements[m](x)
            if instead.shape is not None:
                x = instead.put(x, missing[m])
            pooled = stream.encoder(x)[1]
            if instead.shape is None:
                pooled = instead.put(pooled, missing[m])
            each.append(stream.head(pooled))
        return torch.stack(each).mean(0)


class Without(nn.Module):
    """Streams of which the target alone has its input: batch of the target -> Output.

    The logits of every other stream are one vector, computed from one row.
    """

    def __init__(self, whole: Streams, target: str) -> None:
        super().__init__()
        self.whole, self.target = whole, target

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        shown = self.whole.streams[self.target](batch)
        each = [
            shown.logits if m == self.target else self._constant(m).expand_as(shown.logits)
            for m in self.whole.streams
        ]
        return shown._replace(logits=torch.stack(each).mean(0))

    def _constant(self, modality: str) -> Tensor:
        """(1, K)."""
        stream, instead = self.whole.streams[modality], self.whole.instead[modality]
        if instead.shape is None:
            return stream.head(instead.value.unsqueeze(0))
        x = instead.value.expand(1, *instead.shape).contiguous()
        return stream.head(stream.encoder(x)[1])


# --- networks that make an input ----------------------------------------------------------------------------


class Generator(nn.Module):
    """An encoder of `fed` and a decoder for each modality that is made: batch -> {modality: (B, ...)}."""

    def __init__(self, fed: str, encoder: pm.Encoder, decoders: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.fed, self.encoder = fed, encoder
        self.decoders = nn.ModuleDict(decoders)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        maps, pooled = self.encoder(batch[self.fed])
        return {m: decoder(maps, pooled) for m, decoder in self.decoders.items()}


class FromPooled(nn.Module):
    """Two layers from pooled features (B, D) to (B, *shape), the hidden one D wide, with ReLU."""

    def __init__(self, features: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.layers = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, math.prod(shape))
        )

    def forward(self, maps: tuple[Tensor, ...], pooled: Tensor) -> Tensor:
        return self.layers(pooled).unflatten(1, self.shape)


class FromMap(nn.Module):
    """Transposed convolutions from the last map (B, C, *grid) of an encoder to (B, *shape).

    Each doubles the axes that are still too short, halves the channels and ends with batch norm and ReLU; the
    last is a convolution to the channels of `shape`. What is too long at the end is cut. Kernels of 3 in the
    first half, of 5 in the second, as in the authors' network of five layers.
    """

    def __init__(self, encoder: pm.Encoder, fed: Sequence[int], shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        channels, *grid = _last_map(encoder, fed)
        doublings = [max(0, math.ceil(math.log2(n / g))) for n, g in zip(shape[1:], grid, strict=True)]
        count = max(doublings)
        transposed, norm, conv = _LAYERS[len(grid)]
        layers: list[nn.Module] = []
        for step in range(count):
            after, kernel = max(channels // 2, 8), 3 if step < count / 2 else 5
            stride = tuple(2 if step < d else 1 for d in doublings)
            more = tuple(s - 1 for s in stride)
            layers += [
                transposed(channels, after, kernel, stride, kernel // 2, more, bias=False),
                norm(after),
                nn.ReLU(),
            ]
            channels = after
        layers.append(conv(channels, shape[0], 5, padding=2))
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: tuple[Tensor, ...], pooled: Tensor) -> Tensor:
        made = self.layers(maps[-1])
        return made[(..., *(slice(n) for n in self.shape[1:]))]


_LAYERS = {
    1: (nn.ConvTranspose1d, nn.BatchNorm1d, nn.Conv1d),
    2: (nn.ConvTranspose2d, nn.BatchNorm2d, nn.Conv2d),
    3: (nn.ConvTranspose3d, nn.BatchNorm3d, nn.Conv3d),
}


def _last_map(encoder: pm.Encoder, shape: Sequence[int]) -> tuple[int, ...]:
    """(channels, *grid) of the last map for an input of `shape`."""
    training = encoder.training
    with torch.no_grad():
        found = encoder.eval()(torch.zeros(1, *shape))[0][-1]
    encoder.train(training)
    return tuple(found.shape[1:])


class Filled(nn.Module):
    """A fused network that is given what a generator makes of the target: batch of the target -> Output."""

    def __init__(self, generator: nn.Module, fused: nn.Module, target: str) -> None:
        super().__init__()
        self.generator, self.fused, self.target = generator, fused, target

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        return self.fused({self.target: batch[self.target], **self.generator(batch)})


class FilledFeatures(Filled):
    """As Filled, for streams side by side and a generator of their pooled features."""

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        made = self.generator(batch)
        each = {
            m: stream(batch) if m == self.target else pm.Output(stream.head(made[m]), made[m])
            for m, stream in by_modality(self.fused).items()
        }
        logits = torch.stack([o.logits for o in each.values()]).mean(0)
        return pm.Output(logits, torch.cat([o.pooled for o in each.values()], 1))


def by_modality(fused: nn.Module) -> dict[str, nn.Module]:
    """The streams of late fusion by modality."""
    return {stream.fed: stream for stream in fused.networks}


class Judge(nn.Module):
    """Whether an input is real: (B, *shape) -> (B,)."""

    def __init__(self, encoder: pm.Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.score = nn.Linear(encoder.features, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.encoder(x)[1]).squeeze(1)
