"""Values and gradients against plain loops, and identities of the terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pmbench_contrast import losses
from pmbench_contrast.networks import Contrast, Critic, Relations
from scipy.optimize import linear_sum_assignment

from pmbench.testing import lab

RNG = np.random.default_rng(5)
N, K, D, SIZE = 5, 4, 3, 9
OWN, THEIRS = RNG.normal(size=(N, D)), RNG.normal(size=(N, D))
ROWS = RNG.normal(size=(SIZE, D))
LABELS = np.array([0, 1, 0, -1, 2])
ALIKE = np.array(
    [[i == j or (a == b and a >= 0) for j, b in enumerate(LABELS)] for i, a in enumerate(LABELS)]
)
POSITIONS = np.array([RNG.permutation([r for r in range(SIZE) if r != i])[:4] for i in range(N)])
VALID = np.array([[True] * 4, [True, False, True, True], [True] * 4, [False] * 4, [True, True, False, False]])
SCORES, NEAR = np.exp(RNG.normal(size=(N, 4))) / SIZE, np.exp(RNG.normal(size=N)) / SIZE
EPS = losses.EPS


def unit(v):
    return v / math.sqrt(sum(x * x for x in v))


def cosine(a, b):
    return float(unit(a) @ unit(b))


def softmax(row):
    powers = [math.exp(v - max(row)) for v in row]
    return [p / sum(powers) for p in powers]


def slow_noise_contrast(near, scores, valid, size):
    total = 0.0
    for p, row, ok in zip(near, scores, valid, strict=True):
        m = sum(ok) / size
        total -= math.log(p / (p + m + EPS))
        total -= sum(math.log(m / (q + m + EPS)) for q, use in zip(row, ok, strict=True) if use)
    return total / len(near)


def slow_relations(own, anchors=THEIRS, rows=ROWS):
    return np.array(
        [[[cosine(v - a, rows[p] - a) for p in POSITIONS[i]] for a in anchors] for i, v in enumerate(own)]
    )


def slow_pairwise(first, second, tau=0.5):
    total = 0.0
    for i, a in enumerate(first):
        p = softmax([cosine(a, b) / tau for b in second])
        near = [-math.log(p[j] + 1e-10) for j in range(N) if ALIKE[i, j]]
        far = [-math.log(1 - p[j] + 1e-10) for j in range(N) if not ALIKE[i, j]]
        total += sum(near) / len(near) + sum(far) / len(far)
    return total / N


def slow_divergence(first, second):
    total = 0.0
    for a, b in zip(first, second, strict=True):
        for p, q in zip(softmax(a), softmax(b), strict=True):
            total += p * math.log(p / q) + q * math.log(q / p)
    return total / len(first)


def slow_nt_xent(first, second, tau=0.3):
    every, total = [*first, *second], 0.0
    for i, a in enumerate(every):
        scores = [math.exp(float(a @ b) / tau) for j, b in enumerate(every) if j != i]
        total -= math.log(math.exp(float(a @ every[(i + N) % (2 * N)]) / tau) / sum(scores))
    return total / (2 * N)


ALIKE_T = torch.as_tensor(ALIKE)
TERMS = {  # name -> (term of one tensor, the same in plain loops, value)
    "noise_contrast of positives": (
        lambda x: losses.noise_contrast(x, torch.tensor(SCORES), torch.tensor(VALID), SIZE),
        lambda x: slow_noise_contrast(x, SCORES, VALID, SIZE),
        NEAR,
    ),
    "noise_contrast of negatives": (
        lambda x: losses.noise_contrast(torch.tensor(NEAR), x, torch.tensor(VALID), SIZE),
        lambda x: slow_noise_contrast(NEAR, x, VALID, SIZE),
        SCORES,
    ),
    "relations": (
        lambda x: (
            losses.relations(x, torch.tensor(THEIRS), torch.tensor(ROWS), torch.tensor(POSITIONS))
            .square()
            .sum()
        ),
        lambda x: (slow_relations(x) ** 2).sum(),
        OWN,
    ),
    "pairwise": (
        lambda x: losses.pairwise(x, torch.tensor(THEIRS), ALIKE_T, 0.5),
        lambda x: slow_pairwise(x, THEIRS),
        OWN,
    ),
    "both_ways": (
        lambda x: losses.both_ways(x, torch.tensor(THEIRS), ALIKE_T, 0.5),
        lambda x: slow_pairwise(x, THEIRS) + slow_pairwise(THEIRS, x),
        OWN,
    ),
    "divergence": (
        lambda x: losses.divergence(x, torch.tensor(THEIRS)),
        lambda x: slow_divergence(x, THEIRS),
        OWN,
    ),
    "nt_xent": (
        lambda x: losses.nt_xent(x, torch.tensor(THEIRS), 0.3),
        lambda x: slow_nt_xent(x, THEIRS),
        OWN,
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_values_and_gradients_equal_plain_loops(name):
    term, slow, given = TERMS[name]
    x = torch.tensor(given, requires_grad=True)
    found = term(x)
    found.backward()
    assert found.item() == pytest.approx(slow(given), rel=1e-6, abs=1e-6)
    expected = lab.numeric_gradient(slow, given)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_of_no_sample_each_term_is_0():
    none, no_pair = torch.zeros(0, D, requires_grad=True), torch.zeros(0, 0, dtype=torch.bool)
    found = [
        losses.noise_contrast(none[:, 0], none, torch.zeros(0, D, dtype=torch.bool), SIZE),
        losses.both_ways(none, none, no_pair, 0.5),
        losses.divergence(none, none),
        losses.nt_xent(none, none, 0.3),
        losses.transported(none, none, 0.1, 3),
    ]
    assert [f.item() for f in found] == [0.0] * 5
    torch.stack(found).sum().backward()


# --- noise contrast with banks ------------------------------------------------------------------------------


def filled(kind, tau=0.2, negatives=100, labels=(0, 1, 0, -1, 2, 1, -1, 2, 0)):
    """A module of 9 samples with features 3 and 2 wide, vectors 4 wide, in double precision."""
    torch.manual_seed(1)
    return kind((D, 2), torch.tensor(labels), 4, 0.5, tau, negatives).double()


@pytest.mark.parametrize("kind", [Contrast, Relations])
def test_contrast_with_banks_equals_plain_loops(kind):
    """Z is the mean score of the first batch times N; a later batch has the same Z, and moved rows."""
    module = filled(kind)
    constants = [None, None]
    for batch, index in enumerate(([0, 3, 5], [1, 4, 5])):
        pair = torch.tensor(RNG.normal(size=(3, D))), torch.tensor(RNG.normal(size=(3, 2)))
        rows = [bank.rows.numpy().copy() for bank in module.banks]
        labels = module.banks[0].labels.tolist()
        found = module(pair, torch.tensor(index), settled=False).item()
        expected = 0.0
        for s in (0, 1):
            own = [
                unit(f @ module.heads[s].weight.detach().numpy().T + module.heads[s].bias.detach().numpy())
                for f in pair[s].numpy()
            ]
            bank, compared = rows[1 - s], []
            for i, v in zip(index, own, strict=True):
                anchors = [None] if kind is Contrast else [a for a in index if a != i]
                for a in anchors:
                    from_there = 0 if a is None else bank[a]
                    others = [
                        j
                        for j in range(SIZE)
                        if j not in (i, a) and not (labels[j] == labels[i] and labels[i] >= 0)
                    ]
                    score = (
                        v @ bank.T
                        if a is None
                        else [
                            cosine(v - from_there, b - from_there) if j != a else 0
                            for j, b in enumerate(bank)
                        ]
                    )
                    compared.append((math.exp(score[i] / 0.2), [math.exp(score[j] / 0.2) for j in others]))
            if batch == 0:
                flat = [x for near, far in compared for x in (near, *far)]
                constants[s] = sum(flat) / len(flat) * SIZE
            near = [p / constants[s] for p, _ in compared]
            far = [[q / constants[s] for q in qs] for _, qs in compared]
            expected += slow_noise_contrast(near, far, [[True] * len(qs) for qs in far], SIZE)
            moved = [unit(0.5 * rows[s][i] + 0.5 * v) for i, v in zip(index, own, strict=True)]
            np.testing.assert_allclose(module.banks[s].rows[index].numpy(), moved, atol=1e-6)
        assert found == pytest.approx(expected, rel=1e-5), batch


@pytest.mark.parametrize("kind", [Contrast, Relations])
def test_gradients_of_the_features(kind):
    """Against finite differences, with Z and rows as after a first batch."""
    index = torch.tensor([1, 4, 5])
    student, teacher = RNG.normal(size=(3, D)), torch.tensor(RNG.normal(size=(3, 2)))
    first = torch.tensor(RNG.normal(size=(3, D))), teacher

    def term(x):
        module = filled(kind)
        module(first, torch.tensor([0, 3, 5]), settled=False)
        return module((x, teacher), index, settled=False)

    x = torch.tensor(student, requires_grad=True)
    term(x).backward()
    expected = lab.numeric_gradient(lambda v: term(torch.tensor(v)).item(), student)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_an_aligned_pair_has_a_smaller_term_than_an_opposed_one():
    module = filled(Contrast)
    module((torch.randn(3, D).double(), torch.randn(3, 2).double()), torch.tensor([0, 3, 5]), False)
    with torch.no_grad():
        anchor = module.banks[1].rows[:1]
        near, far = (
            module.side(0, s * anchor, module.banks[1].rows, torch.tensor([[0, 1, 4]]), torch.ones(1, 2) > 0)
            for s in (1, -1)
        )
    assert near < far


def test_few_negatives_are_drawn_among_all():
    module = filled(Contrast, negatives=2)
    found = {
        module((torch.ones(1, D).double(), torch.ones(1, 2).double()), torch.tensor([3]), False).item()
        for _ in range(5)
    }
    assert len(found) > 1


# --- gradients ----------------------------------------------------------------------------------------------


def test_directions_of_descent_are_those_of_autograd():
    phi = torch.tensor(OWN, requires_grad=True)
    weight, labels = torch.tensor(RNG.normal(size=(K, D)), requires_grad=True), torch.tensor([0, 3, 1, 1, 2])
    logits = phi @ weight.T + 0.3
    (plain,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), phi, create_graph=True)
    expected = plain / plain.norm(dim=1, keepdim=True)
    found = losses.directions_of_descent(logits, labels, weight)
    torch.testing.assert_close(found, expected)
    probe = torch.tensor(THEIRS)
    for of in (phi, weight):
        one, two = (
            torch.autograd.grad((x * probe).sum(), of, retain_graph=True)[0] for x in (found, expected)
        )
        torch.testing.assert_close(one, two)


# --- ccl and gmc --------------------------------------------------------------------------------------------


def test_with_one_positive_and_one_negative_the_pairwise_loss_is_a_sum_of_two_logarithms():
    """Then means and sums over positives and negatives are the same: eq. 8 of AMID (arXiv:2306.07646)."""
    alike = torch.eye(2, dtype=torch.bool)
    a, b = torch.tensor(OWN[:2]), torch.tensor(THEIRS[:2])
    expected = 0.0
    for i in range(2):
        p = softmax([cosine(OWN[i], THEIRS[j]) / 0.5 for j in range(2)])
        expected -= (math.log(p[i]) + math.log(1 - p[1 - i])) / 2
    assert losses.pairwise(a, b, alike, 0.5).item() == pytest.approx(expected, rel=1e-8)


def test_a_batch_of_one_class_has_no_mean_over_negatives():
    found = losses.pairwise(torch.tensor(OWN), torch.tensor(THEIRS), torch.ones(N, N, dtype=torch.bool), 0.5)
    assert found.isfinite()


def test_pairs_of_one_class():
    assert losses.same_class(torch.tensor(LABELS)).tolist() == ALIKE.tolist()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nt_xent_of_equal_orthogonal_pairs(count):
    z = torch.eye(count).double()
    e = math.exp(1 / 0.3)
    expected = -math.log(e / (e + 2 * count - 2))
    assert losses.nt_xent(z, z, 0.3).item() == pytest.approx(expected)


# --- wcord --------------------------------------------------------------------------------------------------


def test_the_plan_has_equal_shares_and_tends_to_the_best_assignment():
    cost = RNG.uniform(0, 2, (6, 6))
    plan = losses.transport(torch.tensor(cost), 0.01, 2000)
    for axis in (0, 1):
        np.testing.assert_allclose(plan.sum(axis).numpy(), 1 / 6, atol=1e-3)
    best = cost[linear_sum_assignment(cost)].mean()
    assert (plan.numpy() * cost).sum() == pytest.approx(best, abs=0.02)
    assert plan.min() >= 0


def test_the_plan_is_that_of_plain_sinkhorn():
    cost = RNG.uniform(0, 2, (4, 4))
    kernel, u, v = np.exp(-cost / 0.5), np.ones(4), np.ones(4)
    for _ in range(7):
        u = np.array([0.25 / sum(kernel[i, j] * v[j] for j in range(4)) for i in range(4)])
        v = np.array([0.25 / sum(kernel[i, j] * u[i] for i in range(4)) for j in range(4)])
    expected = [[u[i] * kernel[i, j] * v[j] for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(losses.transport(torch.tensor(cost), 0.5, 7).numpy(), expected, rtol=1e-9)


def test_transport_does_not_see_the_order_and_is_0_for_equal_sets():
    a, b = torch.tensor(OWN), torch.tensor(THEIRS)
    plain = losses.transported(a, b, 0.1, 200)
    torch.testing.assert_close(losses.transported(a, b.flip(0), 0.1, 200), plain)
    assert losses.transported(a, a.flip(0), 1e-3, 500).item() == pytest.approx(0, abs=1e-6)


def test_gradient_of_the_transport_is_that_of_the_cost_under_the_plan():
    plan = losses.transport(
        torch.tensor([[1 - cosine(a, b) for b in THEIRS] for a in OWN], dtype=torch.float64), 0.1, 50
    ).numpy()

    def slow(x):
        return sum(plan[i, j] * (1 - cosine(a, b)) for i, a in enumerate(x) for j, b in enumerate(THEIRS))

    x = torch.tensor(OWN, requires_grad=True)
    found = losses.transported(x, torch.tensor(THEIRS), 0.1, 50)
    found.backward()
    assert found.item() == pytest.approx(slow(OWN), rel=1e-9)
    np.testing.assert_allclose(x.grad.numpy(), lab.numeric_gradient(slow, OWN), atol=1e-7)


def test_the_critic_is_1_lipschitz():
    torch.manual_seed(0)
    critic = Critic((6, 4), torch.zeros(5), 8, 0.5)
    for _ in range(30):
        critic((torch.randn(2, 6), torch.randn(2, 4)))  # power iterations
    critic.eval()
    s, t = torch.randn(400, 6) * 3, torch.randn(400, 4) * 3
    shift_s, shift_t = torch.randn(400, 6) * 0.1, torch.randn(400, 4) * 0.1
    u, v = critic((s, t))
    moved_u, moved_v = critic((s + shift_s, t + shift_t))
    change = ((u * v).sum(1) - (moved_u * moved_v).sum(1)).abs() / 2**0.5
    moved = (shift_s.square().sum(1) + shift_t.square().sum(1)).sqrt()
    assert (change / moved).max() <= 1.0
    assert (change / moved).max() > 0.2


@pytest.mark.parametrize("by_count", [False, True])
def test_distance_equals_plain_loops(by_count):
    torch.manual_seed(2)
    critic = Critic((D, 2), torch.tensor([0, 1, 0, -1, 2, 1, -1]), 4, 0.5).double()
    index, labels = [0, 3, 5], [0, 1, 0, -1, 2, 1, -1]
    vectors = [x.detach() for x in critic((torch.randn(3, D).double(), torch.randn(3, 2).double()))]
    rows = [bank.rows.numpy().copy() for bank in critic.banks]
    expected = 0.0
    for s in (0, 1):
        for place, i in enumerate(index):
            own, other = vectors[s][place].numpy(), vectors[1 - s][place].numpy()
            others = [j for j in range(7) if j != i and not (labels[j] == labels[i] and labels[i] >= 0)]
            negatives = [float(own @ rows[1 - s][j]) for j in others]
            weight = 1.0 if by_count else 1 / len(others)
            expected += (float(own @ other) - weight * sum(negatives)) / 3 / 2 / math.sqrt(2)
    found = critic.distance(vectors, torch.tensor(index), 100, False, by_count)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    assert critic.banks[0].written.sum() == 3
