"""The shared loss terms against plain loops, by value and by gradient, and their identities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pmbench as pm
from pmbench.testing import lab, loops

RANDOM = np.random.default_rng(7)
STUDENT, TEACHER = RANDOM.normal(0, 2, (5, 4)), RANDOM.normal(0, 2, (5, 4))
LABELS = np.array([0, 3, -1, 2, -1])

# name -> (term of torch tensors, the same in plain loops, both functions of the student's logits)
TERMS = {
    "cross_entropy": (
        lambda s: pm.cross_entropy(s, torch.as_tensor(LABELS)),
        lambda s: loops.cross_entropy(s, LABELS),
    ),
    "kl_divergence at T=4": (
        lambda s: pm.kl_divergence(torch.as_tensor(TEACHER), s, 4.0),
        lambda s: loops.kl_divergence(TEACHER, s, 4.0),
    ),
    "soft_cross_entropy at T=3, T'=1": (
        lambda s: pm.soft_cross_entropy(torch.as_tensor(TEACHER), s, 3.0),
        lambda s: loops.soft_cross_entropy(TEACHER, s, 3.0),
    ),
    "soft_cross_entropy at T=T'=10": (
        lambda s: pm.soft_cross_entropy(torch.as_tensor(TEACHER), s, 10.0, 10.0),
        lambda s: loops.soft_cross_entropy(TEACHER, s, 10.0, 10.0),
    ),
    "mse": (lambda s: pm.mse(s, torch.as_tensor(TEACHER)), lambda s: loops.mse(s, TEACHER)),
}


@pytest.mark.parametrize("name", TERMS)
def test_term_equals_plain_loops_in_value_and_gradient(name):
    fast, loops = TERMS[name]
    student = torch.tensor(STUDENT, requires_grad=True)
    value = fast(student)
    value.backward()
    assert value.shape == ()
    assert value.item() == pytest.approx(loops(STUDENT), abs=1e-10)
    np.testing.assert_allclose(student.grad.numpy(), lab.numeric_gradient(loops, STUDENT), atol=1e-7)


@pytest.mark.parametrize("name", TERMS)
def test_term_in_single_precision(name):
    if name == "cross_entropy":
        value = pm.cross_entropy(torch.tensor(STUDENT).float(), torch.as_tensor(LABELS))
    else:
        value = TERMS[name][0](torch.tensor(STUDENT).float())
    assert value.item() == pytest.approx(TERMS[name][1](STUDENT), abs=1e-5)


@pytest.mark.parametrize(
    "term",
    [
        lambda t, s: pm.kl_divergence(t, s, 2.0),
        lambda t, s: pm.soft_cross_entropy(t, s, 2.0),
        lambda t, s: pm.mse(s, t),
    ],
)
def test_the_teacher_gets_no_gradient(term):
    teacher = torch.tensor(TEACHER, requires_grad=True)
    student = torch.tensor(STUDENT, requires_grad=True)
    term(teacher, student).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_cross_entropy_without_any_label_is_zero_with_zero_gradient():
    student = torch.tensor(STUDENT, requires_grad=True)
    value = pm.cross_entropy(student, torch.full((5,), -1))
    value.backward()
    assert value.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_cross_entropy_ignores_what_an_unlabelled_sample_says():
    student = torch.tensor(STUDENT)
    other = student.clone()
    other[LABELS < 0] = 100.0
    labels = torch.as_tensor(LABELS)
    assert torch.equal(pm.cross_entropy(student, labels), pm.cross_entropy(other, labels))


LOGITS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-20, 20))


@settings(max_examples=40)
@given(LOGITS, LOGITS, st.floats(0.5, 20))
def test_divergence_is_positive_and_zero_only_at_equality(a, b, temperature):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    assert pm.kl_divergence(a, a.clone(), temperature).item() == pytest.approx(0, abs=1e-9)
    assert pm.kl_divergence(a, b, temperature).item() >= -1e-9


@settings(max_examples=40)
@given(LOGITS, LOGITS, st.floats(0.5, 20))
def test_soft_cross_entropy_less_divergence_is_the_teachers_entropy(a, b, temperature):
    teacher, student = torch.as_tensor(a), torch.as_tensor(b)
    soft = pm.soft_cross_entropy(teacher, student, temperature, temperature).item()
    divergence = pm.kl_divergence(teacher, student, temperature).item() / temperature**2
    assert soft - divergence == pytest.approx(loops.entropy(a, temperature), abs=1e-6)


def test_a_hot_teacher_asks_for_the_uniform_distribution():
    student = torch.tensor(STUDENT)
    uniform = -torch.log_softmax(student, 1).mean(1).mean()
    assert pm.soft_cross_entropy(torch.tensor(TEACHER), student, 1e8).item() == pytest.approx(uniform.item())


def test_the_divergences_gradient_hardly_depends_on_a_high_temperature():
    """T^2 makes up for softening: the gradient tends to (z_s - z_T, both centred) / K."""

    def gradient(temperature):
        student = torch.tensor(STUDENT, requires_grad=True)
        pm.kl_divergence(torch.tensor(TEACHER), student, temperature).backward()
        return student.grad.numpy()

    gap = (STUDENT - STUDENT.mean(1, keepdims=True)) - (TEACHER - TEACHER.mean(1, keepdims=True))
    limit = gap / (STUDENT.shape[1] * len(STUDENT))
    np.testing.assert_allclose(gradient(1e3), limit, atol=2e-3 * np.abs(limit).max())
    np.testing.assert_allclose(gradient(1e3), gradient(2e3), atol=2e-3 * np.abs(limit).max())


def test_equal_logits_give_the_logarithm_of_the_classes():
    flat = torch.zeros(2, 4)
    assert pm.cross_entropy(flat, torch.tensor([0, 3])).item() == pytest.approx(math.log(4))


def test_the_mean_over_one_sample_is_its_value() -> None:
    student, teacher, label = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([1])
    q, p = teacher.softmax(1), student.softmax(1)
    assert pm.cross_entropy(student, label).item() == pytest.approx(-p[0, 1].log().item())
    expected = (q * (q.log() - p.log())).sum().item()
    assert pm.kl_divergence(teacher, student, 1.0).item() == pytest.approx(expected)
    assert pm.soft_cross_entropy(teacher, student, 1.0).item() == pytest.approx(-(q * p.log()).sum().item())
    assert pm.mse(torch.tensor([3.0]), torch.tensor([1.0])).item() == 4
