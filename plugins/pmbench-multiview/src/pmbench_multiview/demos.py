"""The demos of Northwestern-UCLA and UWA3D II: made-up clips in the official layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .frames import Actions
from .nwucla import NwUcla
from .uwa3d import Uwa3d


class Demo(Actions):
    """What both have in common: a small network learns them in seconds."""

    modalities = tuple(replace(m, shape=(3, 5, 32, 32)) for m in Actions.modalities)
    stored = (32, 32)
    backbones: ClassVar = {m.name: "cnn3d-8" for m in modalities}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}


class NwUclaDemo(Demo, NwUcla):
    """72 made-up clips of four actions."""

    name = "nw-ucla:demo"
    demo_of = "nw-ucla"
    summary = "made-up clips in the layout of nw-ucla"
    classes = NwUcla.classes[:4]
    known = range(72, 73)

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_nwucla

        write_nwucla(folder, actions=(1, 2, 3, 4), people=range(1, 7), size=(36, 48))


class Uwa3dDemo(Demo, Uwa3d):
    """95 made-up clips of four actions."""

    name = "uwa3d:demo"
    demo_of = "uwa3d"
    summary = "made-up clips in the layout of uwa3d"
    classes = Uwa3d.classes[:4]
    known = range(95, 96)

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_uwa3d

        write_uwa3d(folder, people=range(1, 7), size=(36, 48))
