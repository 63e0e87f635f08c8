"""surf_resnet18: the paper's parameter counts, through the engine's own bench; maps, joint, gradients."""

from typing import ClassVar

import pytest
import torch
from pmbench_mmh import dad, rad, rad_dad
from pmbench_mmh.backbones import surf_resnet18
from pmbench_mmh.surf import SqueezeExcite

import pmbench as pm
from pmbench.metrics.builtin import METRICS
from pmbench.store.keys import Context
from pmbench.training.bench import EngineBench, check_backbone

FACES = tuple(pm.Modality(n, "image", (3, 112, 112), "1", grid="face") for n in ("rgb", "depth", "ir"))
BY_WIDTH = {b.size: b for b in surf_resnet18}


class Surf(pm.Dataset):
    """Declarations like those of CASIA-SURF, without data."""

    name = "surf"
    summary = "three aligned face modalities"
    classes = ("attack", "live")
    modalities = FACES
    target = ("rgb",)
    privileged = ("depth", "ir")
    splits: ClassVar = {"split": pm.Split("train", "test", "validation")}
    default_protocol = "split"


def bench(stage, width=64):
    backbones = {m.name: BY_WIDTH[width] for m in FACES}
    context = Context(
        Surf(), Surf().protocol("split"), {}, backbones, pm.Recipe(), seed=0, metrics=(METRICS["accuracy"],)
    )
    return EngineBench(stage, context, 0, None)


def setting(width=64):
    backbones = {m.name: BY_WIDTH[width] for m in FACES}
    return pm.Setting(("rgb",), ("depth", "ir"), 2, {m.name: m for m in FACES}, backbones)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parts_add_up():
    """Student: stem 1,856, layers 147,968, 525,568 + attention 2,184, 2,099,712, 8,393,728, head 1,026."""
    student = bench(pm.Stream("rgb")).classifier("rgb")
    encoder = student.encoder
    assert count(encoder.stem) == 3 * 64 * 9 + 2 * 64
    attention = [m for m in encoder.modules() if isinstance(m, SqueezeExcite)]
    assert [count(a) for a in attention] == [128 * 8 + 8 + 8 * 128 + 128]
    assert [count(b) for b in encoder.blocks] == [147_968, 525_568 + 2_184, 2_099_712, 8_393_728]
    assert count(student.head) == 1_026


def test_student_has_the_papers_11172042_parameters():
    assert count(bench(pm.Stream("rgb")).classifier("rgb")) == 11_172_042


@pytest.mark.slow
def test_teacher_of_three_trunks_has_13182554_parameters():
    """Joined behind attention: three times stem, layers 1 and 2, attention; layer 3 takes 384 channels."""
    fused = pm.trained_on("rgb", "depth", "ir")
    teacher = bench(fused).fusion("rgb", "depth", "ir")
    assert [count(t) for t in teacher.trunks.values()] == [677_576] * 3
    assert count(teacher) == 13_182_554
    assert teacher.tail.blocks[0][0].body[0].weight.shape[:2] == (256, 384)


def test_students_of_rad_and_dad_and_the_882_parameters():
    for method, extra in ((rad, 882), (dad, 0)):
        stage = method.last_stage(setting())
        nets = stage.build(bench(stage))
        assert count(stage.deliver(nets)) == 11_172_042
        assert count(nets.teacher) == 13_182_554
        assert count(nets) == 11_172_042 + 13_182_554 + extra
    assert rad_dad.networks == 2


@pytest.mark.parametrize(
    ("size", "grids"), [(112, (28, 14, 7, 4)), (32, (8, 4, 2, 1)), (7, (2, 1, 1, 1)), (33, (9, 5, 3, 2))]
)
def test_maps(size, grids):
    modality = pm.Modality("rgb", "image", (3, size, size), "1")
    check_backbone(BY_WIDTH[16], modality)
    encoder = BY_WIDTH[16].build(modality, 16).eval()
    maps, pooled = encoder(torch.zeros(2, 3, size, size))
    assert [tuple(m.shape[1:]) for m in maps] == [(16 * 2**i, g, g) for i, g in enumerate(grids)]
    torch.testing.assert_close(pooled, maps[-1].mean((2, 3)))


def test_fusion_gives_the_maps_of_layers_3_and_4():
    fused = bench(pm.trained_on("rgb", "depth", "ir"), 8).fusion("rgb", "depth", "ir").eval()
    output = fused({m.name: torch.randn(2, 3, 112, 112) for m in FACES})
    assert [tuple(m.shape[1:]) for m in output.maps] == [(32, 7, 7), (64, 4, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("method", [rad, dad])
def test_a_step_reaches_every_parameter_of_the_student(method):
    stage = method.last_stage(setting(8))
    nets = stage.build(bench(stage, 8)).train()
    x = {m.name: torch.randn(4, 3, 112, 112) for m in FACES}
    batch = pm.Batch(x, torch.tensor([0, 1, -1, 1]), torch.arange(4))
    terms = stage.losses(nets, batch)
    if method is rad:
        assert sum(p.numel() for p in nets.weights.parameters()) == 882
        terms["regions"].backward()
    else:
        sum(terms.values()).backward()
    for name, parameter in nets.student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
