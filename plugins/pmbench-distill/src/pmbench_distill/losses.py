"""Terms between a student and a detached teacher. n samples, which may be 0: a term is then 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import pmbench as pm

EPS = 1e-7
HEATS = (2.0, 3.0, 4.0, 5.0, 6.0)
"""Temperatures of multi-level logit distillation."""


def decoupled(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, beta: float, heat: float
) -> Tensor:
    """T^2 [alpha KL(b_T || b_s) + beta KL(q_T || q_s)], mean over samples (arXiv:2203.08679, eq. 7).

    b = (p(y), 1 - p(y)) and q, the distribution over the other classes, of softmax(z / T). Logits (n, K),
    labels (n,) in [0, K). With alpha = 1 and beta = 1 - p_T(y) it would be the divergence of `kd`.
    """
    n, classes = student.shape
    own = F.one_hot(labels, classes).bool()
    log_s, log_t = (student / heat).log_softmax(1), (teacher.detach() / heat).log_softmax(1)

    def parts(logits: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor]:
        others = (logits / heat)[~own].view(n, classes - 1)
        is_own = log_p[own]
        is_other = others.logsumexp(1) - (logits / heat).logsumexp(1)
        return torch.stack([is_own, is_other], 1), others.log_softmax(1)

    (b_s, q_s), (b_t, q_t) = parts(student, log_s), parts(teacher.detach(), log_t)
    binary = (b_t.exp() * (b_t - b_s)).sum()
    rest = (q_t.exp() * (q_t - q_s)).sum()
    return heat**2 * (alpha * binary + beta * rest) / max(n, 1)


def correlated(student: Tensor, teacher: Tensor, between: float, within: float) -> Tensor:
    """beta (1 - mean_i rho of row i) + gamma (1 - mean_c rho of column c), rho Pearson's correlation of the
    probabilities (arXiv:2205.10536). Logits (n, K); the columns need two samples.
    """
    p, q = student.softmax(1), teacher.detach().softmax(1)
    if not len(p):
        return student.sum()
    rows = between * (1 - _pearson(p, q).mean())
    return rows + within * (1 - _pearson(p.T, q.T).mean()) if len(p) > 1 else rows


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of the rows (m, k) -> (m,)."""
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-8)


def standardized(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean square of differences of features (n, D), standardized by column (arXiv:2207.02039).

    It is 1 less the mean correlation of the columns; 0 for n < 2.
    """
    if len(student) < 2:
        return 0 * student.sum()
    a, b = ((x - x.mean(0)) / (x.std(0, correction=0) + EPS) for x in (student, teacher.detach()))
    return ((a - b) ** 2).mean() / 2


def leveled(student: Tensor, teacher: Tensor) -> Tensor:
    """Multi-level logit distillation: of samples, of classes and of pairs of samples, a third each.

    Mean over T in HEATS of T^2 KL + MSE(P_s^T P_s, P_T^T P_T) + MSE(P_s P_s^T, P_T P_T^T), with
    P = softmax(z / T).
    """
    total = 0 * student.sum()
    for heat in HEATS:
        p, q = (student / heat).softmax(1), (teacher.detach() / heat).softmax(1)
        classes, samples = p.T @ p - q.T @ q, p @ p.T - q @ q.T
        total = total + pm.kl_divergence(teacher, student, heat)
        total = total + (classes**2).mean() + (samples**2).sum() / max(len(p) ** 2, 1)
    return total / (3 * len(HEATS))


def distances(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber's loss between the distances of all pairs, over their mean (arXiv:1904.05068, eq. 4 to 6).

    Features (n, D) of any widths.
    """
    n = len(student)
    if n < 2:
        return 0 * student.sum()

    def relative(x: Tensor) -> Tensor:
        d = _apart(x)
        return d / (d.sum() / (n * (n - 1))).clamp(min=EPS)

    return F.smooth_l1_loss(relative(student), relative(teacher.detach()))


def _apart(x: Tensor) -> Tensor:
    """(n, D) -> (n, n) Euclidean distances, with slope 0 at distance 0."""
    squared = (x[:, None] - x[None]).square().sum(2)
    return torch.where(squared > 0, squared.clamp(min=EPS**2).sqrt(), torch.zeros_like(squared))


def angles(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber's loss between the cosines of the angles of all triplets (arXiv:1904.05068, eq. 7-8)."""
    if len(student) < 3:
        return 0 * student.sum()

    def cosines(x: Tensor) -> Tensor:
        toward = F.normalize(x[None] - x[:, None], dim=2)  # [j, i]: from j to i
        return toward @ toward.transpose(1, 2)

    return F.smooth_l1_loss(cosines(student), cosines(teacher.detach()))


def similar_neighbours(student: Tensor, teacher: Tensor) -> Tensor:
    """Probabilistic knowledge transfer (arXiv:1803.10837): mean over n^2 of q log(q / p).

    p, q (n, n): (cos + 1) / 2 of the samples' features, rows summing to 1; the diagonal stays, as in the
    authors' code.
    """

    def neighbours(x: Tensor) -> Tensor:
        unit = x / (x.norm(dim=1, keepdim=True) + EPS)
        near = (unit @ unit.T + 1) / 2
        return near / near.sum(1, keepdim=True)

    p, q = neighbours(student), neighbours(teacher.detach())
    return (q * ((q + EPS) / (p + EPS)).log()).sum() / max(len(p) ** 2, 1)


def similar_pairs(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity-preserving distillation (arXiv:1907.09682): mean over n^2 of squared differences of G.

    G = H H^T of flattened maps (n, ...), its rows of length 1.
    """

    def pairs(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return F.normalize(flat @ flat.T, dim=1, eps=EPS)

    return ((pairs(teacher.detach()) - pairs(student)) ** 2).sum() / max(len(student) ** 2, 1)
