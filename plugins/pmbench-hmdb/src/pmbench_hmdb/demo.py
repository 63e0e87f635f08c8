"""The demo of HMDB51: made-up clips in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .dataset import Hmdb51
from .lists import FEW


class Hmdb51Demo(Hmdb51):
    """40 made-up clips of four classes, which a small network learns in seconds."""

    name = "hmdb51:demo"
    demo_of = "hmdb51"
    summary = "made-up clips in the layout of hmdb51"
    classes = FEW
    modalities = (
        pm.Modality("rgb", "clip", (3, 8, 32, 32), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("flow", "clip", (2, 8, 32, 32), "20 px / 127.5", grid="frame", flip="negate"),
    )
    stored, short = (36, 48), 11
    sampling = pm.Sampling(frames=8, test_clips=2)
    expected: ClassVar = {}
    backbones: ClassVar = {"rgb": "cnn3d-8", "flow": "cnn3d-8"}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_hmdb

        write_hmdb(folder, frames=(9, 13))
