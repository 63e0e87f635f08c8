"""rad, dad, rad_dad, rad_dad_joint: plans, what moves what, ablations, what is delivered."""

import dataclasses

import pmbench_mmh
import pytest
import torch
from pmbench_mmh import dad, rad, rad_dad, rad_dad_joint
from pmbench_mmh.losses import region_logits
from pmbench_mmh.stages import (
    Added,
    DadOptions,
    DiscrepancyAware,
    Joint,
    RadDadOptions,
    RadOptions,
    RegionAware,
    members,
)

import pmbench as pm
from pmbench.testing import lab, run_afresh

METHODS = (rad, dad, rad_dad, rad_dad_joint)
ACC, GYRO, FUSED = pm.Stream("acc"), pm.Stream("gyro"), pm.EarlyFusion(("acc", "gyro"))
LABELS = (0, -1, 2, 1)
T, W = {"student.encoder", "student.head"}, {"weights.query", "weights.key"}


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


def test_hooks():
    assert list(pmbench_mmh.pmbench_methods()) == list(METHODS)
    assert [b.name for b in pmbench_mmh.pmbench_backbones()] == [
        f"surf_resnet18-{w}" for w in (8, 16, 32, 64)
    ]
    assert [m.networks for m in METHODS] == [1, 1, 2, 1]
    assert all(m.tests_on == "target" and m.deviations for m in METHODS)


# --- plans --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "stage"),
    [
        (rad, {}, RegionAware(FUSED, ("acc",), RadOptions(), 1)),
        (
            rad,
            {"teacher": "late", "weighting": "detached_G", "alpha": 0.25},
            RegionAware(
                pm.LateFusion((ACC, GYRO)), ("acc",), RadOptions("late", 0.25, weighting="detached_G"), 1
            ),
        ),
        (rad, {"scales": (4, 1, 4)}, RegionAware(FUSED, ("acc",), RadOptions(scales=(1, 4)), 1)),
        (dad, {}, DiscrepancyAware(FUSED, ("acc",), DadOptions())),
        (dad, {"form": "sp_mse"}, DiscrepancyAware(FUSED, ("acc",), DadOptions(form="sp_mse"))),
        (rad_dad_joint, {"alpha": 0.8}, Joint(FUSED, ("acc",), RadDadOptions(alpha=0.8), 1)),
    ],
    ids=str,
)
def test_plan(setting, method, options, stage):
    assert method.last_stage(setting, **options) == stage
    assert stage.handles == {"unlabelled", "unpaired"}
    assert stage.reads == ("acc", "gyro")


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ({}, 100.0),
        ({"form": "sp_mse"}, 100.0),
        ({"form": "cos_fro"}, 1.0),
        ({"form": "cos_fro", "beta": 0.5}, 0.5),
        ({"beta": 0.0}, 0.0),
    ],
)
def test_the_default_weight_of_relations_depends_on_their_form(options, weight):
    assert DadOptions(**options).weight == weight


def test_rad_dad_is_made_of_the_students_of_rad_and_dad(setting):
    stage = rad_dad.last_stage(setting, weighting="uniform", form="sp_mse")
    assert stage == Added(
        (rad.last_stage(setting, weighting="uniform"), dad.last_stage(setting, form="sp_mse")), "acc"
    )
    assert not stage.trains
    assert stage.reads == ("acc",)
    assert next(iter(stage.walk())) == FUSED


def test_rad_dad_shares_a_student_whose_options_agree(setting):
    """Options of `dad` do not make another student of `rad`, nor the other way round."""
    (first, second), (third, fourth) = (
        rad_dad.last_stage(setting, **options).streams for options in ({}, {"form": "sp_mse", "alpha": 0.8})
    )
    assert (first, second) == (rad.last_stage(setting), dad.last_stage(setting))
    assert third == rad.last_stage(setting, alpha=0.8)
    assert fourth == dad.last_stage(setting, form="sp_mse")
    assert list(rad_dad.options()) == [*rad.options(), *(n for n in dad.options() if n != "teacher")]


@pytest.mark.parametrize(
    ("target", "privileged", "backbones", "teacher", "axes", "regions"),
    [
        ("rgb", ("depth",), {}, "early", 2, 21),
        ("rgb", ("depth",), {}, "late", 2, 21),
        ("rgb", ("depth", "ir"), {}, "early", 2, 21),
        ("acc", ("gyro",), {}, "early", 1, 7),
        ("acc", ("gyro",), {"gyro": "cnn1d-16"}, "late", 1, 7),
        ("acc", ("gyro",), {"gyro": "cnn1d-16"}, "early", 0, 1),  # pooled vectors are fused
        ("acc", ("gyro",), {"gyro": "mlp-16"}, "late", 0, 1),
        ("acc", ("gyro",), {"acc": "mlp-16", "gyro": "mlp-16"}, "early", 0, 1),
        ("acc", ("sound",), {}, "late", 0, 1),  # not aligned
        ("rgb", ("thermal",), {}, "early", 0, 1),
        ("rgb", ("acc",), {}, "late", 0, 1),
        ("summary", ("acc",), {}, "early", 0, 1),
    ],
)
def test_regions_follow_the_maps(target, privileged, backbones, teacher, axes, regions):
    setting = lab.setting((target,), privileged, backbones=backbones)
    stage = rad.last_stage(setting, teacher=teacher)
    assert (stage.axes, stage.regions) == (axes, regions)
    bench = lab.LabBench(setting)
    nets = stage.build(bench)
    assert ("one region" in " ".join(bench.notes)) == (axes == 0)
    assert hasattr(nets, "weights") == (regions > 1)
    if regions > 1:
        assert sum(p.numel() for p in nets.weights.parameters()) == 2 * regions**2
    found = stage.losses(nets.train(), lab.batch(stage.reads, LABELS))
    assert all(term.isfinite() and term.shape == () for term in found.values())
    assert found["regions"] > 0


def test_a_last_map_of_one_position_has_nothing_to_weigh(monkeypatch):
    """All 21 regions are the same vector: their mean is plain distillation of the logits."""
    for name in ("rgb", "depth"):
        monkeypatch.setitem(lab.MODALITIES, name, pm.Modality(name, "image", (2, 7, 7), "1", grid="scene"))
    setting = lab.setting(("rgb",), ("depth",))
    stage = rad.last_stage(setting)
    nets, batch = stage.build(lab.LabBench(setting)), lab.batch(stage.reads, LABELS)
    assert stage.regions == 21
    assert not hasattr(nets, "weights")
    nets.eval()
    z_i, z_m = nets.student(batch).logits, nets.teacher(batch).logits
    torch.testing.assert_close(
        stage.losses(nets, batch)["regions"], 0.4 * pm.kl_divergence(z_m, z_i, 2.0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("method", [dad, rad_dad, rad_dad_joint])
@pytest.mark.parametrize(
    ("target", "privileged", "backbones", "options", "why"),
    [
        ("acc", ("gyro",), {}, {"teacher": "late"}, "late-fused"),
        ("summary", ("acc",), {}, {}, "pooled features only"),
        ("acc", ("gyro",), {"acc": "mlp-16", "gyro": "mlp-16"}, {}, "pooled features only"),
        ("acc", ("gyro",), {"gyro": "cnn1d-16"}, {}, "joins pooled vectors"),
        ("acc", ("sound",), {}, {}, "joins pooled vectors"),
        ("acc", ("spectrum",), {}, {}, "joins pooled vectors"),
    ],
)
def test_relations_need_maps_behind_the_fusion(method, target, privileged, backbones, options, why):
    with pytest.raises(pm.Unsupported, match=why):
        method.last_stage(lab.setting((target,), privileged, backbones=backbones), **options)


def test_relations_do_not_need_alignment():
    """Samples are compared with samples inside each network, positions with none."""
    assert dad.last_stage(lab.setting(("rgb",), ("thermal",))).options == DadOptions()


@pytest.mark.parametrize("method", METHODS)
def test_one_target_and_some_privileged_modality_are_needed(method):
    with pytest.raises(pm.Unsupported, match="target"):
        method.last_stage(lab.setting(("acc", "mag"), ("gyro",)))
    with pytest.raises(pm.Unsupported, match="privileged"):
        method.last_stage(lab.setting(("acc",), ()))


@pytest.mark.parametrize("method", [rad, rad_dad, rad_dad_joint])
@pytest.mark.parametrize("scales", [(), (3,), (1, 8)])
def test_scales_are_those_of_the_pyramid(setting, method, scales):
    with pytest.raises(pm.UsageError, match=r"option 'scales' is .*; expected some of \(1, 2, 4\)"):
        method.last_stage(setting, scales=scales)


# --- what moves what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["learned", "detached_G", "uniform"])
@pytest.mark.parametrize("pair", [("acc", "gyro"), ("rgb", "depth")])
def test_the_region_term_reaches_the_first_layer_of_the_student(pair, weighting):
    """Re-wrapping the 21 divergences as a new tensor, as the released face code does, would cut this."""
    setting = lab.setting(pair[:1], pair[1:])
    stage = rad.last_stage(setting, weighting=weighting)
    nets = stage.build(lab.LabBench(setting))
    stage.losses(nets, lab.batch(stage.reads, LABELS))["regions"].backward()
    for name, parameter in nets.student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("method", "weight"), [(rad, {"alpha": 0.0}), (dad, {"beta": 0.0})])
def test_without_weight_it_is_plain_training(setting, method, weight):
    gradients = []
    for stage in (ACC, method.last_stage(setting, **weight)):
        nets = stage.build(lab.LabBench(setting))
        sum(stage.losses(nets, lab.batch(stage.reads, LABELS)).values()).backward()
        gradients.append([p.grad for p in nets.student.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_a_student_equal_to_its_teacher_learns_nothing_from_it():
    """Equal networks in evaluation mode on equal inputs: no divergence, no discrepancy."""
    setting = lab.setting(("acc",), ("mag",))
    stage = Joint(pm.Stream("mag"), ("acc",), axes=1)
    nets = stage.build(lab.LabBench(setting)).eval()
    nets.student.load_state_dict(nets.teacher.network.state_dict())
    batch = lab.batch(stage.reads)
    same = pm.Batch({"acc": batch["acc"], "mag": batch["acc"]}, batch.labels, batch.index)
    found = stage.losses(nets, same)
    assert found["regions"].item() == pytest.approx(0, abs=1e-6)
    assert found["relations"].item() == pytest.approx(0, abs=1e-9)


def test_unlabelled_samples_count_for_regions_and_relations_alone(setting):
    stage = rad_dad_joint.last_stage(setting)
    nets = stage.build(lab.LabBench(setting)).eval()
    full, some = (stage.losses(nets, lab.batch(stage.reads, y)) for y in ((0, 1, 2, 1), (0, -1, -1, 1)))
    assert full["ce"] != some["ce"]
    for term in ("regions", "relations"):
        assert torch.equal(full[term], some[term])


# --- ablations and what is delivered ------------------------------------------------------------------------


def test_ablations_are_those_of_the_paper(setting):
    rows = {row: rad.last_stage(setting, **a.options) for row, a in rad.ablations.items()}
    assert list(rows) == ["-IW", "-IW-MKTP"]
    assert (rows["-IW"].options.weighting, rows["-IW"].regions) == ("uniform", 7)
    assert (rows["-IW-MKTP"].options.weighting, rows["-IW-MKTP"].regions) == ("uniform", 1)
    assert dad.ablations["L_CE"].options == {"beta": 0.0}


@pytest.mark.parametrize(
    ("method", "row"), [(m, row) for m in METHODS for row in m.ablations], ids=lambda v: str(v)[:20]
)
@pytest.mark.parametrize("pair", [("acc", "gyro"), ("rgb", "depth")])
def test_every_ablation_takes_a_finite_step(pair, method, row):
    setting = lab.setting(pair[:1], pair[1:])
    stage = method.last_stage(setting, **method.ablations[row].options)
    nets = stage.build(lab.LabBench(setting)).train()
    parameters = [p for p in nets.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    sum(stage.losses(nets, lab.batch(stage.reads, LABELS)).values()).backward()
    optimizer.step()
    assert all(p.isfinite().all() for p in parameters)


def test_rad_dad_delivers_the_sum_of_two_networks_logits(setting):
    stage = rad_dad.last_stage(setting)
    bench = lab.LabBench(setting)
    network = stage.deliver(stage.build(bench)).eval()
    assert len(network.networks) == 2
    x = {"acc": lab.batch(("acc",))["acc"]}
    first, second = (bench.frozen(student)(x).logits for student in stage.streams)
    torch.testing.assert_close(network(x).logits, first + second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_delivered_exports_with_dynamic_batch(setting, method):
    stage = method.last_stage(setting)
    lab.exported(stage.deliver(stage.build(lab.LabBench(setting))), lab.batch(("acc",)))


def test_the_student_starts_as_the_floor_does(setting):
    bench = lab.LabBench(setting)
    floor = ACC.build(bench).student.state_dict()
    for method in (rad, dad, rad_dad_joint):
        student = method.last_stage(setting).build(bench).student.state_dict()
        assert all(torch.equal(t, floor[n]) for n, t in student.items())


@pytest.mark.parametrize("method", [rad, rad_dad_joint])
def test_a_backbone_whose_head_was_made_for_other_vectors_is_a_skip(setting, method):
    backbones = {
        m: dataclasses.replace(b, provides=b.provides - {"mean"}) for m, b in setting.backbones.items()
    }
    with pytest.raises(pm.Unsupported, match="does not pool by their mean"):
        method.last_stage(dataclasses.replace(setting, backbones=backbones))


@pytest.mark.parametrize("teacher", ["early", "late", "psmm"])
def test_the_region_of_the_whole_map_has_the_logits_of_the_networks(setting, teacher):
    stage = rad.last_stage(setting, scales=(4,), teacher=teacher)
    nets, batch = stage.build(lab.LabBench(setting)).eval(), lab.batch(stage.reads)
    for network in (nets.student, nets.teacher):
        outputs = [member(batch) for member in members(network)]
        found = region_logits(members(network), outputs, stage.axes, (4,))[:, 0]
        torch.testing.assert_close(found, network(batch).logits, rtol=1e-4, atol=1e-5)


def test_a_teacher_without_joint_maps_is_named(setting):
    stage = DiscrepancyAware(pm.LateFusion((ACC,)), ("acc",))
    nets = pm.Nets(
        student=lab.LabBench(setting).classifier("acc"),
        teacher=lab.Given(torch.zeros(4, 3), torch.zeros(4, 2)),
    )
    nets.teacher.forward = lambda batch: pm.Output(nets.teacher.logits, nets.teacher.pooled)
    with pytest.raises(pm.ContractError, match="0 maps behind its joint"):
        stage.losses(nets, lab.batch(stage.reads))


def test_planning_imports_no_torch():
    code = (
        "import sys, pmbench_mmh\n"
        "import pmbench as pm\n"
        "from pmbench.builtin.backbones import BACKBONES\n"
        "m = {n: pm.Modality(n, 'sequence', (3, 8), 'g', 'time') for n in 'ab'}\n"
        "s = pm.Setting(('a',), ('b',), 3, m, {n: BACKBONES[0] for n in 'ab'})\n"
        "for method in pmbench_mmh.pmbench_methods():\n"
        "    for stage in method.last_stage(s).walk(): stage.reads\n"
        "list(pmbench_mmh.pmbench_backbones())\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)
