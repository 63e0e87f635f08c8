"""The terms of AMID. Representations (n, D), labels (n,) with -1 for none; n may be 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .networks import Discriminators

FLOOR = 1e-7
INSIDE_LOG = 1e-10


def positives(labels: Tensor) -> Tensor:
    """P of eq. 8, (n, n) bool: pairs of one class, and each sample with itself; no label, no class."""
    return _same_class(labels) | _itself(labels)


def partners(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(w,) samples v whose class occurs again, and (w,) eta1: the next sample of v's class, cyclically."""
    others = _same_class(labels) & ~_itself(labels)
    here = torch.arange(len(labels), device=labels.device)
    ahead = (here - here[:, None]) % max(len(labels), 1)
    v = others.any(1).nonzero().squeeze(1)
    return v, ahead.masked_fill(~others, len(labels))[v].min(1).indices if len(v) else v


def log_h(anchors: Tensor, others: Tensor, tau: float) -> Tensor:
    """log of eq. 7, (n, n): exp(cos(anchor_i, other_j) / tau), each row normalised over the batch."""
    return (F.normalize(anchors, dim=1) @ F.normalize(others, dim=1).T / tau).log_softmax(1)


def mi_bound(anchors: Tensor, others: Tensor, positive: Tensor, tau: float, mean: bool = False) -> Tensor:
    """Eq. 8 and 9: -(1/n) sum_i (sum_{j in P(i)} log h_ij + sum_{j not in P(i)} log(1 - h_ij)).

    The paper sums over j; with `mean` the result is divided by n once more. 1 - h is at least 1e-7.
    """
    log = log_h(anchors, others, tau)
    against = (1 - log.exp()).clamp(min=FLOOR).log()
    n = max(len(anchors), 1)
    return -torch.where(positive, log, against).sum() / (n * n if mean else n)


def nce(anchors: Tensor, others: Tensor, positive: Tensor, tau: float) -> Tensor:
    """The pairwise loss of CCL (Chen et al., CVPR 2021, arXiv:2104.10955), both ways summed.

    Eq. 8 with means over P(i) and over its complement; that over an empty complement is left out.
    """
    one_way = _nce_one_way(anchors, others, positive, tau)
    return one_way + _nce_one_way(others, anchors, positive, tau)


def _nce_one_way(anchors: Tensor, others: Tensor, positive: Tensor, tau: float) -> Tensor:
    h = log_h(anchors, others, tau).exp()
    near = -((h + INSIDE_LOG).log() * positive).sum(1) / positive.sum(1).clamp(min=1)
    far = -((1 - h + INSIDE_LOG).log() * ~positive).sum(1) / (~positive).sum(1).clamp(min=1)
    return (near + far).sum() / max(len(anchors), 1)


def jsd(first: Tensor, second: Tensor, form: str) -> Tensor:
    """Eq. 16, mean over the batch; logits (n, K), gradients to both.

    "lin": 0.5 KL(p||m) + 0.5 KL(q||m) with m = (p+q)/2, in [0, ln 2]; "ccl": 0.5 KL(p||q) + 0.5 KL(q||p).
    """
    p, q = first.log_softmax(1), second.log_softmax(1)
    if form == "lin":
        m = torch.logaddexp(p, q) - torch.log(p.new_tensor(2.0))
        summed = p.exp() * (p - m) + q.exp() * (q - m)
    else:
        summed = (p.exp() - q.exp()) * (p - q)
    return 0.5 * summed.sum() / max(len(first), 1)


def adversarial(d: Discriminators, s: Tensor, labels: Tensor) -> Tensor:
    """Eq. 12: -(l1/n) sum_i log D1(S_i) - (l2/w) sum_v log D2(S_eta(v)); gradients to S alone."""
    weight = d.weights()
    total = weight[0] * F.softplus(-d.first.fixed(s)).sum() / max(len(s), 1)
    v, eta = partners(labels)
    if d.second is not None and len(v):
        total = total + weight[1] * F.softplus(-d.second.fixed(s[eta])).mean()
    return total


def discrimination(d: Discriminators, m: Tensor, s: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Eq. 13 by discriminator: -l log D(M) - l log(1 - D(S)); M and S are detached. No "d2" where w = 0."""
    m, s, weight = m.detach(), s.detach(), d.weights()
    n = max(len(s), 1)
    terms = {"d1": weight[0] * (F.softplus(-d.first(m)) + F.softplus(d.first(s))).sum() / n}
    v, eta = partners(labels)
    if d.second is not None and len(v):
        terms["d2"] = weight[1] * (F.softplus(-d.second(m[v])) + F.softplus(d.second(s[eta]))).mean()
    return terms


def same_class_cosines(m: Tensor, s: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What a1 and a2 of eq. 14 average: sums (2,) of cos(M_i, S_j) and their counts (2,).

    First over i = j, then over pairs i != j of one class.
    """
    cosine = F.normalize(m, dim=1) @ F.normalize(s, dim=1).T
    others = _same_class(labels) & ~_itself(labels)
    sums = torch.stack([cosine.diagonal().sum(), (cosine * others).sum()])
    return sums, torch.stack([cosine.new_tensor(len(m)), others.sum().to(cosine.dtype)])


def _same_class(labels: Tensor) -> Tensor:
    return (labels[:, None] == labels) & (labels >= 0)


def _itself(labels: Tensor) -> Tensor:
    return torch.eye(len(labels), dtype=torch.bool, device=labels.device)
