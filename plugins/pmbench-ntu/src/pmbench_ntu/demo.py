"""The demo of NTU RGB+D 60: made-up samples in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from . import Ntu60


class Ntu60Demo(Ntu60):
    """144 made-up samples of four classes, which a small network learns in seconds."""

    name = "ntu60:demo"
    demo_of = "ntu60"
    summary = "made-up samples in the layout of ntu60"
    classes = Ntu60.classes[:4]
    actions = 4
    modalities = (
        pm.Modality("rgb", "clip", (3, 8, 32, 32), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("depth", "clip", (3, 8, 32, 32), "0 to 5 m, in colours", grid="frame", flip="mirror"),
        pm.Modality("ir", "clip", (1, 8, 32, 32), "8 bit", grid="frame", flip="mirror"),
        Ntu60.modalities[3],
    )
    stored = (32, 32)
    sampling = pm.Sampling(frames=8, even=True)
    expected: ClassVar = {}
    backbones: ClassVar = {"rgb": "cnn3d-8", "depth": "cnn3d-8", "ir": "cnn3d-8", "skeleton": "cnn1d-8"}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_ntu

        write_ntu(folder, subjects=(1, 2, 4, 5, 3, 6), replications=(1, 2), frames=(14, 18), scale=0.12)
