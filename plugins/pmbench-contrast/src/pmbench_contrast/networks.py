"""Networks beside the student: contrast with memory, the critic, compositions, shared encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import pmbench as pm

from .losses import noise_contrast, relations

SIDES = (0, 1)
"""Student and teacher."""


class Contrast(nn.Module):
    """A projection head and a memory bank for either side; noise contrast of each side with the other's bank.

    `constants` are Z of both sides, fixed at the first batch that has samples; 0 before.
    """

    start_at_length_1 = False

    def __init__(
        self, features: Sequence[int], labels: Tensor, width: int, momentum: float, tau: float, negatives: int
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(pm.ProjectionHead(d, width) for d in features)
        self.banks = nn.ModuleList(
            pm.MemoryBank(labels, width, momentum, self.start_at_length_1) for _ in features
        )
        self.constants = nn.Buffer(torch.zeros(2))
        self.size, self.tau, self.negatives = len(labels), tau, negatives

    def forward(self, features: Sequence[Tensor], index: Tensor, settled: bool) -> Tensor:
        """Both sides' terms, added. features: student's (n, D), teacher's (n, E); index (n,) of the samples.

        `settled`: each sample has been seen, so that rows never written are no negatives.
        """
        vectors = [head(x) for head, x in zip(self.heads, features, strict=True)]
        banks: Any = self.banks
        positions, valid = banks[0].negatives(index, self.negatives, settled)
        positions = torch.cat([index[:, None], positions], 1)
        terms = [self.side(s, vectors[s], banks[1 - s].rows, positions, valid) for s in SIDES]
        for bank, moved in zip(banks, vectors, strict=True):
            bank.update(index, moved.detach())
        return terms[0] + terms[1]

    def side(self, side: int, vectors: Tensor, rows: Tensor, positions: Tensor, valid: Tensor) -> Tensor:
        """Term of vectors (n, width) against rows (N, width); positions (n, 1 + k): own row, negatives."""
        cosines = (vectors @ rows.T).gather(1, positions)
        return self.contrast(side, cosines, valid)

    def contrast(self, side: int, cosines: Tensor, valid: Tensor, rows: Tensor | None = None) -> Tensor:
        """Noise contrast of P = exp(cosine / tau) / Z; cosines (..., 1 + k), the positive first."""
        scores = (cosines / self.tau).exp()
        if not self.constants[side].item() and len(scores):
            itself = torch.ones_like(valid[..., :1]) if rows is None else rows[..., None]
            counted = torch.cat([itself, valid], -1)
            self.constants[side] = scores.detach()[counted].mean() * self.size
        scores = scores / (self.constants[side].item() or 1.0)
        return noise_contrast(scores[..., 0], scores[..., 1:], valid, self.size, rows)


class Relations(Contrast):
    """Contrast of directions: from an anchor to a sample, and from it to rows of the other side's bank.

    Anchors are the batch's rows of that bank. The direction from an anchor to its own row is undefined: it is
    neither positive nor negative.
    """

    start_at_length_1 = True

    def side(self, side: int, vectors: Tensor, rows: Tensor, positions: Tensor, valid: Tensor) -> Tensor:
        index = positions[:, 0]
        cosines = relations(vectors, rows[index], rows, positions)
        defined = positions[:, None] != index[:, None]  # (n, a, 1 + k)
        pairs, negative = defined[:, :, 0], defined[:, :, 1:] & valid[:, None]
        return self.contrast(side, cosines, negative & pairs[..., None], pairs)


class Ball(nn.Module):
    """Linear layer of spectral norm 1, then the nearest point of the unit ball: 1-Lipschitz."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear = spectral_norm(nn.Linear(features, width))

    def forward(self, x: Tensor) -> Tensor:
        v = self.linear(x)
        return v / v.norm(dim=1, keepdim=True).clamp(min=1)


class Critic(nn.Module):
    """f(s, t) = <u(s), u(t)> / sqrt(2), 1-Lipschitz in the pair, with banks of u for negatives."""

    def __init__(self, features: Sequence[int], labels: Tensor, width: int, momentum: float) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Ball(d, width) for d in features)
        self.banks = nn.ModuleList(pm.MemoryBank(labels, width, momentum) for _ in features)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """u of both sides, (n, width) each."""
        return [head(x) for head, x in zip(self.heads, features, strict=True)]

    def distance(
        self, vectors: Sequence[Tensor], index: Tensor, negatives: int, settled: bool, by_count: bool
    ) -> Tensor:
        """mean_i [f(pair i) - m mean_k f(sample i, row k)], mean of both sides; m = 1, or the count of rows.

        Writes the vectors into the banks.
        """
        n = max(len(index), 1)
        positive = (vectors[0] * vectors[1]).sum() / n
        banks: Any = self.banks
        positions, valid = banks[0].negatives(index, negatives, settled)
        weight = valid.to(vectors[0].dtype)
        if not by_count:
            weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
        negative = sum(
            ((vectors[s] @ banks[1 - s].rows.T).gather(1, positions) * weight).sum() / n for s in SIDES
        )
        for bank, moved in zip(banks, vectors, strict=True):
            bank.update(index, moved.detach())
        return (positive - negative / 2) / 2**0.5


class Composition(nn.Module):
    """c = a + W [a/|a| | s/|s|] + b and a classifier of c (arXiv:2104.10955), for a frozen network.

    Where its pooled vector is not `width` wide, a linear layer makes it so.
    """

    def __init__(self, privileged: pm.Frozen, width: int, head: pm.Head) -> None:
        super().__init__()
        found = privileged.head.in_features
        self.privileged = privileged
        self.aligned = nn.Identity() if found == width else nn.Linear(found, width)
        self.residual = nn.Linear(2 * width, width)
        self.head = head

    def forward(self, pooled: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a and c (n, width), and the logits (n, K) of c; pooled: of the privileged network, (n, D)."""
        a = self.aligned(pooled)
        c = a + self.residual(torch.cat([F.normalize(a, dim=1), F.normalize(s, dim=1)], 1))
        return a, c, self.head(c)


class Aligned(nn.Module):
    """An encoder or fusion network, and a linear layer to `width` where its pooled vector has another."""

    def __init__(self, network: nn.Module, found: int, width: int) -> None:
        super().__init__()
        self.network = network
        self.layer = nn.Identity() if found == width else nn.Linear(found, width)

    def forward(self, x: Any) -> Tensor:
        return self.layer(self.network(x)[1])


class Aligner(nn.Module):
    """The network at test: encoders of the target modalities, the shared encoder and the classifier.

    batch -> Output; its vector is the mean of the modalities' z, each of length 1.
    """

    def __init__(self, encoders: Mapping[str, Aligned], width: int, head: pm.Head) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.shared = pm.ProjectionHead(width, width)
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.head = head

    def z(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors (B, width) of each target modality."""
        return {m: self.shared(encoder(batch[m])) for m, encoder in self.encoders.items()}

    def classify(self, z: Tensor) -> Tensor:
        """Logits (B, K): the linear head of z plus a two-layer perceptron of it."""
        return self.head(z + self.hidden(z))

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        z = torch.stack(list(self.z(batch).values())).mean(0)
        return pm.Output(self.classify(z), z)
