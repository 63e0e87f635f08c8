"""The demo of ActivityNet: made-up videos in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .classes import FEW
from .dataset import ActivityNet


class ActivityNetDemo(ActivityNet):
    """72 made-up videos of four classes, which a small network learns in seconds."""

    name = "activitynet:demo"
    demo_of = "activitynet"
    summary = "made-up videos in the layout of activitynet"
    classes = FEW
    modalities = (
        pm.Modality("rgb", "clip", (3, 8, 32, 32), "8 bit", flip="mirror"),
        pm.Modality("audio", "image", (1, 64, 101), "dB"),
    )
    stored, seconds, fps = (36, 48), 1.0, 8.0
    sampling = pm.Sampling(frames=8, test_clips=2)
    expected: ClassVar = {}
    backbones: ClassVar = {"rgb": "cnn3d-8", "audio": "cnn2d-8"}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_activitynet

        write_activitynet(folder, training=12, validation=6)
