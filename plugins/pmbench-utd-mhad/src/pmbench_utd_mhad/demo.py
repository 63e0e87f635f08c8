"""The demo of UTD-MHAD: made-up recordings in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .dataset import CLASSES, UtdMhad


class UtdMhadDemo(UtdMhad):
    """96 made-up recordings of four classes, which a small network learns in seconds."""

    name = "utd-mhad:demo"
    demo_of = "utd-mhad"
    summary = "made-up recordings in the layout of utd-mhad"
    classes = CLASSES[:4]
    modalities = (
        pm.Modality("rgb", "clip", (3, 8, 32, 32), "8 bit"),
        pm.Modality("depth", "clip", (1, 8, 32, 32), "0 to 5 m"),
        *UtdMhad.modalities[2:],
    )
    stored = (36, 48)
    sampling = pm.Sampling(frames=8, even=True)
    expected: ClassVar = {}
    backbones: ClassVar = {"rgb": "cnn3d-8", "depth": "cnn3d-8", "skeleton": "cnn1d-8", "inertial": "cnn1d-8"}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_utd_mhad

        write_utd_mhad(folder, trials=(1, 2, 3, 4))
