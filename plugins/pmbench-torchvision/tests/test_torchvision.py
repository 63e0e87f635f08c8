"""torchvision's video networks as backbones: the library's numbers, parameters and addresses."""

import pytest
import torch
from pmbench_torchvision import mc3_18, r2plus1d_10, r2plus1d_18, r3d_18
from pmbench_torchvision.networks import library
from torchvision.models import video

import pmbench as pm
from pmbench.training.bench import check_backbone
from pmbench.training.pretrained import fill

BACKBONES = {b.name: b for b in (*r2plus1d_18, *r2plus1d_10, *r3d_18, *mc3_18)}
PUBLISHED = {"r2plus1d_18": 31_505_325, "r3d_18": 33_371_472, "mc3_18": 11_695_440}
ENUMS = {
    "r2plus1d_18": video.R2Plus1D_18_Weights,
    "r3d_18": video.R3D_18_Weights,
    "mc3_18": video.MC3_18_Weights,
}
HEAD = 400 * 512 + 400


def clip(channels=3, side=32):
    return pm.Modality("video", "clip", (channels, 8, side, side), "1")


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones_without_the_head(name):
    with torch.device("meta"):
        assert count(library(name)) == PUBLISHED[name] == ENUMS[name].DEFAULT.meta["num_params"]
        assert count(BACKBONES[name].build(clip(), 64)) == PUBLISHED[name] - HEAD


def test_r2plus1d_10_has_one_block_a_layer():
    with torch.device("meta"):
        encoder = BACKBONES["r2plus1d_10"].build(clip(), 64)
    assert [len(layer) for layer in encoder.blocks] == [1, 1, 1, 1]
    assert count(encoder) == 12_487_005


@pytest.mark.parametrize("name", PUBLISHED)
def test_addresses_are_the_librarys(name):
    assert BACKBONES[name].pretrained.urls == {"kinetics400": ENUMS[name].KINETICS400_V1.url}


@pytest.mark.parametrize("name", BACKBONES)
def test_maps_are_as_declared(name):
    check_backbone(BACKBONES[name], clip(2, 24))
    time = [m.stride[0] for m in BACKBONES[name].build(clip(), 64).maps]
    assert time == ([1, 1, 1, 1] if name == "mc3_18" else [1, 2, 4, 8])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r2plus1d_18", "mc3_18"])
def test_a_file_of_the_library_gives_its_features(name):
    backbone, whole = BACKBONES[name], library(name).eval()
    encoder = backbone.build(clip(), 64).eval()
    fill(encoder, backbone.pretrained.convert(whole.state_dict()), backbone, 3, "here")
    x = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(whole.fc(encoder(x)[1]), whole(x))


def test_a_stem_of_two_channels_is_adapted():
    backbone, whole = BACKBONES["mc3_18"], library("mc3_18")
    encoder = backbone.build(clip(2), 64)
    fill(encoder, backbone.pretrained.convert(whole.state_dict()), backbone, 2, "here")
    mean = whole.stem[0].weight.mean(1) * 3 / 2
    torch.testing.assert_close(encoder.stem[0].weight[:, 1], mean)
