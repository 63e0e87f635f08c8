"""The composed teacher and the discriminators of AMID."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pmbench as pm

from .losses import partners, same_class


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with leaky ReLUs between them, none after the last: (B, widths[0]) -> (B, widths[-1])."""
    pairs = [(nn.Linear(a, b), nn.LeakyReLU(0.2)) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain(*pairs))[:-1]


def classifier(bench: pm.Bench, target: str, dim: int | None) -> pm.Classifier:
    """The target's classifier, with a linear layer to `dim` where its pooled vector has another width."""
    plain = bench.classifier(target)
    if dim in (None, plain.head.in_features):
        return plain
    head = bench.head(dim)
    return pm.Classifier(target, plain.encoder, head, nn.Linear(plain.encoder.features, dim))


class Composition(nn.Module):
    """Frozen extractors of the privileged modalities, and MLP2 over the student's vector and theirs.

    An extractor whose pooled vector is not `width` wide gets a trainable linear layer.
    """

    def __init__(self, extractors: Sequence[pm.Frozen], width: int) -> None:
        super().__init__()
        self.extractors = nn.ModuleList(extractors)
        found = [extractor.head.in_features for extractor in extractors]
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
        self.student, self.composition = student, composition

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

    def fool(self, s: Tensor) -> Tensor:
        """-log D(S), (n,); gradients to S alone."""
        constant = {name: p.detach() for name, p in self.named_parameters()}
        return F.softplus(-torch.func.functional_call(self, constant, (s,)))

    def tell(self, m: Tensor, s: Tensor) -> Tensor:
        """-log D(M) - log(1 - D(S)), (n,)."""
        return F.softplus(-self(m)) + F.softplus(self(s))


class Discriminators(nn.Module):
    """D1 (five layers), D2 (three layers) and their weights, which move by epochs (eq. 14).

    `trace` is lambda-tilde, `similarity` the last (a1, a2): the means of cos(M_i, S_i), and of cos(M_i, S_j)
    over pairs i != j of one class. `sums` and `counts` are those of this epoch.
    """

    def __init__(self, width: int, second: bool, dynamic: bool) -> None:
        super().__init__()
        half, quarter, eighth = (max(width // n, 8) for n in (2, 4, 8))
        self.first = Discriminator(width, width, half, quarter, eighth)
        self.second = Discriminator(width, half, quarter) if second else None
        self.dynamic = dynamic
        self.trace, self.similarity = nn.Buffer(torch.zeros(2)), nn.Buffer(torch.ones(2))
        self.sums, self.counts = nn.Buffer(torch.zeros(2)), nn.Buffer(torch.zeros(2))

    def weights(self) -> Tensor:
        """(lambda1, lambda2), summing to 1; (1, 0) without D2."""
        if self.second is None:
            return self.trace.new_tensor([1.0, 0.0])
        return self.trace.softmax(0) if self.dynamic else torch.full_like(self.trace, 0.5)

    def adversarial(self, s: Tensor, labels: Tensor) -> Tensor:
        """Eq. 12: -(l1/n) sum_i log D1(S_i) - (l2/w) sum_v log D2(S_eta(v)); gradients to S alone."""
        weight, (v, eta) = self.weights(), partners(labels)
        total = weight[0] * self.first.fool(s).sum() / max(len(s), 1)
        if self.second is not None and len(v):
            total = total + weight[1] * self.second.fool(s[eta]).mean()
        return total

    def discrimination(self, m: Tensor, s: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Eq. 13 by discriminator: -l log D(M) - l log(1 - D(S)); M and S are detached. No "d2" if w = 0."""
        m, s, weight, (v, eta) = m.detach(), s.detach(), self.weights(), partners(labels)
        terms = {"d1": weight[0] * self.first.tell(m, s).sum() / max(len(s), 1)}
        if self.second is not None and len(v):
            terms["d2"] = weight[1] * self.second.tell(m[v], s[eta]).mean()
        return terms

    @torch.no_grad()
    def observe(self, m: Tensor, s: Tensor, labels: Tensor) -> None:
        """Adds the cosines of one batch to `sums` and `counts`."""
        cosine, others = F.normalize(m, dim=1) @ F.normalize(s, dim=1).T, same_class(labels)
        self.sums.add_(torch.stack([cosine.diagonal().sum(), (cosine * others).sum()]))
        self.counts.add_(torch.stack([cosine.new_tensor(len(m)), others.sum()]))

    @torch.no_grad()
    def end_epoch(self, beta: float) -> None:
        """lt <- beta lt + (1-beta) (1-a); an a without data in this epoch keeps its last value."""
        seen = self.counts > 0
        self.similarity[seen] = self.sums[seen] / self.counts[seen]
        self.trace.mul_(beta).add_((1 - beta) * (1 - self.similarity))
        self.sums.zero_()
        self.counts.zero_()
