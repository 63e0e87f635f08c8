"""The discriminator as a detector: scores, AUROC, threshold and the switched system against plain loops."""

import numpy as np
import pytest
import torch
from pmbench_admd.detector import System, auroc, corrupted, fake_probability, study, threshold
from pmbench_admd.networks import Judged
from torch import nn

import pmbench as pm

LABELS = torch.arange(60) % 2
LEVELS = (0.0, 0.01, 0.1, 1.0, 10.0)


class Reads(nn.Module):
    """Logits and vectors are the modality itself."""

    def __init__(self, modality):
        super().__init__()
        self.modality = modality

    def forward(self, batch):
        return pm.Output(batch[self.modality], batch[self.modality])


class Judge(nn.Module):
    """Fake in the measure in which (v_0, v_1) is neither (4, -4) nor (-4, 4)."""

    def forward(self, v):
        away = (v.abs() - 4).abs().sum(1)
        return torch.stack([v[:, 0], v[:, 1], away], 1)


def clean_batch():
    """x_p decides the label; x_t, which h sees too, decides nine tenths of them."""
    x_p = 4 * torch.where(LABELS == 0, 1.0, -1.0)[:, None] * torch.tensor([1.0, -1.0])
    x_t = 0.1 * x_p
    x_t[::10] *= -1
    return pm.Batch({"t": x_t, "p": x_p}, LABELS, torch.arange(60))


SYSTEM = System(Reads("t"), Reads("p"), Judged(Reads("t"), Judge()))


def test_auroc_equals_counting_pairs():
    chance = np.random.default_rng(3)
    clean, bad = np.round(chance.normal(0, 1, 15), 1), np.round(chance.normal(0.5, 1, 11), 1)
    wins = sum(1.0 if b > a else 0.5 if b == a else 0.0 for a in clean for b in bad)
    found = auroc(torch.tensor(clean), torch.tensor(bad))
    assert found == pytest.approx(wins / (15 * 11))
    assert auroc(torch.zeros(4), torch.ones(4)) == 1
    assert auroc(torch.ones(4), torch.ones(4)) == 0.5


def test_fake_probability_is_that_of_the_last_class():
    verdict = torch.randn(6, 4)
    expected = verdict.exp()[:, 3] / verdict.exp().sum(1)
    torch.testing.assert_close(fake_probability(verdict), expected)
    torch.testing.assert_close(fake_probability(verdict[:, :1]), (-verdict[:, 0]).sigmoid())


def test_the_score_is_the_mean_over_frames():
    class Frames(nn.Module):
        def forward(self, batch):
            return pm.Output(batch["p"][:, 0], batch["p"])  # pooled (B, F, k)

    class PerFrame(nn.Module):
        def forward(self, v):
            return torch.cat([v.flatten(0, 1), torch.zeros(len(v) * v.shape[1], 1)], 1)

    system = System(Reads("t"), Frames(), Judged(Reads("t"), PerFrame()))
    x = torch.randn(3, 5, 2)
    batch = pm.Batch({"p": x, "t": x[:, 0]}, LABELS[:3], LABELS[:3])
    expected = [np.mean([1 / (np.exp(f).sum() + 1) for f in clip.numpy()]) for clip in x]
    np.testing.assert_allclose(system.score(batch).numpy(), expected, rtol=1e-5)


def test_noise_multiplies_the_privileged_modality_alone():
    batch = clean_batch()
    noisy = corrupted(batch, "p", 0.25, torch.Generator().manual_seed(0))
    factor = noisy["p"] / batch["p"]
    assert torch.equal(noisy["t"], batch["t"])
    assert factor.mean().item() == pytest.approx(1, abs=0.15)
    assert factor.std().item() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(corrupted(batch, "p", 0.0, torch.Generator())["p"], batch["p"])


def test_more_noise_is_detected_better_and_the_switch_stops_the_fall():
    batch = clean_batch()
    alarm = threshold(SYSTEM, batch, "p", LEVELS)
    levels = study(SYSTEM, batch, "p", LEVELS, alarm)
    assert 0 < alarm < 1
    assert levels[0].auroc == 0.5
    scores = [level.score for level in levels]
    assert scores == sorted(scores)
    assert levels[-1].auroc > 0.9
    assert levels[0].multimodal == levels[0].switched == 1.0
    assert levels[-1].switched > levels[-1].multimodal + 0.1
    assert levels[0].alarms < 0.1 < 0.5 < levels[-1].alarms


def test_the_switched_system_equals_a_loop_over_samples():
    batch, variance, alarm = clean_batch(), 1.0, 0.5
    (level,) = study(SYSTEM, batch, "p", [variance], alarm, seed=7)
    noisy = corrupted(batch, "p", variance, torch.Generator().manual_seed(7))
    right = both = 0
    for i in range(60):
        x_t, x_p = batch["t"][i], noisy["p"][i]
        score = torch.softmax(torch.stack([x_p[0], x_p[1], (x_p.abs() - 4).abs().sum()]), 0)[2]
        z = (x_t + x_t) / 2 if score > alarm else (x_t + x_p) / 2
        right += int(z.argmax() == LABELS[i])
        both += int(((x_t + x_p) / 2).argmax() == LABELS[i])
    assert level.switched == pytest.approx(right / 60)
    assert level.multimodal == pytest.approx(both / 60)


def test_the_threshold_lies_where_the_two_systems_are_equally_good():
    """Accuracies 1.0 at score s0 and 0.5 at s1, h at 0.9: a fifth of the way from s0 to s1."""
    batch = clean_batch()
    found = threshold(SYSTEM, batch, "p", (10.0, 0.0))
    noisy = corrupted(batch, "p", 0.0, chance := torch.Generator().manual_seed(0))
    s0 = SYSTEM.score(noisy).mean().item()
    noisy = corrupted(batch, "p", 10.0, chance)
    s1 = SYSTEM.score(noisy).mean().item()
    fallen = (SYSTEM.multimodal(noisy).argmax(1) == LABELS).float().mean().item()
    assert found == pytest.approx(s0 + (1 - 0.9) / (1 - fallen) * (s1 - s0))


def test_without_a_crossing_nothing_is_switched():
    batch = clean_batch()
    assert threshold(SYSTEM, batch, "p", (0.0,)) == 1.0
    useless = pm.Batch({"t": batch["t"], "p": -batch["p"]}, LABELS, LABELS)
    assert threshold(SYSTEM, useless, "p", (0.0,)) == pytest.approx(SYSTEM.score(useless).mean().item())


def test_unlabelled_samples_count_for_detection_only():
    batch = clean_batch()
    few = pm.Batch(dict(batch), LABELS.masked_fill(torch.arange(60) >= 10, -1), LABELS)
    all_of_them = study(SYSTEM, batch, "p", [1.0], 0.5)[0]
    some = study(SYSTEM, few, "p", [1.0], 0.5)[0]
    assert some.auroc == all_of_them.auroc
    assert some.multimodal * 10 == pytest.approx(round(some.multimodal * 10), abs=1e-5)
