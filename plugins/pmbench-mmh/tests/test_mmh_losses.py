"""RAD and DAD against plain loops and finite differences, and their identities."""

import numpy as np
import pytest
import torch
from pmbench_mmh.losses import (
    discrepancies,
    region_divergences,
    region_logits,
    regions,
    relation_distance,
    similarities,
)
from pmbench_mmh.networks import RegionWeights, Sum
from pmbench_mmh.stages import DadOptions, DiscrepancyAware, Joint, RadDadOptions, RadOptions, RegionAware
from torch import nn

import pmbench as pm
from pmbench.testing import lab

RANDOM = np.random.default_rng(7)
K, B = 3, 4
LABELS = np.array([0, -1, 2, 1])
PRESENT = np.array([True, True, False, True])
FUSED = pm.EarlyFusion(("acc", "gyro"))
FORMS = ("cos_mse", "cos_fro", "sp_mse")


def draw(*shape):
    return RANDOM.normal(0, 1, shape)


class Shown(nn.Module):
    """Returns the Output it holds; its tensors, and its head, are parameters."""

    def __init__(self, logits, maps, weight, bias):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits))
        self.maps = nn.ParameterList([nn.Parameter(torch.as_tensor(m)) for m in maps])
        self.head = pm.Head(weight.shape[1], len(bias)).double()
        self.head.weight.data, self.head.bias.data = torch.as_tensor(weight), torch.as_tensor(bias)

    def forward(self, batch):
        return pm.Output(self.logits, self.maps[-1].flatten(2).mean(2), tuple(self.maps))


# --- regions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (8, 4), (5, 6), (2, 3), (1, 1), (8,), (6,), (2,), (1,)])
@pytest.mark.parametrize("scales", [(1, 2, 4), (4,), (1, 4)])
def test_regions_equal_plain_loops(slow_mmh, grid, scales):
    phi = draw(2, 3, *grid)
    found = regions(torch.as_tensor(phi), len(grid), scales)
    np.testing.assert_allclose(found.numpy(), slow_mmh.regions(phi, scales), atol=1e-12)
    assert found.shape == (2, sum((4 // s) ** len(grid) for s in scales), 3)


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (13, 5)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_each_scale_is_adaptive_average_pooling(grid, scale):
    phi = torch.as_tensor(draw(2, 3, *grid))
    expected = nn.functional.adaptive_avg_pool2d(phi, 4 // scale).flatten(2).transpose(1, 2)
    torch.testing.assert_close(regions(phi, 2, (scale,)), expected)


def test_a_map_of_4_by_4_has_16_4_1_regions_in_this_order():
    phi = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = regions(phi, 2, (1, 2, 4))[0, :, 0].tolist()
    assert found == [*range(16), 2.5, 4.5, 10.5, 12.5, 7.5]


def test_a_clip_gives_the_regions_of_its_mean_over_time():
    clip = torch.as_tensor(draw(2, 3, 5, 8, 8))
    torch.testing.assert_close(regions(clip, 2, (1, 2, 4)), regions(clip.mean(2), 2, (1, 2, 4)))


# --- RAD ----------------------------------------------------------------------------------------------------


def world(axes):
    grid = (6, 5) if axes == 2 else (6,)
    stage = RegionAware(FUSED, ("acc",), RadOptions(alpha=0.7, temperature=1.5), axes)
    n = 21 if axes == 2 else 7
    return {
        "stage": stage,
        "phi_m": draw(B, 3, *grid),
        "phi_i": 2 * draw(B, 2, *grid),
        "head_m": (2 * draw(K, 3), draw(K)),
        "head_i": (2 * draw(K, 2), draw(K)),
        "query": 0.5 * draw(n, n),
        "key": 0.5 * draw(n, n),
        "z_m": draw(B, K),
        "z_i": draw(B, K),
    }


def nets_of(w, weighting):
    nets = pm.Nets(
        student=Shown(w["z_i"], [w["phi_i"]], *w["head_i"]),
        teacher=Shown(w["z_m"], [w["phi_m"]], *w["head_m"]),
    )
    if weighting != "uniform":
        weights = RegionWeights(len(w["query"])).double()
        weights.query.weight.data = torch.as_tensor(w["query"])
        weights.key.weight.data = torch.as_tensor(w["key"])
        nets.add_module("weights", weights)
    return nets


def rad_loop(slow_mmh, w, rows, phi_i, weight_i, query, key, weighting, fixed=None):
    shown = slow_mmh.linear(slow_mmh.regions(w["phi_m"][rows]), *w["head_m"])
    guessed = slow_mmh.linear(slow_mmh.regions(phi_i[rows]), weight_i, w["head_i"][1])
    g = slow_mmh.divergences(shown, guessed, 1.5)
    if weighting == "uniform":
        omega = [1 / len(g)] * len(g)
    else:
        omega = slow_mmh.omega(g if fixed is None else fixed, query, key)
    return 0.7 * sum(o * v for o, v in zip(omega, g, strict=True)), g


@pytest.mark.parametrize(
    ("weighting", "axes", "present"),
    [
        ("learned", 1, PRESENT),
        ("learned", 2, PRESENT),
        ("detached_G", 1, None),
        pytest.param("detached_G", 2, PRESENT, marks=pytest.mark.slow),
        ("uniform", 1, PRESENT),
        pytest.param("uniform", 2, PRESENT, marks=pytest.mark.slow),
    ],
)
def test_rad_equals_plain_loops_in_value_and_gradient(slow_mmh, weighting, axes, present):
    w = world(axes)
    rows = list(range(B)) if present is None else np.flatnonzero(present)
    stage = RegionAware(FUSED, ("acc",), RadOptions(alpha=0.7, temperature=1.5, weighting=weighting), axes)
    nets = nets_of(w, weighting)
    masks = {} if present is None else {"gyro": present}
    term = stage.losses(nets, lab.batch(stage.reads, LABELS, present=masks))["regions"]
    term.backward()
    point = [w["phi_i"], w["head_i"][0], w["query"], w["key"]]
    value, g = rad_loop(slow_mmh, w, rows, *point, weighting)
    assert term.item() == pytest.approx(value, abs=1e-10)
    leaves = [nets.student.maps[0], nets.student.head.weight]
    if weighting != "uniform":
        leaves += [nets.weights.query.weight, nets.weights.key.weight]
    for i, leaf in enumerate(leaves):
        if axes == 2 and i > 1:
            continue  # 441 elements each; the 1-D case has checked them
        # with detached_G, G is a constant inside the weights
        fixed = g if weighting == "detached_G" else None
        slope = lab.numeric_gradient(
            lambda x: rad_loop(slow_mmh, w, rows, *point[:i], x, *point[i + 1 :], weighting, fixed)[0],  # noqa: B023
            point[i],
        )
        np.testing.assert_allclose(leaf.grad.numpy(), slope, atol=1e-6, err_msg=f"argument {i}")
    assert all(p.grad is None for p in nets.teacher.parameters())


def test_region_logits_of_a_late_fused_teacher_are_the_mean_of_its_streams(slow_mmh):
    w = world(2)
    streams = [Shown(w["z_m"], [w["phi_m"]], *w["head_m"]), Shown(w["z_i"], [w["phi_i"]], *w["head_i"])]
    found = region_logits(streams, [s(None) for s in streams], 2, (1, 2, 4))
    expected = sum(
        slow_mmh.linear(slow_mmh.regions(w[phi]), *w[head])
        for phi, head in (("phi_m", "head_m"), ("phi_i", "head_i"))
    )
    np.testing.assert_allclose(found.detach().numpy(), expected / 2, atol=1e-10)


def test_without_a_pair_rad_and_dad_are_zero():
    w = world(1)
    for stage in (
        RegionAware(FUSED, ("acc",), axes=1),
        DiscrepancyAware(FUSED, ("acc",)),
        Joint(FUSED, ("acc",), axes=1),
    ):
        nets = nets_of(w, "learned")
        found = stage.losses(nets, lab.batch(stage.reads, LABELS, present={"gyro": np.zeros(B, bool)}))
        sum(found.values()).backward()
        assert all(found[name].item() == 0 for name in found if name != "ce")
        assert all(p.grad is None or p.grad.isfinite().all() for p in nets.parameters())


def divergences_of(w, scales=(1, 2, 4)):
    networks = [
        Shown(w[z], [w[p]], *w[h]) for z, p, h in (("z_m", "phi_m", "head_m"), ("z_i", "phi_i", "head_i"))
    ]
    shown, guessed = (region_logits([n], [n(None)], 2, scales) for n in networks)
    return region_divergences(shown, guessed, 2.0).detach()


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_learned_weights_are_convex_so_rad_lies_between_its_regions(size):
    g = divergences_of(world(2))
    weights = RegionWeights(21).double()
    for p in weights.parameters():
        p.data.mul_(size)
    omega = weights(g)
    assert omega.shape == (21,)
    assert omega.sum().item() == pytest.approx(1)
    assert (omega >= 0).all()
    assert g.min() <= (omega * g).sum() <= g.max()
    attention = torch.outer(weights.key(g), weights.query(g)).softmax(1)
    torch.testing.assert_close((omega * g).sum(), (attention @ g).sum() / 21)


@pytest.mark.parametrize("which", ["query", "key"])
def test_a_zero_map_of_weights_is_the_uniform_mean(which):
    g, weights = divergences_of(world(2)), RegionWeights(21).double()
    getattr(weights, which).weight.data.zero_()
    torch.testing.assert_close(weights(g), torch.full((21,), 1 / 21, dtype=torch.float64))


def test_learned_weights_have_882_parameters_for_21_regions():
    assert sum(p.numel() for p in RegionWeights(21).parameters()) == 882
    assert sum(p.numel() for p in RegionWeights(7).parameters()) == 2 * 49


def classified(head, phi, scales=(1, 2, 4), axes=2):
    """A head's logits on the regions of one map."""
    network = nn.ModuleDict()
    network.head = head
    return region_logits([network], [pm.Output(None, None, (phi,))], axes, scales)


@pytest.mark.parametrize("grid", [(4, 4), (8, 12)])
def test_the_whole_map_alone_is_plain_distillation(grid):
    """Where logits are head(mean over the grid) and 4 divides the grid, so that bins do not overlap."""
    maps = [torch.as_tensor(draw(B, c, *grid)) for c in (3, 2)]
    heads = [pm.Head(c, K).double() for c in (3, 2)]
    shown, guessed = (classified(h, m, (4,)) for h, m in zip(heads, maps, strict=True))
    z_m, z_i = (h(m.mean((2, 3))) for h, m in zip(heads, maps, strict=True))
    found = region_divergences(shown, guessed, 2.0)
    assert found.shape == (1,)
    torch.testing.assert_close(found[0], pm.kl_divergence(z_m, z_i, 2.0))


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (3, 5), (1, 1), (2, 7, 7)])
def test_the_region_of_the_whole_map_is_its_mean(grid):
    phi = torch.as_tensor(draw(B, 2, *grid))
    torch.testing.assert_close(regions(phi, 2, (4,))[:, 0], phi.flatten(2).mean(2))


def test_equal_networks_on_equal_maps_agree_everywhere():
    phi, head = torch.as_tensor(draw(B, 3, 8, 8)), pm.Head(3, K).double()
    g = region_divergences(classified(head, phi), classified(head, phi), 2.0)
    torch.testing.assert_close(g, torch.zeros(21, dtype=torch.float64))


def test_constant_maps_have_equal_divergences():
    flat = [torch.as_tensor(draw(B, 3, 1, 1)).expand(B, 3, 6, 7) for _ in "mi"]
    heads = [pm.Head(3, K).double() for _ in "mi"]
    g = region_divergences(*(classified(h, m) for h, m in zip(heads, flat, strict=True)), 2.0)
    torch.testing.assert_close(g, g[:1].expand(21))
    assert g[0] > 0


def test_one_region_is_kd_up_to_scale():
    """CE + alpha KL = (1 + alpha) ((1-l) CE + l KL) for l = alpha / (1 + alpha)."""
    w, alpha = world(1), 0.4
    rad, kd = (
        RegionAware(FUSED, ("acc",), RadOptions(alpha=alpha), axes=0),
        pm.Distill(FUSED, ("acc",), pm.DistillOptions(2.0, alpha / (1 + alpha))),
    )
    batch = lab.batch(rad.reads, LABELS, present={"gyro": PRESENT})
    mine = sum(rad.losses(nets_of(w, "uniform"), batch).values())
    theirs = sum(kd.losses(nets_of(w, "uniform"), batch).values())
    assert mine.item() == pytest.approx((1 + alpha) * theirs.item())


# --- DAD ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("present", [None, PRESENT])
def test_dad_equals_plain_loops_in_value_and_gradient(slow_mmh, form, present):
    """The teacher's two maps against the last two of the student's three; widths and grids differ."""
    shown, own = [draw(B, 3, 4), draw(B, 5, 2)], [draw(B, 2, 8), draw(B, 2, 4), draw(B, 4, 2)]
    nets = pm.Nets(
        student=Shown(draw(B, K), own, draw(K, 4), draw(K)),
        teacher=Shown(draw(B, K), shown, draw(K, 5), draw(K)),
    )
    stage = DiscrepancyAware(FUSED, ("acc",), DadOptions(beta=3.0, form=form))
    rows = list(range(B)) if present is None else np.flatnonzero(present)
    masks = {} if present is None else {"gyro": present}
    term = stage.losses(nets, lab.batch(stage.reads, LABELS, present=masks))["relations"]
    term.backward()

    def loop(second, third):
        return 3 * slow_mmh.relation_distance([m[rows] for m in shown], [second[rows], third[rows]], form)

    assert term.item() == pytest.approx(loop(*own[1:]), abs=1e-5)
    first, second, third = (m.grad for m in nets.student.maps)
    assert first is None or not first.any()
    np.testing.assert_allclose(
        second.numpy(), lab.numeric_gradient(lambda x: loop(x, own[2]), own[1]), atol=1e-5
    )
    np.testing.assert_allclose(
        third.numpy(), lab.numeric_gradient(lambda x: loop(own[1], x), own[2]), atol=1e-5
    )
    assert all(p.grad is None for p in nets.teacher.parameters())


@pytest.mark.parametrize("matrix", [discrepancies, similarities])
def test_relations_are_symmetric_with_a_zero_diagonal(matrix, slow_mmh):
    phi = draw(6, 3, 4, 4)
    found = matrix(torch.as_tensor(phi))
    np.testing.assert_allclose(found.numpy(), getattr(slow_mmh, matrix.__name__)(phi), atol=1e-12)
    if matrix is discrepancies:
        torch.testing.assert_close(found, found.T)
        torch.testing.assert_close(found.diag(), torch.zeros(6, dtype=torch.float64))
        assert found.min() > -1e-12
        assert found.max() <= 1


def test_positive_scales_by_sample_are_invisible_to_cosines_alone():
    phi = torch.as_tensor(draw(6, 3, 4, 4))
    scaled = phi * torch.rand(6, 1, 1, 1, dtype=torch.float64).add(0.1)
    for form in ("cos_mse", "cos_fro"):
        assert relation_distance([phi], [scaled], form).item() == pytest.approx(0, abs=1e-9)
    assert relation_distance([phi], [scaled], "sp_mse").item() > 1e-4
    assert relation_distance([phi], [3 * phi], "sp_mse").item() == pytest.approx(0, abs=1e-12)
    assert relation_distance([phi], [-phi.flip(0)], "cos_mse").item() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_rotations_and_the_order_of_the_batch_do_not_matter(form):
    a, b = torch.as_tensor(draw(6, 12)), torch.as_tensor(draw(6, 12))
    rotation = torch.linalg.qr(torch.as_tensor(draw(12, 12)))[0]
    plain = relation_distance([a], [b], form)
    torch.testing.assert_close(relation_distance([a @ rotation], [b @ rotation], form), plain)
    torch.testing.assert_close(relation_distance([a], [b @ rotation], form), plain)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(relation_distance([a[order]], [b[order]], form), plain)


@pytest.mark.parametrize("form", FORMS)
def test_one_sample_none_or_equal_maps_have_no_distance(form):
    for rows in (0, 1, 5):
        a = torch.as_tensor(draw(rows, 3, 4))
        b = (a.clone() if rows == 5 else torch.as_tensor(draw(rows, 3, 4))).requires_grad_()
        found = relation_distance([a], [b], form)
        found.backward()
        assert found.item() == pytest.approx(0, abs=1e-9)
        assert b.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_samples_without_activation_have_a_finite_gradient(form):
    a = torch.as_tensor(draw(5, 3, 4))
    b = torch.as_tensor(draw(5, 3, 4))
    b[1] = 0
    b.requires_grad_()
    found = relation_distance([a], [b], form)
    found.backward()
    assert found.isfinite()
    assert b.grad.isfinite().all()


# --- both ---------------------------------------------------------------------------------------------------


def test_joint_terms_are_those_of_rad_and_dad():
    w = world(1)
    nets = nets_of(w, "learned")
    options = RadDadOptions(alpha=0.7, temperature=1.5, beta=3.0, form="cos_fro")
    rad, dad = RegionAware(FUSED, ("acc",), options, 1), DiscrepancyAware(FUSED, ("acc",), options)
    joint = Joint(FUSED, ("acc",), options, 1)
    batch = lab.batch(rad.reads, LABELS)
    found = joint.losses(nets, batch)
    assert list(found) == ["ce", "regions", "relations"]
    torch.testing.assert_close(found, {**rad.losses(nets, batch), **dad.losses(nets, batch)})


def test_a_sum_adds_logits_and_decides_as_the_mean_does():
    w = world(2)
    networks = nets_of(w, "uniform").student, nets_of(w, "uniform").teacher
    added, averaged = Sum(*networks)(None), pm.Mean(*networks)(None)
    np.testing.assert_allclose(added.logits.detach().numpy(), w["z_i"] + w["z_m"])
    assert added.logits.argmax(1).equal(averaged.logits.argmax(1))
    torch.testing.assert_close(added.pooled, averaged.pooled)
