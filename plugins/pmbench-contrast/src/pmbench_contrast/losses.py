"""The terms of the contrastive methods. n samples, which may be 0: a term is then 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-7
LOG_EPS = 1e-10
"""Added inside the logarithms of `pairwise`, as in the authors' code."""


def noise_contrast(
    positive: Tensor, negatives: Tensor, valid: Tensor, size: int, rows: Tensor | None = None
) -> Tensor:
    """-mean_i [log P_i / (P_i + m_i/N) + sum_k log (m_i/N) / (P_ik + m_i/N)] (arXiv:1910.10699, eq. 18 of
    the authors' code).

    positive (...) and negatives (..., k): scores. `valid` (..., k) marks the m_i negatives of a row i, `rows`
    (...) the rows that count, by default all; N: `size`.
    """
    count = valid.sum(-1).to(positive.dtype)
    noise = count / size
    near = positive.log() - (positive + noise + EPS).log()
    against = (negatives + (noise + EPS)[..., None]).log().masked_fill(~valid, 0).sum(-1)
    each = near + count * noise.clamp(min=EPS).log() - against
    if rows is None:
        return -each.sum() / max(each.numel(), 1)
    return -each.masked_fill(~rows, 0).sum() / rows.sum().clamp(min=1)


def relations(vectors: Tensor, anchors: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """Cosine of the directions anchor -> vector and anchor -> row, (n, a, k); gradients to `vectors` alone.

    vectors (n, D), anchors (a, D), rows (N, D); positions (n, k): the rows that sample n is compared with.
    """
    toward = F.normalize(vectors[:, None] - anchors, dim=2)
    along = toward @ rows[positions].transpose(1, 2) - (toward * anchors).sum(2, keepdim=True)
    apart = torch.cdist(anchors, rows, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=1e-6)
    each = (*along.shape[:2], len(rows))
    return along * apart.reciprocal().expand(each).gather(2, positions[:, None].expand_as(along))


def directions_of_descent(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Direction of dCE/dphi of each sample, (n, D), for logits = weight phi + bias; labels (n,)."""
    wrong = logits.softmax(1) - F.one_hot(labels, logits.shape[1])
    return F.normalize(wrong @ weight, dim=1, eps=1e-6)


def pairwise(anchors: Tensor, others: Tensor, positive: Tensor, tau: float) -> Tensor:
    """mean_i [mean_{j in P(i)} -log p_ij + mean_{j not in P(i)} -log(1 - p_ij)] (arXiv:2104.10955).

    p: softmax over j of cos(anchor_i, other_j) / tau; features (n, D); positive (n, n) bool. A mean over an
    empty set is left out.
    """
    cosines = F.normalize(anchors, dim=1) @ F.normalize(others, dim=1).T
    p = (cosines / tau).softmax(1)
    near = -((p + LOG_EPS).log() * positive).sum(1) / positive.sum(1).clamp(min=1)
    far = -((1 - p + LOG_EPS).log() * ~positive).sum(1) / (~positive).sum(1).clamp(min=1)
    return (near + far).sum() / max(len(anchors), 1)


def both_ways(first: Tensor, second: Tensor, positive: Tensor, tau: float) -> Tensor:
    """`pairwise` from either side, added."""
    return pairwise(first, second, positive, tau) + pairwise(second, first, positive, tau)


def same_class(labels: Tensor) -> Tensor:
    """(n, n) bool: pairs of one class, and each sample with itself; -1 is no class."""
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return (labels[:, None] == labels) & (labels >= 0) | itself


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(p||q) + KL(q||p), mean over the batch; logits (n, K), gradients to both."""
    p, q = first.log_softmax(1), second.log_softmax(1)
    return ((p.exp() - q.exp()) * (p - q)).sum() / max(len(first), 1)


def nt_xent(first: Tensor, second: Tensor, tau: float) -> Tensor:
    """-log exp(<a, a'>/tau) / sum_{u != a} exp(<a, u>/tau), mean over the 2n vectors a, where a' is the other
    vector of a's sample (arXiv:2202.03390). Unit vectors (n, D) each.
    """
    n, every = len(first), torch.cat([first, second])
    if not n:
        return every.sum()
    itself = torch.eye(2 * n, dtype=torch.bool, device=every.device)
    scores = (every @ every.T / tau).masked_fill(itself, -torch.inf)
    partner = torch.arange(2 * n, device=every.device).roll(n)
    return F.cross_entropy(scores, partner)


@torch.no_grad()
def transport(cost: Tensor, epsilon: float, rounds: int) -> Tensor:
    """Plan (n, n) with sums 1/n of rows and columns that minimizes <plan, cost> - epsilon * entropy.

    `rounds` of Sinkhorn's algorithm on logarithms.
    """
    n = len(cost)
    kernel = -cost / epsilon
    left, right = cost.new_zeros(n, 1), cost.new_zeros(1, n)
    share = cost.new_tensor(float(max(n, 1))).log()
    for _ in range(rounds):
        left = -share - (kernel + right).logsumexp(1, keepdim=True)
        right = -share - (kernel + left).logsumexp(0, keepdim=True)
    return (kernel + left + right).exp()


def transported(first: Tensor, second: Tensor, epsilon: float, rounds: int) -> Tensor:
    """<plan, cost> with cost 1 - cos of vectors (n, D); the plan has no gradient."""
    cost = 1 - F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    return (transport(cost.detach(), epsilon, rounds) * cost).sum()
