"""hoffman: plans, cross-entropies against plain loops, identities, start of h, delivery."""

import numpy as np
import pytest
import torch
from pmbench_hallucination.hoffman import Hallucinate, HoffmanOptions, hoffman
from pmbench_hallucination.losses import imitation

import pmbench as pm
from pmbench.testing import lab, loops, run_afresh

RANDOM = np.random.default_rng(5)
N = 5
LABELS = np.array([0, -1, 2, 1, -1])
PRESENT = np.array([True, True, False, True, False])
Z = {name: RANDOM.normal(0, 2, (N, 3)) for name in ("target", "hallucination", "privileged")}
MAPS = {name: RANDOM.normal(0, 2, (N, 4, 6)) for name in Z}
POOLED = {name: RANDOM.normal(0, 2, (N, 7)) for name in Z}
ACC, GYRO = pm.Stream("acc"), pm.Stream("gyro")

OPTIONS = [
    {},
    {"loss": "eq3", "reduction": "sse"},
    {"loss": "eq3", "layer": "pooled", "weight": 3.0},
    {"loss": "eq5", "temperature": 5.0, "student_temperature": 1.0, "imitation": 0.3},
    {"loss": "eq7", "alpha": 0.2, "imitation": 0.6},
    {"loss": "eq7", "alpha": 0.7, "reduction": "sse", "layer": "pooled"},
    {"train_privileged": True},
]


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",))


def references(o, rows):
    """The cross-entropies in plain loops, each a function of (z_t, z_h, z_p)."""
    paired, frozen_p = [y if i in rows else -1 for i, y in enumerate(LABELS)], Z["privileged"]
    terms = {
        "ce_target": lambda t, h, p: loops.cross_entropy(t, LABELS),
        "ce_hallucination": lambda t, h, p: loops.cross_entropy(h, LABELS),
        "ce_target_hallucination": lambda t, h, p: loops.cross_entropy((t + h) / 2, LABELS),
        "ce_target_privileged": lambda t, h, p: loops.cross_entropy((t + frozen_p) / 2, paired),
    }
    if o.train_privileged:
        terms["ce_privileged"] = lambda t, h, p: loops.cross_entropy(p, paired)
    return terms


def given(stage, present=None):
    nets = pm.Nets(**{name: lab.Given(Z[name], POOLED[name], MAPS[name]) for name in Z})
    masks = {} if present is None else {"gyro": present}
    return stage.losses(nets, lab.batch(stage.reads, LABELS, present=masks)), nets


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("present", [None, PRESENT, np.zeros(N, bool)], ids=["paired", "unpaired", "none"])
def test_terms_are_cross_entropies_and_imitation(setting, options, present):
    stage = hoffman.last_stage(setting, **options)
    rows = list(range(N)) if present is None else np.flatnonzero(present).tolist()
    expected = references(stage.options, rows)
    found, nets = given(stage, present)
    outputs = [network({}) for network in (nets.privileged, nets.hallucination)]
    y, layer = torch.as_tensor(LABELS), stage.options.layer
    imitated = imitation(stage.options, layer, *outputs, y, torch.tensor([i in rows for i in range(N)]))
    assert found.keys() == expected.keys() | imitated.keys()
    assert all(torch.equal(found[name], term) for name, term in imitated.items())
    point = list(Z.values())
    for name, reference in expected.items():
        found, nets = given(stage, present)
        found[name].backward()
        assert found[name].item() == pytest.approx(reference(*point), abs=1e-10)
        for i, leaf in enumerate((nets.target.logits, nets.hallucination.logits, nets.privileged.logits)):
            slope = lab.numeric_gradient(lambda x: reference(*point[:i], x, *point[i + 1 :]), point[i])  # noqa: B023
            got = np.zeros_like(slope) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(got, slope, atol=1e-7, err_msg=f"{name}, argument {i}")


def test_h_with_the_weights_and_input_of_f_p_hallucinates_without_loss():
    """acc and mag have equal shapes, so that h starts as f_p whole; equal inputs, evaluation mode."""
    stage = hoffman.last_stage(lab.setting(("acc",), ("mag",)), loss="eq7")
    nets = stage.build(lab.LabBench(lab.setting(("acc",), ("mag",)))).eval()
    for name, tensor in nets.hallucination.state_dict().items():
        assert torch.equal(tensor, nets.privileged.network.state_dict()[name])
    batch = lab.batch(stage.reads)
    same = pm.Batch({"acc": batch["acc"], "mag": batch["acc"]}, batch.labels, batch.index)
    assert stage.losses(nets, same)["hallucination"].item() == 0


def test_h_starts_from_f_p_but_for_the_layer_that_sees_other_channels(setting):
    bench = lab.LabBench(setting)
    nets = hoffman.last_stage(setting).build(bench)
    h, f_p = nets.hallucination.state_dict(), bench.trainable(GYRO).state_dict()
    untouched = bench.classifier("gyro", fed="acc").state_dict()
    first = "encoder.blocks.0.0.weight"
    assert h[first].shape[1] == 3
    assert f_p[first].shape[1] == 4
    assert torch.equal(h[first], untouched[first])
    assert all(torch.equal(h[name], f_p[name]) for name in h if name != first)
    assert not torch.equal(h["head.weight"], untouched["head.weight"])
    assert [note for note in bench.notes if "encoder.blocks.0.0" in note] == bench.notes


def test_f_t_starts_from_its_trained_stream(setting):
    bench = lab.LabBench(setting)
    nets = hoffman.last_stage(setting).build(bench)
    trained = bench.trainable(ACC).state_dict()
    assert all(torch.equal(t, trained[n]) for n, t in nets.target.state_dict().items())


@pytest.mark.parametrize(
    ("target", "privileged", "backbones", "layer", "own"),
    [
        ("acc", "gyro", {}, "map", False),
        ("acc", "gyro", {"acc": "cnn1d-16"}, "map", False),
        ("acc", "gyro", {"acc": "mlp-16"}, "map", False),
        ("acc", "gyro", {"gyro": "mlp-16"}, "pooled", False),
        ("acc", "sound", {}, "pooled", False),
        ("spectrum", "acc", {}, "pooled", True),
        ("spectrum", "summary", {}, "pooled", False),
        ("summary", "acc", {}, "pooled", True),
        ("summary", "acc", {"acc": "mlp-16"}, "pooled", False),
    ],
)
def test_layer_and_architecture_follow_the_pair(target, privileged, backbones, layer, own):
    setting = lab.setting((target,), (privileged,), backbones=backbones)
    for loss in ("eq3", "eq5", "eq7"):
        stage = hoffman.last_stage(setting, loss=loss)
        assert stage.options.layer == layer
        bench = lab.LabBench(setting)
        nets, batch = stage.build(bench), lab.batch(stage.reads)
        assert ("h has the target's architecture" in bench.notes) == own
        assert any("pooled" in note for note in bench.notes) == (layer == "pooled" and loss != "eq5")
        assert all(t.isfinite() and t.shape == () for t in stage.losses(nets, batch).values())
        delivered = stage.deliver(nets).eval()({target: batch[target]})
        assert delivered.logits.shape == (4, lab.K)


@pytest.mark.parametrize(
    ("target", "privileged", "backbones", "why"),
    [
        ("acc", "gyro", {"gyro": "mlp-16"}, "feature maps"),
        ("acc", "sound", {}, "not aligned"),
    ],
)
def test_maps_asked_for_where_there_are_none_are_a_skip(target, privileged, backbones, why):
    with pytest.raises(pm.Unsupported, match=why):
        hoffman.last_stage(lab.setting((target,), (privileged,), backbones=backbones), layer="map")


def test_one_modality_of_each_role_is_needed():
    with pytest.raises(pm.Unsupported, match="privileged"):
        hoffman.last_stage(lab.setting(("acc",), ("gyro", "mag")))
    with pytest.raises(pm.Unsupported, match="target"):
        hoffman.last_stage(lab.setting(("acc", "mag"), ("gyro",)))


def test_a_trained_privileged_network_needs_every_pair():
    gaps = lab.setting(("acc",), ("gyro",), demands=("unpaired",))
    with pytest.raises(pm.Unsupported, match="samples lack"):
        hoffman.last_stage(gaps, train_privileged=True)
    assert hoffman.last_stage(gaps).handles == {"unlabelled", "unpaired"}


def test_it_delivers_the_mean_of_target_and_hallucination_logits(setting):
    stage = hoffman.last_stage(setting)
    nets = stage.build(lab.LabBench(setting)).eval()
    x = {"acc": lab.batch(("acc",))["acc"]}
    expected = (nets.target(x).logits + nets.hallucination(x).logits) / 2
    torch.testing.assert_close(stage.deliver(nets)(x).logits, expected)


def test_what_it_delivers_exports_with_dynamic_batch(setting):
    stage = hoffman.last_stage(setting)
    lab.exported(stage.deliver(stage.build(lab.LabBench(setting))), lab.batch(("acc",)))


def test_two_networks_are_tested_on_the_target():
    assert hoffman.networks == 2
    assert hoffman.tests_on == "target"
    assert Hallucinate(ACC, GYRO, HoffmanOptions()).parents == (ACC, GYRO)


def test_planning_imports_no_torch():
    code = (
        "import sys\n"
        "import pmbench as pm\n"
        "from pmbench_hallucination.hoffman import hoffman\n"
        "from pmbench.builtin.backbones import BACKBONES\n"
        "m = {n: pm.Modality(n, 'sequence', (3, 8), 'g', 'time') for n in 'ab'}\n"
        "s = pm.Setting(('a',), ('b',), 3, m, {n: BACKBONES[0] for n in 'ab'})\n"
        "assert hoffman.last_stage(s).options.layer == 'map'\n"
        "assert 'torch' not in sys.modules"
    )
    run_afresh(code)
