"""The evaluator: combining the outputs of several clips."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

import pmbench as pm
from pmbench.contracts.samples import Column
from pmbench.evaluation.evaluator import EvaluationRequest, _outputs


def outputs(clip_logits, clips):
    """Logits and features of one sample; its clips have logits (clips, K), which are its features, too."""
    answers = iter(torch.tensor(clip_logits, dtype=torch.float32)[:, None])
    protocol = SimpleNamespace(sampling=pm.Sampling(frames=1, test_clips=clips))
    prepared = SimpleNamespace(
        dataset=SimpleNamespace(protocol=lambda name: protocol),
        column=lambda *of: Column(1, np.zeros((1, 2), np.float32)),
    )
    request = EvaluationRequest("", "", "", "", "", "", ("near",), "")

    def program(x):
        logits = next(answers)
        return logits, logits

    ((logits, features),) = _outputs(program, prepared, request, "test", np.arange(1))
    return logits[0], features[0]


def test_averages_probabilities_of_clips_not_logits():
    clips = [[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]]
    logits, features = outputs(clips, 2)
    probabilities = np.exp(clips) / np.exp(clips).sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(logits), probabilities.mean(0), rtol=1e-6)
    np.testing.assert_allclose(features, np.mean(clips, 0))


def test_confident_clips_keep_the_order_of_the_other_classes():
    """Probabilities that underflow still differ in their logarithm."""
    logits, _ = outputs([[500.0, 0.0, 100.0], [500.0, 0.0, 100.0]], 2)
    np.testing.assert_allclose(logits, [0.0, -500.0, -400.0], atol=1e-4)
