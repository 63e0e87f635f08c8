"""The demos of the three kinds of folders: made-up signals and frames."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .mod import Mod
from .patches import Apg
from .sensit import Sensit

DEMO = pm.Recipe(lr=1e-2, epochs=20, batch_size=16)


class ApgDemo(Apg):
    """96 made-up patches of six recordings."""

    name = "apg:demo"
    demo_of = "apg"
    summary = "made-up patches and signals in the layout of apg"
    backbones: ClassVar = {"image": "cnn2d-8", **dict.fromkeys(("sensors", "seismic", "acoustic"), "cnn1d-8")}
    recipes: ClassVar = {"demo": DEMO}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_apg

        write_apg(folder, recordings=("r1", "r2", "r3", "r4", "r5", "r6"), each=8)


class SensitDemo(Sensit):
    """420 made-up measurements."""

    name = "sensit:demo"
    demo_of = "sensit"
    summary = "made-up measurements in the layout of sensit"
    expected: ClassVar = {}
    backbones: ClassVar = {"acoustic": "mlp-32", "seismic": "mlp-32"}
    recipes: ClassVar = {"demo": DEMO}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_sensit

        write_sensit(folder, counts=(300, 120))


class ModDemo(Mod):
    """147 made-up windows of 21 recordings."""

    name = "mod:demo"
    demo_of = "mod"
    summary = "made-up signals in the layout of mod"
    backbones: ClassVar = {"seismic": "cnn1d-8", "acoustic": "cnn1d-8"}
    recipes: ClassVar = {"demo": DEMO}

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_mod

        write_mod(folder, seconds=14.5)
