"""CNN14: parameters, the released networks' computation, maps of both forms."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from pmbench_panns import cnn14, cnn14_1d, cnn14_emb512
from pmbench_panns.networks import from_panns

import pmbench as pm
from pmbench.training.bench import check_backbone
from pmbench.training.pretrained import fill

PICTURE, EMBEDDED, SEQUENCE = ({b.size: b for b in bs} for bs in (cnn14, cnn14_emb512, cnn14_1d))
AUDIO = pm.Modality("audio", "image", (1, 64, 96), "dB")


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameters_are_the_published_ones_without_the_tags():
    """80,753,615 with 527 tags on 2,048 features."""
    with torch.device("meta"):
        assert count(PICTURE[64].build(AUDIO, 64)) == 80_753_615 - (2048 * 527 + 527)
        embedded = EMBEDDED[64].build(AUDIO, 64)
    assert embedded.features == 512
    assert count(embedded) == 80_753_615 - (2048 * 527 + 527) - (2048 * 2048 + 2048) + (2048 * 512 + 512)


def released(width=8, features=256):
    """Random tensors by the names of the released networks, spectrogram and tags included."""
    rng = torch.Generator().manual_seed(2)
    found = {
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(3),
        "logmel_extractor.melW": torch.zeros(3),
    }

    def norm(name, channels):
        found[f"{name}.weight"] = torch.rand(channels, generator=rng) + 0.5
        found[f"{name}.bias"] = torch.randn(channels, generator=rng)
        found[f"{name}.running_mean"] = torch.randn(channels, generator=rng)
        found[f"{name}.running_var"] = torch.rand(channels, generator=rng) + 0.5
        found[f"{name}.num_batches_tracked"] = torch.tensor(7)

    norm("bn0", 64)
    before = 1
    for i in range(6):
        after = width * 2**i
        for j, channels in ((1, before), (2, after)):
            found[f"conv_block{i + 1}.conv{j}.weight"] = (
                torch.randn(after, channels, 3, 3, generator=rng) * 0.1
            )
            norm(f"conv_block{i + 1}.bn{j}", after)
        before = after
    found["fc1.weight"] = torch.randn(features, before, generator=rng)
    found["fc1.bias"] = torch.randn(features, generator=rng)
    found["fc_audioset.weight"] = torch.zeros(527, features)
    return found


def reference(x, p):
    """The released network from its log-mel image (B, 1, time, mel) to its embedding, in evaluation."""

    def norm(y, name):
        return F.batch_norm(
            y, *(p[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")), False
        )

    x = norm(x.transpose(1, 3), "bn0").transpose(1, 3)
    for i in range(1, 7):
        for j in (1, 2):
            x = F.relu(
                norm(F.conv2d(x, p[f"conv_block{i}.conv{j}.weight"], padding=1), f"conv_block{i}.bn{j}")
            )
        x = F.avg_pool2d(x, 2 if i < 6 else 1)
    x = x.mean(3)
    return F.relu(F.linear(x.max(2).values + x.mean(2), p["fc1.weight"], p["fc1.bias"]))


def test_a_released_file_gives_the_released_embedding():
    tensors = released()
    encoder = PICTURE[8].build(AUDIO, 8).eval()
    narrow = dataclasses.replace(PICTURE[8], pretrained=PICTURE[64].pretrained)
    fill(encoder, from_panns(tensors), narrow, 1, "here")
    norm = encoder.stem.norm
    assert not norm.running_mean.any()  # those of the file are of decibels
    norm.running_mean.copy_(tensors["bn0.running_mean"])
    norm.running_var.copy_(tensors["bn0.running_var"])
    encoder, exact = encoder.double(), {n: t.double() for n, t in tensors.items()}
    x = torch.randn(3, 1, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[1], reference(x.transpose(2, 3), exact))


def test_other_bands_than_those_of_the_file_are_refused():
    encoder = PICTURE[8].build(pm.Modality("audio", "image", (1, 40, 96), "dB"), 8)
    with pytest.raises(pm.UsageError, match=r"stem\.norm\.weight \(file \(64,\), network \(40,\)\)"):
        fill(encoder, from_panns(released()), PICTURE[8], 1, "here")


def test_maps():
    check_backbone(PICTURE[8], pm.Modality("audio", "image", (1, 40, 101), "dB"))
    check_backbone(SEQUENCE[8], pm.Modality("audio", "sequence", (40, 101), "dB"))
    assert [m.stride for m in SEQUENCE[8].build(pm.Modality("a", "sequence", (4, 64), "1"), 8).maps] == [
        (2,), (4,), (8,), (16,), (32,), (32,)
    ]  # fmt: skip


def test_where_the_weights_are():
    assert PICTURE[64].pretrained.urls["audioset"].endswith("/3987831/files/Cnn14_mAP%3D0.431.pth?download=1")
    assert "emb512" in EMBEDDED[64].pretrained.urls["audioset"]
    assert PICTURE[8].pretrained is None
    assert SEQUENCE[64].pretrained is None
