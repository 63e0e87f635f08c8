"""What the evaluator does with a program's outputs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

import pmbench as pm
from pmbench.contracts.samples import Column
from pmbench.evaluation.evaluator import EvaluationRequest, _outputs


def outputs(said, clips):
    """What is kept of a sample of which a program says `said` (clips, K) in turn, the logits as features."""
    answers = iter(torch.tensor(said, dtype=torch.float32)[:, None])
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


def test_probabilities_of_clips_are_averaged_not_logits():
    said = [[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]]
    logits, features = outputs(said, 2)
    shares = np.exp(said) / np.exp(said).sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(logits), shares.mean(0), rtol=1e-6)
    np.testing.assert_allclose(features, np.mean(said, 0))


def test_clips_of_great_confidence_leave_the_other_classes_in_order():
    """A probability below the smallest number is no reason to call classes equal."""
    logits, _ = outputs([[500.0, 0.0, 100.0], [500.0, 0.0, 100.0]], 2)
    np.testing.assert_allclose(logits, [0.0, -500.0, -400.0], atol=1e-4)
