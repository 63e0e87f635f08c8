"""The bounds and the divergence of AMID. Representations (n, D), labels (n,) with -1 for none; n may be 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def positives(labels: Tensor) -> Tensor:
    """P of eq. 8, (n, n) bool: pairs of one class, and each sample with itself; no label, no class."""
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return (labels[:, None] == labels) & (labels >= 0) | itself


def same_class(labels: Tensor) -> Tensor:
    """(n, n) bool: pairs of two samples of one class."""
    return positives(labels).fill_diagonal_(False)


def partners(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(w,) samples v whose class occurs again, and (w,) eta1: the next sample of v's class, cyclically."""
    others, here = same_class(labels), torch.arange(len(labels), device=labels.device)
    v = others.any(1).nonzero().squeeze(1)
    ahead = (here - here[:, None]) % max(len(labels), 1)
    return v, ahead.masked_fill(~others, len(labels))[v].min(1).indices if len(v) else v


def log_h(anchors: Tensor, others: Tensor, tau: float) -> Tensor:
    """log of eq. 7, (n, n): exp(cos(anchor_i, other_j) / tau), each row normalised over the batch."""
    return (F.normalize(anchors, dim=1) @ F.normalize(others, dim=1).T / tau).log_softmax(1)


def mi_bound(anchors: Tensor, others: Tensor, positive: Tensor, tau: float, mean: bool = False) -> Tensor:
    """Eq. 8 and 9: -(1/n) sum_i (sum_{j in P(i)} log h_ij + sum_{j not in P(i)} log(1 - h_ij)).

    The paper sums over j; with `mean` the result is divided by n once more. 1 - h is at least 1e-7.
    """
    log, n = log_h(anchors, others, tau), max(len(anchors), 1)
    against = (1 - log.exp()).clamp(min=1e-7).log()
    return -torch.where(positive, log, against).sum() / (n * n if mean else n)


def nce(anchors: Tensor, others: Tensor, positive: Tensor, tau: float) -> Tensor:
    """The pairwise loss of CCL (Chen et al., CVPR 2021, arXiv:2104.10955), both ways summed.

    Eq. 8 with means over P(i) and over its complement; that over an empty complement is left out.
    """
    ways = []
    for h in (log_h(anchors, others, tau).exp(), log_h(others, anchors, tau).exp()):
        near = -((h + 1e-10).log() * positive).sum(1) / positive.sum(1).clamp(min=1)
        far = -((1 - h + 1e-10).log() * ~positive).sum(1) / (~positive).sum(1).clamp(min=1)
        ways.append((near + far).sum() / max(len(anchors), 1))
    return ways[0] + ways[1]


def jsd(first: Tensor, second: Tensor, form: str) -> Tensor:
    """Eq. 16, mean over the batch; logits (n, K), gradients to both.

    "lin": 0.5 KL(p||m) + 0.5 KL(q||m) with m = (p+q)/2, in [0, ln 2]; "ccl": 0.5 KL(p||q) + 0.5 KL(q||p).
    """
    p, q = first.log_softmax(1), second.log_softmax(1)
    if form == "ccl":
        summed = (p.exp() - q.exp()) * (p - q)
    else:
        m = torch.logaddexp(p, q) - torch.log(p.new_tensor(2.0))
        summed = p.exp() * (p - m) + q.exp() * (q - m)
    return 0.5 * summed.sum() / max(len(first), 1)
