"""dmcl: who wins a sample, what losers learn from the winner, and that it learns nothing from them."""

from __future__ import annotations

import math

import numpy as np
import pmbench_dmcl
import pytest
import torch
from pmbench_dmcl import dmcl
from pmbench_dmcl.losses import choice, winners

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh

RNG = np.random.default_rng(4)
M, B, K = 3, 6, 4
LOGITS = RNG.normal(0, 2, (M, B, K))
LABELS = np.array([0, 3, 2, -1, 1, 3])
HERE = np.ones((M, B), bool)
HERE[:, 3] = False  # no label
HERE[1, 0] = HERE[2, 4] = HERE[1, 4] = False


def slow_winner(logits, b):
    own = {m: -math.log(loops.softmax(logits[m, b])[LABELS[b]]) for m in range(M) if HERE[m, b]}
    return min(own, key=lambda m: own[m])


def slow(logits, fixed=LOGITS, loser=0.7, heat=2.0):
    """(labels' term, winners' term); winners and what they teach come from `fixed`, which has no gradient."""
    hard = soft = 0.0
    for m in range(M):
        rows = [b for b in range(B) if HERE[m, b]]
        for b in rows:
            won = slow_winner(fixed, b)
            own = -math.log(loops.softmax(logits[m, b])[LABELS[b]])
            hard += (1 if m == won else loser) * own / len(rows)
            if m != won:
                p = loops.softmax(fixed[won, b], heat)
                q = loops.softmax(logits[m, b], heat)
                soft -= heat**2 * sum(a * math.log(c) for a, c in zip(p, q, strict=True)) / len(rows)
    return hard, soft


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro", "mag"))


def fast(z, loser=0.7, heat=2.0):
    return choice(list(z), list(torch.tensor(HERE)), torch.tensor(LABELS), loser, heat)


def test_values_and_gradients_equal_plain_loops():
    for term in (0, 1):
        z = torch.tensor(LOGITS, requires_grad=True)
        found = fast(z)[term]
        found.backward()
        assert found.item() == pytest.approx(slow(LOGITS)[term], rel=1e-9)
        expected = lab.numeric_gradient(lambda x, term=term: slow(x)[term], LOGITS)
        np.testing.assert_allclose(z.grad.numpy(), expected, atol=1e-6)


def test_the_winner_is_the_one_with_the_least_cross_entropy():
    found = winners(torch.tensor(LOGITS), torch.tensor(HERE), torch.tensor(LABELS).clamp(min=0))
    for b in range(B):
        if LABELS[b] >= 0:
            assert found[b] == slow_winner(LOGITS, b)


def test_losers_have_no_gradient_to_the_winner():
    z = torch.tensor(LOGITS, requires_grad=True)
    fast(z)[1].backward()
    for b in range(B):
        if LABELS[b] < 0:
            assert not z.grad[:, b].any()
            continue
        won = slow_winner(LOGITS, b)
        assert not z.grad[won, b].any()
        assert all(z.grad[m, b].any() for m in range(M) if m != won and HERE[m, b])


def test_one_network_has_cross_entropy_alone():
    z, here = torch.tensor(LOGITS[0]), torch.tensor(LABELS >= 0)
    hard, soft = choice([z], [here], torch.tensor(LABELS), 0.3, 2.0)
    assert hard.item() == pytest.approx(loops.cross_entropy(LOGITS[0], LABELS))
    assert soft.item() == 0
    none = choice([z], [torch.zeros(B, dtype=torch.bool)], torch.tensor(LABELS), 0.3, 2.0)
    assert [t.item() for t in none] == [0, 0]


def test_planning_imports_no_torch_and_needs_privilege():
    run_afresh("import sys, pmbench_dmcl; pmbench_dmcl.pmbench_methods(); assert 'torch' not in sys.modules")
    assert list(pmbench_dmcl.pmbench_methods()) == [dmcl]
    with pytest.raises(pm.Unsupported, match="privileged"):
        dmcl.last_stage(lab.setting(("acc",), ()))
    with pytest.raises(pm.Unsupported, match="target"):
        dmcl.last_stage(lab.setting(("acc", "mag"), ("gyro",)))


def test_terms_are_those_of_the_networks(setting):
    stage = dmcl.last_stage(setting, soft=0.5, labels=0.7, temperature=3.0)
    assert stage.reads == ("acc", "gyro", "mag")
    nets = stage.build(lab.LabBench(setting)).eval()
    present = {"mag": np.array([True, False, True, True])}
    batch = lab.batch(stage.reads, (0, 1, 2, 1), present=present)
    logits = [nets.student(batch).logits, *(peer(batch).logits for peer in nets.peers.values())]
    here = [torch.ones(4) > 0, torch.ones(4) > 0, torch.tensor(present["mag"])]
    hard, soft = choice(logits, here, batch.labels, 0.7, 3.0)
    terms = stage.losses(nets, batch)
    torch.testing.assert_close(terms["ce"], hard)
    torch.testing.assert_close(terms["winners"], 0.5 * soft)


def test_the_student_starts_as_the_stream_and_without_peers_is_it(setting):
    stage = dmcl.last_stage(setting, soft=0.0)
    nets, plain = (s.build(lab.LabBench(setting)) for s in (stage, pm.Stream("acc")))
    batch = lab.batch(stage.reads, (0, 1, 2, 1))
    stage.losses(nets, batch)["ce"].backward()
    pm.Stream("acc").losses(plain, batch)["ce"].backward()
    for (n, p), (_, q) in zip(nets.student.named_parameters(), plain.student.named_parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=n)
