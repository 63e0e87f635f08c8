"""admd: the game against plain loops, identities, who moves in which step, the frozen head, plans."""

import math

import numpy as np
import pytest
import torch
from pmbench_hallucination.admd import (
    DISCRIMINATOR,
    GAMES,
    Deceive,
    Hallucination,
    Imitate,
    NarrowStream,
    admd,
    has_frames,
)
from pmbench_hallucination.discriminator import WIDTHS, Discriminator, vectors
from torch import nn

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh

RANDOM = np.random.default_rng(8)
N, K, WIDTH = 5, 3, 4
LABELS = np.array([0, -1, 2, 1, -1])
PRESENT = np.array([True, True, False, True, False])
WEIGHT = {o: RANDOM.normal(0, 1, (o, WIDTH)) for o in (1, K + 1)}
V = {name: RANDOM.normal(0, 1, (N, WIDTH)) for name in ("p", "h")}


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


class Linear(nn.Module):
    """A judge whose logits are W v."""

    def __init__(self, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(WEIGHT[outputs]))

    def forward(self, v):
        return v @ self.weight.T


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def references(adversary, present):
    """Terms in plain loops, each a function of (W, v_p, v_h)."""
    known = [y if there else -1 for y, there in zip(LABELS, present, strict=True)]

    def squares(w, v, wanted, rows):
        scores = [sigmoid(sum(w[0][j] * v[i][j] for j in range(WIDTH))) for i in rows]
        return sum((s - wanted) ** 2 for s in scores) / max(len(scores), 1)

    if adversary == "lsgan":
        rows = np.flatnonzero(present)
        return {
            "judge_real": lambda w, p, h: squares(w, p, 1, rows) / 2,
            "judge_fake": lambda w, p, h: squares(w, h, 0, range(N)) / 2,
            "deceive": lambda w, p, h: squares(w, h, 1, range(N)),
        }
    return {
        "judge_real": lambda w, p, h: loops.cross_entropy(p @ w.T, known) / 2,
        "judge_fake": lambda w, p, h: loops.cross_entropy(h @ w.T, [K] * N) / 2,
        "deceive": lambda w, p, h: loops.cross_entropy(h @ w.T, LABELS),
    }


@pytest.mark.parametrize("adversary", ["classes", "lsgan"])
@pytest.mark.parametrize(
    "present", [np.ones(N, bool), PRESENT, np.zeros(N, bool)], ids=["all", "some", "none"]
)
def test_terms_equal_plain_loops_in_value_and_gradient(adversary, present):
    game, y, paired = GAMES[adversary], torch.as_tensor(LABELS), torch.as_tensor(present)
    outputs = 1 if adversary == "lsgan" else K + 1
    point = [WEIGHT[outputs], V["p"], V["h"]]
    for name, reference in references(adversary, present).items():
        judge = Linear(outputs)
        v_p, v_h = (torch.tensor(V[m], requires_grad=True) for m in "ph")
        terms = {**game.judge(judge, v_p, v_h, y, paired), **game.deceive(judge, v_h, y)}
        assert terms[name].item() == pytest.approx(reference(*point), abs=1e-10)
        if terms[name].requires_grad:
            terms[name].backward()
        moves = {"deceive": (0, 2)}.get(name, (0,))
        for i, leaf in enumerate((judge.weight, v_p, v_h)):
            slope = lab.numeric_gradient(lambda x: reference(*point[:i], x, *point[i + 1 :]), point[i])  # noqa: B023
            got = np.zeros_like(slope) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(
                got, slope if i in moves else 0 * slope, atol=1e-7, err_msg=f"{name} {i}"
            )


def test_without_labels_the_judge_still_sees_fakes():
    game, y = GAMES["classes"], torch.full((N,), -1)
    v_p, v_h = torch.tensor(V["p"]), torch.tensor(V["h"])
    found = game.judge(Linear(K + 1), v_p, v_h, y, y < 0)
    assert found["judge_real"].item() == 0
    assert found["judge_fake"].item() > 0
    assert game.deceive(Linear(K + 1), v_h, y)["deceive"].item() == 0


@pytest.mark.slow
def test_where_fakes_are_as_good_as_real_both_losses_tend_to_ln_2():
    """Equal vectors of both kinds, separable classes: the best discriminator outputs y and fake 1/2 each."""
    labels = torch.arange(12) % K
    v = torch.eye(K)[labels]
    game, judge = GAMES["classes"], Discriminator(K, K + 1)
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3)
    for _ in range(1000):
        loss = sum(game.judge(judge, v, v, labels, labels >= 0).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(math.log(2), abs=5e-3)
    assert game.deceive(judge, v, labels)["deceive"].item() == pytest.approx(math.log(2), abs=3e-2)


# --- discriminator --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "depth"), [("action", 3), ("objects", 6)])
def test_discriminator_has_one_output_more_than_classes(form, depth):
    judge = Discriminator(128, K + 1, form=form)
    layers = [m for m in judge.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == depth
    assert layers[0].in_features == 128
    assert judge(torch.randn(6, 128)).shape == (6, K + 1)
    assert not [m for m in judge.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_discriminator_widths_are_the_papers():
    assert [m.out_features for m in Discriminator(128, 61).modules() if isinstance(m, nn.Linear)] == [
        256,
        128,
        61,
    ]
    objects = Discriminator(128, 20, form="objects")
    widths = [m.out_features for m in objects.modules() if isinstance(m, nn.Linear)]
    assert widths == [*WIDTHS, 20]
    assert sum(p.numel() for p in Discriminator(128, 61).parameters()) == 129 * 256 + 257 * 128 + 129 * 61


def test_residual_layers_add_their_input():
    judge = Discriminator(8, 4, form="objects")
    residual = judge.layers[2]
    nn.init.zeros_(residual.weight)
    nn.init.zeros_(residual.bias)
    x = torch.randn(3, 1024)
    assert torch.equal(residual(x), x.relu())


# --- stages ---------------------------------------------------------------------------------------------


def adversarial(setting, **options):
    return admd.last_stage(setting, **options).deceived


@pytest.mark.parametrize("options", [{}, {"adversary": "lsgan"}, {"discriminator": "objects"}], ids=str)
def test_an_update_moves_judge_then_h_and_nothing_else(setting, options):
    stage = adversarial(setting, **options)
    nets = stage.build(lab.LabBench(setting)).train()
    steps = lab.Steps(stage, nets)
    before = {n: t.clone() for n, t in nets.state_dict().items()}
    for seed in range(3):
        stage.update(nets, lab.batch(stage.reads, (0, -1, 2, 1), seed=seed), steps)
    assert [group for group, _ in steps.taken] == ["discriminator", "hallucination"] * 3
    assert all(t.isfinite() for _, terms in steps.taken for t in terms.values())
    still = {n for n, t in nets.state_dict().items() if torch.equal(t, before[n])}
    assert {n for n in still if n.startswith("student.")} == {
        "student.hallucination.head.weight",
        "student.hallucination.head.bias",
    }
    assert {n for n in before if n.startswith("privileged.")} <= still
    assert torch.equal(nets.student.hallucination.head.weight, nets.privileged.head.weight)
    assert torch.equal(nets.student.hallucination.head.bias, nets.privileged.head.bias)


def test_every_trainable_parameter_is_in_one_group(setting):
    stage = adversarial(setting)
    nets = stage.build(lab.LabBench(setting))
    mine = [id(p) for ps in lab.Steps(stage, nets).parameters.values() for p in ps]
    assert len(mine) == len(set(mine))
    assert set(mine) == {id(p) for p in nets.parameters() if p.requires_grad}
    groups = stage.groups(nets)
    assert (
        groups["discriminator"].changes
        == DISCRIMINATOR
        == {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0}
    )
    assert groups["hallucination"].changes == {}


def test_h_starts_as_f_p_whole_where_shapes_agree():
    setting = lab.setting(("acc",), ("mag",))
    stage = adversarial(setting)
    nets = stage.build(lab.LabBench(setting)).eval()
    batch = lab.batch(stage.reads)
    same = pm.Batch({"acc": batch["acc"], "mag": batch["acc"]}, batch.labels, batch.index)
    assert torch.equal(nets.student(same).logits, nets.privileged(same).logits)


def test_h_starts_from_f_p_but_for_the_layer_that_sees_other_channels(setting):
    bench, stage = lab.LabBench(setting), adversarial(setting)
    h = stage.build(bench).student.hallucination.state_dict()
    f_p = bench.delivered(stage.privileged).state_dict()
    assert {n for n in h if not torch.equal(h[n], f_p[n])} <= {"encoder.blocks.0.0.weight"}
    assert h["encoder.blocks.0.0.weight"].shape[1] == 3


@pytest.mark.parametrize(("asked", "width"), [(128, 32), (8, 8)])
def test_the_bottleneck_is_no_wider_than_the_pooled_features(setting, asked, width):
    stage = adversarial(setting, bottleneck=asked)
    bench = lab.LabBench(setting)
    assert stage.privileged == NarrowStream("gyro", asked)
    assert bench.delivered(stage.privileged).head.in_features == width
    assert stage.build(bench).student.hallucination.head.in_features == width


@pytest.mark.parametrize(
    ("target", "privileged", "own"),
    [("acc", "sound", False), ("spectrum", "acc", True), ("summary", "acc", True)],
)
def test_any_pair_goes(target, privileged, own):
    setting = lab.setting((target,), (privileged,))
    last, bench = admd.last_stage(setting), lab.LabBench(setting)
    stage = last.deceived
    nets = stage.build(bench)
    assert ("h has the target's architecture" in bench.notes) == own
    assert torch.equal(nets.student.hallucination.head.weight, nets.privileged.head.weight)
    stage.update(nets, lab.batch(stage.reads), lab.Steps(stage, nets))
    delivered = last.deliver(last.build(bench)).eval()
    assert delivered({target: lab.batch((target,))[target]}).logits.shape == (4, lab.K)


# --- clips ----------------------------------------------------------------------------------------------


def clips(**backbones):
    """(last stage, stage of the game, bench, nets, batch) of flow that teaches video."""
    setting = lab.setting(("video",), ("flow",), backbones=backbones)
    last, bench = admd.last_stage(setting), lab.LabBench(setting)
    stage = last.deceived
    return last, stage, bench, stage.build(bench), lab.batch(stage.reads, (0, -1, 2, 1))


def test_of_clips_the_judge_sees_each_frame_and_its_position():
    _, stage, _, nets, batch = clips()
    assert stage.privileged == NarrowStream("flow", 128, frames=True)
    h = nets.student.hallucination.eval()
    output = h(batch)
    last = output.maps[-1]
    frames, width = last.shape[2], h.head.in_features
    shown = vectors(h, output).reshape(len(batch.labels), frames, -1)
    assert frames > 1
    assert nets.student.discriminator.layers[0].in_features == shown.shape[2] == frames + width
    linear, relu = h.bottleneck.neck
    for i in range(len(batch.labels)):
        for t in range(frames):
            position = [float(t == other) for other in range(frames)]
            v = relu(linear(last[i, :, t].mean((1, 2))))
            assert torch.allclose(shown[i, t], torch.cat([torch.tensor(position), v]), atol=1e-6)
    assert torch.allclose(output.pooled, shown[:, :, frames:].mean(1), atol=1e-6)
    each = torch.stack([h.head(shown[:, t, frames:]) for t in range(frames)])
    assert torch.allclose(output.logits, each.mean(0), atol=1e-5)


def test_frames_have_the_label_and_the_pair_of_their_clip():
    _, stage, _, nets, _ = clips()
    batch = lab.batch(stage.reads, (0, -1, 2, 1), present={"flow": (True, True, False, True)})
    frames = nets.student.hallucination.eval()(batch).maps[-1].shape[2]
    steps = lab.Steps(stage, nets.eval(), lr=0.0)
    stage.update(nets, batch, steps)
    d, f_p, h = nets.student.discriminator, nets.privileged.network, nets.student.hallucination
    real, fake = (d(vectors(net, net(batch))).reshape(4, frames, -1) for net in (f_p, h))

    def mean(logits, rows):
        return np.mean([-logits[i, t].log_softmax(0)[y].item() for i, y in rows for t in range(frames)])

    (_, judged), (_, deceived) = steps.taken
    expected = {
        "judge_real": mean(real, [(0, 0), (3, 1)]) / 2,
        "judge_fake": mean(fake, [(i, lab.K) for i in range(4)]) / 2,
        "deceive": mean(fake, [(0, 0), (2, 2), (3, 1)]),
    }
    found = {name: term.item() for name, term in {**judged, **deceived}.items()}
    assert found == pytest.approx(expected, abs=1e-5)


def test_clips_whose_frames_do_not_correspond_have_one_vector():
    for target, flow, agree in (
        ("video", "r2plus1d_10", True),
        ("video", "x3d_xs", False),
        ("acc", "", False),
    ):
        setting = lab.setting((target,), ("flow",), backbones={"flow": flow} if flow else {})
        assert has_frames(setting, target, "flow") == agree
        assert admd.last_stage(setting).deceived.privileged.frames == agree


@pytest.mark.slow
def test_a_network_by_frames_exports():
    last, _, bench, *_ = clips()
    lab.exported(last.deliver(last.build(bench)), lab.batch(("video",)))


def test_streams_share_the_game(setting):
    two, hall = admd.last_stage(setting), admd.last_stage(setting, stream="hall")
    assert two.deceived == hall.deceived
    assert (two.stream, hall.stream) == (pm.Stream("acc"), None)
    assert two.reads == hall.reads == ("acc",)
    assert not Hallucination.trains
    bench, x = lab.LabBench(setting), lab.batch(("acc",))
    both, alone = (stage.build(bench).student.eval() for stage in (two, hall))
    f_t = bench.frozen(pm.Stream("acc"))
    torch.testing.assert_close(both(x).logits, (f_t(x).logits + alone(x).logits) / 2)
    assert not any("discriminator" in name for name in both.state_dict())


@pytest.mark.parametrize("row", admd.ablations, ids=str)
def test_every_ablation_takes_a_finite_step(setting, row):
    last, bench = admd.last_stage(setting, **admd.ablations[row].options), lab.LabBench(setting)
    nets = last.deceived.build(bench).train()
    last.deceived.update(nets, lab.batch(last.deceived.reads), lab.Steps(last.deceived, nets))
    assert all(p.isfinite().all() for p in nets.parameters())
    assert last.deliver(last.build(bench)).eval()(lab.batch(("acc",))).logits.isfinite().all()


@pytest.mark.parametrize("present", [PRESENT, np.zeros(N, bool)], ids=["some", "none"])
def test_without_a_game_h_has_the_losses_of_mdms_on_its_vectors(setting, present):
    """Value against plain loops; T = 10, and 0.64 is 0.01 in the sum over a batch of 64."""
    stage = admd.last_stage(setting, adversary="none", bottleneck=8).deceived
    assert isinstance(stage, Imitate)
    nets = stage.build(lab.LabBench(setting)).eval()
    batch = lab.batch(stage.reads, LABELS, present={"gyro": present})
    p, h = nets.privileged(batch), nets.student(batch)
    rows, v_p, v_h = np.flatnonzero(present), *(x.pooled.detach().numpy() for x in (p, h))
    z_p, z_h = (x.logits.detach().numpy() for x in (p, h))
    squares = [(sigmoid(v_p[i][j]) - sigmoid(v_h[i][j])) ** 2 for i in rows for j in range(8)]
    terms = {name: term.item() for name, term in stage.losses(nets, batch).items()}
    assert terms["hard"] == pytest.approx(loops.cross_entropy(z_h, LABELS), rel=1e-5)
    assert terms["hallucination"] == pytest.approx(0.64 * sum(squares) / max(len(rows), 1), rel=1e-4)
    soft = loops.soft_cross_entropy(z_p[rows], z_h[rows], 10, 10) if len(rows) else 0.0
    assert terms["soft"] == pytest.approx(100 * soft, rel=1e-5)
    assert all(p.requires_grad for p in nets.student.parameters())
    assert not any(p.requires_grad for p in nets.privileged.parameters())


def test_unsupported_settings_and_widths(setting):
    with pytest.raises(pm.Unsupported, match="privileged"):
        admd.last_stage(lab.setting(("acc",), ("gyro", "mag")))
    with pytest.raises(pm.Unsupported, match="target"):
        admd.last_stage(lab.setting(("acc", "mag"), ("gyro",)))
    with pytest.raises(pm.PmbenchError, match="expected"):
        admd.last_stage(setting, bottleneck=0)


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["two", "hall"])
def test_what_it_delivers_exports_with_dynamic_batch(setting, stream):
    stage = admd.last_stage(setting, stream=stream)
    lab.exported(stage.deliver(stage.build(lab.LabBench(setting))), lab.batch(("acc",)))


def test_two_networks_are_tested_on_the_target():
    assert (admd.networks, admd.tests_on) == (2, "target")
    alone = admd.delivering({"stream": "hall"})
    assert (alone.networks, alone.tests_on, alone.role) == (1, "target", "method")
    assert Deceive.handles == {"unlabelled", "unpaired"}


def test_planning_imports_no_torch():
    code = (
        "import sys\n"
        "import pmbench as pm\n"
        "from pmbench_hallucination.admd import admd\n"
        "from pmbench.builtin.backbones import BACKBONES\n"
        "m = {n: pm.Modality(n, 'sequence', (3, 8), 'g', 'time') for n in 'ab'}\n"
        "s = pm.Setting(('a',), ('b',), 3, m, {n: BACKBONES[0] for n in 'ab'})\n"
        "assert admd.last_stage(s).reads == ('a',)\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)
