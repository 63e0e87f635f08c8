"""Loss terms shared by methods: means over the batch, zero for an empty batch; teachers are detached."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy, mean over the labelled samples; zero without any.

    logits (B, K), labels (B,) in [0, K), -1 for unlabelled -> scalar.
    """
    summed = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return summed / (labels >= 0).sum().clamp(min=1)


def kl_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher/T) || softmax(student/T)), mean over the batch (Hinton et al.,
    arXiv:1503.02531).

    teacher, student: logits (B, K) -> scalar; the teacher is detached.
    """
    log_student = F.log_softmax(student / temperature, 1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, 1)
    summed = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
    return summed * (temperature**2 / max(len(student), 1))


def soft_cross_entropy(
    teacher: Tensor, student: Tensor, teacher_temperature: float, student_temperature: float = 1.0
) -> Tensor:
    """-sum_c softmax(teacher/T)_c log softmax(student/T')_c, mean over the batch.

    teacher, student: logits (B, K) -> scalar; the teacher is detached. With T' = T its gradient is that of
    the divergence without the factor T^2.
    """
    target = F.softmax(teacher.detach() / teacher_temperature, 1)
    return -(target * F.log_softmax(student / student_temperature, 1)).sum() / max(len(student), 1)


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of squared differences over all elements; the teacher is detached."""
    return F.mse_loss(student, teacher.detach(), reduction="sum") / max(student.numel(), 1)
