"""amid: plans, what moves what, the order of steps, warm-up, state, delivery, ablations."""

import pmbench_amid
import pytest
import torch
from pmbench_amid import amid
from pmbench_amid.losses import jsd, mi_bound, nce, positives
from pmbench_amid.stages import Amid, AmidOptions, Compose, ComposeOptions

import pmbench as pm
from pmbench.testing import lab, run_afresh

ACC, GYRO, MAG = pm.Stream("acc"), pm.Stream("gyro"), pm.Stream("mag")
LABELS = (0, 1, -1, 1, 2, 0)


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


def late(stage, labels=LABELS, *, present=None, seed=0):
    """A batch after the warm-up."""
    return lab.batch(stage.reads, labels, present=present, seed=seed, epoch=9, progress=0.9)


def terms(stage, nets, batch, group="main"):
    """The terms of one update, without any step."""
    found = {}
    stage.update(nets, batch, lambda terms, group="main": found.update({group: dict(terms)}))
    return found[group]


# --- plan ---------------------------------------------------------------------------------------------------


def test_extractors_are_the_plain_streams_of_other_methods(setting):
    assert amid.last_stage(setting).parents == (GYRO,)
    both = amid.last_stage(lab.setting(("acc",), ("gyro", "mag")))
    assert both.parents == (GYRO, MAG)
    assert both.reads == ("acc", "gyro", "mag")
    bench = lab.LabBench(lab.setting(("acc",), ("gyro", "mag")))
    both.build(bench)
    assert bench.notes == ["L_MIa is the mean over 2 privileged modalities"]
    fixed = amid.last_stage(setting, teacher="fixed", dim=8)
    assert fixed.parents == (GYRO, Compose("acc", (GYRO,), ComposeOptions(8)))
    assert fixed.fixed == amid.last_stage(setting, teacher="fixed", dim=8, tau=0.6).fixed


def test_one_target_and_some_privilege_are_needed():
    with pytest.raises(pm.Unsupported, match="target"):
        amid.last_stage(lab.setting(("acc", "mag"), ("gyro",)))
    with pytest.raises(pm.Unsupported, match="privileged"):
        amid.last_stage(lab.setting(("acc",), ()))


def test_hook_offers_amid():
    assert list(pmbench_amid.pmbench_methods()) == [amid]
    assert (amid.networks, amid.tests_on) == (1, "target")


def test_planning_imports_no_torch():
    code = (
        "import sys, pmbench_amid\n"
        "import pmbench as pm\n"
        "from pmbench.builtin.backbones import BACKBONES\n"
        "m = {n: pm.Modality(n, 'sequence', (3, 8), 'g', 'time') for n in 'ab'}\n"
        "s = pm.Setting(('a',), ('b',), 3, m, {n: BACKBONES[0] for n in 'ab'})\n"
        "assert pmbench_amid.amid.last_stage(s, teacher='fixed').reads == ('a', 'b')\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)


# --- terms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "privileged"),
    [
        ({}, ("gyro",)),
        ({"mi_reduction": "sum", "tau": 0.6, "jsd": "ccl"}, ("gyro",)),
        ({"mi_reduction": "mean", "alpha1": 2.0, "alpha2": 3.0, "alpha3": 0.5}, ("gyro", "mag")),
        ({"mi": "nce", "dim": 8}, ("gyro",)),
    ],
    ids=str,
)
def test_terms_are_those_of_eq_17(options, privileged):
    """Rows without label or pair are picked by hand here."""
    of = lab.setting(("acc",), privileged)
    stage = amid.last_stage(of, **options)
    nets, rows = stage.build(lab.LabBench(of)), [0, 1, 2, 4]
    batch = late(stage, present={"gyro": [True, True, True, False, True, False]})
    y = torch.tensor(LABELS)[rows]
    found = terms(stage, nets, batch)
    out = nets.student(batch)
    a = [x[rows] for x in nets.composition.auxiliary(batch)]
    m, s = nets.composition(out.pooled[rows], a), out.pooled[rows]
    z_m, positive, o = nets.student.head(m), positives(y), stage.options

    def information(other):
        if o.mi == "nce":
            return nce(m, other, positive, o.tau)
        return mi_bound(m, other, positive, o.tau, mean=options.get("mi_reduction", "auto") != "sum")

    expected = {
        "ce_student": pm.cross_entropy(out.logits, batch.labels),
        "ce_teacher": pm.cross_entropy(z_m, y),
        "jsd": jsd(out.logits[rows], z_m, o.jsd),
        "mi_student": o.alpha1 * information(s),
        "mi_auxiliary": o.alpha2 * sum(information(x) for x in a) / len(a),
        "adversarial": o.alpha3 * nets.discriminators.adversarial(s, y),
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_auto_takes_the_mean_where_a_class_is_expected_more_than_twice():
    """16 of 51 or 200 classes: the paper's video batches, sums. 128 of 4 classes: the mean."""
    stage = Amid("acc", (GYRO,))
    assert not stage.takes_mean(16, 51)
    assert not stage.takes_mean(16, 200)
    assert not stage.takes_mean(4, 3)
    assert stage.takes_mean(5, 3)
    assert stage.takes_mean(128, 4)
    assert stage.takes_mean(64, 12)
    assert not Amid("acc", (GYRO,), AmidOptions(mi_reduction="sum")).takes_mean(128, 4)
    assert Amid("acc", (GYRO,), AmidOptions(mi_reduction="mean")).takes_mean(16, 200)


def test_without_weights_nothing_but_the_warm_up_is_left(setting):
    bare = amid.last_stage(setting, alpha1=0.0, alpha2=0.0, alpha3=0.0)
    full = amid.last_stage(setting)
    for stage, when in ((bare, late(bare)), (full, lab.batch(full.reads, LABELS))):
        found = terms(stage, stage.build(lab.LabBench(setting)), when)
        assert list(found) == ["ce_student", "ce_teacher", "jsd"]
    values = [
        terms(stage, stage.build(lab.LabBench(setting)), lab.batch(stage.reads, LABELS))["ce_student"].item()
        for stage in (bare, full)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize("teacher", ["online", "detached", "fixed"])
def test_without_any_pair_only_the_students_cross_entropy_is_left(setting, teacher):
    stage = amid.last_stage(setting, teacher=teacher, warmup=0.0)
    nets = stage.build(lab.LabBench(setting))
    batch = late(stage, present={"gyro": [False] * 6})
    found = terms(stage, nets, batch)
    assert found.pop("ce_student").item() > 0
    assert all(term.item() == 0 for term in found.values())
    steps = lab.Steps(stage, nets)
    stage.update(nets, batch, steps)
    assert all(p.isfinite().all() for p in nets.parameters())


def test_unlabelled_samples_count_for_all_but_classes(setting):
    stage = amid.last_stage(setting)
    nets = stage.build(lab.LabBench(setting))
    found = terms(stage, nets, late(stage, (-1,) * 6))
    assert found["ce_student"].item() == found["ce_teacher"].item() == 0
    assert all(found[name].item() > 0 for name in ("jsd", "mi_student", "mi_auxiliary", "adversarial"))


# --- what moves what ----------------------------------------------------------------------------------------


def test_the_fixed_teacher_is_trained_by_its_own_cross_entropy(setting):
    stage = Compose("acc", (GYRO,), ComposeOptions(8))
    nets = stage.build(lab.LabBench(setting))
    stage.losses(nets, lab.batch(stage.reads, LABELS))["ce"].backward()
    still = [n for n, p in nets.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []
    assert stage.handles == frozenset()


def test_the_discriminators_step_moves_them_alone(setting):
    stage = amid.last_stage(setting)
    nets = stage.build(lab.LabBench(setting))
    for name, term in terms(stage, nets, late(stage), "discriminators").items():
        nets.zero_grad(set_to_none=True)
        term.backward()
        moved = {n.split(".")[1] for n, p in nets.named_parameters() if p.grad is not None}
        assert moved == {{"d1": "first", "d2": "second"}[name]}


def test_groups_hold_every_parameter_once(setting):
    for options in ({}, {"dim": 8}, {"teacher": "fixed"}, {"alpha3": 0.0}, {"second_discriminator": False}):
        stage = amid.last_stage(setting, **options)
        nets = stage.build(lab.LabBench(setting))
        held = [p for group in lab.Steps(stage, nets).parameters.values() for p in group]
        assert len(held) == len({id(p) for p in held})
        assert {id(p) for p in held} == {id(p) for p in nets.parameters() if p.requires_grad}
    own = amid.last_stage(setting).groups(amid.last_stage(setting).build(lab.LabBench(setting)))
    assert own["main"].changes == {}
    assert own["discriminators"].changes == {"optimizer": "adam", "lr": 1e-4, "weight_decay": 0.0}


# --- steps --------------------------------------------------------------------------------------------------


def test_discriminators_step_first_and_only_after_the_warm_up(setting):
    stage = amid.last_stage(setting)
    nets = stage.build(lab.LabBench(setting))
    steps = lab.Steps(stage, nets)
    before = {n: p.clone() for n, p in nets.discriminators.named_parameters()}
    stage.update(nets, lab.batch(stage.reads, LABELS), steps)
    assert [group for group, _ in steps.taken] == ["main"]
    assert all(torch.equal(p, before[n]) for n, p in nets.discriminators.named_parameters())
    steps.taken.clear()
    stage.update(nets, late(stage), steps)
    assert [group for group, _ in steps.taken] == ["discriminators", "main"]
    assert list(steps.taken[0][1]) == ["d1", "d2"]
    assert all(not torch.equal(p, before[n]) for n, p in nets.discriminators.named_parameters())


@pytest.mark.parametrize(
    ("epochs", "warm"),
    [(300, 20), (60, 20), (30, 10), (20, 20 / 3), (4, 4 / 3), (1, 1 / 3)],
)
def test_warm_up_takes_20_epochs_but_at_most_a_third(setting, epochs, warm):
    stage, steps = amid.last_stage(setting), 30
    batch = lab.batch(stage.reads, LABELS)
    warming = 0
    for number in range(epochs * steps):
        batch.epoch, batch.progress = number // steps, number / (epochs * steps)
        warming += stage.warming(batch)
    assert warming == round(warm * steps)
    none = amid.last_stage(setting, warmup=0.0)
    assert not none.warming(lab.batch(none.reads, LABELS))


def test_weights_of_the_discriminators_are_state_that_checkpoints_hold(setting):
    stage = amid.last_stage(setting)
    nets = stage.build(lab.LabBench(setting))
    steps = lab.Steps(stage, nets)
    for seed in range(2):
        stage.update(nets, late(stage, seed=seed), steps)
    assert nets.discriminators.counts.tolist() == [12, 8]
    stage.end_epoch(nets)
    assert nets.discriminators.counts.tolist() == [0, 0]
    weights = nets.discriminators.weights()
    assert weights.sum().item() == pytest.approx(1)
    assert weights.tolist() != [0.5, 0.5]
    again = stage.build(lab.LabBench(setting))
    again.load_state_dict(nets.state_dict())
    assert torch.equal(again.discriminators.weights(), weights)


def test_privileged_extractors_keep_every_bit(setting):
    for teacher in ("online", "fixed"):
        stage = amid.last_stage(setting, teacher=teacher)
        nets = stage.build(lab.LabBench(setting)).train()
        steps = lab.Steps(stage, nets)
        frozen = nets.composition.extractors if teacher == "online" else nets.teacher
        before = {n: t.clone() for n, t in frozen.state_dict().items()}
        for seed in range(2):
            stage.update(nets, late(stage, seed=seed), steps)
        assert all(torch.equal(t, before[n]) for n, t in frozen.state_dict().items())


@pytest.mark.parametrize("row", amid.ablations)
def test_every_ablation_takes_a_finite_step(setting, row):
    stage = amid.last_stage(setting, **amid.ablations[row].options)
    nets = stage.build(lab.LabBench(setting)).train()
    steps = lab.Steps(stage, nets)
    if type(stage) is Compose:  # the teacher alone
        stage.update(nets, lab.batch(stage.reads, LABELS), steps)
        assert [list(terms) for _, terms in steps.taken] == [["ce"]]
        return
    for batch in (lab.batch(stage.reads, LABELS), late(stage)):
        stage.update(nets, batch, steps)
    stage.end_epoch(nets)
    assert all(v.isfinite() and v.shape == () for _, terms in steps.taken for v in terms.values())
    assert all(t.isfinite().all() for t in nets.state_dict().values())
    names = {name for _, terms in steps.taken for name in terms}
    terms = row.removeprefix("teacher: ")
    assert ("mi_auxiliary" in names) == (terms not in ("L_MIs", "fixed teacher"))
    assert ("adversarial" in names) == (terms not in ("L_MIs", "L_MIs + L_MIa"))
    assert ("d2" in names) == (terms not in ("L_MIs", "L_MIs + L_MIa", "no D2"))


def test_an_untouched_d2_weight_does_not_enter(setting):
    """No two samples of a class: D2 stays as it is, and L_adv is D1's."""
    stage = amid.last_stage(setting)
    nets = stage.build(lab.LabBench(setting))
    steps = lab.Steps(stage, nets)
    before = {n: p.clone() for n, p in nets.discriminators.second.named_parameters()}
    stage.update(nets, late(stage, (0, 1, 2, -1, -1, -1)), steps)
    assert list(steps.taken[0][1]) == ["d1"]
    assert all(torch.equal(p, before[n]) for n, p in nets.discriminators.second.named_parameters())


# --- what is delivered --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "privileged", "dim", "width"),
    [
        ("acc", ("gyro",), None, 32),
        ("acc", ("gyro", "mag"), 8, 8),
        ("spectrum", ("acc",), None, 32),
        ("summary", ("acc", "spectrum"), None, 16),
        ("acc", ("summary",), 32, 32),
    ],
)
def test_any_pair_of_modalities_gives_cls_of_s(target, privileged, dim, width):
    """Pooled vectors need no grid; where widths differ a linear layer makes them equal."""
    of = lab.setting((target,), privileged)
    stage = amid.last_stage(of, dim=dim)
    nets = stage.build(lab.LabBench(of))
    s, a = nets.student(late(stage)).pooled, nets.composition.auxiliary(late(stage))
    assert {x.shape for x in (s, nets.composition(s, a), *a)} == {(6, width)}
    network = stage.deliver(nets).eval()
    out = network({target: late(stage)[target]})
    assert out.pooled.shape == (6, width)
    torch.testing.assert_close(out.logits, nets.student.head(out.pooled))
    moved = torch.randn(6, *lab.MODALITIES[privileged[0]].shape)
    batch = pm.Batch({**late(stage), privileged[0]: moved}, torch.tensor(LABELS), torch.arange(6))
    assert torch.equal(network(batch).logits, out.logits)


def test_the_teacher_is_delivered_whole_and_given_the_privileged_modality(setting):
    stage = amid.last_stage(setting, delivers="teacher")
    nets = stage.build(lab.LabBench(setting)).eval()
    network, batch = stage.deliver(nets).eval(), late(stage)
    s = nets.student(batch).pooled
    m = nets.composition(s, nets.composition.auxiliary(batch))
    assert torch.equal(network(batch).logits, nets.student.head(m))
    lab.exported(network, lab.batch(stage.reads))
    tested = amid.delivering({"delivers": "teacher"})
    assert (tested.role, tested.tests_on, tested.networks) == ("reference", "all", 1)
    fixed = amid.last_stage(setting, delivers="teacher", teacher="fixed", dim=8)
    assert fixed == Compose("acc", (GYRO,), ComposeOptions(8)), "the finished teacher is the whole result"


def test_batches_may_have_pairs_of_each_class(setting):
    assert amid.last_stage(setting).samples_per_class == 0
    assert amid.last_stage(setting, samples_per_class=4).samples_per_class == 4


def test_the_student_starts_as_target_only_does(setting):
    bench = lab.LabBench(setting)
    student, plain = amid.last_stage(setting).build(bench).student, ACC.build(bench).student
    assert all(torch.equal(t, plain.state_dict()[n]) for n, t in student.state_dict().items())
    narrow = amid.last_stage(setting, dim=8).build(bench).student
    assert all(torch.equal(t, plain.encoder.state_dict()[n]) for n, t in narrow.encoder.state_dict().items())


@pytest.mark.parametrize("dim", [None, 8])
def test_what_it_delivers_exports_with_dynamic_batch(setting, dim):
    stage = amid.last_stage(setting, dim=dim)
    lab.exported(stage.deliver(stage.build(lab.LabBench(setting))), lab.batch(("acc",)))
