"""cgan: plans, which terms a variant has, what moves what, frozen classifier, noise, delivery, ablations."""

import math

import pmbench_cgan
import pytest
import torch
from pmbench_cgan import cgan
from pmbench_cgan.losses import class_sum, decorrelation_sum, is_fake, is_real, l2_sum
from pmbench_cgan.networks import Discriminator
from pmbench_cgan.stages import PIX2PIX, Generate, Rescore
from torch import nn

import pmbench as pm
from pmbench.testing import lab, run_afresh

M = pm.Stream("gyro", 50)
LABELS = (0, 1, -1, 1, 2, 0, -1, 2)
PRESENT = [True, True, False, True, True, False, True, True]
TERMS = {
    "cgan": {"deceive"},
    "cgan+cls": {"deceive", "classes"},
    "cgan+cls+l2": {"deceive", "classes", "l2"},
    "cgan+l2": {"deceive", "l2"},
    "cls+l2": {"classes", "l2"},
    "l2": {"l2"},
    "dcor+cls": {"classes", "dcor"},
    "cgan+dcor+cls": {"deceive", "classes", "dcor"},
}


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


def game(setting, **options):
    return cgan.last_stage(setting, classifier="A", **options)


def terms(stage, nets, batch):
    """The terms of one update by group, without any step."""
    found = {}
    stage.update(nets, batch, lambda terms, group: found.update({group: dict(terms)}))
    return found


# --- plan ---------------------------------------------------------------------------------------------------


def test_the_privileged_network_is_a_stream_that_others_share(setting):
    last = cgan.last_stage(setting)
    assert last == Rescore(Generate(M, "acc"))
    assert last.reads == ("acc",)
    assert last.generated.reads == ("acc", "gyro")
    assert list(last.walk()) == [M, last.generated, last]
    assert cgan.last_stage(setting, classifier="A") == last.generated
    assert cgan.last_stage(setting, features=16).generated.privileged == pm.Stream("gyro", 16)


def test_several_privileged_modalities_are_fused_first():
    of = lab.setting(("acc",), ("gyro", "mag"))
    stage = game(of)
    assert stage.privileged == pm.trained_on("gyro", "mag")
    bench = lab.LabBench(of)
    nets, batch = stage.build(bench), lab.batch(stage.reads, LABELS)
    assert nets.student(batch).pooled.shape == nets.privileged(batch).pooled.shape
    stage.update(nets, batch, lab.Steps(stage, nets))
    assert bench.notes == ["features of a network that fuses 2 modalities"]


def test_one_target_and_some_privilege_are_needed():
    with pytest.raises(pm.Unsupported, match="target"):
        cgan.last_stage(lab.setting(("acc", "mag"), ("gyro",)))
    with pytest.raises(pm.Unsupported, match="privileged"):
        cgan.last_stage(lab.setting(("acc",), ()))


def test_hook_offers_cgan_with_every_row_of_the_table():
    assert list(pmbench_cgan.pmbench_methods()) == [cgan]
    assert (cgan.networks, cgan.tests_on) == (1, "target")
    assert set(cgan.options()["variant"].choices) == set(TERMS)
    rows = [tuple(a.options.values()) for a in cgan.ablations.values()]
    assert rows == [*((v, c) for v in TERMS if v != "l2" for c in "AB"), ("l2", "B")]
    printed = {n.variant for n in pmbench_cgan.pmbench_published() if n.test_modalities == ("image",)}
    assert {a.printed[2] for a in cgan.ablations.values()} == printed - {"video_frames/C_B"}
    assert Generate.handles == {"unlabelled", "unpaired"}


def test_planning_imports_no_torch():
    code = (
        "import sys, pmbench_cgan\n"
        "import pmbench as pm\n"
        "from pmbench.builtin.backbones import BACKBONES\n"
        "m = {n: pm.Modality(n, 'sequence', (3, 8), 'g', 'time') for n in 'ab'}\n"
        "s = pm.Setting(('a',), ('b',), 3, m, {n: BACKBONES[0] for n in 'ab'})\n"
        "assert pmbench_cgan.cgan.last_stage(s).generated.reads == ('a', 'b')\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)


# --- terms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", TERMS)
@pytest.mark.parametrize("present", [None, PRESENT], ids=["paired", "unpaired"])
@pytest.mark.parametrize(
    "options", [{}, {"alpha": 0.2, "beta": 0.3, "gamma": 0.4, "dcor": "u", "saturating": True}], ids=str
)
def test_terms_of_a_variant(setting, variant, present, options):
    """Rows without label or pair are picked by hand here."""
    stage = game(setting, variant=variant, noise=0.0, **options)
    o, nets = stage.options, stage.build(lab.LabBench(setting)).eval()
    batch = lab.batch(stage.reads, LABELS, present=present and {"gyro": present})
    rows = [i for i in range(8) if present is None or present[i]]
    f_m, out = nets.privileged(batch).pooled, nets.student(batch)
    known = [i for i in range(8) if LABELS[i] >= 0]
    expected = {
        "classes": 8 * o.alpha * class_sum(out.logits[known], batch.labels[known]) / len(known),
        "l2": 8 * o.beta * l2_sum(f_m[rows], out.pooled[rows]) / len(rows),
        "dcor": 8 * o.gamma * decorrelation_sum(f_m[rows], out.pooled[rows], o.dcor) / len(rows),
    }
    found = terms(stage, nets, batch)
    if "cgan" in variant:
        judge, seen = nets.discriminator, nets.discriminator.seen(batch)
        fake = judge(seen, out.pooled)
        expected["deceive"] = -is_fake(fake) if o.saturating else is_real(fake)
        expected["judge_real"], expected["judge_fake"] = is_real(judge(seen[rows], f_m[rows])), is_fake(fake)
        assert found["discriminator"].keys() == {"judge_real", "judge_fake"}
    assert found["generator"].keys() == TERMS[variant]
    for name, value in {k: v for group in found.values() for k, v in group.items()}.items():
        torch.testing.assert_close(value, expected[name])


def test_default_weights_are_those_of_the_paper(setting):
    o = game(setting).options
    assert (o.alpha, o.beta, o.variant) == (1e-3, 1e-5, "cgan+cls+l2")


def test_without_labels_or_pairs_terms_are_zero_and_finite(setting):
    for variant in TERMS:
        stage = game(setting, variant=variant)
        nets = stage.build(lab.LabBench(setting)).train()
        batch = lab.batch(stage.reads, [-1] * 8, present={"gyro": [False] * 8})
        steps = lab.Steps(stage, nets)
        stage.update(nets, batch, steps)
        terms = {k: v.item() for _, taken in steps.taken for k, v in taken.items()}
        assert all(math.isfinite(v) for v in terms.values())
        assert all(terms[name] == 0 for name in ("classes", "l2", "dcor", "judge_real") if name in terms)


def test_a_generator_that_is_m_has_no_distance_and_the_teachers_answers():
    """acc and mag have equal shapes: G is given M's weights and M's input."""
    of = lab.setting(("acc",), ("mag",))
    stage = game(of, variant="cls+l2", noise=0.5)
    nets = stage.build(lab.LabBench(of)).eval()
    nets.student.generator.encoder.load_state_dict(nets.privileged.encoder.state_dict())
    nets.student.generator.bottleneck.load_state_dict(nets.privileged.bottleneck.state_dict())
    batch = lab.batch(stage.reads, LABELS)
    same = pm.Batch({"acc": batch["acc"], "mag": batch["acc"]}, batch.labels, batch.index)
    out, teacher = nets.student(same), nets.privileged(same)
    assert torch.equal(out.logits, teacher.logits)
    assert terms(stage, nets, same)["generator"]["l2"].item() == 0
    for form in ("biased", "u"):
        assert decorrelation_sum(teacher.pooled, out.pooled, form).item() == pytest.approx(0, abs=1e-4)


def test_where_fakes_equal_real_features_the_game_ends_at_ln_2(setting):
    batch = lab.batch(("acc",), LABELS)
    judge = Discriminator("acc", lab.LabBench(setting).encoder("acc"), 6)
    f = torch.randn(8, 6)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(60):
        verdict = judge(judge.seen(batch), f)
        loss = is_real(verdict) + is_fake(verdict)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(2 * math.log(2), abs=1e-2)
    assert is_real(judge(judge.seen(batch), f)).item() == pytest.approx(math.log(2), abs=5e-2)


# --- what moves what ----------------------------------------------------------------------------------------


def test_the_classifier_on_generated_features_has_gradients_to_them_alone(setting):
    stage = game(setting)
    nets = stage.build(lab.LabBench(setting))
    f = torch.randn(4, 50, requires_grad=True)
    class_sum(nets.student.head(f), torch.tensor([0, 1, 2, 0])).backward()
    assert f.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in nets.student.head.parameters())


def test_rescoring_moves_the_classifier_alone(setting):
    stage, bench = cgan.last_stage(setting), lab.LabBench(setting)
    nets = stage.build(bench)
    assert {n for n, p in nets.named_parameters() if p.requires_grad} == {
        "student.head.weight",
        "student.head.bias",
    }


@pytest.mark.parametrize("variant", TERMS)
@pytest.mark.parametrize("saturating", [False, True])
def test_updates_alternate_and_leave_m_and_c_a_bit_by_bit(setting, variant, saturating):
    stage = game(setting, variant=variant, saturating=saturating)
    nets = stage.build(lab.LabBench(setting)).train()
    steps = lab.Steps(stage, nets)
    before = {n: t.clone() for n, t in nets.state_dict().items()}
    for seed in range(2):
        stage.update(nets, lab.batch(stage.reads, LABELS, seed=seed), steps)
    turns = ["discriminator", "generator"] if "cgan" in variant else ["generator"]
    assert [group for group, _ in steps.taken] == turns * 2
    assert all(term.isfinite() for _, terms in steps.taken for term in terms.values())
    still = {n for n, t in nets.state_dict().items() if torch.equal(t, before[n])}
    assert {n for n in before if n.startswith(("privileged.", "student.head."))} <= still
    assert not [n for n in still if n.startswith(("student.generator.", "discriminator."))]


@pytest.mark.parametrize("taker", ["discriminator", "generator"])
def test_a_step_of_one_player_leaves_the_other(setting, taker):
    stage = game(setting)
    nets = stage.build(lab.LabBench(setting)).train()
    steps = lab.Steps(stage, nets)
    before = {n: p.detach().clone() for n, p in nets.named_parameters()}
    stage.update(
        nets, lab.batch(stage.reads, LABELS), lambda terms, group: group == taker and steps(terms, group)
    )
    moved = {n.split(".")[0] for n, p in nets.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"student" if taker == "generator" else "discriminator"}


def test_every_trainable_parameter_is_in_one_group(setting):
    for variant in TERMS:
        for recipe in ("standard", "pix2pix"):
            stage = game(setting, variant=variant, generator_recipe=recipe)
            nets = stage.build(lab.LabBench(setting))
            groups = stage.groups(nets)
            mine = [id(p) for ps in lab.Steps(stage, nets).parameters.values() for p in ps]
            assert sorted(mine) == sorted(id(p) for p in nets.parameters() if p.requires_grad)
            assert groups["generator"].changes == (PIX2PIX if recipe == "pix2pix" else {})
            assert ("discriminator" in groups) == ("cgan" in variant) == hasattr(nets, "discriminator")
            if "cgan" in variant:
                assert groups["discriminator"].changes == PIX2PIX
    assert PIX2PIX == {"optimizer": "adam", "lr": 2e-4, "beta1": 0.5, "weight_decay": 0.0}


# --- networks -----------------------------------------------------------------------------------------------


def test_networks_start_where_they_should(setting):
    bench, stage = lab.LabBench(setting), game(setting)
    nets, again = stage.build(bench), cgan.last_stage(setting).build(bench)
    target_only = bench.classifier("acc").encoder.state_dict()
    assert all(torch.equal(t, target_only[n]) for n, t in nets.student.generator.encoder.state_dict().items())
    c_a = nets.privileged.head.state_dict()
    assert all(torch.equal(t, c_a[n]) for n, t in nets.student.head.network.state_dict().items())
    delivered = bench.delivered(stage)
    c_b = again.student.head.state_dict()
    assert all(torch.equal(t, delivered.head.network.state_dict()[n]) for n, t in c_b.items())


def test_the_judge_sees_the_target_and_has_the_stated_widths(setting):
    judge = game(setting).build(lab.LabBench(setting)).discriminator
    linear = [m for m in judge.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(32, 50), (100, 64), (64, 1)]
    assert sum(p.numel() for p in judge.joint.parameters()) == 101 * 64 + 65
    slopes = {m.negative_slope for m in judge.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}
    f = torch.randn(4, 50)
    one, other = (judge(judge.seen(lab.batch(("acc",), seed=s)), f) for s in (0, 1))
    assert one.shape == (4,)
    assert not torch.allclose(one, other)


def test_noise_is_there_in_training_and_off_at_test(setting):
    student = game(setting).build(lab.LabBench(setting)).student
    x = lab.batch(("acc",))
    student.train()
    student.generator.encoder.eval()
    assert not torch.equal(student(x).pooled, student(x).pooled)
    student.eval()
    assert torch.equal(student(x).pooled, student(x).pooled)
    still = game(setting, noise=0.0).build(lab.LabBench(setting)).student.train()
    still.generator.encoder.eval()
    assert torch.equal(still(x).pooled, still(x).pooled)


def test_rescoring_sees_features_without_noise(setting):
    stage = cgan.last_stage(setting)
    nets = stage.build(lab.LabBench(setting)).train()
    x = lab.batch(("acc",))
    assert torch.equal(nets.student(x).pooled, nets.student(x).pooled)
    assert not nets.student.generator.training


@pytest.mark.parametrize(
    ("target", "privileged"), [("acc", "sound"), ("spectrum", "acc"), ("summary", "acc"), ("acc", "summary")]
)
def test_any_pair_goes(target, privileged):
    of = lab.setting((target,), (privileged,))
    last, bench = cgan.last_stage(of), lab.LabBench(of)
    stage = last.generated
    nets = stage.build(bench).train()
    stage.update(nets, lab.batch(stage.reads, LABELS), lab.Steps(stage, nets))
    delivered = last.deliver(last.build(bench)).eval()
    assert delivered({target: lab.batch((target,))[target]}).logits.shape == (4, lab.K)


@pytest.mark.parametrize("row", cgan.ablations)
def test_every_ablation_takes_a_finite_step(setting, row):
    last, bench = cgan.last_stage(setting, **cgan.ablations[row].options), lab.LabBench(setting)
    for stage in (s for s in last.walk() if s != M):
        nets = stage.build(bench).train()
        steps = lab.Steps(stage, nets)
        stage.update(nets, lab.batch(stage.reads, LABELS), steps)
        assert all(t.isfinite() for _, terms in steps.taken for t in terms.values())
        assert all(p.isfinite().all() for p in nets.parameters())
    network = last.deliver(last.build(bench)).eval()
    assert network(lab.batch(("acc",))).logits.isfinite().all()


@pytest.mark.parametrize("classifier", ["A", "B"])
def test_what_it_delivers_exports_without_dropout_and_with_dynamic_batch(setting, classifier):
    stage = cgan.last_stage(setting, classifier=classifier)
    network = stage.deliver(stage.build(lab.LabBench(setting)))
    program = lab.exported(network, lab.batch(("acc",)))
    assert not [n for n in program.graph.nodes if "dropout" in str(n.target)]
    assert not [n for n in network.state_dict() if "discriminator" in n]
