"""The demos of UCF51 and UCF101: made-up clips in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from . import Ucf, Ucf51, Ucf101


def clip(name: str, channels: int, flip: str) -> pm.Modality:
    return pm.Modality(name, "clip", (channels, 8, 32, 32), "8 bit", grid="frame", flip=flip)


class Demo(Ucf):
    """What both have in common: a small network learns them in seconds."""

    stored = (36, 48)
    sampling = pm.Sampling(frames=8, stride=2, test_clips=2)
    expected: ClassVar = {}
    downloads = ()
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}


class Ucf51Demo(Demo, Ucf51):
    """128 made-up clips of four classes with sound."""

    name = "ucf51:demo"
    demo_of = "ucf51"
    summary = "made-up clips in the layout of ucf51"
    classes = ("BabyCrawling", "BasketballDunk", "HandstandPushups", "PlayingCello")
    modalities = (
        clip("rgb", 3, "mirror"),
        pm.Modality("audio", "image", (1, 64, 101), "dB"),
        pm.Modality("cnn14", "vector", (512,), "1"),
    )
    seconds = 1.0
    backbones: ClassVar = {"rgb": "cnn3d-8", "audio": "cnn2d-8", "cnn14": "mlp-32"}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_ucf

        write_ucf(folder, silent=(), clips=4, features=True)


class Ucf101Demo(Demo, Ucf101):
    """48 made-up clips of six classes, which are short: flow is dear."""

    name = "ucf101:demo"
    demo_of = "ucf101"
    summary = "made-up clips in the layout of ucf101"
    classes = (*Ucf51Demo.classes[:2], "Basketball", *Ucf51Demo.classes[2:], "JumpRope")
    modalities = (clip("rgb", 3, "mirror"), clip("flow", 2, "negate"))
    sampling = pm.Sampling(frames=8, test_clips=2)
    backbones: ClassVar = {"rgb": "cnn3d-8", "flow": "cnn3d-8"}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_ucf

        write_ucf(folder, clips=1, frames=(9, 13))
