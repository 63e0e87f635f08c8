"""CNN14 of Kong et al., PANNs, arXiv:1912.10211, table 1, on spectrograms that are made already."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

import pmbench as pm

BLOCKS = 6
SPECTROGRAM = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")
"""Parts of the released networks that are none of the encoder: how the spectrogram is made, and the tags."""


class _MelNorm(nn.Module):
    """Batch norm of every mel band over batch and time: (B, C, mel, T) or (B, mel, T) -> the same."""

    def __init__(self, bands: int, picture: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(bands) if picture else nn.BatchNorm1d(bands)
        self.picture = picture

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2) if self.picture else self.norm(x)


class _Block(nn.Module):
    """Twice a convolution of 3 with batch norm and ReLU, mean of 2 along every axis, dropout 0.2."""

    def __init__(self, before: int, after: int, picture: bool, pool: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if picture else (nn.Conv1d, nn.BatchNorm1d)
        self.conv1, self.bn1 = conv(before, after, 3, padding=1, bias=False), norm(after)
        self.conv2, self.bn2 = conv(after, after, 3, padding=1, bias=False), norm(after)
        mean = nn.AvgPool2d if picture else nn.AvgPool1d
        self.pool = mean(pool, ceil_mode=True)
        self.dropout = nn.Dropout(0.2)
        for layer in (self.conv1, self.conv2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return self.dropout(self.pool(x))


class _Embedding(nn.Module):
    """(B, C, mel, T) or (B, C, T) -> (B, D): mean over mel, maximum plus mean over time, linear, ReLU."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(channels, features)
        nn.init.xavier_uniform_(self.fc1.weight)
        nn.init.zeros_(self.fc1.bias)

    def forward(self, x: Tensor) -> Tensor:
        along = x.mean(2) if x.dim() == 4 else x
        return self.fc1(self.dropout(along.amax(2) + along.mean(2))).relu()


class CNN14(pm.Encoder):
    """Six blocks of w to 32 w channels; w = 64 is the reference. `features`: width of the vector, in w.

    (B, 1, mel, T) -> maps of stride 2, 4, 8, 16, 32, 32 along mel and time, pooled (B, features w). A
    sequence (B, mel, T) has its bands as channels: convolutions, means and maps lie along time alone.

    Deviation: a mean that has one position left at the edge takes it alone, where the released networks drop
    it, so that short inputs have maps at all; lengths that are multiples of 32 see no difference.
    """

    def __init__(self, modality: pm.Modality, width: int, features: int) -> None:
        picture = modality.kind == "image"
        widths = [modality.channels, *(width * 2**i for i in range(BLOCKS))]
        blocks = [
            _Block(a, b, picture, 2 if i < BLOCKS - 1 else 1) for i, (a, b) in enumerate(pairwise(widths))
        ]
        maps = [
            pm.MapInfo(w, (2 ** min(i, BLOCKS - 1),) * (2 if picture else 1))
            for i, w in enumerate(widths[1:], 1)
        ]
        bands = modality.shape[1] if picture else modality.channels
        pool = _Embedding(widths[-1], features * width)
        super().__init__(_MelNorm(bands, picture), blocks, pool, maps, features * width)


def from_panns(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released networks' tensors by the names of CNN14; they see (time, mel), so kernels are turned.

    The statistics of the norm over mel bands stay behind: they are of decibels, and what CNN14 is given is
    standardised.
    """
    found = {}
    for name, tensor in tensors.items():
        place, _, rest = name.partition(".")
        if name.startswith((*SPECTROGRAM, "bn0.running_")):
            continue
        if place == "bn0":
            found[f"stem.norm.{rest}"] = tensor
        elif place == "fc1":
            found[f"pool.fc1.{rest}"] = tensor
        elif place.startswith("conv_block"):
            turned = tensor.transpose(2, 3).contiguous() if tensor.dim() == 4 else tensor
            found[f"blocks.{int(place.removeprefix('conv_block')) - 1}.{rest}"] = turned
        else:
            found[name] = tensor
    return found
