"""The demo of NYU Depth v2: made-up object crops in the official layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from . import Nyud


class NyudDemo(Nyud):
    """229 made-up crops, which a small network learns in seconds."""

    name = "nyud:demo"
    demo_of = "nyud"
    summary = "made-up crops in the layout of nyud"
    modalities = tuple(replace(m, shape=(3, 32, 32)) for m in Nyud.modalities)
    stored = (32, 32)
    expected: ClassVar = {}
    backbones: ClassVar = {m.name: "cnn2d-8" for m in modalities}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_nyud

        write_nyud(folder, counts=(8, 4))
