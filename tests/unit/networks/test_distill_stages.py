"""Distill and PseudoLabel: values and gradients against plain loops, identities, options."""

import numpy as np
import pytest
import torch

import pmbench as pm
from pmbench.testing import lab, loops

RANDOM = np.random.default_rng(3)
STUDENT, TEACHER = RANDOM.normal(0, 2, (6, 3)), RANDOM.normal(0, 2, (6, 3))
LABELS = np.array([0, -1, 2, -1, 1, -1])
PRESENT = np.array([True, True, False, True, True, False])
TAUGHT, UNLABELLED = [0, 1, 3, 4], [1, 3, 5]
ACC, GYRO = pm.Stream("acc"), pm.Stream("gyro")


def terms(stage, student=STUDENT, labels=LABELS, present=None):
    """(terms, networks) of a stage whose networks give the logits STUDENT and TEACHER."""
    nets = pm.Nets(student=lab.Given(student), teacher=lab.Given(TEACHER))
    masks = {} if present is None else {"gyro": present}
    return stage.losses(nets, lab.batch(stage.reads, labels, present=masks)), nets


def agrees(stage, term, plain, **situation):
    found, nets = terms(stage, **situation)
    found[term].backward()
    assert found[term].item() == pytest.approx(plain(STUDENT), abs=1e-10)
    expected = lab.numeric_gradient(plain, STUDENT)
    np.testing.assert_allclose(nets.student.logits.grad.numpy(), expected, atol=1e-7)
    assert nets.teacher.logits.grad is None


def test_distill_terms():
    stage = pm.Distill(GYRO, ("acc",), pm.DistillOptions(4.0, 0.9))
    agrees(stage, "ce", lambda s: 0.1 * loops.cross_entropy(s, LABELS))
    agrees(stage, "soft", lambda s: 0.9 * loops.kl_divergence(TEACHER, s, 4.0))


def test_distill_skips_samples_that_the_teacher_cannot_read():
    stage = pm.Distill(GYRO, ("acc",), pm.DistillOptions(2.0, 0.3))
    agrees(stage, "ce", lambda s: 0.7 * loops.cross_entropy(s, LABELS), present=PRESENT)
    agrees(stage, "soft", lambda s: 0.3 * loops.kl_divergence(TEACHER, s, 2.0, TAUGHT), present=PRESENT)


@pytest.mark.parametrize(
    "stage",
    [
        pm.Distill(GYRO, ("acc",)),
        pm.PseudoLabel(GYRO, ("acc",)),
        pm.PseudoLabel(GYRO, ("acc",), pm.PseudoLabelOptions("soft")),
        pm.PseudoLabel(GYRO, ("acc",), pm.PseudoLabelOptions("soft", 1.0)),
    ],
)
def test_without_any_sample_for_the_teacher_its_term_is_zero(stage):
    found, nets = terms(stage, present=np.zeros(6, bool))
    taught = next(v for k, v in found.items() if k != "ce")
    taught.backward()
    assert taught.item() == 0
    assert torch.equal(nets.student.logits.grad, torch.zeros(6, 3, dtype=torch.float64))


def test_distill_without_imitation_is_plain_training():
    """The network starts from the same weights, and so do the loss and its gradients equal the floor's."""
    setting = lab.setting(("acc",), ("gyro",))
    bench = lab.LabBench(setting)
    gradients = []
    for stage in (
        ACC,
        pm.Distill(pm.EarlyFusion(("acc", "gyro")), ("acc",), pm.DistillOptions(imitation=0.0)),
    ):
        nets = stage.build(bench)
        total = sum(stage.losses(nets, lab.batch(stage.reads)).values())
        total.backward()
        gradients.append((total.detach(), *(p.grad for p in nets.student.parameters())))
    for plain, distilled in zip(*gradients, strict=True):
        assert torch.equal(plain, distilled)


def test_distill_from_a_teacher_that_agrees_is_zero():
    found, nets = terms(pm.Distill(GYRO, ("acc",)), student=TEACHER)
    found["soft"].backward()
    assert found["soft"].item() == pytest.approx(0, abs=1e-12)
    assert nets.student.logits.grad.abs().max() < 1e-12


def test_pseudo_label_hard():
    stage = pm.PseudoLabel(GYRO, ("acc",))
    pseudo = np.where(LABELS < 0, TEACHER.argmax(1), -1)
    agrees(stage, "ce", lambda s: loops.cross_entropy(s, LABELS))
    agrees(stage, "pseudo", lambda s: loops.cross_entropy(s, pseudo))


def test_pseudo_label_soft():
    stage = pm.PseudoLabel(GYRO, ("acc",), pm.PseudoLabelOptions("soft"))
    agrees(stage, "pseudo", lambda s: loops.soft_cross_entropy(TEACHER, s, 1.0, rows=UNLABELLED))


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_pseudo_labels_need_a_confident_teacher_with_its_modalities(labels):
    confidence = [max(loops.softmax(row)) for row in TEACHER]
    threshold = sorted(confidence[i] for i in UNLABELLED)[1]
    asked = [i for i in UNLABELLED if confidence[i] >= threshold and PRESENT[i]]
    assert 0 < len(asked) < len(UNLABELLED)
    stage = pm.PseudoLabel(GYRO, ("acc",), pm.PseudoLabelOptions(labels, threshold))
    guesses = np.array([TEACHER[i].argmax() if i in asked else -1 for i in range(6)])
    plain = {
        "hard": lambda s: loops.cross_entropy(s, guesses),
        "soft": lambda s: loops.soft_cross_entropy(TEACHER, s, 1.0, rows=asked),
    }
    agrees(stage, "pseudo", plain[labels], present=PRESENT)


def test_equal_halves_weigh_all_samples_alike():
    """Three labelled, three pseudo-labelled: twice the mean over the union."""
    union = np.where(LABELS < 0, TEACHER.argmax(1), LABELS)
    found, _ = terms(pm.PseudoLabel(GYRO, ("acc",)))
    assert sum(found.values()).item() == pytest.approx(2 * loops.cross_entropy(STUDENT, union))


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_pseudo_label_with_all_labels_is_plain_training(labels):
    y = np.array([0, 1, 2, 0, 1, 2])
    found, _ = terms(pm.PseudoLabel(GYRO, ("acc",), pm.PseudoLabelOptions(labels)), labels=y)
    assert found["pseudo"].item() == 0
    assert found["ce"].item() == pytest.approx(loops.cross_entropy(STUDENT, y))


@pytest.mark.parametrize(
    ("options", "bad"),
    [
        (pm.DistillOptions, {"temperature": 0.0}),
        (pm.DistillOptions, {"imitation": 1.5}),
        (pm.PseudoLabelOptions, {"labels": "firm"}),
        (pm.PseudoLabelOptions, {"threshold": 1.5}),
    ],
)
def test_options_out_of_range_are_refused(options, bad):
    with pytest.raises(pm.UsageError, match=f"option '{next(iter(bad))}' is .*; expected"):
        options(**bad)


def test_a_modality_read_by_both_is_read_once():
    assert pm.Distill(pm.EarlyFusion(("acc", "gyro")), ("acc",)).reads == ("acc", "gyro")
    assert pm.PseudoLabel(pm.Stream("acc", replica=1), ("acc",)).reads == ("acc",)
