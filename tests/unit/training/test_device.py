"""Devices: what is asked of them, and what several of them make of one step."""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from torch import nn

from pmbench.errors import UsageError
from pmbench.training.device import Accelerator, make_exact, make_fabric, nondeterministic_operations


def test_full_precision_is_full_and_repeatable(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    conv, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = conv.allow_tf32, matmul.allow_tf32
    try:
        conv.allow_tf32 = matmul.allow_tf32 = True
        make_exact()
        assert not conv.allow_tf32
        assert not matmul.allow_tf32
        assert not conv.benchmark
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        conv.allow_tf32, matmul.allow_tf32 = before
        torch.use_deterministic_algorithms(False)


def test_what_cannot_be_repeated_is_collected_and_other_warnings_are_shown():
    def work():
        torch.zeros(4).put_(torch.tensor([1]), torch.tensor([1.0]))
        warnings.warn("other", stacklevel=1)

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.warns(UserWarning, match="other") as shown, nondeterministic_operations() as found:
            work()
    finally:
        torch.use_deterministic_algorithms(False)
    assert found == {"put_"}
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("device", "devices", "said"),
    [
        ("tpu", 1, "unknown device 'tpu'"),
        ("cuda:first", 1, "unknown device 'cuda:first'"),
        ("cpu:1", 1, "unknown device 'cpu:1'"),
        ("cuda:1", 2, "'cuda:1' is one"),
        ("cuda:2", 1, "cuda:0 to cuda:1"),
        ("cuda", 3, "cuda:0 to cuda:1"),
    ],
)
def test_devices_that_are_not_there(monkeypatch, device, devices, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=said):
        make_fabric(device, devices)


class Pair:
    """Stands for Fabric in the first of two processes: `other` holds what the second one sends."""

    def __init__(self, other):
        self.other = other

    def all_reduce(self, mine, reduce_op):
        assert reduce_op == "mean"
        return (mine + self.other(mine)) / 2


def test_a_gradient_that_no_process_has_stays_missing():
    """As zero it would let weight decay and momentum move what one process alone leaves as it is."""
    used, half, unused = (nn.Parameter(torch.ones(2, 3)) for _ in range(3))
    used.grad, half.grad = torch.full((2, 3), 4.0), torch.full((2, 3), 4.0)

    def other(mine):
        sent = torch.zeros_like(mine)  # has a gradient of `used` alone, which is 2
        sent[:6], sent[18] = 2.0, 1.0
        return sent

    accelerator = Accelerator(Pair(other), torch.device("cpu"), (0, 2), mixed=False)
    accelerator.average_gradients([used, half, unused])
    assert torch.equal(used.grad, torch.full((2, 3), 3.0))
    assert torch.equal(half.grad, torch.full((2, 3), 2.0))
    assert unused.grad is None
