"""What the reference rows and controls plan, and what their networks compute."""

import dataclasses

import pytest
import torch

import pmbench as pm
from pmbench.builtin.methods import METHODS
from pmbench.builtin.reference_stages import Filled
from pmbench.testing import lab

BY_NAME = {m.name: m for m in METHODS}
ACC, GYRO = pm.Stream("acc"), pm.Stream("gyro")


def plan(name, setting, **options):
    return BY_NAME[name].last_stage(setting, **options)


@pytest.mark.parametrize(
    ("name", "options", "stage"),
    [
        ("target_only", {}, ACC),
        ("privileged_only", {}, GYRO),
        ("early_fusion", {}, pm.EarlyFusion(("acc", "gyro"))),
        ("late_fusion", {}, pm.LateFusion((ACC, GYRO))),
        ("late_fusion", {"form": "joint"}, pm.JointLateFusion((ACC, GYRO))),
        ("target_ensemble", {}, pm.LateFusion((ACC, pm.Stream("acc", replica=1)))),
        ("missing_fill", {}, Filled(pm.LateFusion((ACC, GYRO)), ("acc",))),
        ("missing_fill", {"form": "joint"}, Filled(pm.JointLateFusion((ACC, GYRO)), ("acc",))),
        ("missing_fill", {"form": "early"}, Filled(pm.EarlyFusion(("acc", "gyro")), ("acc",))),
        ("self_distill", {}, pm.Distill(pm.Stream("acc", replica=1), ("acc",))),
    ],
)
def test_plan(name, options, stage):
    setting = lab.setting(("acc",), ("gyro",))
    assert plan(name, setting, **options) == stage
    assert set(stage.reads) <= set(setting.all)


def test_every_reference_row_is_planned_here():
    assert set(BY_NAME) == {
        "target_only",
        "early_fusion",
        "privileged_only",
        "late_fusion",
        "target_ensemble",
        "missing_fill",
        "self_distill",
        "self_train",
    }


def test_several_target_modalities_are_fused():
    setting = lab.setting(("acc", "mag"), ("gyro",))
    assert plan("target_only", setting) == pm.EarlyFusion(("acc", "mag"))
    assert plan("self_distill", setting).teacher == pm.EarlyFusion(("acc", "mag"), replica=1)
    assert plan("privileged_only", setting) == GYRO


def test_nothing_privileged_is_a_skip():
    with pytest.raises(pm.Unsupported, match="privileged"):
        plan("privileged_only", lab.setting(("acc",), ()))


def test_self_train_needs_unlabelled_samples():
    with pytest.raises(pm.Unsupported, match="without label"):
        plan("self_train", lab.setting(("acc",), ("gyro",)))
    stage = plan("self_train", lab.setting(("acc",), ("gyro",), demands=("unlabelled",)), threshold=0.9)
    assert stage == pm.PseudoLabel(pm.Stream("acc", replica=1), ("acc",), pm.PseudoLabelOptions("hard", 0.9))


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_what_it_is_tested_on_is_what_it_delivers_for(name):
    """The delivered network is a function of the declared test modalities alone."""
    setting = lab.setting(("acc",), ("gyro",), demands=("unlabelled",))
    stage, bench = plan(name, setting), lab.LabBench(setting)
    network = stage.deliver(stage.build(bench)).eval()
    reads = BY_NAME[name].test_modalities(setting)
    x = lab.batch(reads)
    out = network({m: x[m] for m in reads})
    assert out.logits.shape == (4, lab.K)
    assert out.pooled.shape[0] == 4


def test_late_fusion_is_the_mean_of_logits_not_of_probabilities():
    setting = lab.setting(("acc",), ("gyro",))
    bench, x = lab.LabBench(setting), lab.batch(("acc", "gyro"))
    fused = plan("late_fusion", setting).build(bench).student(x).logits
    a, b = bench.frozen(ACC)(x).logits, bench.frozen(GYRO)(x).logits
    torch.testing.assert_close(fused, (a + b) / 2)
    assert (fused.softmax(1) - (a.softmax(1) + b.softmax(1)) / 2).abs().max() > 1e-6


def test_ensemble_members_differ():
    setting = lab.setting(("acc",), ("gyro",))
    bench, x = lab.LabBench(setting), lab.batch(("acc",))
    first, second = plan("target_ensemble", setting).streams
    assert first.reads == second.reads
    assert dataclasses.replace(second, replica=0) == first
    assert not torch.equal(bench.frozen(first)(x).logits, bench.frozen(second)(x).logits)


@pytest.mark.parametrize("form", ["indep", "joint", "early"])
def test_missing_fill_is_the_network_given_the_mean(form):
    setting = lab.setting(("acc",), ("gyro",))
    bench, x = lab.LabBench(setting), lab.batch(("acc", "gyro"))
    stage = plan("missing_fill", setting, form=form)
    assert stage.reads == ("acc",)
    given_mean = {"acc": x["acc"], "gyro": torch.zeros_like(x["gyro"])}
    filled = stage.build(bench).student({"acc": x["acc"]}).logits
    assert torch.equal(filled, bench.frozen(stage.network)(given_mean).logits)


def test_filling_late_fusion_adds_one_vector_to_every_sample():
    """Half the target stream's logits plus half the privileged stream's logits for the mean input."""
    setting = lab.setting(("acc",), ("gyro",))
    bench, x = lab.LabBench(setting), lab.batch(("acc",))
    rest = plan("missing_fill", setting).build(bench).student(x).logits - bench.frozen(ACC)(x).logits / 2
    torch.testing.assert_close(rest, rest[:1].expand_as(rest))


def test_missing_fill_exports_with_dynamic_batch():
    setting = lab.setting(("acc",), ("gyro",))
    network = plan("missing_fill", setting).build(lab.LabBench(setting)).student.eval()
    lab.exported(network, lab.batch(("acc",)))
