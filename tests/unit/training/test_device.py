"""Devices: selection, determinism, and averaging of gradients over processes."""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from torch import nn

from pmbench.errors import UsageError
from pmbench.training.device import Accelerator, make_exact, make_fabric, nondeterministic_operations


def test_make_exact_is_deterministic_and_full_precision(monkeypatch):
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


def test_collects_nondeterministic_operations_and_shows_other_warnings():
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
    ("device", "devices", "message"),
    [
        ("tpu", 1, "unknown device 'tpu'"),
        ("cuda:first", 1, "unknown device 'cuda:first'"),
        ("cpu:1", 1, "unknown device 'cpu:1'"),
        ("cuda:1", 2, "'cuda:1' is one"),
        ("cuda:2", 1, "cuda:0 to cuda:1"),
        ("cuda", 3, "cuda:0 to cuda:1"),
    ],
)
def test_unavailable_devices_are_refused(monkeypatch, device, devices, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=message):
        make_fabric(device, devices)


class Pair:
    """Stands for Fabric in the first of two processes; `other(mine)` is the tensor of the second."""

    def __init__(self, other):
        self.other = other

    def all_reduce(self, mine, reduce_op):
        assert reduce_op == "mean"
        return (mine + self.other(mine)) / 2


def test_average_gradients_keeps_none_when_no_process_has_one():
    """A zero gradient would let weight decay and momentum change a parameter that one process would not."""
    used, half, unused = (nn.Parameter(torch.ones(2, 3)) for _ in range(3))
    used.grad, half.grad = torch.full((2, 3), 4.0), torch.full((2, 3), 4.0)

    def other(mine):
        sent = torch.zeros_like(mine)  # only `used` has a gradient, 2
        sent[:6], sent[18] = 2.0, 1.0
        return sent

    accelerator = Accelerator(Pair(other), torch.device("cpu"), (0, 2), mixed=False)
    accelerator.average_gradients([used, half, unused])
    assert torch.equal(used.grad, torch.full((2, 3), 3.0))
    assert torch.equal(half.grad, torch.full((2, 3), 2.0))
    assert unused.grad is None
