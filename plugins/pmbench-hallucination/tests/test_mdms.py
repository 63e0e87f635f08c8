"""mdms: plans, terms of step 3, identities, lockstep, gradient table, what is delivered."""

import numpy as np
import pmbench_hallucination
import pytest
import torch
from pmbench_hallucination.losses import imitation
from pmbench_hallucination.mdms import (
    HallucinateStream,
    MultiplyStreams,
    Step3Options,
    mdms,
    mdms_noisy,
    mdms_step3_connected,
)
from pmbench_hallucination.networks import (
    Connected,
    TemporalConvolution,
    branches,
    inject,
    lockstep,
    spread_over_time,
)
from torch import nn

import pmbench as pm
from pmbench.testing import lab, run_afresh

RANDOM = np.random.default_rng(6)
N = 5
LABELS = np.array([0, -1, 2, 1, -1])
Z = {name: RANDOM.normal(0, 2, (N, 3)) for name in ("student", "privileged")}
MAPS = {name: RANDOM.normal(0, 2, (N, 4, 6)) for name in Z}
POOLED = {name: RANDOM.normal(0, 2, (N, 7)) for name in Z}
ACC, GYRO = pm.Stream("acc"), pm.Stream("gyro")


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


@pytest.mark.parametrize("options", [{}, {"loss": "eq3"}, {"loss": "eq5"}, {"reduction": "sse"}], ids=str)
@pytest.mark.parametrize("layer", ["map", "pooled"])
def test_step3_imitates_the_privileged_network(options, layer):
    stage = HallucinateStream(pm.JointLateFusion((ACC, GYRO)), Step3Options(**options), "none", "code", layer)
    nets = pm.Nets(**{name: lab.Given(Z[name], POOLED[name], MAPS[name]) for name in Z})
    batch = lab.batch(stage.reads, LABELS)
    expected = imitation(stage.options, layer, nets.privileged({}), nets.student({}), batch.labels)
    found = stage.losses(nets, batch)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], term) for name, term in expected.items())
    assert stage.handles == {"unlabelled"}


# --- connections --------------------------------------------------------------------------------------------


def slow_inject(u, m, form):
    out = np.zeros_like(u)
    for i in np.ndindex(u.shape):
        out[i] = u[i] * m[i] + (u[i] if form == "code" else 0)
    return out


@pytest.mark.parametrize("form", ["code", "paper"])
def test_injection_equals_plain_loops(form):
    u, m = RANDOM.normal(size=(2, 2, 3, 4))
    np.testing.assert_allclose(
        inject(torch.tensor(u), torch.tensor(m), form).numpy(), slow_inject(u, m, form)
    )
    assert torch.autograd.gradcheck(
        lambda a, b: inject(a, b, form),
        (torch.tensor(u, requires_grad=True), torch.tensor(m, requires_grad=True)),
    )


@pytest.mark.parametrize(("t", "p"), [("acc", "gyro"), ("spectrum", "spectrum")])
@pytest.mark.parametrize("form", ["code", "paper"])
def test_lockstep_is_block_by_block_with_injection_behind_each(t, p, form):
    bench = lab.LabBench(lab.setting((t,), (p,)))
    into, source = bench.classifier(t).eval(), bench.trainable(pm.Stream(p)).eval()
    batch = lab.batch((t, p))
    given, received = lockstep(source, into, batch, form)
    alone = source(batch)
    torch.testing.assert_close(given.logits, alone.logits)
    for mine, theirs in zip(given.maps, alone.maps, strict=True):
        torch.testing.assert_close(mine, theirs)
    u, m = into.encoder.stem(batch[t]), source.encoder.stem(batch[p])
    for number, block in enumerate(into.encoder.blocks):
        u, m = block(u), source.encoder.blocks[number](m)
        torch.testing.assert_close(received.maps[number].flatten(), u.flatten())
        assert received.maps[number].shape == alone.maps[number].shape
        u = torch.tensor(slow_inject(u.detach().numpy(), m.detach().numpy(), form))
    torch.testing.assert_close(received.pooled, into.encoder.pool(u))
    torch.testing.assert_close(received.logits, into.head(received.pooled))


def test_nothing_to_multiply_leaves_the_network_as_it_is(setting):
    """m = 0: with the form of the code the receiving network is the unconnected one, bit for bit."""
    bench = lab.LabBench(setting)
    into, source = bench.classifier("acc").eval(), bench.classifier("gyro").eval()
    for block in source.encoder.blocks:
        block[1].weight.data.zero_()
        block[1].bias.data.zero_()
    batch = lab.batch(("acc", "gyro"))
    assert torch.equal(lockstep(source, into, batch, "code")[1].logits, into(batch).logits)
    bias = lockstep(source, into, batch, "paper")[1].logits - into.head.bias
    assert bias.abs().max() < 1e-6


@pytest.mark.parametrize("connection", ["p2t", "t2p", "none", "off"])
def test_connection_says_who_depends_on_whom(setting, connection):
    bench = lab.LabBench(setting)
    f_t, f_p = bench.classifier("acc").eval(), bench.classifier("gyro").eval()
    batch, other = lab.batch(("acc", "gyro")), lab.batch(("acc", "gyro"), seed=1)
    t, p = branches(f_t, f_p, batch, connection, "code")
    for changed in ("acc", "gyro"):
        x = pm.Batch({**batch, changed: other[changed]}, batch.labels, batch.index)
        t2, p2 = branches(f_t, f_p, x, connection, "code")
        assert torch.equal(t.logits, t2.logits) == (changed == "gyro" and connection != "p2t")
        assert torch.equal(p.logits, p2.logits) == (changed == "acc" and connection != "t2p")
    mean = Connected(f_t, f_p, connection, "code")(batch)
    torch.testing.assert_close(mean.logits, (t.logits + p.logits) / 2)
    torch.testing.assert_close(mean.pooled, torch.cat([t.pooled, p.pooled], 1))


# --- temporal convolution -----------------------------------------------------------------------------------


def clip_classifier():
    """Two blocks of 3-D convolutions with maps (B, C, F, h, w)."""
    blocks = [nn.Sequential(nn.Conv3d(a, b, (1, 3, 3)), nn.ReLU()) for a, b in ((2, 3), (3, 4))]
    pool = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    maps = [pm.MapInfo(c, (1, 1, 1)) for c in (3, 4)]
    return pm.Classifier("video", pm.Encoder(nn.Identity(), blocks, pool, maps, 4), pm.Head(4, 3))


def test_a_fresh_temporal_convolution_is_the_identity():
    x = torch.randn(2, 6, 5, 3, 3)
    convolution = TemporalConvolution(6)
    torch.testing.assert_close(convolution(x), x, rtol=0, atol=0)
    assert convolution.weight.shape == (6, 6, 3, 1, 1)
    assert convolution.weight.sum() == 6
    assert convolution.bias.abs().sum() == 0


def test_a_temporal_convolution_mixes_three_frames_of_one_position():
    convolution = TemporalConvolution(2)
    nn.init.ones_(convolution.weight)
    x = torch.zeros(1, 2, 5, 3, 3)
    x[0, 1, 2, 1, 1] = 1.0
    expected = torch.zeros(1, 2, 5, 3, 3)
    expected[0, :, 1:4, 1, 1] = 1.0
    assert torch.equal(convolution(x), expected)


def test_clips_get_one_behind_every_block_and_compute_the_same():
    classifier, batch = clip_classifier(), {"video": torch.randn(2, 2, 5, 8, 8)}
    before = classifier(batch)
    after = spread_over_time(classifier)(batch)
    torch.testing.assert_close(after.logits, before.logits)
    assert [type(block[1]) for block in classifier.encoder.blocks] == [TemporalConvolution] * 2
    given, received = lockstep(clip_classifier(), classifier, batch, "code")
    assert received.maps[-1].shape == (2, 4, 5, 4, 4)
    assert given.logits.shape == (2, 3)


def test_other_kinds_get_none(setting):
    nets = mdms.last_stage(setting).multiplied.build(lab.LabBench(setting))
    assert not [m for m in nets.modules() if isinstance(m, TemporalConvolution)]


# --- plans --------------------------------------------------------------------------------------------------


def test_four_steps_share_streams_and_step2(setting):
    last = mdms.last_stage(setting)
    assert [type(s).__name__ for s in last.walk()] == [
        "Stream", "Stream", "MultiplyStreams", "HallucinateStream", "JoinStreams",
    ]  # fmt: skip
    assert last.multiplied.parents == (ACC, GYRO)
    assert mdms.last_stage(setting, step="step3") == last.hallucination
    assert mdms_step3_connected.last_stage(setting).hallucination == last.hallucination
    assert mdms_noisy.last_stage(setting).multiplied == last.multiplied
    assert last.reads == ("acc",)


def test_unconnected_step2_is_joint_late_fusion(setting):
    joint = pm.JointLateFusion((ACC, GYRO))
    assert mdms.last_stage(setting, connection="none").multiplied == joint
    assert mdms.last_stage(setting, connection="none", inject="paper") == mdms.last_stage(
        setting, connection="none"
    )


@pytest.mark.parametrize(
    ("target", "privileged", "backbones", "connection", "layer", "own"),
    [
        ("acc", "gyro", {}, "p2t", "map", False),
        ("acc", "gyro", {"acc": "cnn1d-16"}, "off", "map", False),
        ("acc", "gyro", {"gyro": "mlp-16"}, "off", "pooled", False),
        ("acc", "sound", {}, "off", "pooled", False),
        ("spectrum", "acc", {}, "off", "pooled", True),
        ("summary", "acc", {}, "off", "pooled", True),
        ("summary", "acc", {"acc": "mlp-16"}, "off", "pooled", False),
    ],
)
def test_the_form_follows_the_pair(target, privileged, backbones, connection, layer, own):
    setting = lab.setting((target,), (privileged,), backbones=backbones)
    for loss in ("eq3", "eq5", "eq7"):
        last = mdms.last_stage(setting, loss=loss)
        h = last.hallucination
        assert (h.connection, h.layer) == (connection, layer)
        bench = lab.LabBench(setting)
        for stage in last.walk():
            if stage.trains:
                nets = stage.build(bench)
                terms = stage.losses(nets, lab.batch(stage.reads)).values()
                assert all(t.isfinite() and t.shape == () for t in terms)
        assert any("not connected" in note for note in bench.notes) == (connection == "off")
        assert ("h has the target's architecture" in bench.notes) == own
        assert last.deliver(nets).eval()(lab.batch((target,))).logits.shape == (4, lab.K)


def test_one_modality_of_each_role_is_needed():
    for method in (mdms, mdms_step3_connected, mdms_noisy):
        with pytest.raises(pm.Unsupported, match="privileged"):
            method.last_stage(lab.setting(("acc",), ("gyro", "mag")))
        with pytest.raises(pm.Unsupported, match="target"):
            method.last_stage(lab.setting(("acc", "mag"), ("gyro",)))


def test_connected_step3_is_a_skip_without_connections():
    with pytest.raises(pm.Unsupported, match="not aligned"):
        mdms_step3_connected.last_stage(lab.setting(("acc",), ("sound",)))
    with pytest.raises(pm.Unsupported, match="one shape"):
        mdms_step3_connected.last_stage(lab.setting(("acc",), ("gyro",), backbones={"acc": "cnn1d-16"}))


@pytest.mark.parametrize(
    ("method", "row"),
    [(m, r) for m in (mdms, mdms_noisy, mdms_step3_connected) for r in m.ablations],
    ids=str,
)
def test_every_ablation_takes_a_finite_step(setting, method, row):
    bench = lab.LabBench(setting)
    last = method.last_stage(setting, **method.ablations[row].options)
    for stage in last.walk():
        nets = stage.build(bench)
        if stage.trains:
            optimizer = torch.optim.AdamW([p for p in nets.parameters() if p.requires_grad], lr=1e-2)
            sum(stage.losses(nets, lab.batch(stage.reads)).values()).backward()
            optimizer.step()
            assert all(p.isfinite().all() for p in nets.parameters())
    given = method.delivering(method.ablations[row].options).test_modalities(setting)
    assert last.deliver(nets).eval()(lab.batch(given)).logits.isfinite().all()


# --- start, gradients, delivery -----------------------------------------------------------------------------


def test_h_starts_from_the_privileged_network_of_step2(setting):
    bench = lab.LabBench(setting)
    last = mdms.last_stage(setting)
    h = last.hallucination.build(bench).student.state_dict()
    f_p = bench.delivered(last.multiplied).networks[1].state_dict()
    first = "encoder.blocks.0.0.weight"
    assert torch.equal(h[first], bench.classifier("gyro", fed="acc").state_dict()[first])
    assert all(torch.equal(h[name], f_p[name]) for name in h if name != first)
    assert not torch.equal(f_p["head.weight"], bench.delivered(GYRO).head.weight)


def test_step4_starts_from_step2_and_step3(setting):
    bench, last = lab.LabBench(setting), mdms.last_stage(setting)
    f_t, h = last.build(bench).student.networks
    for mine, theirs in (
        (f_t, bench.delivered(last.multiplied).networks[0]),
        (h, bench.delivered(last.hallucination)),
    ):
        expected = theirs.state_dict()
        assert all(torch.equal(t, expected[n]) for n, t in mine.state_dict().items())
        assert mine.fed == "acc"


@pytest.mark.parametrize("connection", ["none", "p2t"])
def test_h_as_f_p_on_equal_inputs_has_no_feature_loss(connection):
    """acc and mag have equal shapes: h starts as f_p whole. Unconnected the rest is the teacher's entropy."""
    setting = lab.setting(("acc",), ("mag",))
    stage = mdms.last_stage(setting, step="step3", connection=connection)
    nets = stage.build(lab.LabBench(setting)).eval()
    batch = lab.batch(stage.reads)
    same = pm.Batch({"acc": batch["acc"], "mag": batch["acc"]}, batch.labels, batch.index)
    terms = stage.losses(nets, same)
    if connection == "none":
        p = (nets.privileged(same).logits / 10).softmax(1)
        assert terms["hallucination"].item() == 0
        assert terms["soft"].item() == pytest.approx(-0.25 * (p * p.log()).sum(1).mean().item(), rel=1e-5)
    else:
        assert terms["hallucination"].item() > 0


@pytest.mark.parametrize("connection", ["p2t", "t2p"])
@pytest.mark.parametrize("step", ["step2", "step4"])
def test_steps_2_and_4_move_every_parameter_and_flow_through_the_connection(setting, connection, step):
    last = mdms.last_stage(setting, connection=connection)
    stage = last if step == "step4" else last.multiplied
    bench, batch = lab.LabBench(setting), lab.batch(stage.reads)
    nets = stage.build(bench)
    t, p = branches(*nets.student.networks, batch, connection, "code")
    receiving = t if connection == "p2t" else p
    receiving.logits.sum().backward()
    assert all(p.grad is not None for p in nets.student.networks[0].encoder.parameters())
    assert all(p.grad is not None for p in nets.student.networks[1].encoder.parameters())


def test_h_keeps_the_head_of_f_p_where_features_alone_are_imitated(setting):
    stage = mdms.last_stage(setting, step="step3", loss="eq3")
    nets = stage.build(lab.LabBench(setting))
    assert not any(p.requires_grad for p in nets.student.head.parameters())
    assert torch.equal(nets.student.head.weight, nets.privileged.head.weight)


@pytest.mark.parametrize("connection", ["p2t", "t2p", "none"])
def test_step3_changes_no_bit_of_what_is_frozen(setting, connection):
    stage = mdms.last_stage(setting, step="step3", connection=connection)
    nets = stage.build(lab.LabBench(setting)).train()
    before = {n: t.clone() for n, t in nets.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in nets.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        sum(stage.losses(nets, lab.batch(stage.reads)).values()).backward()
        optimizer.step()
    for name, tensor in nets.state_dict().items():
        assert torch.equal(tensor, before[name]) == (not name.startswith("student."))


@pytest.mark.parametrize("connection", ["p2t", "t2p", "none"])
def test_step3_is_delivered_alone_and_step4_needs_the_target_only(setting, connection):
    bench, x = lab.LabBench(setting), lab.batch(("acc",))
    last = mdms.last_stage(setting, connection=connection)
    h = last.hallucination.build(bench)
    assert last.hallucination.deliver(h) is h.student
    assert isinstance(h.student.eval()(x), pm.Output)
    step4 = last.build(bench).eval()
    t, p = branches(*step4.student.networks, x, connection, "code")
    torch.testing.assert_close(last.deliver(step4)(x).logits, (t.logits + p.logits) / 2)


@pytest.mark.parametrize("connection", ["p2t", "t2p", "none"])
def test_streams_of_step2_are_delivered_together_or_alone(setting, connection):
    """Alone a stream is what it is without the other one's activations, and sees its own modality."""
    bench = lab.LabBench(setting)
    both, target, privileged = (
        mdms.last_stage(setting, step=step, connection=connection)
        for step in ("step2", "step2-target", "step2-privileged")
    )
    assert target.multiplied == privileged.multiplied == both
    assert (both.reads, target.reads, privileged.reads) == (("acc", "gyro"), ("acc",), ("gyro",))
    f_t, f_p = bench.frozen(both).networks
    x = lab.batch(("acc", "gyro"))
    for stage, network, modality in ((target, f_t, "acc"), (privileged, f_p, "gyro")):
        alone = stage.deliver(stage.build(bench)).eval()
        assert torch.equal(alone({modality: x[modality]}).logits, network(x).logits)
    tested = [mdms.delivering({"step": step}) for step in ("step2", "step2-target", "step2-privileged")]
    assert [(m.role, m.tests_on, m.networks) for m in tested] == [
        ("reference", "all", 2),
        ("method", "target", 1),
        ("reference", "privileged", 1),
    ]


def test_connected_step3_needs_the_privileged_modality_at_test(setting):
    bench, batch, other = (
        lab.LabBench(setting),
        lab.batch(("acc", "gyro")),
        lab.batch(("acc", "gyro"), seed=1),
    )
    stage = mdms_step3_connected.last_stage(setting)
    network = stage.deliver(stage.build(bench)).eval()
    assert (mdms_step3_connected.tests_on, mdms_step3_connected.role) == ("all", "reference")
    moved = pm.Batch({**batch, "gyro": other["gyro"]}, batch.labels, batch.index)
    assert not torch.equal(network(batch).logits, network(moved).logits)


def test_noise_multiplies_the_privileged_input_with_one_draw(setting):
    bench, batch = lab.LabBench(setting), lab.batch(("acc", "gyro"))
    stages = {v: mdms_noisy.last_stage(setting, variance=v) for v in (0.0, 0.25, None)}
    nets = {v: stage.build(bench).student.eval() for v, stage in stages.items()}
    plain = bench.frozen(stages[0.0].multiplied)
    assert torch.equal(nets[0.0](batch).logits, plain(batch).logits)
    noise = nets[0.25].noise
    assert noise.shape == (4, 32)
    assert noise.mean().item() == pytest.approx(1, abs=0.2)
    assert noise.std().item() == pytest.approx(0.5, abs=0.15)
    noisy = pm.Batch({**batch, "gyro": batch["gyro"] * noise}, batch.labels, batch.index)
    assert torch.equal(nets[0.25](batch).logits, plain(noisy).logits)
    other = pm.Batch({**batch, "gyro": batch["gyro"] + 1}, batch.labels, batch.index)
    assert torch.equal(nets[None](batch).logits, nets[None](other).logits)


@pytest.mark.slow
@pytest.mark.parametrize("connection", ["p2t", "t2p"])
@pytest.mark.parametrize("form", ["code", "paper"])
def test_what_it_delivers_exports_with_dynamic_batch(setting, connection, form):
    stage = mdms.last_stage(setting, connection=connection, inject=form)
    lab.exported(stage.deliver(stage.build(lab.LabBench(setting))), lab.batch(("acc",)))


def test_the_distribution_offers_five_methods():
    offered = [m.name for m in pmbench_hallucination.pmbench_methods()]
    assert offered == ["hoffman", "mdms", "mdms_step3_connected", "mdms_noisy", "admd"]
    assert mdms.networks == 2
    assert MultiplyStreams(ACC, GYRO, "p2t", "code").parents == (ACC, GYRO)


def test_planning_imports_no_torch():
    code = (
        "import sys\n"
        "import pmbench as pm\n"
        "from pmbench_hallucination.mdms import mdms\n"
        "from pmbench.builtin.backbones import BACKBONES\n"
        "m = {n: pm.Modality(n, 'sequence', (3, 8), 'g', 'time') for n in 'ab'}\n"
        "s = pm.Setting(('a',), ('b',), 3, m, {n: BACKBONES[0] for n in 'ab'})\n"
        "assert mdms.last_stage(s).connection == 'p2t'\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)


def test_step3_can_be_trained_as_it_is_tested(setting):
    """`cut` "always": h has no connections in step 3, steps 2 and 4 keep theirs."""
    last = mdms.last_stage(setting, cut="always", inject="paper")
    assert (last.multiplied.connection, last.hallucination.connection, last.connection) == (
        "p2t",
        "none",
        "p2t",
    )
    assert (last.multiplied.inject, last.hallucination.inject, last.inject) == ("paper", "code", "paper")
    assert mdms.last_stage(setting, cut="always", connection="t2p") == mdms.last_stage(
        setting, connection="t2p"
    )
