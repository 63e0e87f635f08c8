"""impute_regression, impute_ae and mtnet: what is made, how it is trained, and who classifies it."""

from __future__ import annotations

import numpy as np
import pmbench_missing
import pytest
import torch
from pmbench_missing import imputing, networks
from torch import nn

import pmbench as pm
from pmbench.testing import lab

METHODS = {m.name: m for m in pmbench_missing.pmbench_methods()}
LABELS = (0, -1, 2, 1)
RNG = np.random.default_rng(5)
SPACES = [("impute_regression", {}), ("impute_regression", {"space": "feature"}), ("impute_ae", {})]


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",), demands=("unlabelled",))


@pytest.mark.parametrize(("name", "options"), SPACES)
def test_the_loss_is_the_mean_square_over_elements(setting, name, options):
    generator = METHODS[name].last_stage(setting, **options).generator
    bench = lab.LabBench(setting)
    nets = generator.build(bench).eval()
    batch = lab.batch(generator.reads, LABELS)
    made = nets.student(batch)["gyro"].detach().double().numpy().ravel()
    wanted = batch["gyro"]
    if options:
        wanted = bench.frozen(pm.Stream("gyro"))(batch).pooled
    slow = sum((a - b) ** 2 for a, b in zip(made, wanted.double().numpy().ravel(), strict=True)) / len(made)
    assert generator.losses(nets, batch)["mse"].item() == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize(("name", "options"), SPACES)
def test_the_gradient_is_that_of_finite_differences(name, options):
    pair = ("rgb", "depth") if name == "impute_ae" else ("summary", "profile")
    setting = lab.setting(pair[:1], pair[1:])
    generator = METHODS[name].last_stage(setting, **options).generator
    nets = generator.build(lab.LabBench(setting)).double().eval()
    single = lab.batch(pair, LABELS[:2])
    batch = pm.Batch({m: single[m].double() for m in single}, single.labels, single.index)
    generator.losses(nets, batch)["mse"].backward()
    bias = [p for n, p in nets.named_parameters() if p.requires_grad and n.endswith("bias")][-1]

    def at(x):
        bias.data.copy_(torch.as_tensor(x))
        return generator.losses(nets, batch)["mse"].item()

    expected = lab.numeric_gradient(at, bias.detach().numpy().copy())
    np.testing.assert_allclose(bias.grad.numpy(), expected, rtol=1e-5, atol=1e-7)


class Oracle(nn.Module):
    """Makes what it is given."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, batch):
        return self.made


@pytest.mark.parametrize("form", ["indep", "joint"])
@pytest.mark.parametrize("pair", [("acc", "gyro"), ("acc", "gyro", "mag")])
def test_with_an_oracle_it_is_late_fusion(pair, form):
    setting = lab.setting(pair[:1], pair[1:])
    batch = lab.batch(pair, LABELS)
    for space, kind in (("input", networks.Filled), ("feature", networks.FilledFeatures)):
        last = METHODS["impute_regression"].last_stage(setting, space=space, form=form)
        student = last.build(lab.LabBench(setting)).student.eval()
        assert type(student) is kind
        streams = networks.by_modality(student.fused)
        made = {m: batch[m] if space == "input" else streams[m](batch).pooled for m in pair[1:]}
        found = kind(Oracle(made), student.fused, "acc")({"acc": batch["acc"]})
        expected = student.fused(batch)
        torch.testing.assert_close(found.logits, expected.logits)
        torch.testing.assert_close(found.pooled, expected.pooled)


def test_the_fused_network_is_that_of_the_reference_row(setting):
    from pmbench.builtin.methods import early_fusion, late_fusion

    for form in ("indep", "joint"):
        last = METHODS["impute_ae"].last_stage(setting, form=form)
        assert last.fused == late_fusion.last_stage(setting, form=form)
        assert last.generator.stream == pm.Stream("acc")
    assert METHODS["mtnet"].last_stage(setting).fused == early_fusion.last_stage(setting)


@pytest.mark.parametrize(
    ("kind", "channels", "shape", "stages"),
    [("sequence", 3, (2, 21), 5), ("image", 3, (1, 20, 33), 4), ("clip", 2, (3, 8, 9, 16), 4)],
)
def test_a_decoder_ends_at_the_shape_that_is_wanted(kind, channels, shape, stages):
    from pmbench.builtin.networks import CNN

    encoder = CNN(kind, channels, 8)
    fed = (channels, *shape[1:])
    decoder = networks.FromMap(encoder, fed, shape)
    assert sum(isinstance(layer, nn.modules.conv._ConvNd) for layer in decoder.layers) == stages
    maps, pooled = encoder(torch.randn(2, *fed))
    assert decoder(maps, pooled).shape == (2, *shape)
    assert encoder.training


def test_what_is_not_supported():
    vectors = lab.setting(("summary",), ("profile",))
    with pytest.raises(pm.Unsupported, match="maps"):
        METHODS["impute_ae"].last_stage(vectors)
    with pytest.raises(pm.Unsupported, match="not aligned"):
        METHODS["impute_ae"].last_stage(lab.setting(("rgb",), ("thermal",)))
    with pytest.raises(pm.Unsupported, match="exactly one privileged"):
        METHODS["mtnet"].last_stage(lab.setting(("acc",), ("gyro", "mag")))
    large = lab.setting(("summary",), ("spectrum",))
    object.__setattr__(large.modalities["spectrum"], "shape", (3, 300, 300))
    try:
        with pytest.raises(pm.Unsupported, match="270000 numbers"):
            METHODS["impute_regression"].last_stage(large)
        assert METHODS["impute_regression"].last_stage(large, space="feature")
        with pytest.raises(pm.Unsupported, match="270000 numbers"):
            METHODS["mtnet"].last_stage(large)
    finally:
        object.__setattr__(large.modalities["spectrum"], "shape", (1, 8, 8))


# --- mtnet --------------------------------------------------------------------------------------------------


def test_the_discriminators_loss_and_its_gradients():
    real, made = RNG.normal(0, 1, 5), RNG.normal(0, 1, 5)

    def slow(r, m):
        return (sum((v - 1) ** 2 for v in r) / 5 + sum(v**2 for v in m) / 5) / 2

    inputs = [torch.tensor(x, requires_grad=True) for x in (real, made)]
    found = imputing.judged(lambda x: x, *inputs)
    found.backward()
    assert found.item() == pytest.approx(slow(real, made))
    np.testing.assert_allclose(inputs[0].grad, lab.numeric_gradient(lambda x: slow(x, made), real), atol=1e-6)
    np.testing.assert_allclose(inputs[1].grad, lab.numeric_gradient(lambda x: slow(real, x), made), atol=1e-6)


@pytest.mark.parametrize("pair", [("summary", "profile"), ("acc", "gyro")])
def test_translation_terms_equal_plain_loops(pair):
    setting = lab.setting(pair[:1], pair[1:])
    stage = METHODS["mtnet"].last_stage(setting, cycle=3.0, paired=2.0).generator
    assert stage.by_map is (pair == ("acc", "gyro"))
    nets = stage.build(lab.LabBench(setting)).eval()
    batch = lab.batch(pair, LABELS)
    t, p = pair
    there, back = nets.student(batch)[p], nets.back(batch)[t]
    again, and_again = nets.back({p: there})[t], nets.student({t: back})[p]
    taken = []
    stage.update(nets, batch, lambda terms, group: taken.append((group, terms)))
    (first, judges), (second, terms) = taken
    assert (first, second) == ("discriminators", "translators")

    def mean(values):
        values = values.detach().double().numpy().ravel()
        return sum(map(float, values)) / len(values)

    expected = {
        "deceive": mean((nets.judge(there) - 1) ** 2),
        "deceive_back": mean((nets.judge_back(back) - 1) ** 2),
        "cycle": 3 * (mean((again - batch[t]).abs()) + mean((and_again - batch[p]).abs())),
        "paired": 2 * mean((there - batch[p]) ** 2),
    }
    assert {n: v.item() for n, v in terms.items()} == pytest.approx(expected, rel=1e-5)
    expected = {
        "judge": (mean((nets.judge(batch[p]) - 1) ** 2) + mean(nets.judge(there) ** 2)) / 2,
        "judge_back": (mean((nets.judge_back(batch[t]) - 1) ** 2) + mean(nets.judge_back(back) ** 2)) / 2,
    }
    assert {n: v.item() for n, v in judges.items()} == pytest.approx(expected, rel=1e-5)


def test_discriminators_do_not_move_translators(setting):
    stage = METHODS["mtnet"].last_stage(setting).generator
    reach = lab.gradient_reach(stage, lab.LabBench(setting), lab.batch(stage.reads, LABELS))
    assert all(part.startswith("judge") for term in ("judge", "judge_back") for part in reach[term].moves)
    assert not reach["judge"].passes
    assert all(part.startswith(("student", "back")) for part in reach["cycle"].moves)
    assert any(part.startswith("judge") for part in reach["deceive"].passes)
    assert not any(part.startswith("judge") for part in reach["deceive"].moves)
