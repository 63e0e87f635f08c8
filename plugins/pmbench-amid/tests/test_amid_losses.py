"""amid: every term against plain loops, and the identities of the bounds and of the weights of eq. 14."""

import itertools
import math

import numpy as np
import pytest
import torch
from pmbench_amid.losses import jsd, log_h, mi_bound, nce, partners, positives
from pmbench_amid.networks import Composition, Discriminators

import pmbench as pm
from pmbench.testing import lab, loops

RANDOM = np.random.default_rng(7)
N, D = 7, 5
LABELS = np.array([0, 2, -1, 0, 1, -1, 0])
M, S = RANDOM.normal(0, 1, (2, N, D))
TAU = 0.5
LABELLINGS = {
    "some": LABELS,
    "none": np.full(N, -1),
    "all one": np.zeros(N, int),
    "all apart": np.arange(N),
    "two and five": np.array([0, 1, 1, 0, 1, 1, 1]),
}


def tensor(x):
    return torch.tensor(x, requires_grad=np.issubdtype(np.asarray(x).dtype, np.floating))


# --- the same in plain loops --------------------------------------------------------------------------------


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(a * a) * sum(b * b))


def h_of(m, s, tau=TAU):
    powers = [[math.exp(cosine(a, b) / tau) for b in s] for a in m]
    return [[p / sum(row) for p in row] for row in powers]


def is_positive(labels, i, j):
    return i == j or (labels[i] >= 0 and labels[i] == labels[j])


def slow_mi(m, s, labels, mean=False):
    h, total = h_of(m, s), 0.0
    for i in range(len(m)):
        for j in range(len(m)):
            total -= math.log(h[i][j] if is_positive(labels, i, j) else 1 - h[i][j])
    return total / len(m) / (len(m) if mean else 1)


def slow_nce(m, s, labels):
    total = 0.0
    for h in (h_of(m, s), h_of(s, m)):
        for i in range(len(m)):
            near = [-math.log(h[i][j] + 1e-10) for j in range(len(m)) if is_positive(labels, i, j)]
            far = [-math.log(1 - h[i][j] + 1e-10) for j in range(len(m)) if not is_positive(labels, i, j)]
            total += sum(near) / len(near) + (sum(far) / len(far) if far else 0.0)
    return total / len(m)


def slow_jsd(first, second, form):
    total = 0.0
    for a, b in zip(first, second, strict=True):
        p, q = loops.softmax(a), loops.softmax(b)
        for x, y in zip(p, q, strict=True):
            u, v = ((x + y) / 2, (x + y) / 2) if form == "lin" else (y, x)
            total += 0.5 * (x * math.log(x / u) + y * math.log(y / v))
    return total / len(first)


def slow_partners(labels):
    n, found = len(labels), []
    for v in range(n):
        for ahead in range(1, n):
            if labels[v] >= 0 and labels[(v + ahead) % n] == labels[v]:
                found.append((v, (v + ahead) % n))
                break
    return found


def judged(discriminator, x):
    """D(x), the probability that x is M, layer by layer."""
    linear = [layer for layer in discriminator.layers if isinstance(layer, torch.nn.Linear)]
    for number, layer in enumerate(linear):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        x = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        if number + 1 < len(linear):
            x = [v if v > 0 else 0.2 * v for v in x]
    return 1 / (1 + math.exp(-x[0]))


def slow_adversarial(d, weights, s, labels):
    total = -weights[0] / len(s) * sum(math.log(judged(d.first, row)) for row in s)
    found = slow_partners(labels)
    for _, eta in found:
        total -= weights[1] / len(found) * math.log(judged(d.second, s[eta]))
    return total


def slow_discrimination(d, weights, m, s, labels):
    first = sum(math.log(judged(d.first, m[i])) + math.log(1 - judged(d.first, s[i])) for i in range(len(s)))
    terms = {"d1": -weights[0] / len(s) * first}
    found = slow_partners(labels)
    if found:
        second = [math.log(judged(d.second, m[v])) + math.log(1 - judged(d.second, s[e])) for v, e in found]
        terms["d2"] = -weights[1] / len(found) * sum(second)
    return terms


def discriminators(second=True, dynamic=True, width=D):
    torch.manual_seed(3)
    d = Discriminators(width, second, dynamic).double()
    d.trace.copy_(torch.tensor([0.3, 1.1], dtype=torch.float64))
    return d


# --- values and gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", LABELLINGS.values(), ids=LABELLINGS)
@pytest.mark.parametrize("form", ["sum", "mean", "nce"])
def test_information_terms_equal_plain_loops(labels, form):
    m, s = tensor(M), tensor(S)
    positive = positives(torch.as_tensor(labels))
    if form == "nce":
        found, reference = nce(m, s, positive, TAU), lambda a, b: slow_nce(a, b, labels)
    else:
        found = mi_bound(m, s, positive, TAU, form == "mean")
        reference = lambda a, b: slow_mi(a, b, labels, form == "mean")  # noqa: E731
    found.backward()
    assert found.item() == pytest.approx(reference(M, S), abs=1e-10)
    np.testing.assert_allclose(m.grad, lab.numeric_gradient(lambda x: reference(x, S), M), atol=1e-7)
    np.testing.assert_allclose(s.grad, lab.numeric_gradient(lambda x: reference(M, x), S), atol=1e-7)


@pytest.mark.parametrize("form", ["lin", "ccl"])
def test_jsd_equals_plain_loops_and_moves_both_sides(form):
    z, w = RANDOM.normal(0, 2, (2, N, 3))
    a, b = tensor(z), tensor(w)
    found = jsd(a, b, form)
    found.backward()
    assert found.item() == pytest.approx(slow_jsd(z, w, form), abs=1e-10)
    for leaf, slope in (
        (a, lab.numeric_gradient(lambda x: slow_jsd(x, w, form), z)),
        (b, lab.numeric_gradient(lambda x: slow_jsd(z, x, form), w)),
    ):
        np.testing.assert_allclose(leaf.grad, slope, atol=1e-7)


@pytest.mark.parametrize("labels", LABELLINGS.values(), ids=LABELLINGS)
@pytest.mark.parametrize("dynamic", [True, False])
def test_adversarial_terms_equal_plain_loops(labels, dynamic):
    d = discriminators(dynamic=dynamic)
    low, high = math.exp(0.3), math.exp(1.1)
    weights = (low / (low + high), high / (low + high)) if dynamic else (0.5, 0.5)
    y, s = torch.as_tensor(labels), tensor(S)
    found = d.adversarial(s, y)
    found.backward()
    assert found.item() == pytest.approx(slow_adversarial(d, weights, S, labels), abs=1e-10)
    slope = lab.numeric_gradient(lambda x: slow_adversarial(d, weights, x, labels), S)
    np.testing.assert_allclose(s.grad, slope, atol=1e-7)
    assert all(p.grad is None for p in d.parameters())

    terms, expected = d.discrimination(tensor(M), s, y), slow_discrimination(d, weights, M, S, labels)
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        assert term.item() == pytest.approx(expected[name], abs=1e-10)


@pytest.mark.parametrize("name", ["d1", "d2"])
def test_discriminators_follow_the_slope_of_eq_13(name):
    d = discriminators()
    weights, m, s = d.weights().tolist(), tensor(M), tensor(S)
    d.discrimination(m, s, torch.as_tensor(LABELS))[name].backward()
    assert m.grad is None
    assert s.grad is None
    own, other = (d.first, d.second) if name == "d1" else (d.second, d.first)
    assert all(p.grad is None for p in other.parameters())
    for parameter in (own.layers[-1].weight, own.layers[0].bias):
        before = parameter.detach().clone()

        def reference(x, parameter=parameter):
            parameter.data = torch.as_tensor(x)
            return slow_discrimination(d, weights, M, S, LABELS)[name]

        slope = lab.numeric_gradient(reference, before.numpy())
        parameter.data = before
        np.testing.assert_allclose(parameter.grad, slope, atol=1e-7)


def test_without_d2_all_weight_is_on_d1():
    d = discriminators(second=False)
    assert d.weights().tolist() == [1.0, 0.0]
    y, expected = torch.as_tensor(LABELS), slow_adversarial(d, (1.0, 0.0), S, np.full(N, -1))
    assert d.adversarial(tensor(S), y).item() == pytest.approx(expected)
    assert d.discrimination(tensor(M), tensor(S), y).keys() == {"d1"}


def test_an_empty_batch_costs_nothing():
    m, s, y = tensor(M[:0]), tensor(S[:0]), torch.as_tensor(LABELS[:0])
    d = discriminators()
    terms = [
        mi_bound(m, s, positives(y), TAU),
        mi_bound(m, s, positives(y), TAU, mean=True),
        nce(m, s, positives(y), TAU),
        jsd(m, s, "lin"),
        d.adversarial(s, y),
        *d.discrimination(m, s, y).values(),
    ]
    assert all(term.item() == 0 for term in terms)
    d.observe(m, s, y)
    d.end_epoch(0.9)
    assert torch.isfinite(d.trace).all()


# --- h and the bounds ---------------------------------------------------------------------------------------


def test_rows_of_h_sum_to_one():
    h = log_h(tensor(M), tensor(S), TAU).exp()
    torch.testing.assert_close(h.sum(1), torch.ones(N, dtype=torch.float64))
    np.testing.assert_allclose(h.detach(), h_of(M, S))


def uniform_value(labels, b):
    total = 0.0
    for i in range(b):
        k = sum(is_positive(labels, i, j) for j in range(b))
        total += k * math.log(b) - (b - k) * math.log(1 - 1 / b)
    return total / b


@pytest.mark.parametrize("labels", LABELLINGS.values(), ids=LABELLINGS)
def test_uniform_h(labels):
    """All S alike: L_MI = avg_i [k_i log B - N_i log(1 - 1/B)]."""
    same = torch.as_tensor(np.tile(S[:1], (N, 1)))
    found = mi_bound(tensor(M), same, positives(torch.as_tensor(labels)), TAU).item()
    assert found == pytest.approx(uniform_value(labels, N))


@pytest.mark.parametrize("labels", LABELLINGS.values(), ids=LABELLINGS)
def test_lower_bound_avg_k_log_k(labels):
    """Reached where each row of h is 1/k_i on its positives: one direction a class, tau to 0."""
    y = torch.as_tensor(labels)
    k = [sum(is_positive(labels, i, j) for j in range(N)) for i in range(N)]
    bound = sum(n * math.log(n) for n in k) / N
    for seed in range(5):
        a, b = np.random.default_rng(seed).normal(0, 1, (2, N, D))
        assert mi_bound(tensor(a), tensor(b), positives(y), TAU).item() > bound
    axes = np.eye(2 * N)[[y_ if y_ >= 0 else N + i for i, y_ in enumerate(labels)]]
    found = mi_bound(tensor(axes), tensor(axes), positives(y), 0.02).item()
    assert found == pytest.approx(bound, abs=1e-5)


def test_one_positive_each_is_the_instance_level_loss():
    h = h_of(M, S)
    pure = -sum(math.log(h[i][j] if i == j else 1 - h[i][j]) for i in range(N) for j in range(N)) / N
    for labels in (LABELLINGS["none"], LABELLINGS["all apart"]):
        found = mi_bound(tensor(M), tensor(S), positives(torch.as_tensor(labels)), TAU)
        assert found.item() == pytest.approx(pure)


def test_best_h_of_a_single_positive_among_sixteen():
    """e^2 / (e^2 + 15 e^-2) at tau = 0.5: the loss cannot reach 0."""
    anchor = np.ones((1, D))
    others = np.concatenate([anchor, -np.tile(anchor, (15, 1))])
    best = log_h(tensor(anchor), tensor(others), TAU).exp()[0, 0].item()
    assert best == pytest.approx(math.exp(2) / (math.exp(2) + 15 * math.exp(-2)))
    assert best == pytest.approx(0.784, abs=5e-4)


def test_the_bound_of_eq_4_holds_for_any_joint_distribution():
    """log q(C=1|M,S) <= -log(N/k) + log p(M,S)/(p(M)p(S)), so that I(M;S) >= log(N/k) + E log q(C=1|M,S)."""
    for n_over_k in (0.3, 1.0, 15.0):
        joint = RANDOM.dirichlet(np.ones(12)).reshape(3, 4)
        apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        log_q = -np.log(1 + n_over_k * apart / joint)
        information = (joint * np.log(joint / apart)).sum()
        assert information >= math.log(n_over_k) + (joint * log_q).sum()


def test_one_positive_one_negative_makes_nce_eq_8_both_ways():
    y = torch.tensor([0, 1])
    both = mi_bound(tensor(M[:2]), tensor(S[:2]), positives(y), TAU)
    both = both + mi_bound(tensor(S[:2]), tensor(M[:2]), positives(y), TAU)
    assert nce(tensor(M[:2]), tensor(S[:2]), positives(y), TAU).item() == pytest.approx(both.item())


@pytest.mark.parametrize("tau", [0.5, 0.001])
def test_saturated_h_stays_finite(tau):
    """A wrong pair that is certain: 1 - h is held at 1e-7."""
    m = torch.eye(4, requires_grad=True)
    found = mi_bound(m, torch.eye(4).roll(1, 0), positives(torch.arange(4)), tau)
    found.backward()
    assert found.isfinite()
    assert m.grad.isfinite().all()


# --- JSD ----------------------------------------------------------------------------------------------------


def test_jsd_lies_between_zero_and_ln_2():
    z = torch.randn(N, 3, dtype=torch.float64)
    for form in ("lin", "ccl"):
        assert jsd(z, z.clone(), form).item() == pytest.approx(0, abs=1e-12)
    far = jsd(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]), "lin").item()
    assert far == pytest.approx(math.log(2))
    for seed in range(5):
        a, b = torch.randn(2, N, 4, generator=torch.Generator().manual_seed(seed)) * 5
        assert 0 < jsd(a, b, "lin").item() < math.log(2)
        assert jsd(a, b, "lin") < jsd(a, b, "ccl")
        torch.testing.assert_close(jsd(a, b, "lin"), jsd(b, a, "lin"))


# --- pairs and the weights of eq. 14 ------------------------------------------------------------------------


@pytest.mark.parametrize("labels", LABELLINGS.values(), ids=LABELLINGS)
def test_partners_go_round_their_class(labels):
    v, eta = partners(torch.as_tensor(labels))
    assert list(zip(v.tolist(), eta.tolist(), strict=True)) == slow_partners(labels)
    assert sorted(v.tolist()) == sorted(eta.tolist())


def test_partners_make_d2_see_the_same_students():
    """eta1 permutes the w students, so that L_adv is as if D2 saw S_v itself."""
    d, s, y = discriminators(), tensor(S), torch.as_tensor(LABELS)
    v, _ = partners(y)
    alone = d.weights()[1] * torch.nn.functional.softplus(-d.second(s[v])).mean()
    first = d.weights()[0] * torch.nn.functional.softplus(-d.first(s)).mean()
    torch.testing.assert_close(d.adversarial(s, y), first + alone)


def test_without_pairs_there_is_no_d2_term():
    d, y = discriminators(), torch.tensor([0, 1, 2, -1, -1, -1, 3])
    assert d.discrimination(tensor(M), tensor(S), y).keys() == {"d1"}
    d.adversarial(tensor(S), y).backward()


def test_similarities_average_over_samples_and_over_pairs():
    d = Discriminators(D, True, True).double()
    d.observe(tensor(M), tensor(S), torch.as_tensor(LABELS))
    own = [cosine(M[i], S[i]) for i in range(N)]
    pairs = [cosine(M[i], S[j]) for i in range(N) for j in range(N) if i != j and is_positive(LABELS, i, j)]
    np.testing.assert_allclose(d.sums, [sum(own), sum(pairs)])
    assert d.counts.tolist() == [N, len(pairs)]


def test_weights_follow_eq_14_epoch_by_epoch():
    d = Discriminators(D, True, True).double()
    assert d.weights().tolist() == [0.5, 0.5]
    trace, last = [0.0, 0.0], [1.0, 1.0]
    for epoch, batches in enumerate(
        [[LABELS, LABELLINGS["all apart"]], [LABELLINGS["none"]], [LABELS], [], [LABELLINGS["all one"]]]
    ):
        own, pairs = [], []
        for number, labels in enumerate(batches):
            m, s = np.random.default_rng((epoch, number)).normal(0, 1, (2, N, D))
            d.observe(torch.as_tensor(m), torch.as_tensor(s), torch.as_tensor(labels))
            own += [cosine(m[i], s[i]) for i in range(N)]
            for i in range(N):
                pairs += [cosine(m[i], s[j]) for j in range(N) if i != j and is_positive(labels, i, j)]
        d.end_epoch(0.9)
        last = [sum(seen) / len(seen) if seen else old for seen, old in zip((own, pairs), last, strict=True)]
        trace = [0.9 * t + 0.1 * (1 - a) for t, a in zip(trace, last, strict=True)]
        powers = [math.exp(t) for t in trace]
        np.testing.assert_allclose(d.weights(), [p / sum(powers) for p in powers])


@pytest.mark.parametrize("extreme", [1, -1])
def test_weights_sum_to_one_and_stay_in_their_range(extreme):
    """1 - a lies in [0, 2], so that lambda lies in [0.119, 0.881], here approached from inside."""
    d = Discriminators(D, True, True).double()
    for _ in range(200):
        d.sums.copy_(torch.tensor([extreme, -extreme]))
        d.counts.fill_(1)
        d.end_epoch(0.9)
        assert d.weights().sum().item() == pytest.approx(1)
        assert all(0.119 < w < 0.881 for w in d.weights().tolist())
    assert sorted(d.weights().tolist()) == pytest.approx([0.119, 0.881], abs=5e-4)


# --- sizes --------------------------------------------------------------------------------------------------


def test_sizes_at_width_512():
    """MLP2 1024-512-512, D1 512-512-256-128-64-1, D2 512-256-128-1."""

    class Wide(torch.nn.Module):
        head = pm.Head(512, 3)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    def dense(*widths):
        return sum(a * b + b for a, b in itertools.pairwise(widths))

    d = Discriminators(512, True, True)
    assert count(Composition([Wide()], 512).mlp) == dense(1024, 512, 512) == 787_456
    assert count(d.first) == dense(512, 512, 256, 128, 64, 1) == 435_201
    assert count(d.second) == dense(512, 256, 128, 1) == 164_353
    narrow = Discriminators(16, True, True)
    assert count(narrow.first) == dense(16, 16, 8, 8, 8, 1)
