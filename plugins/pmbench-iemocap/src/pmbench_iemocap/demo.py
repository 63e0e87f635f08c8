"""The demo of IEMOCAP: made-up utterances in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .dataset import Iemocap


class IemocapDemo(Iemocap):
    """400 made-up utterances, whose features are narrow."""

    name = "iemocap:demo"
    demo_of = "iemocap"
    summary = "made-up utterances in the layout of iemocap"
    modalities = (
        pm.Modality("visual", "sequence", (16, 16), "1"),
        pm.Modality("audio", "sequence", (12, 16), "1"),
        pm.Modality("text", "sequence", (12, 16), "1"),
    )
    expected: ClassVar = {}
    backbones: ClassVar = {"visual": "cnn1d-8", "audio": "cnn1d-8", "text": "cnn1d-8"}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=32)}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_features, write_release

        write_release(folder, each=4)
        write_features(folder, {m.name: m.shape[0] for m in self.modalities})
