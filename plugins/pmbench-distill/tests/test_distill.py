"""Values and gradients against plain loops, identities, and what moves what."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pmbench_distill
import pytest
import torch
from pmbench_distill import losses, stages

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh

RNG = np.random.default_rng(3)
N, K, D, E = 6, 4, 3, 5
STUDENT, TEACHER = RNG.normal(0, 2, (N, K)), RNG.normal(0, 2, (N, K))
OWN, THEIRS = RNG.normal(0, 1, (N, D)), RNG.normal(0, 1, (N, E))
SAME = RNG.normal(0, 1, (N, D))
LABELS = np.array([0, 3, 2, 1, 1, 3])
METHODS = {m.name: m for m in pmbench_distill.pmbench_methods()}
OFF = {
    "fitnet": {"weight": 0.0},
    "mars": {"weight": 0.0},
    "cmkd": {"features": 0.0, "soft": 0.0},
    "takd": {"imitation": 0.0},
    "pkd": {"weight": 0.0},
    "rkd": {"distance": 0.0, "angle": 0.0},
    "pkt": {"weight": 0.0},
    "sp": {"weight": 0.0},
    "dkd": {"alpha": 0.0, "beta": 0.0},
    "dist": {"beta": 0.0, "gamma": 0.0},
    "mlld": {"imitation": 0.0},
}
"""Options under which a method is plain training."""


def softmax(row, heat=1.0):
    largest = max(v / heat for v in row)
    powers = [math.exp(v / heat - largest) for v in row]
    return [p / sum(powers) for p in powers]


def pearson(a, b):
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    top = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return top / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def huber(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def slow_decoupled(student, teacher, alpha=1.0, beta=8.0, heat=4.0):
    total = 0.0
    for z, t, y in zip(student, teacher, LABELS, strict=True):
        p, q = softmax(t, heat), softmax(z, heat)
        total += alpha * sum(a * math.log(a / b) for a, b in ((p[y], q[y]), (1 - p[y], 1 - q[y])))
        others = [c for c in range(K) if c != y]
        for c in others:
            a, b = p[c] / (1 - p[y]), q[c] / (1 - q[y])
            total += beta * a * math.log(a / b)
    return heat**2 * total / len(student)


def slow_correlated(student, teacher):
    p, q = np.array([softmax(z) for z in student]), np.array([softmax(z) for z in teacher])
    rows = 1 - np.mean([pearson(a, b) for a, b in zip(p, q, strict=True)])
    return rows + 1 - np.mean([pearson(a, b) for a, b in zip(p.T, q.T, strict=True)])


def slow_standardized(student, teacher):
    return np.mean([1 - pearson(a, b) for a, b in zip(student.T, teacher.T, strict=True)])


def slow_leveled(student, teacher):
    total = 0.0
    for heat in (2, 3, 4, 5, 6):
        p, q = np.array([softmax(z, heat) for z in student]), np.array([softmax(z, heat) for z in teacher])
        kl = heat**2 * sum(b * math.log(b / a) for a, b in zip(p.flat, q.flat, strict=True)) / len(p)
        classes = np.mean([(p[:, a] @ p[:, b] - q[:, a] @ q[:, b]) ** 2 for a in range(K) for b in range(K)])
        samples = np.mean([(p[i] @ p[j] - q[i] @ q[j]) ** 2 for i in range(N) for j in range(N)])
        total += kl + classes + samples
    return total / 15


def slow_distances(student, teacher):
    found = []
    for x in (student, teacher):
        d = [[math.dist(a, b) for b in x] for a in x]
        mean = sum(map(sum, d)) / (N * (N - 1))
        found.append([[v / mean for v in row] for row in d])
    return sum(huber(found[0][i][j] - found[1][i][j]) for i in range(N) for j in range(N)) / N**2


def slow_angles(student, teacher):
    def cosine(x, i, j, k):
        a, b = x[i] - x[j], x[k] - x[j]
        size = math.sqrt(a @ a) * math.sqrt(b @ b)
        return float(a @ b) / size if size > 0 else 0.0

    every = [(i, j, k) for i in range(N) for j in range(N) for k in range(N)]
    return sum(huber(cosine(student, *t) - cosine(teacher, *t)) for t in every) / N**3


def slow_neighbours(student, teacher):
    found = []
    for x in (student, teacher):
        near = [[(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b) + 1) / 2 for b in x] for a in x]
        found.append([[v / sum(row) for v in row] for row in near])
    p, q = found
    return (
        sum(q[i][j] * math.log((q[i][j] + 1e-7) / (p[i][j] + 1e-7)) for i in range(N) for j in range(N))
        / N**2
    )


def slow_pairs(student, teacher):
    found = []
    for x in (student, teacher):
        g = [[float(a @ b) for b in x] for a in x]
        found.append([[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in g])
    return sum((found[0][i][j] - found[1][i][j]) ** 2 for i in range(N) for j in range(N)) / N**2


def decoupled(student, teacher):
    return losses.decoupled(student, teacher, torch.as_tensor(LABELS), 1.0, 8.0, 4.0)


def correlated(student, teacher):
    return losses.correlated(student, teacher, 1.0, 1.0)


TERMS = {
    "decoupled": (decoupled, slow_decoupled, STUDENT, TEACHER),
    "correlated": (correlated, slow_correlated, STUDENT, TEACHER),
    "leveled": (losses.leveled, slow_leveled, STUDENT, TEACHER),
    "standardized": (losses.standardized, slow_standardized, OWN, SAME),
    "distances": (losses.distances, slow_distances, OWN, THEIRS),
    "angles": (losses.angles, slow_angles, OWN, THEIRS),
    "neighbours": (losses.similar_neighbours, slow_neighbours, OWN, THEIRS),
    "pairs": (losses.similar_pairs, slow_pairs, OWN, THEIRS),
}


@pytest.mark.parametrize("name", TERMS)
def test_values_and_gradients_equal_plain_loops(name):
    term, slow, student, teacher = TERMS[name]
    own = torch.tensor(student, requires_grad=True)
    theirs = torch.tensor(teacher, requires_grad=True)
    found = term(own, theirs)
    found.backward()
    assert found.item() == pytest.approx(slow(student, teacher), rel=1e-6, abs=1e-6)
    expected = lab.numeric_gradient(lambda x: slow(x, teacher), student)
    np.testing.assert_allclose(own.grad.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert theirs.grad is None, "the teacher is detached"


@pytest.mark.parametrize("name", TERMS)
def test_equal_inputs_have_no_term_and_no_gradient(name):
    term, _, student, _ = TERMS[name]
    own = torch.tensor(student, requires_grad=True)
    found = term(own, torch.tensor(student))
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-6)
    assert own.grad.abs().max() < 1e-4


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_samples_give_a_finite_term(name, count):
    term, _, student, teacher = TERMS[name]
    own = torch.tensor(student[:count], requires_grad=True)
    if name == "decoupled":
        found = losses.decoupled(
            own, torch.tensor(teacher[:count]), torch.tensor(LABELS[:count]), 1.0, 8.0, 4.0
        )
    else:
        found = term(own, torch.tensor(teacher[:count]))
    found.backward()
    assert found.isfinite()
    assert own.grad.isfinite().all()
    assert count or found.item() == 0


def test_equal_samples_have_finite_gradients():
    """Distances and angles between equal samples have no slope."""
    for name in ("distances", "angles", "neighbours", "pairs", "standardized"):
        term, _, student, teacher = TERMS[name]
        own = torch.tensor(np.repeat(student[:1], N, 0), requires_grad=True)
        term(own, torch.tensor(teacher)).backward()
        assert own.grad.isfinite().all(), name


def test_the_divergence_of_kd_is_made_of_the_two_of_dkd():
    z, t, labels = torch.tensor(STUDENT), torch.tensor(TEACHER), torch.as_tensor(LABELS)
    whole = pm.kl_divergence(t, z, 1.0).item()
    rest = 1 - t.softmax(1)[range(N), labels]
    one_by_one = [
        losses.decoupled(z[i : i + 1], t[i : i + 1], labels[i : i + 1], 1.0, float(rest[i]), 1.0)
        for i in range(N)
    ]
    assert torch.stack(one_by_one).mean().item() == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("name", ["distances", "angles", "neighbours", "pairs"])
def test_relations_do_not_change_under_rotation(name):
    term, _, student, teacher = TERMS[name]
    turn, _ = np.linalg.qr(RNG.normal(size=(D, D)))
    plain, turned = (term(torch.tensor(x), torch.tensor(teacher)) for x in (student, student @ turn))
    torch.testing.assert_close(turned, plain)
    if name in ("distances", "angles"):
        moved = term(torch.tensor(3 * student @ turn + 7), torch.tensor(teacher))
        torch.testing.assert_close(moved, plain)


def test_correlations_do_not_change_under_positive_affine_maps():
    scaled = torch.tensor(OWN) * torch.tensor([0.5, 2.0, 9.0]) + torch.tensor([1.0, -3.0, 0.0])
    found = losses.standardized(scaled, torch.tensor(SAME))
    torch.testing.assert_close(found, losses.standardized(torch.tensor(OWN), torch.tensor(SAME)))


def test_with_two_classes_the_term_within_samples_has_no_gradient():
    own = torch.tensor(STUDENT[:, :2], requires_grad=True)
    losses.correlated(own, torch.tensor(TEACHER[:, :2]), 1.0, 0.0).backward()
    assert own.grad.abs().max() < 1e-6


# --- methods ------------------------------------------------------------------------------------------------


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


@pytest.fixture
def few():
    return lab.setting(("acc",), ("gyro",), demands=("unlabelled",))


def test_planning_imports_no_torch():
    run_afresh(
        "import sys, pmbench_distill; pmbench_distill.pmbench_methods(); assert 'torch' not in sys.modules"
    )


@pytest.mark.parametrize("name", METHODS)
def test_teachers(few, name):
    method = METHODS[name]
    fused = "fused" if name in ("cmkd", "takd") else "privileged"
    assert method.options()["teacher"].default == fused
    for sees, teacher in (("fused", pm.EarlyFusion(("acc", "gyro"))), ("privileged", pm.Stream("gyro"))):
        last = method.last_stage(few, teacher=sees)
        assert teacher in list(last.walk())


@pytest.mark.parametrize("name", OFF)
def test_without_its_term_a_method_is_plain_training(few, name):
    last, plain = METHODS[name].last_stage(few, **OFF[name]), pm.Stream("acc")
    bench, labels = lab.LabBench(few), (0, -1, 2, 1)
    found = []
    for stage in (last, plain):
        nets = stage.build(bench).train()
        terms = stage.losses(nets, lab.batch(stage.reads, labels))
        sum(terms.values()).backward()
        grads = {n: p.grad for n, p in nets.student.named_parameters()}
        found.append((sum(terms.values()).item(), grads))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    for n, grad in found[1][1].items():
        torch.testing.assert_close(found[0][1][n], grad, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_terms_run_over_samples_that_have_the_teachers_modality(few, name):
    stage = METHODS[name].last_stage(few, **({"teacher": "privileged"} if name != "takd" else {}))
    nets = stage.build(lab.LabBench(few)).eval()
    labels = (0, -1, 2, 1)
    reads = stage.reads
    present = {"gyro": np.array([True, True, True, False])} if "gyro" in reads else {}
    whole = lab.batch(reads, labels, present=present)
    terms = stage.losses(nets, whole)
    spoiled = lab.batch(reads, labels, present=present)
    if "gyro" in reads:
        spoiled["gyro"][3] = 1e3
    again = stage.losses(nets, spoiled)
    assert {n: t.item() for n, t in terms.items()} == {n: pytest.approx(t.item()) for n, t in again.items()}
    assert all(t.isfinite() for t in terms.values())


def test_mers_parts_the_gradients(few):
    stage = METHODS["mers"].last_stage(few)
    nets = stage.build(lab.LabBench(few))
    terms = stage.losses(nets, lab.batch(stage.reads, (0, -1, 2, 1)))
    for term, moves, stays in (("ce", "head", "encoder"), ("features", "encoder", "head")):
        nets.zero_grad()
        terms[term].backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.any() for p in getattr(nets.student, moves).parameters())
        assert not any(p.grad is not None and p.grad.any() for p in getattr(nets.student, stays).parameters())


def test_takd_is_kd_twice(few):
    last = METHODS["takd"].last_stage(few, temperature=3.0)
    assistant = last.teacher
    assert type(last) is stages.Follow
    assert last.reads == ("acc",), "the second step sees no privileged data"
    assert assistant == pm.Distill(
        pm.EarlyFusion(("acc", "gyro")), ("acc",), pm.DistillOptions(3.0, 0.9), replica=1
    )
    nets = last.build(lab.LabBench(few))
    batch = lab.batch(("acc",), (0, -1, 2, 1))
    terms = last.losses(nets, batch)
    z, t = nets.student(batch).logits, nets.teacher(batch).logits
    assert terms["ce"].item() == pytest.approx(0.1 * pm.cross_entropy(z, batch.labels).item())
    assert terms["soft"].item() == pytest.approx(0.9 * pm.kl_divergence(t, z, 3.0).item())


def test_takd_with_an_assistant_of_another_backbone(few):
    last = METHODS["takd"].last_stage(few, assistant="cnn1d-16")
    assistant = last.teacher
    assert assistant.backbones == ("cnn1d-16",)
    assert dataclasses.replace(last, teacher=METHODS["takd"].last_stage(few).teacher) == METHODS[
        "takd"
    ].last_stage(few)
    bench = lab.LabBench(few)
    assert assistant.build(bench).student.head.in_features == 64
    nets = last.build(bench)
    assert (nets.teacher.head.in_features, nets.student.head.in_features) == (64, 32)


def test_dkd_weights_rise(setting):
    stage = METHODS["dkd"].last_stage(setting, warmup=0.5)
    nets = stage.build(lab.LabBench(setting)).eval()
    found = [
        stage.losses(nets, lab.batch(stage.reads, (0, 1, 2, 1), progress=p))["decoupled"].item()
        for p in (0.0, 0.25, 0.5, 0.9)
    ]
    assert found == [0.0, pytest.approx(found[3] / 2), pytest.approx(found[3]), found[3]]
    always = METHODS["dkd"].last_stage(setting, warmup=0.0)
    assert always.losses(nets, lab.batch(stage.reads, (0, 1, 2, 1)))["decoupled"].item() == found[3]


def test_plain_features(few):
    """fitnet always has a regressor, mars only where widths differ; loops check the mean of squares."""
    bench = lab.LabBench(few)
    fitnet, mars = (METHODS[n].last_stage(few).build(bench) for n in ("fitnet", "mars"))
    assert hasattr(fitnet, "regressor")
    assert not hasattr(mars, "regressor")
    stage = METHODS["mars"].last_stage(few, weight=2.0)
    batch = lab.batch(stage.reads, (0, -1, 2, 1))
    nets = mars.eval()
    own, theirs = (net(batch).pooled.detach().numpy().ravel() for net in (nets.student, nets.teacher))
    expected = 2 * sum((a - b) ** 2 for a, b in zip(own, theirs, strict=True)) / len(own)
    assert stage.losses(nets, batch)["features"].item() == pytest.approx(expected, rel=1e-5)
    logits = nets.student(batch).logits.detach().double().numpy()
    ce = loops.cross_entropy(logits, np.array([0, -1, 2, 1]))
    assert stage.losses(nets, batch)["ce"].item() == pytest.approx(ce, rel=1e-5)
