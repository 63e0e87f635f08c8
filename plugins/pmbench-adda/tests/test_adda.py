"""adda: the two terms of the game, who moves in which step, which samples count."""

from __future__ import annotations

import math

import numpy as np
import pmbench_adda
import pytest
import torch
from pmbench_adda import adda
from pmbench_adda.losses import is_fake, is_real

import pmbench as pm
from pmbench.testing import lab, run_afresh

RNG = np.random.default_rng(1)
VERDICT = RNG.normal(0, 3, 6)
LABELS = (0, -1, 2, 1)


@pytest.fixture
def few():
    return lab.setting(("acc",), ("gyro",), demands=("unlabelled",))


def taken(stage, nets, batch):
    found = {}
    stage.update(nets, batch, lambda terms, group="main": found.update({group: dict(terms)}))
    return found


def slow_real(verdict):
    return sum(-math.log(1 / (1 + math.exp(-v))) for v in verdict) / len(verdict)


def slow_fake(verdict):
    return sum(-math.log(1 - 1 / (1 + math.exp(-v))) for v in verdict) / len(verdict)


@pytest.mark.parametrize(("term", "slow"), [(is_real, slow_real), (is_fake, slow_fake)])
def test_values_and_gradients_equal_plain_loops(term, slow):
    x = torch.tensor(VERDICT, requires_grad=True)
    found = term(x)
    found.backward()
    assert found.item() == pytest.approx(slow(VERDICT))
    np.testing.assert_allclose(x.grad.numpy(), lab.numeric_gradient(slow, VERDICT), atol=1e-6)
    assert term(x[:0]).item() == 0


def test_planning_imports_no_torch_and_needs_privilege():
    run_afresh("import sys, pmbench_adda; pmbench_adda.pmbench_methods(); assert 'torch' not in sys.modules")
    assert list(pmbench_adda.pmbench_methods()) == [adda]
    with pytest.raises(pm.Unsupported, match="privileged"):
        adda.last_stage(lab.setting(("acc",), ()))


def test_teachers(few):
    assert adda.last_stage(few).parents == (pm.Stream("gyro"),)
    assert adda.last_stage(few, teacher="fused").parents == (pm.EarlyFusion(("acc", "gyro")),)


def test_terms(few):
    stage = adda.last_stage(few, weight=0.5, hidden=7)
    nets = stage.build(lab.LabBench(few)).eval()
    batch = lab.batch(stage.reads, LABELS)
    judge, out = nets.discriminator, nets.student(batch)
    groups = taken(stage, nets, batch)
    real, fake = judge(nets.teacher(batch).pooled), judge(nets.adapter(out.pooled))
    expected = {
        "discriminator": {"judge_real": slow_real(real.tolist()), "judge_fake": slow_fake(fake.tolist())},
        "main": {
            "ce": pm.cross_entropy(out.logits, batch.labels).item(),
            "deceive": 0.5 * slow_real(fake.tolist()),
        },
    }
    found = {g: {n: t.item() for n, t in terms.items()} for g, terms in groups.items()}
    assert found == {g: pytest.approx(terms, rel=1e-5) for g, terms in expected.items()}


def test_without_the_game_it_is_plain_training(few):
    stage, plain = adda.last_stage(few, weight=0.0), pm.Stream("acc")
    found = []
    for of in (stage, plain):
        nets = of.build(lab.LabBench(few))
        sum(taken(of, nets, lab.batch(of.reads, LABELS))["main"].values()).backward()
        found.append({n: p.grad for n, p in nets.student.named_parameters()})
    for name, grad in found[1].items():
        torch.testing.assert_close(found[0][name], grad)


def test_each_step_moves_one_side(few):
    stage = adda.last_stage(few, teacher="fused")
    nets = stage.build(lab.LabBench(few))
    steps, moved = lab.Steps(stage, nets), []

    def step(terms, group="main"):
        before = {n: p.detach().clone() for n, p in nets.named_parameters()}
        steps(terms, group)
        now = dict(nets.named_parameters())
        moved.append({n.partition(".")[0] for n in now if not torch.equal(now[n], before[n])})

    stage.update(nets, lab.batch(stage.reads, LABELS), step)
    assert moved[0] == {"discriminator"}
    assert "student" in moved[1]
    assert moved[1] <= {"student", "adapter"}
    assert stage.groups(nets)["discriminator"].changes["optimizer"] == "adam"


def test_only_samples_with_the_teachers_modality_are_shown_as_the_teachers(few):
    stage = adda.last_stage(few)
    nets = stage.build(lab.LabBench(few)).eval()
    found = []
    for value in (0.0, 1e3):
        batch = lab.batch(stage.reads, LABELS, present={"gyro": np.array([True, True, True, False])})
        batch["gyro"][3] = value
        found.append({n: t.item() for g in taken(stage, nets, batch).values() for n, t in g.items()})
    assert found[0] == found[1]
    none = lab.batch(stage.reads, LABELS, present={"gyro": np.zeros(4, bool)})
    assert taken(stage, nets, none)["discriminator"]["judge_real"].item() == 0
