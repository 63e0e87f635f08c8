"""NTU RGB+D 60 and 120: colour at test; depth, infrared and skeletons besides in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .classes import CLASSES
from .reading import SKELETON, Item, colour, depth, infrared, rate, skeleton
from .samples import NAME, VALIDATION_SUBJECT, Sample, parts_60, parts_120, sample

COLOUR, DEPTH = "nturgb+d_rgb", "nturgb+d_depth_masked"
INFRARED, SKELETONS = "nturgb+d_ir", "nturgb+d_skeletons"
NEIGHBOURS = 3
"""Number of samples of the same setup and camera whose skeletons may be used for the alignment."""


class Ntu(pm.Dataset):
    """Base of both. `parts_of` assigns samples to parts; `stored` (H, W) is the size of stored frames."""

    modalities = (
        pm.Modality("rgb", "clip", (3, 5, 224, 224), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("depth", "clip", (3, 5, 224, 224), "0 to 5 m, in colours", grid="frame", flip="mirror"),
        pm.Modality("ir", "clip", (1, 5, 224, 224), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("skeleton", "sequence", SKELETON, "m"),
    )
    stored: ClassVar[tuple[int, int]] = (224, 224)
    target = ("rgb",)
    privileged = ("depth",)
    default_protocol = "cross-subject"
    sampling = pm.Sampling(frames=5, even=True)
    backbones: ClassVar = {
        "rgb": "mdms_resnet50",
        "depth": "mdms_resnet50",
        "ir": "mdms_resnet50",
        "skeleton": "cnn1d-32",
    }
    actions: ClassVar[int]
    parts_of: ClassVar[Callable[[Iterable[Sample]], dict[str, list[Sample]]]]
    licence = "signed agreement, academic research only; nothing is redistributed"
    source = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
    access = (
        "ask for access and get the archives of RGB (136 GB for 60 actions, 124 GB more for 120), masked "
        "depth (83 GB, 64 GB more) and skeletons, of infrared if wanted, into one folder"
    )
    unpack = True
    recipes: ClassVar = {
        "mdms/ntu60": pm.Recipe(
            optimizer="adam", lr=1e-3, weight_decay=0.0, epochs=40, batch_size=5, schedule="constant"
        ),
        "mmh/ntu60": pm.Recipe(
            optimizer="sgd", lr=1e-3, weight_decay=5e-4, epochs=250, batch_size=16, schedule="step",
            milestones=(0.4, 0.8),
        ),
    }  # fmt: skip
    setups: ClassVar = {
        "mdms/ntu60": pm.Setup(
            papers=("Garcia et al., ECCV 2018 (MDMS)", "Garcia et al., TPAMI 2019 (ADMD, slides)"),
            weights={"rgb": "imagenet", "depth": "imagenet"},
            differs=("one place for all fifths of a video in training",),
        ),
        "mmh/ntu60": pm.Setup(
            papers=("MMH",),
            options={"rad": {"teacher": "late", "alpha": 0.25}},
            backbones={"rgb": "i3d_r50", "depth": "i3d_r50"},
            weights={"rgb": "kinetics400", "depth": "kinetics400"},
            sampling="clip-16",
            differs=("validation samples do not train",),
        ),
    }

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `nturgb+d_rgb`, `nturgb+d_skeletons` and folders of privileged modalities.

        A sample without a file in one of them lacks that modality.
        """
        import numpy as np

        tree = _tree(source)
        colours = _named(tree / COLOUR, "_rgb.avi")
        skeletons = _named(tree / SKELETONS, ".skeleton")
        for needed, folder in ((colours, COLOUR), (skeletons, SKELETONS)):
            if not needed:
                raise pm.DataError(f"{tree / folder} has no sample", "colour and skeletons are always needed")
        samples = [s for s in map(sample, colours) if s.action <= self.actions]
        sources = alignment_sources(samples, skeletons)
        unusable = listed_as_missing(tree)
        folders = {"depth": _named(tree / DEPTH, ""), "ir": _named(tree / INFRARED, "_ir.avi")}
        for part, members in type(self).parts_of(samples).items():

            def items(paths: Mapping[str, Path], members: Sequence[Sample] = members) -> list[Item | None]:
                return [(paths[s.name], sources[s]) if s.name in paths else None for s in members]

            bones = [None if s.name in unusable else skeletons.get(s.name) for s in members]
            yield (
                part,
                pm.Part(
                    [s.name for s in members],
                    np.array([s.action - 1 for s in members], np.int64),
                    {
                        "rgb": pm.Files(items(colours), partial(colour, size=self.stored), rate),
                        "depth": pm.Files(items(folders["depth"]), partial(depth, size=self.stored)),
                        "ir": pm.Files(items(folders["ir"]), partial(infrared, size=self.stored), rate),
                        "skeleton": pm.Files(bones, skeleton),
                    },
                    [s.group for s in members],
                ),
            )


class Ntu60(Ntu):
    """56,880 samples of 60 actions by 40 people."""

    name = "ntu60"
    summary = "60 actions of 40 people: depth -> video, pixel on pixel"
    classes = CLASSES[:60]
    actions = 60
    expected: ClassVar = {
        "learnt-front+learnt-side+learnt-held+new-front+new-side+new-held": 56_880,
    }
    parts_of = staticmethod(parts_60)
    splits: ClassVar = {
        "cross-subject": pm.Split(
            "learnt-front+learnt-side+learnt-held", "new-front+new-side+new-held",
            validation_groups=(VALIDATION_SUBJECT,),
        ),
        "cross-view": pm.Split(
            "learnt-side+new-side", "learnt-front+new-front", validation="learnt-held+new-held"
        ),
    }  # fmt: skip
    citation = (
        "Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis, "
        "CVPR 2016, arXiv:1604.02808"
    )


class Ntu120(Ntu):
    """114,480 samples of 120 actions by 106 people."""

    name = "ntu120"
    summary = "120 actions of 106 people: depth -> video, pixel on pixel"
    classes = CLASSES
    actions = 120
    expected: ClassVar = {"learnt-even+learnt-odd+new-even+new-odd": 114_480}
    parts_of = staticmethod(parts_120)
    splits: ClassVar = {
        "cross-subject": pm.Split("learnt-even+learnt-odd", "new-even+new-odd"),
        "cross-setup": pm.Split("learnt-even+new-even", "learnt-odd+new-odd"),
    }
    citation = (
        "Liu, Shahroudy, Perez, Wang, Duan, Kot: NTU RGB+D 120: A Large-Scale Benchmark for 3D Human "
        "Activity Understanding, TPAMI 2020, arXiv:1905.04757"
    )


def alignment_sources(
    samples: Iterable[Sample], skeletons: Mapping[str, Path]
) -> dict[Sample, tuple[Path, ...]]:
    """Skeleton files to align each sample with: its own, then some of the same setup and camera, in case its
    own is missing or has too few tracked joints.
    """
    near: dict[tuple[int, int], list[Path]] = defaultdict(list)
    ordered = sorted(samples)
    for s in ordered:
        beside = near[s.setup, s.camera]
        if s.name in skeletons and len(beside) < NEIGHBOURS:
            beside.append(skeletons[s.name])
    return {
        s: tuple(
            dict.fromkeys([*([skeletons[s.name]] if s.name in skeletons else []), *near[s.setup, s.camera]])
        )
        for s in ordered
    }


def listed_as_missing(tree: Path) -> set[str]:
    """Names in the official lists of samples with missing skeletons, if the lists are in the folder."""
    lists = sorted(tree.glob("*missing_skeleton*.txt"))
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in lists)
    return {match[0] for match in NAME.finditer(text)}


def _tree(source: Path) -> Path:
    for path in (source, *sorted(p for p in source.iterdir() if p.is_dir())):
        if (path / COLOUR).is_dir():
            return path
    raise pm.DataError(
        f"{source} has no folder {COLOUR}", f"expected {COLOUR}, {DEPTH} and {SKELETONS} in it"
    )


def _named(folder: Path, ending: str) -> dict[str, Path]:
    """Name of the sample -> its file or folder."""
    if not folder.is_dir():
        return {}
    found = {p.name.removesuffix(ending): p for p in sorted(folder.iterdir()) if p.name.endswith(ending)}
    return {name: path for name, path in found.items() if NAME.fullmatch(name)}


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    from .demo import Ntu60Demo  # which imports this module

    return (Ntu60(), Ntu120(), Ntu60Demo())
