"""timm's models as backbones: the same numbers as the library, images and clips, names, weights."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import timm
import torch
from pmbench_timm.models import backbone_of

import pmbench as pm
from pmbench.errors import UnknownName
from pmbench.plugins import load_plugins
from pmbench.store.store import Store
from pmbench.testing import contract_tests
from pmbench.training.bench import check_backbone
from pmbench.training.pretrained import Library, choose_weights, fill

test_contract = contract_tests("timm/test_resnet")


def image(channels=3, side=64):
    return pm.Modality("rgb", "image", (channels, side, side), "1")


def clip(channels=3, frames=4, side=32):
    return pm.Modality("video", "clip", (channels, frames, side, side), "1")


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "parameters", "head"),
    [
        ("resnet18", 11_689_512, 513_000),
        ("resnet50", 25_557_032, 2_049_000),
        ("efficientnet_b0", 5_288_548, 1_281_000),
    ],
)
def test_parameters_are_the_published_ones_without_the_head(model, parameters, head):
    with torch.device("meta"):
        assert count(timm.create_model(model)) == parameters
    assert count(backbone_of(model).build(image(), 0)) == parameters - head


MEANS = ("test_resnet",)
"""Models whose classifier takes the mean of the last map."""


@pytest.mark.parametrize(
    "model", ["test_resnet", "test_efficientnet", "test_convnext", "mobilenetv3_small_050"]
)
def test_a_chain_computes_what_the_model_computes(model):
    backbone = backbone_of(model)
    assert backbone.provides == {"pooled", "maps", *(["mean"] if model in MEANS else [])}
    check_backbone(backbone, image())
    encoder = backbone.build(image(), 0).eval()
    library = timm.create_model(model, num_classes=0).eval()
    fill(encoder, backbone.pretrained.convert(library.state_dict()), backbone, 3, "here")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps, pooled = encoder(x)
        torch.testing.assert_close(pooled, library(x), rtol=1e-4, atol=1e-5)
    assert len(maps) == len(encoder.maps) == 4
    assert [m.stride for m in encoder.maps] == [(4, 4), (8, 8), (16, 16), (32, 32)]


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_clips_are_seen_frame_by_frame(model):
    backbone = backbone_of(model)
    frames = backbone.build(image(side=32), 0).eval()
    video = backbone.build(clip(), 0).eval()
    video.load_state_dict(frames.state_dict())
    x = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        maps, pooled = video(x)
        each = [frames(x[:, :, t]) for t in range(4)]
    torch.testing.assert_close(pooled, sum(e[1] for e in each) / 4)
    for level, found in enumerate(maps):
        assert video.maps[level].stride[0] == 1
        for t in range(4):
            torch.testing.assert_close(found[:, :, t], each[t][0][level])


def test_models_that_are_no_chain_give_pooled_features_alone():
    backbone = backbone_of("test_vit")
    assert backbone.provides == {"pooled"}
    assert backbone.tail is None
    assert backbone.build(clip(1), 0).maps == ()


def test_a_model_that_drops_out_between_its_parts_is_no_chain():
    """Equal in evaluation, but not in training."""
    assert backbone_of("ghostnet_050").provides == {"pooled"}


def test_a_model_that_cannot_look_at_small_pictures_is_no_chain():
    assert backbone_of("halonet_h1").provides == {"pooled"}


def test_a_model_of_fixed_size_takes_that_of_the_modality():
    encoder = backbone_of("vit_tiny_patch16_224").build(image(1, 32), 0).eval()
    assert encoder(torch.zeros(2, 1, 32, 32))[1].shape == (2, 192)


@pytest.mark.parametrize("channels", [1, 5])
def test_stems_take_any_number_of_channels(channels):
    check_backbone(backbone_of("test_efficientnet"), image(channels))
    check_backbone(backbone_of("test_efficientnet"), clip(channels))


def test_weights_with_a_head_fit_clips_of_other_channels_too():
    backbone = backbone_of("test_resnet")
    library = timm.create_model("test_resnet")
    tensors = backbone.pretrained.convert(library.state_dict())
    assert not any(name.startswith("fc") for name in tensors)
    fill(backbone.build(image(), 0), tensors, backbone, 3, "here")
    mean = next(t for t in library.state_dict().values() if t.dim() == 4).mean(1, keepdim=True)
    for modality in (image(2), clip(2)):
        encoder = backbone.build(modality, 0)
        fill(encoder, tensors, backbone, 2, "here")
        first = next(iter(encoder.state_dict().values()))
        torch.testing.assert_close(first, (mean * 3 / 2).expand_as(first))


def as_released_by_the_authors_of_convnext(tensors):
    """The names that timm's own function takes to its own."""
    found = {}
    for name, tensor in tensors.items():
        for ours, theirs in (
            (r"^stem\.", "downsample_layers.0."),
            (r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
            (r"^stages\.(\d+)\.blocks\.", r"stages.\1."),
            ("conv_dw", "dwconv"),
            (r"mlp\.fc", "pwconv"),
            (r"^head\.norm", "norm"),
            (r"^head\.fc", "head"),
        ):
            name = re.sub(ours, theirs, name)
        found[name] = tensor
    return found


def as_released_with_dinov2(tensors):
    return {**tensors, "mask_token": torch.zeros(1, 1)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "release", "side"),
    [
        ("test_convnext", as_released_by_the_authors_of_convnext, 64),
        ("test_vit", as_released_with_dinov2, 160),
    ],
)
def test_a_file_that_timm_has_a_function_for_gives_the_models_features(model, release, side, tmp_path):
    net, library = backbone_of(model), timm.create_model(model).eval()
    assert set(release(library.state_dict())) != set(library.state_dict())
    torch.save({"model": release(library.state_dict())}, tmp_path / "mine.pth")
    data = SimpleNamespace(modality=lambda name: image(side=side))
    weights = choose_weights(str(tmp_path / "mine.pth"), data, {"rgb": net}, Store(tmp_path))["rgb"]
    encoder = net.build(image(side=side), 0).eval()
    fill(encoder, Library(tmp_path / "pretrained").load(weights), net, 3, "here")
    library.reset_classifier(0)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[1], library(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", ["missing", "foreign", "more"])
def test_a_file_that_no_function_makes_fit_is_refused(change):
    backbone = backbone_of("test_convnext")
    tensors = as_released_by_the_authors_of_convnext(timm.create_model("test_convnext").state_dict())
    if change == "missing":
        del tensors["stages.2.0.dwconv.weight"]
    tensors = {"foreign": {"a.weight": torch.zeros(2, 2)}, "more": {**tensors, "b.bias": torch.zeros(2)}}.get(
        change, tensors
    )
    with pytest.raises(pm.UsageError, match=r"missing layers|unexpected layers: b\.bias"):
        fill(backbone.build(image(), 0), backbone.pretrained.convert(tensors), backbone, 3, "here")


def test_weights_go_by_tag():
    urls = backbone_of("resnet18").pretrained.urls
    assert urls["imagenet"] == urls["a1_in1k"]
    assert urls["tv_in1k"].endswith("/timm/resnet18.tv_in1k/resolve/main/model.safetensors")


def test_unknown_models_get_near_matches():
    registry = load_plugins(only="pmbench-timm")
    with pytest.raises(UnknownName, match=r"'resnet81' of timm; did you mean .*resnet18"):
        registry.backbone("timm/resnet81")
    with pytest.raises(UnknownName) as caught:
        registry.backbone("timm/resnet18.tv_in1k")
    assert caught.value.hint == "--backbone timm/resnet18 --weights tv_in1k"
    assert registry.backbone("timm/test_resnet") is registry.backbone("timm/test_resnet")


def test_making_a_backbone_draws_no_number():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    backbone_of("test_resnet")
    assert torch.equal(before, torch.random.get_rng_state())


def test_listing_imports_no_library():
    script = "import sys; from pmbench.plugins import load_plugins; load_plugins(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pmbench_timm" in done.stdout.split()
    assert not {"timm", "torch", "torchvision", "pytorchvideo"} & set(done.stdout.split())
