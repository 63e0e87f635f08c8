"""UCF51, UCF101 and NTU RGB+D small enough to train in seconds: the readers are theirs."""

from typing import ClassVar

import pmbench_ntu
import pmbench_ucf

import pmbench as pm

RECIPES = {"mini": pm.Recipe(lr=1e-2, epochs=30, batch_size=16)}


def clip(name: str, channels: int, flip: str = "mirror") -> pm.Modality:
    return pm.Modality(name, "clip", (channels, 8, 32, 32), "8 bit", grid="frame", flip=flip)


class MiniUcf51(pmbench_ucf.Ucf51):
    name = "ucf51-mini"
    classes = ("BabyCrawling", "BasketballDunk", "HandstandPushups", "PlayingCello")
    modalities = (
        clip("rgb", 3),
        pm.Modality("audio", "image", (1, 64, 101), "dB"),
        *pmbench_ucf.Ucf51.modalities[2:],
    )
    stored, seconds = (36, 48), 1.0
    expected: ClassVar = {}
    sampling = pm.Sampling(frames=8, stride=2, test_clips=2)
    metrics = ("accuracy", "r@1")
    backbones: ClassVar = {"rgb": "cnn3d-8", "audio": "cnn2d-8", "cnn14": "mlp-32"}
    recipes = RECIPES


class MiniUcf101(pmbench_ucf.Ucf101):
    name = "ucf101-mini"
    classes = (*MiniUcf51.classes[:2], "Basketball", *MiniUcf51.classes[2:], "JumpRope")
    modalities = (clip("rgb", 3), clip("flow", 2, "negate"))
    stored = (36, 48)
    expected: ClassVar = {}
    sampling = MiniUcf51.sampling
    backbones: ClassVar = {"rgb": "cnn3d-8", "flow": "cnn3d-8"}
    recipes = RECIPES


class MiniNtu60(pmbench_ntu.Ntu60):
    name = "ntu60-mini"
    classes = pmbench_ntu.Ntu60.classes[:4]
    actions = 4
    modalities = (clip("rgb", 3), clip("depth", 3), clip("ir", 1), pmbench_ntu.Ntu60.modalities[3])
    stored = (32, 32)
    expected: ClassVar = {}
    sampling = pm.Sampling(frames=8, even=True)
    backbones: ClassVar = {"rgb": "cnn3d-8", "depth": "cnn3d-8", "ir": "cnn3d-8", "skeleton": "cnn1d-8"}
    recipes = RECIPES


@pm.hookimpl
def pmbench_datasets():
    return (MiniUcf51(), MiniUcf101(), MiniNtu60())
