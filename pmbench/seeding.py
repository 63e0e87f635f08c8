"""Named random number generators: each random number depends on (seed, purpose)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose; equal arguments give equal seeds on every machine."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """NumPy generator for one purpose."""
    return np.random.Generator(np.random.PCG64(derive(seed, *purpose)))


@contextmanager
def torch_seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Seeds torch's global CPU generator by (seed, purpose) inside the block, then restores its state."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(derive(seed, *purpose))
        yield
