"""Every trainable parameter of a built-in stage gets a gradient."""

import pytest

import pmbench as pm
from pmbench.testing import lab

ACC, GYRO = pm.Stream("acc"), pm.Stream("gyro")
FUSED = pm.EarlyFusion(("acc", "gyro"))
STAGES = (
    ACC,
    pm.Stream("acc", bottleneck=4),
    FUSED,
    pm.EarlyFusion(("acc", "spectrum")),
    pm.JointLateFusion((ACC, GYRO)),
    pm.Distill(FUSED, ("acc",)),
    pm.Distill(GYRO, ("acc", "mag")),
    pm.PseudoLabel(FUSED, ("acc",)),
    pm.PseudoLabel(GYRO, ("acc",), pm.PseudoLabelOptions("soft")),
)


@pytest.mark.parametrize("stage", STAGES, ids=repr)
def test_every_trainable_parameter_gets_a_gradient(stage):
    bench = lab.LabBench(lab.setting(("acc",), ("gyro",)))
    nets = stage.build(bench)
    sum(stage.losses(nets, lab.batch(stage.reads, (0, 1, -1, 2))).values()).backward()
    still = [n for n, p in nets.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []
