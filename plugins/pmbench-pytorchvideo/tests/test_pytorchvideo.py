"""PyTorchVideo's networks as backbones: the same networks as its hub has, the library's numbers."""

import pytest
import torch
from pmbench_pytorchvideo import ADDRESS, BACKBONES, NETWORKS
from pmbench_pytorchvideo.networks import encoder, library
from pytorchvideo.models import hub
from pytorchvideo.models.hub import r2plus1d, resnet, x3d

import pmbench as pm
from pmbench.training.bench import check_backbone
from pmbench.training.pretrained import fill

BY_NAME = {b.name: b for b in BACKBONES}
PARAMETERS = {
    "i3d_r50": 28_043_472,
    "slow_r50": 32_454_096,
    "r2plus1d_r50": 28_107_600,
    "x3d_xs": 3_794_274,
    "x3d_s": 3_794_274,
    "x3d_m": 3_794_274,
    "x3d_l": 6_153_384,
}
PATHS = {**resnet.checkpoint_paths, **r2plus1d.checkpoint_paths, **x3d.checkpoint_paths}


def clip(channels=3, frames=8, side=32):
    return pm.Modality("video", "clip", (channels, frames, side, side), "1")


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_those_of_the_hub(name):
    with torch.device("meta"):
        theirs, ours = getattr(hub, name)(), library(name, 3, NETWORKS[name][0])
        head = count(ours.blocks[-1].proj)
        assert count(theirs) == count(ours) == PARAMETERS[name]
        assert count(BY_NAME[name].build(clip(), NETWORKS[name][0])) == PARAMETERS[name] - head
    shapes = [{n: tuple(t.shape) for n, t in net.state_dict().items()} for net in (theirs, ours)]
    assert shapes[0] == shapes[1]
    steps = [
        [(m.kernel_size, m.stride, m.padding) for m in net.modules() if isinstance(m, torch.nn.Conv3d)]
        for net in (theirs, ours)
    ]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_addresses_are_the_librarys(name):
    assert BY_NAME[name].pretrained.urls == {"kinetics400": PATHS[name]}
    assert PATHS[name].startswith(ADDRESS)


def test_there_is_one_narrow_network_of_each_kind():
    assert {n for n in BY_NAME if n.endswith("-w8")} == {
        f"{n}-w8" for n in ("i3d_r50", "slow_r50", "r2plus1d_r50", "x3d_m")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["i3d_r50", "slow_r50", "r2plus1d_r50", "x3d_m"])
def test_stem_and_stages_compute_what_the_library_computes(name):
    whole = library(name, 2, 8).eval()
    parts = list(whole.blocks)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        x = y = torch.randn(2, 2, 8, 32, 32)
        for part in parts[:-1]:
            y = part(y)
        if name == "x3d_m":
            parts[-1].pool.pool = torch.nn.AvgPool3d(y.shape[2:])
            expected = parts[-1].pool(y).flatten(1)
        else:
            expected = y.mean((2, 3, 4))
        maps, pooled = encoder(whole)(x)
    torch.testing.assert_close(maps[-1], y)
    torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize(
    ("name", "time"),
    [("i3d_r50", [1, 2, 2, 2]), ("slow_r50", [1] * 4), ("r2plus1d_r50", [1, 1, 2, 4]), ("x3d_m", [1] * 4)],
)
def test_maps_are_as_declared(name, time):
    backbone = BY_NAME[f"{name}-w8"]
    check_backbone(backbone, clip(1, 8, 48))
    check_backbone(backbone, clip(1, 5, 48))  # a pool may round 5 frames down where convolutions round 48 up
    maps = backbone.build(clip(), 8).maps
    assert [m.stride[0] for m in maps] == time
    assert [m.stride[1:] for m in maps] == [(4, 4), (8, 8), (16, 16), (32, 32)]


def test_a_file_of_the_library_fits():
    backbone = BY_NAME["x3d_m"]
    whole = hub.x3d_m()
    made = backbone.build(clip(1), 24)
    fill(made, backbone.pretrained.convert(whole.state_dict()), backbone, 1, "here")
    torch.testing.assert_close(
        made.stem.conv.conv_t.weight, whole.blocks[0].conv.conv_t.weight.mean(1, True) * 3
    )
    torch.testing.assert_close(
        made.blocks[3].res_blocks[0].branch2.conv_b.weight,
        whole.blocks[4].res_blocks[0].branch2.conv_b.weight,
    )
