"""moddrop and missing_token: what is dropped, what takes its place, and what is tested."""

from __future__ import annotations

import numpy as np
import pmbench_missing
import pytest
import torch
from pmbench_missing import dropping, networks

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh
from pmbench.training.samples import ChannelStats

METHODS = {m.name: m for m in pmbench_missing.pmbench_methods()}
LABELS = (0, -1, 2, 1, 0, 1)


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


@pytest.fixture
def vectors():
    return lab.setting(("summary",), ("profile",))


def with_stats(setting):
    """A bench whose modalities have means of 1 and stds of 2, so that a raw zero is -1/2."""
    bench = lab.LabBench(setting)
    for m in setting.all:
        channels = setting.modalities[m].channels
        bench.stats = {
            **bench.stats,
            m: ChannelStats(np.ones(channels, np.float32), np.full(channels, 2, np.float32)),
        }
    return bench


def loss_and_gradients(stage, nets, batch, seed=0):
    torch.manual_seed(seed)
    loss = stage.losses(nets.train(), batch)["ce"]
    loss.backward()
    return loss, {n: p.grad for n, p in nets.named_parameters() if p.grad is not None}


def test_planning_imports_no_torch():
    run_afresh(
        "import sys, pmbench_missing; pmbench_missing.pmbench_methods(); assert 'torch' not in sys.modules"
    )


@pytest.mark.parametrize("kind", [("acc", "gyro"), ("rgb", "depth")])
def test_without_dropping_it_is_late_fusion_fine_tuned(kind):
    setting = lab.setting(kind[:1], kind[1:])
    stage = METHODS["moddrop"].last_stage(setting, drop=0.0, elements=0.0)
    plain = pm.JointLateFusion(tuple(pm.Stream(m) for m in kind))
    assert stage.parents == plain.parents
    bench, batch = lab.LabBench(setting), lab.batch(kind, LABELS)
    loss, gradients = loss_and_gradients(stage, stage.build(bench), batch)
    expected, theirs = loss_and_gradients(plain, plain.build(bench), batch)
    assert loss.item() == expected.item()
    assert len(gradients) == len(theirs)
    for mine, other in zip(gradients.values(), theirs.values(), strict=True):
        assert torch.equal(mine, other)


def test_each_modality_goes_at_the_rate_and_one_always_stays():
    torch.manual_seed(0)
    there = torch.ones(20_000, dtype=torch.bool)
    some = there.clone()
    some[:5000] = False
    lost = dropping.drawn({"a": there, "b": there, "c": some}, 0.5)
    whole = torch.stack(list(lost.values()), 1)
    assert not whole.all(1).any()
    assert lost["c"][:5000].all(), "what the data set lacks stays missing"
    # of three, all would go with 1/8, and then each is kept with 1/3; of two, with 1/4 and 1/2
    expected = 0.75 * (1 / 2 - 1 / 24) + 0.25 * (1 / 2 - 1 / 8)
    assert lost["a"].float().mean().item() == pytest.approx(expected, abs=0.015)
    none = dropping.drawn({"a": there, "c": some}, 0.0)
    assert not none["a"].any()
    assert torch.equal(none["c"], ~some)


@pytest.mark.parametrize(
    ("name", "options"),
    [("moddrop", {"fill": "zeros"}), ("moddrop", {"fill": "mean"}), ("moddrop", {"level": "feature"}),
     ("missing_token", {})],
)  # fmt: skip
def test_the_loss_and_its_gradients_equal_plain_loops(vectors, name, options):
    """One sample after the other, one stream after the other, in double precision."""
    stage = METHODS[name].last_stage(vectors, drop=0.5, **options)
    nets = stage.build(with_stats(vectors)).double()
    whole = nets.student.whole
    if name == "missing_token":
        with torch.no_grad():
            whole.instead["profile"].value.normal_(generator=torch.Generator().manual_seed(1))
    single = lab.batch(("summary", "profile"), LABELS)
    inputs = {m: single[m].double() for m in single}
    batch = pm.Batch(inputs, single.labels, single.index)

    def slow():
        torch.manual_seed(3)
        lost = dropping.drawn({m: batch.present(m) for m in batch}, 0.5)
        assert any(v.any() for v in lost.values())
        rows = np.zeros((len(LABELS), lab.K))
        for b in range(len(LABELS)):
            for m, stream in whole.streams.items():
                value, x = whole.instead[m].value, inputs[m][b : b + 1]
                if lost[m][b] and whole.instead[m].shape is not None:
                    assert value.unique().item() == {"zeros": -0.5, "mean": 0.0}[options["fill"]]
                    x = value.expand_as(x)
                pooled = stream.encoder(x)[1]
                if lost[m][b] and whole.instead[m].shape is None:
                    pooled = value.unsqueeze(0)
                rows[b] += stream.head(pooled)[0].detach().numpy() / len(whole.streams)
        return loops.cross_entropy(rows, np.array(LABELS))

    loss, _ = loss_and_gradients(stage, nets, batch, seed=3)
    assert loss.item() == pytest.approx(slow(), abs=1e-9)
    moved = [stream.head.bias for stream in whole.streams.values()] + list(whole.instead.parameters())
    assert len(moved) == (4 if name == "missing_token" else 2)
    for parameter in moved:

        def at(x, parameter=parameter):
            kept = parameter.data.clone()
            parameter.data.copy_(torch.as_tensor(x))
            value = slow()
            parameter.data.copy_(kept)
            return value

        expected = lab.numeric_gradient(at, parameter.detach().numpy().copy())
        np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_token_that_stays_zero_is_a_dropped_feature(setting):
    bench, batch = lab.LabBench(setting), lab.batch(("acc", "gyro"), LABELS)
    token = METHODS["missing_token"].last_stage(setting, drop=0.5)
    zero = METHODS["moddrop"].last_stage(setting, drop=0.5, level="feature")
    (loss, mine), (other, theirs) = (loss_and_gradients(s, s.build(bench), batch) for s in (token, zero))
    assert loss.item() == other.item()
    assert set(mine) - set(theirs) == {f"student.whole.instead.{m}.value" for m in ("acc", "gyro")}
    assert all(torch.equal(mine[n], theirs[n]) for n in theirs)


def test_elements_of_images_are_dropped_to_what_is_missing():
    setting = lab.setting(("rgb",), ("depth",))
    stage = METHODS["moddrop"].last_stage(setting, drop=0.0, elements=0.25)
    nets = stage.build(with_stats(setting))
    seen = {}
    for m, stream in nets.student.whole.streams.items():
        stream.encoder.register_forward_pre_hook(lambda _, x, m=m: seen.update({m: x[0]}))
    batch = lab.batch(("rgb", "depth"), LABELS)
    stage.losses(nets.train(), batch)
    for m, x in seen.items():
        raw, kept = 2 * batch[m] + 1, 2 * x + 1
        gone = kept == 0
        assert gone.float().mean().item() == pytest.approx(0.25, abs=0.05)
        torch.testing.assert_close(kept[~gone], raw[~gone] / 0.75, atol=1e-5, rtol=1e-5)
    stage.losses(nets.eval(), batch)
    assert all(torch.equal(seen[m], batch[m]) for m in batch)
    assert stage.build(lab.LabBench(setting)).student.whole.elements.keys() == {"rgb", "depth"}
    sequences = lab.setting(("acc",), ("gyro",))
    others = METHODS["moddrop"].last_stage(sequences).build(lab.LabBench(sequences))
    assert not others.student.whole.elements
    token = METHODS["missing_token"].last_stage(setting)
    assert token.losses(token.build(lab.LabBench(setting)).train(), batch)["ce"].isfinite()


@pytest.mark.parametrize(
    ("name", "options"), [("moddrop", {}), ("moddrop", {"level": "feature"}), ("missing_token", {})]
)
def test_what_is_tested_is_the_mean_with_a_constant(setting, name, options):
    stage = METHODS[name].last_stage(setting, **options)
    nets = stage.build(with_stats(setting)).eval()
    batch = lab.batch(("acc", "gyro"), LABELS)
    alone = {"acc": batch["acc"]}
    whole, found = nets.student.whole, stage.deliver(nets)(alone).logits
    lost = {"acc": torch.zeros(len(LABELS), dtype=torch.bool), "gyro": torch.ones(len(LABELS)).bool()}
    torch.testing.assert_close(found, whole.logits(batch, lost))
    target = METHODS[name].last_stage(setting, stream="target", **options)
    assert target.deliver(nets) is whole.streams["acc"]


def test_several_privileged_modalities_and_unpaired_samples():
    setting = lab.setting(("acc",), ("gyro", "mag"), demands=("unpaired",))
    stage = METHODS["moddrop"].last_stage(setting)
    nets = stage.build(lab.LabBench(setting)).eval()
    present = {"gyro": [True, False, True, False, True, True], "mag": [True] * 6}
    batch = lab.batch(stage.reads, LABELS, present=present)
    spoiled = lab.batch(stage.reads, LABELS, present=present)
    spoiled["gyro"][1] = 1e3
    torch.manual_seed(0)
    expected = stage.losses(nets, batch)["ce"]
    torch.manual_seed(0)
    assert stage.losses(nets, spoiled)["ce"].item() == expected.item()
    assert stage.deliver(nets)({"acc": batch["acc"]}).logits.shape == (6, lab.K)
    with pytest.raises(pm.Unsupported, match="privileged"):
        METHODS["moddrop"].last_stage(lab.setting(("acc",), ()))


def test_the_token_is_learned(setting):
    stage = METHODS["missing_token"].last_stage(setting, drop=0.9)
    reach = lab.gradient_reach(stage, lab.LabBench(setting), lab.batch(stage.reads, LABELS))["ce"]
    assert {f"student.whole.instead.{m}" for m in ("acc", "gyro")} <= set(reach.moves)
    assert isinstance(networks.Instead(torch.zeros(2), None, learned=True).value, torch.nn.Parameter)
