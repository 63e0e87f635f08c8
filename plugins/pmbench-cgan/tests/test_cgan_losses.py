"""cgan's terms: plain loops, finite differences, and the identities of distance correlation."""

import math

import numpy as np
import pytest
import torch
from pmbench_cgan.losses import class_sum, decorrelation_sum, distance_correlation, is_fake, is_real, l2_sum

import pmbench as pm
from pmbench.testing import lab

RANDOM = np.random.default_rng(11)
N = 7
VERDICT = RANDOM.normal(0, 2, N)
LOGITS = RANDOM.normal(0, 2, (N, 3))
LABELS = np.array([0, 2, -1, 1, -1, 1, 2])
F_M, F_G = RANDOM.normal(0, 1, (N, 5)), RANDOM.normal(0, 1, (N, 5))
FORMS = ("biased", "u")


# --- the same in plain loops --------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def slow_real(v):
    return sum(-math.log(sigmoid(x)) for x in v) / len(v)


def slow_fake(v):
    return sum(-math.log(1 - sigmoid(x)) for x in v) / len(v)


def slow_classes(logits):
    total = 0.0
    for row, y in zip(logits, LABELS, strict=True):
        if y >= 0:
            total -= math.log(math.exp(row[y]) / sum(math.exp(z) for z in row))
    return total


def slow_l2(g):
    return sum((F_M[i, j] - g[i, j]) ** 2 for i in range(N) for j in range(g.shape[1]))


def slow_distances(x):
    n = len(x)
    return [
        [math.sqrt(sum((p - q) ** 2 for p, q in zip(x[i], x[j], strict=True))) for j in range(n)]
        for i in range(n)
    ]


def slow_centered(x, form):
    """Biased: a_ij - mean_i - mean_j + mean. U: with n - 2 and (n - 1)(n - 2), and 0 on the diagonal."""
    a, n = slow_distances(x), len(x)
    rows = [sum(a[i][j] for j in range(n)) for i in range(n)]
    whole = sum(rows)
    one, both = (n, n * n) if form == "biased" else (n - 2, (n - 1) * (n - 2))
    return [
        [
            0.0 if form == "u" and i == j else a[i][j] - rows[i] / one - rows[j] / one + whole / both
            for j in range(n)
        ]
        for i in range(n)
    ]


def slow_dcor(x, y, form):
    a, b, n = slow_centered(x, form), slow_centered(y, form), len(x)

    def product(p, q):
        divisor = n * n if form == "biased" else n * (n - 3)
        return sum(p[i][j] * q[i][j] for i in range(n) for j in range(n)) / divisor

    squared = product(a, b) / math.sqrt(product(a, a) * product(b, b))
    return math.sqrt(max(squared, 0)) if form == "biased" else squared


def t(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


LABELS_T = torch.from_numpy(LABELS)
CASES = {
    "real": (is_real, slow_real, VERDICT),
    "fake": (is_fake, slow_fake, VERDICT),
    "classes": (lambda z: class_sum(z, LABELS_T), slow_classes, LOGITS),
    "l2": (lambda g: l2_sum(torch.tensor(F_M), g), slow_l2, F_G),
    "dcor, biased": (
        lambda g: decorrelation_sum(torch.tensor(F_M), g, "biased"),
        lambda g: N * (1 - slow_dcor(F_M, g, "biased")),
        F_G,
    ),
    "dcor, u": (
        lambda g: decorrelation_sum(torch.tensor(F_M), g, "u"),
        lambda g: N * (1 - slow_dcor(F_M, g, "u")),
        F_G,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_plain_loops(name):
    term, reference, point = CASES[name]
    leaf = t(point)
    found = term(leaf)
    found.backward()
    assert found.item() == pytest.approx(reference(point), abs=1e-8)
    np.testing.assert_allclose(leaf.grad.numpy(), lab.numeric_gradient(reference, point), atol=1e-6)
    assert term(torch.tensor(point, dtype=torch.float32).requires_grad_()).item() == pytest.approx(
        reference(point), abs=1e-4
    )


@pytest.mark.parametrize("name", [n for n in CASES if n != "classes"])
def test_the_privileged_side_has_no_gradient_and_no_sample_is_no_loss(name):
    term, _, point = CASES[name]
    if point is F_G:
        f_m = t(F_M)
        own = {"l2": l2_sum}.get(name, lambda m, g: decorrelation_sum(m, g, name.removeprefix("dcor, ")))
        own(f_m, t(F_G)).backward()
        assert f_m.grad is None
        assert own(f_m[:0], t(F_G)[:0]).item() == 0
    else:
        assert term(t(VERDICT)[:0]).item() == 0


# --- classes ------------------------------------------------------------------------------------------------


def test_the_class_term_is_the_mean_times_the_labelled_samples():
    z = t(LOGITS)
    expected = pm.cross_entropy(z, LABELS_T) * (LABELS_T >= 0).sum()
    torch.testing.assert_close(class_sum(z, LABELS_T), expected)
    assert class_sum(z, LABELS_T * 0 - 1).item() == 0


def test_with_two_classes_it_is_full_binary_cross_entropy_of_a_linear_scorer():
    """S(w F + b) with w = w_1 - w_0, b = b_1 - b_0; both labels count, unlike in the printed eq. 3."""
    head, f = torch.nn.Linear(5, 2).double(), torch.tensor(F_M)
    y = torch.tensor([0, 1, 1, 0, 0, 1, 0])
    w, b = head.weight[1] - head.weight[0], head.bias[1] - head.bias[0]
    s = torch.sigmoid(f @ w + b)
    binary = -(y * s.log() + (1 - y) * (1 - s).log()).sum()
    torch.testing.assert_close(class_sum(head(f), y), binary)
    assert torch.equal(head(f).argmax(1), (s > 0.5).long())
    positives_only = -(y * s.log()).sum()
    assert binary > positives_only


# --- the game -----------------------------------------------------------------------------------------------


def test_both_forms_push_alike_at_one_half_and_only_the_saturating_one_gives_up():
    undecided, lost = torch.zeros(4), torch.full((4,), -20.0)
    slopes = {}
    for saturating, deception in ((False, is_real), (True, lambda v: -is_fake(v))):
        for name, at in (("undecided", undecided), ("lost", lost)):
            leaf = at.clone().requires_grad_()
            deception(leaf).backward()
            slopes[saturating, name] = leaf.grad.sum().item()
    assert slopes[False, "undecided"] == pytest.approx(-0.5)
    assert slopes[True, "undecided"] == pytest.approx(-0.5)
    assert slopes[False, "lost"] == pytest.approx(-1.0)
    assert abs(slopes[True, "lost"]) < 1e-8
    assert is_fake(undecided).item() == pytest.approx(math.log(2))


def test_a_certain_verdict_stays_finite():
    sure = torch.tensor([1e4, -1e4])
    assert is_real(sure).isfinite()
    assert is_fake(sure).isfinite()


# --- distance correlation -----------------------------------------------------------------------------------


def rows(n, width=50, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1.0, 0.3, 40.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_one_under_similarity_transforms(form, scale, dtype):
    x = rows(64).to(dtype)
    rotation = torch.linalg.qr(rows(50, seed=1)).Q.to(dtype)
    moved = scale * x @ rotation + rows(1, seed=2).to(dtype)
    assert distance_correlation(x, moved, form).item() == pytest.approx(1, abs=1e-5)
    assert decorrelation_sum(x, x.clone(), form).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_less_than_one_under_other_maps(form):
    x = rows(64)
    stretched = x * torch.linspace(0.1, 3, 50)
    assert distance_correlation(x, stretched, form).item() < 0.999


@pytest.mark.parametrize("n", [4, 5, 16, 64])
def test_ranges(n):
    for seed in range(20):
        x, y = rows(n, 6, seed), rows(n, 9, 100 + seed)
        assert 0 <= distance_correlation(x, y, "biased").item() <= 1
        assert -1 - 1e-5 <= distance_correlation(x, y, "u").item() <= 1 + 1e-5


@pytest.mark.parametrize(("n", "expected"), [(64, 0.87), (256, 0.66)])
def test_of_independent_rows_the_biased_form_is_large_and_the_u_centered_one_near_zero(n, expected):
    biased = [distance_correlation(rows(n, seed=s), rows(n, seed=50 + s), "biased").item() for s in range(6)]
    centred = [distance_correlation(rows(n, seed=s), rows(n, seed=50 + s), "u").item() for s in range(6)]
    assert np.mean(biased) == pytest.approx(expected, abs=0.02)
    assert abs(np.mean(centred)) < 0.05


def test_the_u_centered_form_can_be_negative():
    found = [distance_correlation(rows(4, seed=s), rows(4, seed=50 + s), "u").item() for s in range(20)]
    assert min(found) < -0.3


@pytest.mark.parametrize("form", FORMS)
def test_u_centered_rows_sum_to_zero_and_order_does_not_matter(form):
    x, y, order = rows(12, 3), rows(12, 4, 1), torch.randperm(12)
    torch.testing.assert_close(
        distance_correlation(x, y, form), distance_correlation(x[order], y[order], form), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(distance_correlation(x, y, form), distance_correlation(y, x, form))
    assert np.allclose(np.sum(slow_centered(x.double().numpy(), form), 1), 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_than_four_samples_have_none(form, n):
    g = rows(n).requires_grad_()
    found = decorrelation_sum(rows(n, seed=1), g, form)
    found.backward()
    assert found.item() == 0
    assert not g.grad.any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("constant", ["one", "other", "both", "pairs"])
def test_constant_and_repeated_rows_give_finite_gradients(form, constant):
    x, y = rows(8), rows(8, seed=1)
    if constant in ("one", "both"):
        x = x[:1].expand(8, -1).clone()
    if constant in ("other", "both"):
        y = y[:1].expand(8, -1).clone()
    if constant == "pairs":
        y = y[:4].repeat(2, 1)
    y.requires_grad_()
    found = decorrelation_sum(x, y, form)
    found.backward()
    assert found.isfinite()
    assert y.grad.isfinite().all()
    if constant != "pairs":
        assert found.item() == pytest.approx(8, abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_descending_it_makes_features_similar(form):
    x, y = rows(32, 4), rows(32, 4, 1).requires_grad_()
    optimizer = torch.optim.Adam([y], lr=0.1)
    before = distance_correlation(x, y, form).item()
    for _ in range(100):
        optimizer.zero_grad()
        decorrelation_sum(x, y, form).backward()
        optimizer.step()
    assert distance_correlation(x, y, form).item() > max(0.97, before)
