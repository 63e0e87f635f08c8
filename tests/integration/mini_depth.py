"""CASIA-SURF and Northwestern-UCLA, small enough to train in seconds: the readers are theirs."""

from typing import ClassVar

import pmbench_antispoofing
import pmbench_multiview

import pmbench as pm

RECIPES = {"mini": pm.Recipe(lr=3e-3, epochs=4, batch_size=16)}


def shrunk(dataset: type[pm.Dataset], side: int, frames: int = 0) -> tuple[pm.Modality, ...]:
    """The modalities of a data set with images of `side` pixels."""
    return tuple(
        pm.Modality(m.name, m.kind, (3, *([frames] if frames else []), side, side), m.unit, m.grid, m.flip)
        for m in dataset.modalities
    )


class MiniSurf(pmbench_antispoofing.CasiaSurf):
    name = "casia-surf-mini"
    modalities, stored = shrunk(pmbench_antispoofing.CasiaSurf, 32), (36, 36)
    expected: ClassVar = {}
    backbones: ClassVar = {m.name: "surf_resnet18-8" for m in modalities}
    recipes = RECIPES


class MiniNwUcla(pmbench_multiview.NwUcla):
    name = "nw-ucla-mini"
    modalities, stored = shrunk(pmbench_multiview.NwUcla, 24, 4), (24, 24)
    known = range(1, 100)
    sampling = pm.Sampling(frames=4, even=True)
    backbones: ClassVar = {"rgb": "cnn3d-8", "depth": "cnn3d-8"}
    recipes = RECIPES


@pm.hookimpl
def pmbench_datasets():
    return (MiniSurf(), MiniNwUcla())
