"""CNN14 of Kong et al., PANNs, arXiv:1912.10211, table 1, on log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

import pmbench as pm

BLOCKS = 6
SPECTROGRAM = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")
"""Parts of the released networks outside the encoder: spectrogram extraction and tagging head."""


class _MelNorm(nn.Module):
    """Batch norm of each mel band over batch and time: (B, C, mel, T) or (B, mel, T) -> same shape."""

    def __init__(self, bands: int, image: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(bands) if image else nn.BatchNorm1d(bands)
        self.image = image

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2) if self.image else self.norm(x)


class _Block(nn.Module):
    """Two convolutions (kernel 3) with batch norm and ReLU, average pooling of `pool`, dropout 0.2."""

    def __init__(self, before: int, after: int, image: bool, pool: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if image else (nn.Conv1d, nn.BatchNorm1d)
        self.conv1, self.bn1 = conv(before, after, 3, padding=1, bias=False), norm(after)
        self.conv2, self.bn2 = conv(after, after, 3, padding=1, bias=False), norm(after)
        mean = nn.AvgPool2d if image else nn.AvgPool1d
        self.pool = mean(pool, ceil_mode=True)
        self.dropout = nn.Dropout(0.2)
        for layer in (self.conv1, self.conv2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return self.dropout(self.pool(x))


class _Embedding(nn.Module):
    """(B, C, mel, T) or (B, C, T) -> (B, D): mean over mel, max plus mean over time, linear, ReLU."""

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
    """Six blocks of w to 32 w channels; w = 64 is the reference. `features`: pooled features, in units of w.

    (B, 1, mel, T) -> maps of stride 2, 4, 8, 16, 32, 32 along mel and time, pooled (B, features w). A
    sequence (B, mel, T) has its bands as channels: convolutions, pooling and maps are along time.

    Deviation: average pooling keeps an incomplete window at the edge, which the released networks drop, so
    that short inputs have maps; there is no difference for lengths that are multiples of 32.
    """

    def __init__(self, modality: pm.Modality, width: int, features: int) -> None:
        image = modality.kind == "image"
        widths = [modality.channels, *(width * 2**i for i in range(BLOCKS))]
        blocks = [
            _Block(a, b, image, 2 if i < BLOCKS - 1 else 1) for i, (a, b) in enumerate(pairwise(widths))
        ]
        maps = [
            pm.MapInfo(w, (2 ** min(i, BLOCKS - 1),) * (2 if image else 1))
            for i, w in enumerate(widths[1:], 1)
        ]
        bands = modality.shape[1] if image else modality.channels
        pool = _Embedding(widths[-1], features * width)
        super().__init__(_MelNorm(bands, image), blocks, pool, maps, features * width)


def from_panns(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a released network by the names of CNN14; kernels are transposed from (time, mel).

    Running statistics of the norm over mel bands are left out: they are in decibels, and the inputs of CNN14
    are normalized.
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
            kernel = tensor.transpose(2, 3).contiguous() if tensor.dim() == 4 else tensor
            found[f"blocks.{int(place.removeprefix('conv_block')) - 1}.{rest}"] = kernel
        else:
            found[name] = tensor
    return found
