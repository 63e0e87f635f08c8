"""Which loss term of which stage moves which network: the whole table."""

import pytest
import torch

import pmbench as pm

ACC, GYRO = pm.Stream("acc"), pm.Stream("gyro")
FUSED = pm.EarlyFusion(("acc", "gyro"))
STUDENT = {"student.encoder", "student.head"}
ALL_FUSED = {"student.trunks", "student.tail", "student.head"}

TABLE = {
    ACC: {"ce": STUDENT},
    pm.Stream("acc", bottleneck=4): {"ce": {*STUDENT, "student.bottleneck"}},
    FUSED: {"ce": ALL_FUSED},
    pm.EarlyFusion(("acc", "spectrum")): {"ce": {"student.trunks", "student.joint", "student.head"}},
    pm.JointLateFusion((ACC, GYRO)): {"ce": {"student.networks"}},
    pm.Distill(FUSED, ("acc",)): {"ce": STUDENT, "soft": STUDENT},
    pm.Distill(GYRO, ("acc", "mag")): {"ce": ALL_FUSED, "soft": ALL_FUSED},
    pm.PseudoLabel(FUSED, ("acc",)): {"ce": STUDENT, "pseudo": STUDENT},
    pm.PseudoLabel(GYRO, ("acc",), "soft"): {"ce": STUDENT, "pseudo": STUDENT},
}


@pytest.mark.parametrize("stage", TABLE, ids=repr)
def test_terms_move_exactly_these(fake, stage):
    bench = fake.Bench(fake.setting(("acc",), ("gyro",)))
    found = fake.gradient_flow(stage, bench, fake.batch(stage.reads, (0, 1, -1, 2)))
    assert found == TABLE[stage]


@pytest.mark.parametrize("stage", TABLE, ids=repr)
def test_every_trainable_parameter_gets_a_gradient(fake, stage):
    bench = fake.Bench(fake.setting(("acc",), ("gyro",)))
    nets = stage.build(bench)
    sum(stage.losses(nets, fake.batch(stage.reads, (0, 1, -1, 2))).values()).backward()
    still = [n for n, p in nets.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []


@pytest.mark.parametrize("stage", [s for s in TABLE if hasattr(s, "teacher")], ids=repr)
def test_a_frozen_teacher_stays_bit_by_bit(fake, stage):
    bench = fake.Bench(fake.setting(("acc",), ("gyro",)))
    nets = stage.build(bench).train()
    before = {n: t.clone() for n, t in nets.teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in nets.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        sum(stage.losses(nets, fake.batch(stage.reads, (0, 1, -1, 2))).values()).backward()
        optimizer.step()
    assert all(torch.equal(t, before[n]) for n, t in nets.teacher.state_dict().items())
