"""kd, gen_distill and pseudo_label: plans, values and gradients against plain loops, identities."""

import math

import numpy as np
import pmbench_kd
import pytest
import torch
from pmbench_kd import gen_distill, kd, pseudo_label
from pmbench_kd.stages import GenDistillOptions, Imitate

import pmbench as pm
from pmbench.builtin.methods import METHODS
from pmbench.testing import lab, loops, run_afresh

RANDOM = np.random.default_rng(11)
STUDENT, TEACHER = RANDOM.normal(0, 2, (6, 3)), RANDOM.normal(0, 2, (6, 3))
LABELS = np.array([0, -1, 2, -1, 1, -1])
PRESENT = np.array([True, True, False, True, True, False])
ACC, GYRO, FUSED = pm.Stream("acc"), pm.Stream("gyro"), pm.EarlyFusion(("acc", "gyro"))


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


def terms(stage, student=STUDENT, teacher=TEACHER, present=None):
    nets = pm.Nets(student=lab.Given(student), teacher=lab.Given(teacher))
    masks = {} if present is None else {"gyro": present}
    return stage.losses(nets, lab.batch(stage.reads, LABELS, present=masks)), nets


def test_hook_offers_the_three_methods():
    assert [m.name for m in pmbench_kd.pmbench_methods()] == ["kd", "gen_distill", "pseudo_label"]


@pytest.mark.parametrize(
    ("method", "options", "stage"),
    [
        (kd, {}, pm.Distill(FUSED, ("acc",), pm.DistillOptions(4.0, 0.9))),
        (
            kd,
            {"teacher": "privileged", "temperature": 2.0},
            pm.Distill(GYRO, ("acc",), pm.DistillOptions(2.0, 0.9)),
        ),
        (gen_distill, {}, Imitate(GYRO, ("acc",), GenDistillOptions(2.0, 0.5))),
        (gen_distill, {"scale": True}, Imitate(GYRO, ("acc",), GenDistillOptions(2.0, 0.5, True))),
    ],
)
def test_plan(setting, method, options, stage):
    assert method.last_stage(setting, **options) == stage
    assert stage.handles == {"unlabelled", "unpaired"}


def test_pseudo_label_plan(setting):
    with pytest.raises(pm.Unsupported, match="without label"):
        pseudo_label.last_stage(setting)
    few = lab.setting(("acc",), ("gyro",), demands=("unlabelled",))
    assert pseudo_label.last_stage(few) == pm.PseudoLabel(FUSED, ("acc",))
    assert pseudo_label.last_stage(few, teacher="privileged", labels="soft") == pm.PseudoLabel(
        GYRO, ("acc",), pm.PseudoLabelOptions("soft")
    )


@pytest.mark.parametrize(("method", "control"), [("kd", "self_distill"), ("pseudo_label", "self_train")])
def test_the_control_differs_in_its_teacher_alone(method, control):
    few = lab.setting(("acc",), ("gyro",), demands=("unlabelled",))
    privileged = next(m for m in pmbench_kd.pmbench_methods() if m.name == method)
    plain = next(m for m in METHODS if m.name == control)
    a, b = privileged.last_stage(few), plain.last_stage(few)
    assert type(a) is type(b)
    assert vars(a) | {"teacher": None} == vars(b) | {"teacher": None}
    assert set(b.reads) == set(few.target)
    options = {n: o.default for n, o in privileged.options().items() if n != "teacher"}
    assert options == {n: o.default for n, o in plain.options().items()}


@pytest.mark.parametrize(("scale", "factor"), [(False, 1.0), (True, 9.0)])
@pytest.mark.parametrize("present", [None, PRESENT])
def test_imitate_equals_plain_loops(scale, factor, present):
    stage = Imitate(GYRO, ("acc",), GenDistillOptions(3.0, 0.4, scale))
    rows = range(6) if present is None else np.flatnonzero(present).tolist()
    plain = {
        "hard": lambda s: 0.6 * loops.cross_entropy(s, LABELS),
        "soft": lambda s: 0.4 * factor * loops.soft_cross_entropy(TEACHER, s, 3.0, 1.0, rows),
    }
    for name, reference in plain.items():
        found, nets = terms(stage, present=present)
        found[name].backward()
        assert found[name].item() == pytest.approx(reference(STUDENT), abs=1e-10)
        expected = lab.numeric_gradient(reference, STUDENT)
        np.testing.assert_allclose(nets.student.logits.grad.numpy(), expected, atol=1e-7)
        assert nets.teacher.logits.grad is None


def test_imitate_without_any_pair_teaches_nothing():
    found, nets = terms(Imitate(GYRO, ("acc",)), present=np.zeros(6, bool))
    found["soft"].backward()
    assert found["soft"].item() == 0
    assert not nets.student.logits.grad.any()


def test_a_hot_teacher_pulls_to_the_uniform_distribution():
    """Its soft term has its minimum, log K, at uniform predictions of the student."""
    stage = Imitate(GYRO, ("acc",), GenDistillOptions(1e9, 1.0))
    flat, nets = terms(stage, student=np.zeros((6, 3)))
    flat["soft"].backward()
    assert flat["soft"].item() == pytest.approx(math.log(3))
    assert nets.student.logits.grad.abs().max() < 1e-8


def test_at_temperature_one_it_has_the_gradient_of_kd():
    grads = []
    for stage in (
        Imitate(GYRO, ("acc",), GenDistillOptions(1.0, 0.7)),
        pm.Distill(GYRO, ("acc",), pm.DistillOptions(1.0, 0.7)),
    ):
        found, nets = terms(stage)
        found["soft"].backward()
        grads.append(nets.student.logits.grad)
    torch.testing.assert_close(*grads)


def test_imitate_without_imitation_is_plain_training(setting):
    bench = lab.LabBench(setting)
    plain, imitate = ACC, Imitate(GYRO, ("acc",), GenDistillOptions(2.0, 0.0))
    gradients = []
    for stage in (plain, imitate):
        nets = stage.build(bench)
        sum(stage.losses(nets, lab.batch(stage.reads)).values()).backward()
        gradients.append([p.grad for p in nets.student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"imitation": -0.1}, {"imitation": 1.1}])
def test_impossible_hyper_parameters_are_refused(setting, bad):
    for method in (kd, gen_distill):
        with pytest.raises(pm.PmbenchError, match="expected"):
            method.last_stage(setting, **bad)


def test_the_delivered_network_sees_the_target_alone(setting):
    for method in (kd, gen_distill):
        stage = method.last_stage(setting)
        network = stage.deliver(stage.build(lab.LabBench(setting))).eval()
        assert network({"acc": lab.batch(("acc",))["acc"]}).logits.shape == (4, lab.K)


def test_planning_imports_no_torch():
    code = (
        "import sys, pmbench_kd\n"
        "import pmbench as pm\n"
        "s = pm.Setting(('a',), ('b',), 3, {}, {}, frozenset({'unlabelled'}))\n"
        "[m.last_stage(s).reads for m in pmbench_kd.pmbench_methods()]\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)
