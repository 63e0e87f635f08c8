"""The loss of multiple choice learning with distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def winners(logits: Tensor, present: Tensor, labels: Tensor) -> Tensor:
    """(B,) network with the least cross-entropy; logits (M, B, K), present (M, B), labels (B,) in [0, K).

    Samples without any network have winner 0.
    """
    own = -logits.log_softmax(2).gather(2, labels.expand(len(logits), -1)[..., None]).squeeze(2)
    return own.masked_fill(~present, torch.inf).argmin(0)


def choice(
    logits: Sequence[Tensor], present: Sequence[Tensor], labels: Tensor, loser: float, heat: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy with labels, and T^2 that with the winner: sums over networks of means over samples.

    logits (B, K) and present (B,) of each network; labels (B,), any value where absent. In the first term
    losers weigh `loser`; the second has losers alone, and no gradient to the winner.
    """
    z, here = torch.stack(list(logits)), torch.stack(list(present))
    known = labels.clamp(min=0)
    won = winners(z.detach(), here, known)
    is_winner = F.one_hot(won, len(z)).T.bool()  # (M, B)
    count = here.sum(1).clamp(min=1)
    own = -z.log_softmax(2).gather(2, known.expand(len(z), -1)[..., None]).squeeze(2)
    weight = torch.where(is_winner, z.new_tensor(1.0), z.new_tensor(loser))
    hard = ((own * weight).masked_fill(~here, 0).sum(1) / count).sum()
    target = (z.detach()[won, torch.arange(len(won), device=won.device)] / heat).softmax(1)
    apart = -(target * (z / heat).log_softmax(2)).sum(2)
    soft = (apart.masked_fill(~here | is_winner, 0).sum(1) / count).sum()
    return hard, heat**2 * soft
