"""Devices: what is asked of them, and what several of them make of one step."""

from __future__ import annotations

import os

import torch

from pmbench.engine.device import make_exact


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
