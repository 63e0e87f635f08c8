"""The demos of CASIA-SURF and CeFA: made-up faces in the official layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .cefa import CasiaCefa
from .faces import Faces
from .surf import CasiaSurf, CasiaSurfChallenge


class Demo(Faces):
    """What the three have in common: a small network learns each in seconds."""

    modalities = tuple(replace(m, shape=(3, 32, 32)) for m in Faces.modalities)
    stored = (36, 36)
    expected: ClassVar = {}
    backbones: ClassVar = {m.name: "cnn2d-8" for m in modalities}
    setups: ClassVar = {}
    recipes: ClassVar = {"demo": pm.Recipe(lr=1e-2, epochs=20, batch_size=16)}


class CasiaSurfDemo(Demo, CasiaSurf):
    """180 made-up images."""

    name = "casia-surf:demo"
    demo_of = "casia-surf"
    summary = "made-up faces in the layout of casia-surf"

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_surf

        write_surf(folder, people=(8, 3, 4), size=36)


class CasiaSurfChallengeDemo(Demo, CasiaSurfChallenge):
    """180 made-up images."""

    name = "casia-surf-challenge:demo"
    demo_of = "casia-surf-challenge"
    summary = "made-up faces in the layout of casia-surf-challenge"

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_surf

        write_surf(folder, family="challenge", people=(8, 3, 4), size=36)


class CasiaCefaDemo(Demo, CasiaCefa):
    """528 made-up images of 14 people of each ethnicity and of masks."""

    name = "casia-cefa:demo"
    demo_of = "casia-cefa"
    summary = "made-up faces and masks in the layout of casia-cefa"

    def write_demo(self, folder: Path) -> None:
        from .miniature import write_cefa

        write_cefa(folder, people=(*range(8), *range(200, 203), *range(300, 303)), frames=3, size=36)
