"""The demos of CREMA-D, RAVDESS and AVE: made-up videos in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .ave import FEW, Ave
from .cremad import CremaD
from .ravdess import Ravdess
from .reading import AudioVisual

MODALITIES = (
    pm.Modality("rgb", "clip", (3, 8, 32, 32), "8 bit", flip="mirror"),
    pm.Modality("audio", "image", (1, 64, 51), "dB"),
)


class Demo(AudioVisual):
    """What the three have in common: a small network learns each in seconds."""

    modalities = MODALITIES
    stored, seconds = (36, 48), 0.5
    sampling = pm.Sampling(frames=8, even=True)
    expected: ClassVar = {}
    downloads = ()
    backbones: ClassVar = {"rgb": "cnn3d-8", "audio": "cnn2d-8"}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}


class CremaDDemo(Demo, CremaD):
    """182 made-up clips."""

    name = "crema-d:demo"
    demo_of = "crema-d"
    summary = "made-up clips in the layout of crema-d"

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_cremad

        write_cremad(folder, actors=(*range(1001, 1014), 1076))


class RavdessDemo(Demo, Ravdess):
    """160 made-up clips."""

    name = "ravdess:demo"
    demo_of = "ravdess"
    summary = "made-up clips in the layout of ravdess"
    stored = (36, 36)

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_ravdess

        write_ravdess(folder, actors=range(1, 11), emotions=range(1, 9))


class AveDemo(Demo, Ave):
    """60 made-up videos and one event more."""

    name = "ave:demo"
    demo_of = "ave"
    summary = "made-up videos in the layout of ave"
    classes = FEW

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_ave

        write_ave(folder, counts={"train": 9, "validation": 3, "test": 3})
