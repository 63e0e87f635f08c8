"""The discriminator as a detector of a corrupted privileged modality; the system that then switches to h.

After training D knows what f_p's bottleneck vectors look like: the probability of its class "fake" rises as
the privileged input is corrupted. `study` measures that; `networks` come from `build` and training of the
stages, or from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor, nn

import pmbench as pm

from .networks import Judged


@dataclass(frozen=True)
class Level:
    """Noise of one variance: mean score, AUROC against clean inputs, accuracies, share of alarms."""

    variance: float
    score: float
    auroc: float
    multimodal: float
    switched: float
    alarms: float


@dataclass(frozen=True)
class System:
    """Finished networks: target stream f_t, privileged stream f_p with bottleneck, h with discriminator."""

    target: nn.Module
    privileged: nn.Module
    judged: Judged

    def score(self, batch: pm.Batch) -> Tensor:
        """s(x_p) (B,): softmax(D(v_p))[fake], mean over the frames of a sample."""
        v = self.privileged(batch).pooled
        return fake_probability(self.judged.discriminator(v)).reshape(len(v), -1).mean(1)

    def multimodal(self, batch: pm.Batch) -> Tensor:
        """(z_t + z_p)/2 (B, K)."""
        return (self.target(batch).logits + self.privileged(batch).logits) / 2

    def hallucinated(self, batch: pm.Batch) -> Tensor:
        """(z_t + z_h)/2 (B, K)."""
        return (self.target(batch).logits + self.judged(batch).logits) / 2


def fake_probability(verdict: Tensor) -> Tensor:
    """Logits (n, K + 1), or (n, 1) without classes -> (n,), the probability of "fake"."""
    return 1 - verdict[:, 0].sigmoid() if verdict.shape[1] == 1 else verdict.softmax(1)[:, -1]


def auroc(clean: Tensor, corrupted: Tensor) -> float:
    """Probability that a corrupted sample scores higher than a clean one, ties by half (Mann-Whitney)."""
    n, m = len(clean), len(corrupted)
    ranks = rankdata(torch.cat([clean, corrupted]).numpy())
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def corrupted(batch: pm.Batch, modality: str, variance: float, chance: torch.Generator) -> pm.Batch:
    """The batch with `modality` times N(1, variance), a draw for every element of every sample."""
    x = batch[modality]
    noise = 1 + variance**0.5 * torch.randn(x.shape, generator=chance)
    return pm.Batch({**batch, modality: x * noise}, batch.labels, batch.index)


@torch.no_grad()
def threshold(
    system: System, batch: pm.Batch, modality: str, variances: Sequence[float], seed: int = 0
) -> float:
    """The mean score at the noise where f_t with f_p falls to f_t with h; `batch` is validation data.

    Levels rise; between two of them accuracy and score are taken as linear. 1 where f_p stays the better one.
    """
    floor = _accuracy(system.hallucinated(batch), batch.labels)
    chance = torch.Generator().manual_seed(seed)
    before: tuple[float, float] | None = None
    for variance in sorted(variances):
        noisy = corrupted(batch, modality, variance, chance)
        here = _accuracy(system.multimodal(noisy), batch.labels), float(system.score(noisy).mean())
        if here[0] <= floor:
            if before is None:
                return here[1]
            part = (before[0] - floor) / (before[0] - here[0])
            return before[1] + part * (here[1] - before[1])
        before = here
    return 1.0


@torch.no_grad()
def study(
    system: System,
    batch: pm.Batch,
    modality: str,
    variances: Sequence[float],
    alarm: float,
    seed: int = 0,
) -> list[Level]:
    """Detection and switched accuracy at each noise level; `alarm` is the score above which h is used."""
    chance = torch.Generator().manual_seed(seed)
    clean, spare = system.score(batch), system.hallucinated(batch)
    levels = []
    for variance in variances:
        noisy = corrupted(batch, modality, variance, chance)
        scores, both = system.score(noisy), system.multimodal(noisy)
        alarmed = scores > alarm
        switched = torch.where(alarmed[:, None], spare, both)
        levels.append(
            Level(
                variance,
                float(scores.mean()),
                auroc(clean, scores),
                _accuracy(both, batch.labels),
                _accuracy(switched, batch.labels),
                float(alarmed.float().mean()),
            )
        )
    return levels


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    known = labels >= 0
    return float((logits.argmax(1) == labels)[known].float().mean())
