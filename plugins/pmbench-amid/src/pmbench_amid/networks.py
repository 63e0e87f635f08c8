"""The composed teacher and the discriminators of AMID."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

import pmbench as pm

from .losses import same_class_cosines

SLOPE = 0.2
NARROWEST = 8


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with leaky ReLUs between them, none after the last: (B, widths[0]) -> (B, widths[-1])."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


def with_width(plain: pm.Classifier, head: pm.Head) -> pm.Classifier:
    """The same encoder, a linear layer to the width of `head`, and `head`."""
    linear = nn.Linear(plain.encoder.features, head.in_features)
    return pm.Classifier(plain.fed, plain.encoder, head, linear)


class Composition(nn.Module):
    """Frozen extractors of the privileged modalities, and MLP2 over the student's vector and theirs.

    An extractor whose pooled vector is not `width` wide gets a trainable linear layer.
    """

    def __init__(self, extractors: Iterable[pm.Frozen], width: int) -> None:
        super().__init__()
        self.extractors = nn.ModuleList(extractors)
        found = [cast("pm.Head", e.head).in_features for e in self.extractors]
        self.aligned = nn.ModuleList(nn.Identity() if w == width else nn.Linear(w, width) for w in found)
        self.mlp = perceptron((1 + len(found)) * width, width, width)

    def auxiliary(self, batch: pm.Batch) -> list[Tensor]:
        """A of each privileged modality, (B, width)."""
        pairs = zip(self.extractors, self.aligned, strict=True)
        return [aligned(extractor(batch).pooled.detach()) for extractor, aligned in pairs]

    def forward(self, s: Tensor, a: list[Tensor]) -> Tensor:
        """M = MLP2([S|A...]), (B, width)."""
        return self.mlp(torch.cat([s, *a], 1))


class Composed(nn.Module):
    """The teacher as a network of its own: batch -> Output(cls(M), M)."""

    def __init__(self, student: pm.Classifier, composition: Composition) -> None:
        super().__init__()
        self.student = student
        self.composition = composition

    def forward(self, batch: pm.Batch) -> pm.Output:
        m = self.composition(self.student(batch).pooled, self.composition.auxiliary(batch))
        return pm.Output(self.student.head(m), m)


class Discriminator(nn.Module):
    """Perceptron to one logit of "composed by the teacher": (n, D) -> (n,)."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = perceptron(*widths, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1)

    def fixed(self, x: Tensor) -> Tensor:
        """The same, with gradients to x alone."""
        still = {name: p.detach() for name, p in self.layers.named_parameters()}
        return torch.func.functional_call(self.layers, still, (x,)).squeeze(1)


class Discriminators(nn.Module):
    """D1 (five layers), D2 (three layers) and their weights, which move by epochs (eq. 14).

    `trace` is lambda-tilde, `similarity` the last (a1, a2), `sums` and `counts` what this epoch saw of them.
    """

    trace: Tensor
    similarity: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, width: int, second: bool, dynamic: bool) -> None:
        super().__init__()
        half, quarter, eighth = (max(width // n, NARROWEST) for n in (2, 4, 8))
        self.first = Discriminator(width, width, half, quarter, eighth)
        self.second = Discriminator(width, half, quarter) if second else None
        self.dynamic = dynamic
        for name, start in (("trace", 0.0), ("similarity", 1.0), ("sums", 0.0), ("counts", 0.0)):
            self.register_buffer(name, torch.full((2,), start))

    def weights(self) -> Tensor:
        """(lambda1, lambda2), summing to 1; (1, 0) without D2."""
        if self.second is None:
            return self.trace.new_tensor([1.0, 0.0])
        return self.trace.softmax(0) if self.dynamic else torch.full_like(self.trace, 0.5)

    @torch.no_grad()
    def observe(self, m: Tensor, s: Tensor, labels: Tensor) -> None:
        """Counts in the cosines of one batch: of M_i with S_i, and with S_j of others of its class."""
        sums, counts = same_class_cosines(m, s, labels)
        self.sums += sums
        self.counts += counts

    @torch.no_grad()
    def end_epoch(self, beta: float) -> None:
        """lt <- beta lt + (1-beta) (1-a); an a of which this epoch saw nothing keeps its last value."""
        seen = self.counts > 0
        self.similarity[seen] = self.sums[seen] / self.counts[seen]
        self.trace.mul_(beta).add_((1 - beta) * (1 - self.similarity))
        self.sums.zero_()
        self.counts.zero_()
