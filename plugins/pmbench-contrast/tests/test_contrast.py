"""crd, crcd, wcord, ccl, gmc: plans, what moves what, which samples count, and state between batches."""

from __future__ import annotations

import numpy as np
import pmbench_contrast
import pytest
import torch
from pmbench_contrast import losses

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh

METHODS = {m.name: m for m in pmbench_contrast.pmbench_methods()}
BANKS = ("crd", "crcd", "wcord")
OFF = {
    "crd": {"weight": 0.0},
    "crcd": {"weight": 0.0, "gradients": 0.0, "soft": 0.0},
    "wcord": {"dual": 0.0, "primal": 0.0},
}
"""Options under which a method is plain training."""
LABELS = (0, -1, 2, 1)


@pytest.fixture
def few():
    return lab.setting(("acc",), ("gyro",), demands=("unlabelled",))


def taken(stage, nets, batch):
    """group -> terms of one update, without a step."""
    found = {}
    stage.update(nets, batch, lambda terms, group="main": found.update({group: dict(terms)}))
    return found


def test_planning_imports_no_torch():
    run_afresh(
        "import sys, pmbench_contrast; pmbench_contrast.pmbench_methods(); assert 'torch' not in sys.modules"
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_privileged_modality_is_needed(name):
    with pytest.raises(pm.Unsupported, match="privileged"):
        METHODS[name].last_stage(lab.setting(("acc",), ()))


@pytest.mark.parametrize("name", BANKS)
def test_teachers(few, name):
    method = METHODS[name]
    assert method.options()["teacher"].default == "fused"
    for sees, teacher in (("fused", pm.EarlyFusion(("acc", "gyro"))), ("privileged", pm.Stream("gyro"))):
        assert method.last_stage(few, teacher=sees).parents == (teacher,)


@pytest.mark.parametrize("name", OFF)
def test_without_its_terms_a_method_is_plain_training(few, name):
    last, plain = METHODS[name].last_stage(few, **OFF[name]), pm.Stream("acc")
    bench, found = lab.LabBench(few, LABELS), []
    for stage in (last, plain):
        nets = stage.build(bench).train()
        total = sum(stage.losses(nets, lab.batch(stage.reads, LABELS)).values())
        total.backward()
        found.append((total.item(), {n: p.grad for n, p in nets.student.named_parameters()}))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    for n, grad in found[1][1].items():
        torch.testing.assert_close(found[0][1][n], grad, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "gmc"])
def test_terms_run_over_samples_that_have_the_privileged_modality(few, name):
    """Another value in place of an absent one changes nothing; neither bank has a row of it."""
    stage, found = METHODS[name].last_stage(few), []
    present = {"gyro": np.array([True, True, True, False])}
    for spoiled in (False, True):
        nets = stage.build(lab.LabBench(few, LABELS)).eval()
        batch = lab.batch(stage.reads, LABELS, present=present)
        if spoiled:
            batch["gyro"][3] = 1e3
        torch.manual_seed(0)
        terms = {n: t.item() for group in taken(stage, nets, batch).values() for n, t in group.items()}
        assert np.isfinite(list(terms.values())).all()
        found.append(terms)
        for module in nets.modules():
            if isinstance(module, pm.MemoryBank):
                assert not module.written[3]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", BANKS)
def test_banks_learn_the_labels_of_the_bench_and_no_others(few, name):
    stage = METHODS[name].last_stage(few)
    nets = stage.build(lab.LabBench(few, LABELS)).eval()
    banks = [m for m in nets.modules() if isinstance(m, pm.MemoryBank)]
    assert len(banks) == (4 if name == "crcd" else 2)
    for bank in banks:
        assert bank.labels[:4].tolist() == list(LABELS)
        assert (bank.labels[4:] == -1).all()
    stage.losses(nets, lab.batch(stage.reads, LABELS))
    for number, bank in enumerate(banks):
        rows = [0, 2, 3] if name == "crcd" and number >= 2 else [0, 1, 2, 3]  # gradients need a label
        assert bank.written.nonzero().flatten().tolist() == rows
        torch.testing.assert_close(bank.rows[rows].norm(dim=1), torch.ones(len(rows)))


@pytest.mark.parametrize("name", BANKS)
def test_a_batch_without_any_pair_has_the_labels_term_alone(few, name):
    stage = METHODS[name].last_stage(few)
    nets = stage.build(lab.LabBench(few, LABELS))
    terms = stage.losses(nets, lab.batch(stage.reads, LABELS, present={"gyro": np.zeros(4, bool)}))
    sum(terms.values()).backward()
    assert {n for n, t in terms.items() if t.item()} == {"ce"}


def test_from_the_second_epoch_on_rows_never_written_are_no_negatives(few):
    stage = METHODS["crd"].last_stage(few, negatives=3)
    nets = stage.build(lab.LabBench(few, LABELS)).eval()
    stage.losses(nets, lab.batch(stage.reads, LABELS, epoch=0))
    seen = []
    for epoch in (0, 1):
        bank = nets.contrast.banks[0]
        positions, valid = bank.negatives(torch.arange(4), 3, epoch > 0)
        seen.append(set(positions[valid].tolist()))
    assert max(seen[0]) > 3
    assert seen[1] == {0, 1, 2, 3}


def test_crd_with_kd(few):
    stage = METHODS["crd"].last_stage(few, soft=0.5)
    nets = stage.build(lab.LabBench(few, LABELS)).eval()
    batch = lab.batch(stage.reads, LABELS)
    z, t = (net(batch).logits.detach().double().numpy() for net in (nets.student, nets.teacher))
    expected = 0.5 * loops.kl_divergence(t, z, 4.0)
    assert stage.losses(nets, batch)["soft"].item() == pytest.approx(expected, rel=1e-5)


def test_crcd_ends_with_the_labels_alone(few):
    stage = METHODS["crcd"].last_stage(few)
    nets = stage.build(lab.LabBench(few, LABELS)).eval()
    names = [
        set(stage.losses(nets, lab.batch(stage.reads, LABELS, progress=p))) for p in (0.0, 0.95, 0.96, 0.99)
    ]
    assert names == [{"ce", "soft", "relations", "gradients"}] * 2 + [{"ce"}] * 2
    assert "gradients" not in METHODS["crcd"].last_stage(few, gradients=0.0).losses(
        nets, lab.batch(stage.reads, LABELS)
    )


# --- ccl ----------------------------------------------------------------------------------------------------


def test_ccl_terms_equal_those_of_its_vectors(few):
    stage = METHODS["ccl"].last_stage(few)
    nets = stage.build(lab.LabBench(few)).eval()
    batch = lab.batch(stage.reads, LABELS)
    out, composition = nets.student(batch), nets.compositions[0]
    a, c, z_c = composition(composition.privileged(batch).pooled, out.pooled)
    norm = [x / x.norm(dim=1, keepdim=True) for x in (a, out.pooled)]
    torch.testing.assert_close(c, a + composition.residual(torch.cat(norm, 1)))
    alike = losses.same_class(batch.labels)
    groups = taken(stage, nets, batch)
    expected = {
        "ce": pm.cross_entropy(out.logits, batch.labels),
        "composed": losses.both_ways(out.pooled, c, alike, 0.5),
        "privileged": losses.both_ways(out.pooled, a, alike, 0.5),
        "divergence": 0.5 * losses.divergence(out.logits, z_c),
    }
    assert groups["main"].keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(groups["main"][name], value)
    composed = groups["compositions"]
    torch.testing.assert_close(composed["composition_ce"], pm.cross_entropy(z_c, batch.labels))
    torch.testing.assert_close(composed["composition_privileged"], losses.both_ways(c, a, alike, 0.5))
    assert set(composed) == {f"composition_{n}" for n in expected}


def test_ccl_adds_the_terms_of_several_privileged_modalities():
    stage = METHODS["ccl"].last_stage(lab.setting(("acc",), ("gyro", "mag")))
    assert stage.parents == (pm.Stream("gyro"), pm.Stream("mag"))
    nets = stage.build(lab.LabBench(lab.setting(("acc",), ("gyro", "mag")))).eval()
    batch = lab.batch(stage.reads)
    both = taken(stage, nets, batch)["main"]["privileged"].item()
    compositions, nets.compositions = list(nets.compositions), torch.nn.ModuleList()
    for composition in compositions:
        nets.compositions = torch.nn.ModuleList([composition])
        both -= taken(stage, nets, batch)["main"]["privileged"].item()
    assert both == pytest.approx(0, abs=1e-5)


def test_ccl_steps(few):
    """The compositions' step leaves the student; the student's step leaves the compositions."""
    stage = METHODS["ccl"].last_stage(few)
    nets = stage.build(lab.LabBench(few))
    steps, moved = lab.Steps(stage, nets), []

    def state():
        return {n: p.detach().clone() for n, p in nets.named_parameters()}

    def step(terms, group="main"):
        before = state()
        steps(terms, group)
        moved.append({n.partition(".")[0] for n, p in state().items() if not torch.equal(p, before[n])})

    stage.update(nets, lab.batch(stage.reads, LABELS), step)
    assert moved == [{"compositions"}, {"student"}]


# --- gmc ----------------------------------------------------------------------------------------------------


def test_gmc_terms_and_vectors(few):
    stage = METHODS["gmc"].last_stage(few)
    nets = stage.build(lab.LabBench(few)).eval()
    batch = lab.batch(stage.reads, LABELS)
    z_t, z_p = nets.student.z(batch)["acc"], nets.student.shared(nets.privileged["gyro"](batch["gyro"]))
    z_j = nets.student.shared(nets.joint(batch))
    for z in (z_t, z_p, z_j):
        torch.testing.assert_close(z.norm(dim=1), torch.ones(4))
    terms = stage.losses(nets, batch)
    contrast = losses.nt_xent(z_j, z_t, 0.3) + losses.nt_xent(z_j, z_p, 0.3)
    torch.testing.assert_close(terms["contrast"], contrast)
    torch.testing.assert_close(terms["ce"], pm.cross_entropy(nets.student.classify(z_j), batch.labels))
    out = nets.student({"acc": batch["acc"]})
    torch.testing.assert_close(out.logits, nets.student.classify(z_t))
    lab.exported(nets.student, {"acc": batch["acc"]})


def test_gmc_the_classifier_learns_from_joint_vectors_alone(few):
    stage = METHODS["gmc"].last_stage(few)
    nets = stage.build(lab.LabBench(few))
    terms = stage.losses(nets, lab.batch(stage.reads, LABELS))
    terms["ce"].backward(retain_graph=True)
    assert all(p.grad is None for p in nets.student.encoders.parameters())
    assert all(p.grad is None for p in nets.privileged.parameters())
    nets.zero_grad()
    terms["contrast"].backward()
    assert all(p.grad is None for p in nets.student.head.parameters())


def test_gmc_with_two_targets_takes_the_mean_of_their_vectors():
    setting = lab.setting(("acc", "mag"), ("gyro",))
    stage = METHODS["gmc"].last_stage(setting, dim=6)
    nets = stage.build(lab.LabBench(setting)).eval()
    batch = lab.batch(stage.reads)
    z = nets.student.z(batch)
    assert [v.shape for v in z.values()] == [(4, 6), (4, 6)]
    torch.testing.assert_close(nets.student(batch).pooled, (z["acc"] + z["mag"]) / 2)
