"""mdms_resnet50: parameters, temporal convolutions, connections inside its stages, ImageNet weights."""

import pytest
import torch
from pmbench_hallucination.backbones import IMAGENET, mdms_resnet50
from pmbench_hallucination.networks import Connected, TemporalConvolution, lockstep, spread_over_time
from pmbench_hallucination.resnet import from_torchvision

import pmbench as pm
from pmbench.training.bench import check_backbone
from pmbench.training.pretrained import fill

BY_WIDTH = {b.size: b for b in mdms_resnet50}
IMAGE = pm.Modality("rgb", "image", (3, 64, 64), "1")
CLIP = pm.Modality("rgb", "clip", (3, 5, 64, 64), "1")
CHANNELS = (64, 128, 256, 512)


def encoder(modality=CLIP, width=8):
    return BY_WIDTH[width].build(modality, width)


def classifier(fed="rgb", modality=CLIP):
    made = encoder(modality)
    return pm.Classifier(fed, made, pm.Head(made.features, 4))


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameters_are_those_of_resnet50_and_four_temporal_convolutions():
    """25,557,032 with a head of 1,000; a temporal convolution of C channels has 3 C^2 + C."""
    with torch.device("meta"):
        assert count(encoder(IMAGE, 64)) == 25_557_032 - 2_049_000
        clip = encoder(CLIP, 64)
    assert count(clip) == 25_557_032 - 2_049_000 + sum(3 * c * c + c for c in CHANNELS)
    found = [n for n, m in clip.named_modules() if isinstance(m, TemporalConvolution)]
    assert found == [f"blocks.{i}.units.1.temporal" for i in range(4)]


@pytest.mark.parametrize("modality", [IMAGE, CLIP])
def test_maps(modality):
    check_backbone(BY_WIDTH[8], modality)
    maps = encoder(modality).maps
    assert [m.channels for m in maps] == [32, 64, 128, 256]
    assert [m.stride[-2:] for m in maps] == [(4, 4), (8, 8), (16, 16), (32, 32)]


def test_fresh_it_sees_frames_one_by_one():
    video, frames = encoder().eval(), encoder(IMAGE).eval()
    frames.load_state_dict({n: t for n, t in video.state_dict().items() if ".temporal." not in n})
    x = torch.randn(2, 3, 5, 64, 64)
    with torch.no_grad():
        maps, pooled = video(x)
        each = [frames(x[:, :, t]) for t in range(5)]
    torch.testing.assert_close(pooled, sum(e[1] for e in each) / 5)
    torch.testing.assert_close(maps[2][:, :, 3], each[3][0][2])


def test_a_trained_temporal_convolution_mixes_three_frames():
    video = encoder().eval()
    with torch.no_grad():
        video.blocks[3].units[1].temporal.weight[:] = 0.1
        x = torch.randn(1, 3, 5, 64, 64)
        changed = x.clone()
        changed[:, :, 0] += 1
        difference = (video(x)[0][3] - video(changed)[0][3]).abs().amax((0, 1, 3, 4))
    assert (difference[:2] > 0).all()
    assert not difference[2:].any()


def test_it_gets_no_second_temporal_convolutions():
    made = classifier()
    before = count(made)
    assert count(spread_over_time(made)) == before


@pytest.mark.parametrize("form", ["code", "paper"])
def test_connections_lie_inside_the_stages(form):
    """Against eq. 2 of the paper, unit by unit: x' = f(x) + F(x * f(m)); the code adds f(x) inside F."""
    source, into = classifier("depth", IMAGE).eval(), classifier("rgb", IMAGE).eval()
    batch = {"rgb": torch.randn(2, 3, 64, 64), "depth": torch.randn(2, 3, 64, 64)}
    with torch.no_grad():
        given, received = lockstep(source, into, batch, form)
        m, u = source.encoder.stem(batch["depth"]), into.encoder.stem(batch["rgb"])
        for giving, receiving in zip(source.encoder.blocks, into.encoder.blocks, strict=True):
            m, u = giving.units[0](m, m, 1), receiving.units[0](u, u, 1)
            f = receiving.units[1]
            inside = u * m.relu() if form == "paper" else u.relu() + u * m.relu()
            y = f.bn2(f.conv2(f.bn1(f.conv1(inside)).relu())).relu()
            u = (u.relu() + f.bn3(f.conv3(y))).relu()
            m = m.relu()
            m = giving.units[1](m, m, 1).relu()
            for ours, theirs in zip(receiving.units[2:], giving.units[2:], strict=True):
                u, m = ours(u, u, 1).relu(), theirs(m, m, 1).relu()
    torch.testing.assert_close(received.maps[3], u)
    torch.testing.assert_close(received.logits, into.head(u.mean((2, 3))))
    torch.testing.assert_close(given.logits, source(batch).logits)


def test_a_giving_stream_of_zeros_changes_nothing():
    source, into = classifier("depth").eval(), classifier().eval()
    batch = {"rgb": torch.randn(1, 3, 5, 64, 64), "depth": torch.randn(1, 3, 5, 64, 64)}
    with torch.no_grad():
        for stage in source.encoder.blocks:
            stage.units[0].bn3.weight.zero_(), stage.units[0].bn3.bias.fill_(-1e3)
            stage.units[0].downsample[1].weight.zero_(), stage.units[0].downsample[1].bias.zero_()
        received = lockstep(source, into, batch, "code")[1]
        assert torch.equal(received.logits, into(batch).logits)


def test_gradients_reach_both_streams_through_the_connection():
    source, into = classifier("depth").train(), classifier().train()
    batch = {m: torch.randn(2, 3, 5, 64, 64) for m in ("rgb", "depth")}
    lockstep(source, into, batch, "code")[1].logits.square().sum().backward()
    assert source.encoder.stem.conv1.weight.grad.abs().sum() > 0
    assert into.encoder.stem.conv1.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_connected_streams_export_for_any_batch_size():
    network = Connected(classifier(), classifier("depth"), "p2t", "code").eval()

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, rgb, depth):
            return self.network({"rgb": rgb, "depth": depth}).logits

    zeros = (torch.zeros(2, 3, 5, 32, 32), torch.zeros(2, 3, 5, 32, 32))
    size = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(Flat(), zeros, dynamic_shapes=({0: size}, {0: size})).module()
        x = (torch.randn(3, 3, 5, 32, 32), torch.randn(3, 3, 5, 32, 32))
        torch.testing.assert_close(program(*x), Flat()(*x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("modality", [IMAGE, CLIP])
def test_a_resnet50_of_torchvision_fits(modality):
    models = pytest.importorskip("torchvision.models")
    assert models.ResNet50_Weights.IMAGENET1K_V1.url == IMAGENET
    whole, made = models.resnet50().eval(), encoder(modality, 64).eval()
    fill(made, from_torchvision(whole.state_dict()), BY_WIDTH[64], 3, "here")
    x = torch.randn(2, *modality.shape)
    with torch.no_grad():
        each = [whole(x[:, :, t]) for t in range(5)] if x.dim() == 5 else [whole(x)]
        torch.testing.assert_close(whole.fc(made(x)[1]), sum(each) / len(each), rtol=1e-3, atol=1e-3)
