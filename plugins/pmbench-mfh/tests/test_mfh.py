"""mfh_kd: agreement, salience, what the teacher keeps, and data where the shared features are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pmbench_mfh
import pytest
import torch
from pmbench_mfh import networks, stages
from pmbench_mfh.salience import salience

import pmbench as pm
from pmbench.builtin.planted import Planted
from pmbench.testing import lab, loops, run_afresh
from pmbench.testing.collect import registry
from pmbench.testing.miniature import RECIPE, Miniature
from pmbench.testing.trial import Trial

(METHOD,) = pmbench_mfh.pmbench_methods()
LABELS = (0, -1, 2, 1, 1)
RNG = np.random.default_rng(4)
N, D, K = 7, 4, 3


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",), demands=("unlabelled",))


def test_planning_imports_no_torch():
    run_afresh("import sys, pmbench_mfh; pmbench_mfh.pmbench_methods(); assert 'torch' not in sys.modules")


# --- salience -----------------------------------------------------------------------------------------------


def parts_of_a_head():
    pooled, weight = torch.tensor(RNG.normal(size=(N, D))), torch.tensor(RNG.normal(size=(K, D)))
    bias, reference = torch.tensor(RNG.normal(size=K)), torch.tensor(RNG.normal(size=(N, K)))
    return pooled, weight, bias, reference


def test_salience_equals_plain_loops():
    pooled, weight, bias, reference = parts_of_a_head()
    torch.manual_seed(2)
    found = salience(pooled, weight, pooled @ weight.T + bias, reference, 3)
    torch.manual_seed(2)
    expected = np.zeros(D)
    for _ in range(3):
        order = torch.rand(N, D).argsort(0)
        for c in range(D):
            total = 0.0
            for i in range(N):
                h = [float(pooled[order[i, c] if k == c else i, k]) for k in range(D)]
                for k in range(K):
                    z = sum(h[j] * float(weight[k, j]) for j in range(D)) + float(bias[k])
                    total += (z - float(reference[i, k])) ** 2
            expected[c] += total / (N * K) / 3
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_a_feature_that_the_head_ignores_has_the_distance_itself():
    pooled, weight, bias, reference = parts_of_a_head()
    weight[:, 1] = 0
    logits = pooled @ weight.T + bias
    found = salience(pooled, weight, logits, reference, 5)
    assert found[1].item() == pytest.approx(((logits - reference) ** 2).mean().item())
    alike = salience(pooled, weight, logits, logits, 5)
    assert alike.argmin() == 1
    assert alike[1] == 0


def test_salience_of_batches_is_their_mean_whatever_their_order():
    teacher = torch.nn.Module()
    teacher.head = pm.Head(D, K)
    rated, again = networks.Rated(teacher), networks.Rated(teacher)
    batches = [(torch.randn(n, D), torch.rand(D)) for n in (4, 2)]
    for into, order in ((rated, batches), (again, batches[::-1])):
        for pooled, found in order:
            into.add(pooled, found)
    torch.testing.assert_close(rated.salience, again.salience)
    mean = (4 * batches[0][1] + 2 * batches[1][1]) / 6
    torch.testing.assert_close(rated.rated / rated.samples, mean)
    torch.testing.assert_close(rated.mean, torch.cat([b[0] for b in batches]).mean(0))
    assert (rated.salience.min(), rated.salience.max()) == (0, 1)


# --- stages -------------------------------------------------------------------------------------------------


def test_stages(setting):
    last = METHOD.last_stage(setting)
    joint, rate, imitate = last.walk()
    assert (type(joint), type(rate), type(imitate)) == (stages.Joint, stages.Rate, stages.Imitate)
    other = METHOD.last_stage(setting, mode="specific", share=0.5, temperature=2.0)
    assert other.teacher == rate, "one rating for all modes"
    assert METHOD.last_stage(setting, permutations=3).teacher.joint == joint
    with pytest.raises(pm.Unsupported, match="privileged"):
        METHOD.last_stage(lab.setting(("acc",), ()))


@pytest.mark.parametrize("pair", [("acc", "gyro"), ("acc", "gyro", "mag"), ("summary", "profile")])
def test_agreement_equals_plain_loops(pair):
    setting = lab.setting(pair[:1], pair[1:], demands=("unlabelled", "unpaired"))
    joint = stages.Joint(pair[:1], pair[1:], stages.JointOptions(agreement=2.0))
    nets = joint.build(lab.LabBench(setting)).double().eval()
    present = {m: [True, True, False, True, True] for m in pair[1:]}
    single = lab.batch(pair, LABELS, present=present)
    masks = {m: torch.tensor(v) for m, v in present.items()}
    batch = pm.Batch({m: single[m].double() for m in single}, single.labels, single.index, masks)
    pair_of = nets.student
    z, p = (net(batch).logits.detach().numpy() for net in (pair_of.teacher, pair_of.partner))
    rows, paired = [0, 1, 3, 4], np.array([0, -1, -1, 1, 1])
    terms = joint.losses(nets, batch)
    expected = {
        "ce_privileged": loops.cross_entropy(z, paired),
        "ce_target": loops.cross_entropy(p, np.array(LABELS)),
        "agreement": 2 * loops.mse(z[rows], p[rows]),
    }
    assert {n: t.item() for n, t in terms.items()} == pytest.approx(expected, rel=1e-6)
    terms["agreement"].backward()
    gap = 2 * 2 * (z - p) / (4 * lab.K)
    gap[2] = 0
    for net, sign in ((pair_of.teacher, 1), (pair_of.partner, -1)):
        np.testing.assert_allclose(net.head.bias.grad.numpy(), sign * gap.sum(0), atol=1e-9)


def test_rating_takes_no_step_and_moves_nothing_but_its_sums(setting):
    rate = METHOD.last_stage(setting).teacher
    assert rate.recipe(RECIPE).epochs == 1
    nets = rate.build(lab.LabBench(setting)).train()
    before = {n: t.clone() for n, t in nets.state_dict().items()}
    batch = lab.batch(rate.reads, LABELS)
    torch.manual_seed(1)
    rate.update(nets, batch, lambda terms, group: pytest.fail("a step"))
    changed = {n for n, t in nets.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"student.rated", "student.added", "student.samples"}
    output, reference = nets.student(batch), nets.partner(batch).logits
    torch.manual_seed(1)
    head = nets.student.teacher.head
    found = salience(output.pooled, head.weight, output.logits, reference, 10)
    torch.testing.assert_close(nets.student.rated, len(LABELS) * found)
    torch.testing.assert_close(nets.student.mean, output.pooled.mean(0))


@pytest.mark.parametrize(
    ("mode", "share", "fixed"),
    [("general", 0.5, {1, 3}), ("specific", 0.5, {0, 2}), ("general", 0.3, {1}), ("none", 0.5, set())],
)
def test_what_the_teacher_keeps(mode, share, fixed):
    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = pm.Head(D, K)

        def forward(self, batch):
            return pm.Output(self.head(batch["x"]), batch["x"])

    rated = networks.Rated(Head())
    rated.add(torch.randn(6, D), torch.tensor([3.0, 0.0, 4.0, 1.0]))
    focused = networks.Focused(pm.Frozen(rated), mode, share)
    assert set(focused.fixed.nonzero().ravel().tolist()) == fixed
    x = torch.randn(3, D)
    kept = x.clone()
    for c in fixed:
        kept[:, c] = rated.mean[c]
    found = focused({"x": x})
    torch.testing.assert_close(found.pooled, kept)
    torch.testing.assert_close(found.logits, rated.teacher.head(kept))
    assert networks.Focused(pm.Frozen(rated), "random", share).fixed.sum() == int(share * D)


def test_with_all_features_it_is_kd_from_the_first_stages_teacher(setting):
    """And so it is with a share of 0; values and gradients, bit for bit."""
    bench = lab.LabBench(setting)
    rate = METHOD.last_stage(setting).teacher
    kd = pm.Distill(rate, ("acc",))
    batch = lab.batch(kd.reads, LABELS)
    found = []
    for stage in (METHOD.last_stage(setting, mode="none"), METHOD.last_stage(setting, share=0.0), kd):
        nets = stage.build(bench).train()
        terms = stage.losses(nets, batch)
        sum(terms.values()).backward()
        assert all(p.grad is None for p in nets.teacher.parameters())
        found.append(([t.item() for t in terms.values()], [p.grad for p in nets.student.parameters()]))
    for values, gradients in found[:2]:
        assert values == found[2][0]
        assert all(torch.equal(a, b) for a, b in zip(gradients, found[2][1], strict=True))


# --- data with a known answer -------------------------------------------------------------------------------


def linear(shared: int) -> Miniature:
    """`planted` with networks whose pooled features are the input itself."""
    parts = {}
    for name, part in Planted().read(Path()):
        if name.startswith(f"shared-{shared:d}-"):
            parts[name.rpartition("-")[2]] = part
    views = Planted.target + Planted.privileged
    return Miniature(
        f"planted-{shared}", parts, classes=Planted.classes, modalities=Planted.modalities,
        target=Planted.target, privileged=Planted.privileged, backbones=dict.fromkeys(views, "mlp-0"),
    )  # fmt: skip


def test_the_shared_features_are_the_salient_ones(tmp_path):
    """Of 50 features of the privileged view, 20 decide and are shared, 10 decide alone, 20 are noise."""
    recipe = RECIPE.but(optimizer="sgd", lr=0.3, epochs=20, batch_size=100)
    trial = Trial(METHOD, linear(20), registry(), tmp_path, recipe=recipe)
    rated = trial.trained[1].fresh
    found = rated.salience
    assert rated.samples == 400, "labelled or not"
    kept = set(found.argsort()[-20:].tolist())
    assert len(kept & set(range(20))) >= 16
    assert found[:20].mean() > 5 * found[20:30].mean(), "what decides, but is not shared, is left out"
