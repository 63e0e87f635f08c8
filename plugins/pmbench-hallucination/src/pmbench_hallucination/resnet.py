"""ResNet-50 with temporal convolutions and a place to be connected, as in arXiv:1806.07110."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

import pmbench as pm

DEPTHS = (3, 4, 6, 3)
EXPANSION = 4


class TemporalConvolution(nn.Conv3d):
    """(B, C, F, h, w) -> the same: 3 frames, one position, all channels; starts as the identity.

    arXiv:1806.07110, section 3.2. The constant of the authors' code has another shape than its kernel; this
    is the stated identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        nn.init.dirac_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Unit(nn.Module):
    """Residual unit of 1x1, 3x3 and 1x1 convolutions on frames (N, C, h, w), its last ReLU left out.

    With `temporal`, a TemporalConvolution stands between the last two.
    """

    def __init__(self, before: int, width: int, stride: int, temporal: bool) -> None:
        super().__init__()
        after = EXPANSION * width
        self.conv1, self.bn1 = _conv(before, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.temporal = TemporalConvolution(width) if temporal else None
        self.conv3, self.bn3 = _conv(width, after, 1), nn.BatchNorm2d(after)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(_conv(before, after, 1, stride), nn.BatchNorm2d(after))

    def forward(self, x: Tensor, branch: Tensor, frames: int) -> Tensor:
        """shortcut(x) + F(branch)."""
        y = self.bn1(self.conv1(branch)).relu()
        y = self.bn2(self.conv2(y)).relu()
        if self.temporal is not None:
            y = _folded(self.temporal(_unfolded(y, frames)))
        return self.bn3(self.conv3(y)) + self.downsample(x)


class ConnectedStage(nn.Module):
    """One stage of residual units: (B, C, h, w), or every frame of (B, C, F, h, w).

    `first` gives the first unit's sum before its ReLU, `rest` takes it through the other units: there another
    stream can be multiplied in. Clips have a temporal convolution in the second unit.
    """

    def __init__(self, before: int, width: int, depth: int, stride: int, clip: bool) -> None:
        super().__init__()
        after = EXPANSION * width
        self.units = nn.ModuleList(
            Unit(before if i == 0 else after, width, stride if i == 0 else 1, clip and i == 1)
            for i in range(depth)
        )

    def first(self, x: Tensor) -> Tensor:
        folded = _folded(x)
        return _like(self.units[0](folded, folded, 1), x)

    def rest(self, u: Tensor, gate: Tensor | None = None, form: str = "code") -> Tensor:
        """`gate`, another stream's sum before ReLU, is multiplied into the second unit's residual branch.

        Its shortcut stays untouched. Form "paper": u * relu(gate), the argument of F in eq. 2; "code":
        relu(u) + u * relu(gate).
        """
        frames = u.shape[2] if u.dim() == 5 else 1
        x = branch = u.relu()
        if gate is not None:
            branch = u * gate.relu() if form == "paper" else x + u * gate.relu()
        x, branch = _folded(x), _folded(branch)
        for unit in self.units[1:]:
            x = branch = unit(x, branch, frames).relu()
        return _like(x, u)

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.first(x))


class _Stem(nn.Module):
    """7x7 convolution and max pool of 3, both of stride 2, on every frame."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, width, 7, 2), nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return _like(self.pool(self.bn1(self.conv1(_folded(x))).relu()), x)


class _Mean(nn.Module):
    """(B, C, *grid) -> (B, C). The mean of frames before a linear head is that of their logits behind it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


class MdmsResNet50(pm.Encoder):
    """Four stages of 4w, 8w, 16w, 32w channels; w = 64 is the reference.

    (B, C, H, W) or (B, C, F, H, W) -> maps of stride 4, 8, 16, 32, frames kept, and pooled (B, 32w).

    Deviation: a stage shrinks the grid in its first unit's 3x3 convolution, as in the networks that ImageNet
    weights are published for today; the authors' library shrinks it in the last unit, one stage earlier.
    """

    def __init__(self, modality: pm.Modality, width: int) -> None:
        clip = modality.kind == "clip"
        before, blocks, maps = width, [], []
        for i, depth in enumerate(DEPTHS):
            blocks.append(ConnectedStage(before, width * 2**i, depth, 1 if i == 0 else 2, clip))
            before = EXPANSION * width * 2**i
            stride = (4 * 2**i,) * 2
            maps.append(pm.MapInfo(before, (1, *stride) if clip else stride))
        super().__init__(_Stem(modality.channels, width), blocks, _Mean(), maps, before)


def from_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ResNet-50 of torchvision (and timm) by the names of MdmsResNet50; the head is left out."""
    found = {}
    for name, tensor in tensors.items():
        place, _, rest = name.partition(".")
        if place in ("conv1", "bn1"):
            found[f"stem.{name}"] = tensor
        elif place.startswith("layer"):
            found[f"blocks.{int(place.removeprefix('layer')) - 1}.units.{rest}"] = tensor
        elif place != "fc":
            found[name] = tensor
    return found


def _conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _folded(x: Tensor) -> Tensor:
    """(B, C, F, h, w) -> (B*F, C, h, w); images stay."""
    return x.movedim(2, 1).flatten(0, 1) if x.dim() == 5 else x


def _unfolded(x: Tensor, frames: int) -> Tensor:
    """(B*F, C, h, w) -> (B, C, F, h, w)."""
    return x.unflatten(0, (-1, frames)).movedim(1, 2)


def _like(x: Tensor, original: Tensor) -> Tensor:
    """Frames unfolded where `original` has them."""
    return _unfolded(x, original.shape[2]) if original.dim() == 5 else x
