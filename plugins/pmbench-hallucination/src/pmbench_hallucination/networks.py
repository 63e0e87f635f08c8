"""Networks of mdms: two classifiers in lockstep, the temporal convolution, a fixed noise on an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import pmbench as pm

from .resnet import ConnectedStage, TemporalConvolution

Inputs = Mapping[str, Tensor]
Stream = Any
"""A pm.Classifier, or a frozen one."""


def spread_over_time(classifier: Stream) -> Stream:
    """Adds a fresh temporal convolution after every block of a classifier of clips, in place.

    A classifier whose backbone has its own is left unchanged.
    """
    if any(isinstance(module, TemporalConvolution) for module in classifier.encoder.modules()):
        return classifier
    blocks = classifier.encoder.blocks
    for i, declared in enumerate(classifier.encoder.maps):
        blocks[i] = nn.Sequential(blocks[i], TemporalConvolution(declared.channels))
    return classifier


def inject(u: Tensor, m: Tensor, form: str) -> Tensor:
    """m multiplied into u: u + u*m as in the authors' code, or u*m as eq. 2 is printed ("paper")."""
    return u + u * m if form == "code" else u * m


def lockstep(source: Stream, into: Stream, batch: Inputs, form: str) -> tuple[pm.Output, pm.Output]:
    """Outputs of both classifiers, each block's activations of `source` multiplied into those of `into`.

    Gradients flow into both. Stages of `mdms_resnet50` are connected inside, as in the paper. Elsewhere the
    maps are the blocks' own results, before the multiplication that follows them.
    """
    m, u = source.encoder.stem(batch[source.fed]), into.encoder.stem(batch[into.fed])
    given, received = [], []
    for giving, receiving in zip(source.encoder.blocks, into.encoder.blocks, strict=True):
        if isinstance(receiving, ConnectedStage):
            gate = giving.first(m)
            m, u = giving.rest(gate), receiving.rest(receiving.first(u), gate, form)
        else:
            m, u = giving(m), receiving(u)
        given.append(m)
        received.append(u)
        u = u if isinstance(receiving, ConnectedStage) else inject(u, m, form)
    return _output(source, m, given), _output(into, u, received)


def _output(classifier: Stream, x: Tensor, maps: list[Tensor]) -> pm.Output:
    encoder = classifier.encoder
    pooled = encoder.pool(x)
    if classifier.bottleneck is not None:
        pooled = classifier.bottleneck(pooled)
    declared = zip(maps, encoder.maps, strict=True)
    return pm.Output(classifier.head(pooled), pooled, tuple(_on_grid(m, len(d.stride)) for m, d in declared))


def _on_grid(raw: Tensor, axes: int) -> Tensor:
    """(B, C, 1, ..., *grid) -> (B, C, *grid): some encoders compute with more axes than their maps have."""
    while raw.dim() > 2 + axes:
        raw = raw.squeeze(2)
    return raw


def branches(
    target: Stream, privileged: Stream, batch: Inputs, connection: str, form: str
) -> tuple[pm.Output, pm.Output]:
    """Outputs of target and privileged classifier; `connection` is the direction of multiplication."""
    if connection == "p2t":
        p, t = lockstep(privileged, target, batch, form)
        return t, p
    if connection == "t2p":
        return lockstep(target, privileged, batch, form)
    return target(batch), privileged(batch)


class Connected(pm.Mean):
    """Target and privileged classifier, connected: the mean of their logits, their pooled features joined."""

    def __init__(self, target: Stream, privileged: Stream, connection: str, form: str) -> None:
        super().__init__(target, privileged)
        self.connection = connection
        self.form = form

    def forward(self, batch: Inputs) -> pm.Output:
        target, privileged = self.networks
        t, p = branches(target, privileged, batch, self.connection, self.form)
        return pm.Output((t.logits + p.logits) / 2, torch.cat([t.pooled, p.pooled], 1))


class Receiving(nn.Module):
    """The classifier `into` alone, with `source` multiplied into it."""

    def __init__(self, source: Stream, into: Stream, form: str) -> None:
        super().__init__()
        self.source = source
        self.into = into
        self.form = form

    def forward(self, batch: Inputs) -> pm.Output:
        return lockstep(self.source, self.into, batch, self.form)[1]


class NoisyInput(nn.Module):
    """A network that sees `modality` times noise drawn once: N(1, variance) for every element, or zeros."""

    noise: Tensor

    def __init__(
        self, network: nn.Module, modality: str, shape: tuple[int, ...], variance: float | None
    ) -> None:
        super().__init__()
        self.network = network
        self.modality = modality
        drawn = torch.zeros(shape) if variance is None else 1 + variance**0.5 * torch.randn(shape)
        self.register_buffer("noise", drawn)

    def forward(self, batch: Inputs) -> pm.Output:
        return self.network({**batch, self.modality: batch[self.modality] * self.noise})
