"""Every random number comes from (seed, purpose); these are pinned, since keys rest on them."""

from __future__ import annotations

import torch

from pmbench.seeding import derive, generator, torch_seeded


def test_pinned_seeds():
    assert derive(0) == GOLDEN[0]
    assert derive(0, "order", "labelled", 3) == GOLDEN[1]
    assert derive(7, "weights", "classifier/rgb/rgb/None", 1) == GOLDEN[2]


GOLDEN = (3456079177858693020, 3490292525081515065, 2094872325223528911)


def test_pinned_draws():
    assert generator(0, "order", "labelled", 0).permutation(8).tolist() == PERMUTED
    with torch_seeded(0, "weights", "x"):
        assert [round(v, 6) for v in torch.randn(3).tolist()] == DRAWN


PERMUTED = [6, 4, 7, 3, 1, 0, 5, 2]
DRAWN = [0.026055, -0.360886, -0.953531]


def test_purposes_are_told_apart():
    seeds = [derive(s, *p) for s in (0, 1) for p in ((), ("a",), ("b",), ("a", "b"), ("a", 1), ("a", "b", 1))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with torch_seeded(0, "a"):
        first = torch.rand(2)
    assert torch.equal(torch.rand(4), expected)
    with torch_seeded(0, "a"):
        assert torch.equal(torch.rand(2), first)
