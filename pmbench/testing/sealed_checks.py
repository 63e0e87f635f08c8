"""Contract checks of sealed networks: functions of the test inputs, sample by sample."""

from __future__ import annotations

import torch
from torch import Tensor

from .outcome import Failed, Skipped
from .trial import Trial

TOLERANCE = 1e-5


def check_it_seals(trial: Trial) -> None:
    """What it delivers exports to a program whose only inputs are the modalities it may see at test."""
    trial.must_seal()


def check_sealed_equals_eager(trial: Trial) -> None:
    """The sealed program, read from disk, gives the network's logits on test samples."""
    program = torch.export.load(trial.program).module()
    x = trial.rows(trial.inputs)
    with torch.no_grad():
        sealed, eager = program(*x)[0], trial.eager(trial.network, trial.inputs)(*x)[0]
    _close(sealed, eager, "the sealed program gives other logits than the network")


def check_rows_are_independent(trial: Trial) -> None:
    """A sample's logits stay the same when the samples beside it change, or go."""
    network, x = trial.eager(trial.network, trial.inputs), trial.rows(trial.inputs)
    half = len(x[0]) // 2
    with torch.no_grad():
        usual = network(*x)[0][:half]
        others = network(*(torch.cat([t[:half], 3 * t[half:].roll(1, 0) + 1]) for t in x))[0][:half]
        alone = torch.cat([network(*(t[i : i + 1] for t in x))[0] for i in range(half)])
    _close(usual, others, "other samples in the batch change a sample's logits")
    _close(usual, alone, "a sample alone gets other logits than in a batch")


def check_prediction_is_deterministic(trial: Trial) -> None:
    """The same inputs give the same bits again: nothing random, nothing remembered."""
    network, x = trial.eager(trial.network, trial.inputs), trial.rows(trial.inputs)
    with torch.no_grad():
        first = network(*x)[0]
        torch.manual_seed(1234)
        second = network(*x)[0]
    if not torch.equal(first, second):
        raise Failed(f"asked twice for the same samples, its logits differ by {_gap(first, second):.3g}")


def check_privileged_input_is_ignored(trial: Trial) -> None:
    """Deleting the withheld modalities at test, or permuting them, changes no bit of a prediction."""
    if not trial.withheld:
        raise Skipped("it is given every modality at test")
    given, every = trial.inputs, (*trial.inputs, *trial.withheld)
    x, hidden = trial.rows(given), trial.rows(trial.withheld)
    with torch.no_grad():
        alone = trial.eager(trial.network, given)(*x)
        full = trial.eager(trial.network, every)(*x, *hidden)
        permuted = trial.eager(trial.network, every)(*x, *(t.roll(1, 0) for t in hidden))
    names = ", ".join(trial.withheld)
    for what, other in (("there", full), ("permuted", permuted)):
        if not all(torch.equal(a, b) for a, b in zip(alone, other, strict=True)):
            raise Failed(
                f"with privileged {names} {what} in a test batch, its predictions are others than without"
            )


def _close(found: Tensor, expected: Tensor, complaint: str) -> None:
    gap = _gap(found, expected)
    if not gap <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise Failed(f"{complaint}, by up to {gap:.3g}")


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


CHECKS = (
    check_it_seals,
    check_sealed_equals_eager,
    check_rows_are_independent,
    check_prediction_is_deterministic,
    check_privileged_input_is_ignored,
)
