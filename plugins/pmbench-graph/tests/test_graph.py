"""graph_distill: values and gradients against plain loops, weights of edges, and the contract."""

from __future__ import annotations

import math

import numpy as np
import pmbench_graph
import pytest
import torch
from pmbench_graph import losses, networks

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh

(METHOD,) = pmbench_graph.pmbench_methods()
READS, LABELS = ("acc", "gyro", "mag"), (0, -1, 2, 1, 1)
RNG = np.random.default_rng(6)
N, S = 5, 2


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro", "mag"), demands=("unlabelled",))


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def slow_cosines(own, others, weights):
    total = 0.0
    for j, other in enumerate(others):
        for b in range(len(own)):
            total += weights[b][j] * (1 - cosine(own[b], other[b]))
    return total / len(own)


def slow_prior(soft):
    means = [sum(row[j] for row in soft) / len(soft) for j in range(len(soft[0]))]
    return sum((m - 1 / len(means)) ** 2 for m in means)


def test_planning_imports_no_torch():
    run_afresh(
        "import sys, pmbench_graph; pmbench_graph.pmbench_methods(); assert 'torch' not in sys.modules"
    )


def test_terms_and_their_gradients_equal_plain_loops():
    own, others = RNG.normal(size=(N, 4)), RNG.normal(size=(S, N, 4))
    weights = RNG.uniform(0.1, 1, (N, S))
    x, w = torch.tensor(own, requires_grad=True), torch.tensor(weights, requires_grad=True)
    sources = [torch.tensor(o, requires_grad=True) for o in others]
    found = losses.weighted_cosines([(x, o) for o in sources], w)
    found.backward()
    assert found.item() == pytest.approx(slow_cosines(own, others, weights), rel=1e-9)
    expected = lab.numeric_gradient(lambda v: slow_cosines(v, others, weights), own)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-5, atol=1e-7)
    expected = lab.numeric_gradient(lambda v: slow_cosines(own, others, v), weights)
    np.testing.assert_allclose(w.grad, expected, rtol=1e-5, atol=1e-7)
    assert all(o.grad is None for o in sources), "the teachers are detached"
    soft = RNG.dirichlet(np.ones(S), N)
    s = torch.tensor(soft, requires_grad=True)
    prior = losses.far_from_prior(s)
    prior.backward()
    assert prior.item() == pytest.approx(slow_prior(soft))
    np.testing.assert_allclose(s.grad, lab.numeric_gradient(slow_prior, soft), atol=1e-7)


def test_no_sample_no_term():
    none, pair = torch.zeros(0, S, requires_grad=True), [(torch.zeros(0, 4), torch.zeros(0, 4))] * S
    assert losses.weighted_cosines(pair, none).item() == 0
    assert losses.far_from_prior(none).item() == 0


def test_edges_equal_plain_loops():
    torch.manual_seed(0)
    graph = networks.Graph(3, 4, (4, 6)).double()
    outputs = [pm.Output(torch.randn(N, 3).double(), torch.randn(N, w).double()) for w in (4, 4, 6)]
    graph.requires_grad_(False)
    found = graph(outputs[0], outputs[1:])

    def node(output, b):
        layers = ((graph.logits, output.logits), (graph.features[str(output.pooled.shape[1])], output.pooled))
        return [float(v) for layer, x in layers for v in layer.weight @ x[b] + layer.bias]

    for b in range(N):
        nodes = [node(o, b) for o in outputs]
        edges = []
        for j in (1, 2):
            edge = sum(float(w) * v for w, v in zip(graph.edge.weight[0], nodes[0] + nodes[j], strict=True))
            edges.append((edge + float(graph.edge.bias)) / 8)
        np.testing.assert_allclose(found[b].detach().numpy(), loops.softmax(edges), rtol=1e-9)
    torch.testing.assert_close(found.sum(1), torch.ones(N).double())
    assert graph.adapted(outputs[0].pooled, 4) is outputs[0].pooled
    assert graph.adapted(outputs[0].pooled, 6).shape == (N, 6)
    alone = graph(outputs[0], outputs[2:])
    assert torch.equal(alone, torch.ones(N, 1).double()), "one teacher has the whole weight"


def test_the_stage_adds_these_terms(setting):
    stage = METHOD.last_stage(setting, logits=2.0, features=3.0, prior=4.0)
    nets = stage.build(lab.LabBench(setting)).double().eval()
    present = {"gyro": [True, True, True, False, True]}
    single = lab.batch(READS, LABELS, present=present)
    masks = {m: torch.tensor(v) for m, v in present.items()}
    batch = pm.Batch({m: single[m].double() for m in single}, single.labels, single.index, masks)
    rows = [0, 1, 2, 4]
    own, theirs = nets.student(batch), [source(batch) for source in nets.sources]

    def taught(output):
        return pm.Output(output.logits[rows], output.pooled[rows])

    soft = nets.graph(taught(own), [taught(o) for o in theirs]).detach().numpy()
    terms = stage.losses(nets, batch)

    def of(name):
        mine, *others = (getattr(o, name)[rows].detach().numpy() for o in (own, *theirs))
        return slow_cosines(mine, others, soft + 0.5)

    expected = {
        "ce": loops.cross_entropy(own.logits.detach().numpy(), np.array(LABELS)),
        "logits": 2 * of("logits"),
        "features": 3 * of("pooled"),
        "prior": 4 * slow_prior(soft),
    }
    assert {n: t.item() for n, t in terms.items()} == pytest.approx(expected, rel=1e-6)


def test_equal_networks_are_at_no_distance(setting):
    stage = METHOD.last_stage(setting)
    nets = stage.build(lab.LabBench(setting)).eval()
    for number in range(S):
        nets.sources[number] = pm.Frozen(nets.student)
    nets.student.requires_grad_(True)
    terms = stage.losses(nets, lab.batch(READS, LABELS))
    assert terms["logits"].item() == pytest.approx(0, abs=1e-5)
    assert terms["features"].item() == pytest.approx(0, abs=1e-5)
    assert terms["prior"].item() == pytest.approx(0, abs=1e-9), "equal teachers have equal weights"


def test_the_student_moves_through_the_weights_too(setting):
    reach = lab.gradient_reach(METHOD.last_stage(setting), lab.LabBench(setting), lab.batch(READS, LABELS))
    assert {"student.encoder", "student.head", "graph.edge"} <= set(reach["prior"].moves)
    assert set(reach["features"].moves) >= {"student.encoder", "graph.logits"}
    assert all("sources" in part or "graph" in part for part in reach["ce"].still)


@pytest.mark.parametrize("privileged", [(), ("gyro",)])
def test_it_needs_two_privileged_modalities(privileged):
    with pytest.raises(pm.Unsupported, match="at least two"):
        METHOD.last_stage(lab.setting(("acc",), privileged))


def test_features_of_another_width_pass_a_layer():
    setting = lab.setting(("acc",), ("gyro", "mag"), backbones={"mag": "cnn1d-16"})
    stage = METHOD.last_stage(setting)
    nets = stage.build(lab.LabBench(setting))
    assert list(nets.graph.adapters) == ["64"]
    assert set(nets.graph.features) == {"32", "64"}
    reach = lab.gradient_reach(stage, lab.LabBench(setting), lab.batch(READS, LABELS))
    assert "graph.adapters.64" in reach["features"].moves
