"""The terms of the game. Verdicts are logits (n,) of "the teacher's"; n may be 0, and a term is then 0."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def is_real(verdict: Tensor) -> Tensor:
    """-E log D, with D = sigmoid(verdict)."""
    return F.softplus(-verdict).sum() / max(len(verdict), 1)


def is_fake(verdict: Tensor) -> Tensor:
    """-E log(1 - D)."""
    return is_real(-verdict)
