"""Data sets that train in seconds: synthetic ones by kind of modality, and a few samples of a real one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts.dataset import Dataset
from ..contracts.modality import Modality
from ..contracts.protocol import Split
from ..contracts.recipe import Recipe
from ..contracts.samples import AugmentRng, Files, Part
from ..errors import UsageError
from ..seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.prepared import Prepared

CLASSES = ("north", "east", "south", "west")
PER_CLASS = {"train": 12, "validation": 4, "test": 6}
FEW = 4
RECIPE = Recipe(lr=3e-3, weight_decay=0.0, epochs=2, batch_size=16, schedule="constant", select="last")

_SYNTHETIC: Mapping[str, tuple[str, tuple[Modality, Modality]]] = {
    "sequence": (
        "cnn1d-8",
        (
            Modality("shown", "sequence", (3, 16), "unit", grid="time"),
            Modality("hidden", "sequence", (2, 16), "unit", grid="time"),
        ),
    ),
    "image": (
        "cnn2d-8",
        (
            Modality("shown", "image", (3, 8, 8), "unit", grid="scene"),
            Modality("hidden", "image", (1, 8, 8), "unit", grid="scene"),
        ),
    ),
    "vector": (
        "mlp-8",
        (Modality("shown", "vector", (12,), "unit"), Modality("hidden", "vector", (10,), "unit")),
    ),
}
CASES = tuple(_SYNTHETIC)
BESIDE = {
    "sequence": Modality("beside", "sequence", (2, 16), "unit", grid="time"),
    "image": Modality("beside", "image", (1, 8, 8), "unit", grid="scene"),
    "vector": Modality("beside", "vector", (10,), "unit"),
}
"""The second privileged modality, for methods that need two."""


class Miniature(Dataset):
    """A data set in memory: parts train, validation and test under one split."""

    licence, source, citation = "Apache-2.0", "generated", "none"
    summary = "a few samples for contract checks"
    splits = {"split": Split("train", "test", "validation")}  # noqa: RUF012
    default_protocol = "split"
    few = (FEW,)
    recipes = {"miniature": RECIPE}  # noqa: RUF012

    def __init__(
        self,
        name: str,
        parts: Mapping[str, Part],
        *,
        classes: tuple[str, ...],
        modalities: tuple[Modality, ...],
        target: tuple[str, ...],
        privileged: tuple[str, ...],
        backbones: Mapping[str, str],
        like: Dataset | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "name": name, "parts": parts, "classes": classes, "modalities": modalities, "target": target,
            "privileged": privileged, "backbones": backbones, "like": like,
        }  # fmt: skip
        self.__dict__.update(given)
        if like is not None:
            self.__dict__.update(metrics=like.metrics, positive_class=like.positive_class)

    parts: Mapping[str, Part]
    like: Dataset | None

    def read(self, source: Path) -> Iterator[tuple[str, Part]]:
        yield from self.parts.items()

    @property
    def augments(self) -> bool:
        return self.like is not None and self.like.augments

    def augment(self, batch: Mapping[str, Tensor], rng: AugmentRng) -> Mapping[str, Tensor]:
        return batch if self.like is None else self.like.augment(batch, rng)

    def variant(self, name: str, parts: Mapping[str, Part]) -> Miniature:
        """The same declarations with other samples."""
        return Miniature(
            f"{self.name}-{name}", parts, classes=self.classes, modalities=self.modalities,
            target=self.target,
            privileged=self.privileged, backbones=self.backbones, like=self.like,
        )  # fmt: skip

    def shuffled(self, modalities: tuple[str, ...]) -> Miniature:
        """A variant whose training and validation samples have `modalities` in another order."""

        def mixed(part: Part) -> Part:
            order = generator(0, "shuffled").permutation(len(part.ids))
            moved = {m: array[order] for m, array in _arrays(part).items() if m in modalities}
            return dataclasses.replace(part, arrays={**part.arrays, **moved})

        parts = {name: part if name == "test" else mixed(part) for name, part in self.parts.items()}
        return self.variant("shuffled", parts)

    def eight(self) -> Miniature:
        """Eight training samples of up to four classes, used for training, validation and test."""
        train = self.parts["train"]
        present = np.unique(train.labels[train.labels >= 0])[:4]
        each = 8 // len(present)
        rows = np.concatenate([np.flatnonzero(train.labels == label)[:each] for label in present])
        parts = {
            name: Part(
                [f"{name}-{i}" for i in range(len(rows))],
                train.labels[rows],
                {m: array[rows] for m, array in _arrays(train).items()},
            )
            for name in PER_CLASS
        }
        return self.variant("eight", parts)


def _arrays(part: Part) -> dict[str, np.ndarray]:
    return {m: array for m, array in part.arrays.items() if not isinstance(array, Files)}


@functools.cache
def synthetic(case: str, *, beside: bool = False) -> Miniature:
    """Two modalities of one kind: class means plus noise, with less noise in the privileged one.

    With `beside` there is another privileged one, whose rng is its own.
    """
    if beside:
        return _with_another(synthetic(case), BESIDE[case])
    backbone, modalities = _SYNTHETIC[case]
    rng = generator(0, "miniature", case)
    shapes = {m.name: _prototypes(rng, m) for m in modalities}
    parts = {}
    for part, count in PER_CLASS.items():
        labels = np.tile(np.arange(len(CLASSES)), count)
        arrays = {
            name: (means[labels] + noise * rng.standard_normal((len(labels), *means.shape[1:]))).astype(
                np.float32
            )
            for (name, means), noise in zip(shapes.items(), (4.0, 0.5), strict=True)
        }
        parts[part] = Part([f"{part}-{i}" for i in range(len(labels))], labels, arrays)
    return Miniature(
        case, parts, classes=CLASSES, modalities=modalities, target=("shown",), privileged=("hidden",),
        backbones=dict.fromkeys(("shown", "hidden"), backbone),
    )  # fmt: skip


def _with_another(data: Miniature, modality: Modality) -> Miniature:
    """The data with another privileged modality."""
    rng = generator(0, "miniature", data.name, modality.name)
    means = _prototypes(rng, modality)
    parts = {}
    for name, part in data.parts.items():
        noise = 0.5 * rng.standard_normal((len(part.labels), *modality.shape))
        array = (means[part.labels] + noise).astype(np.float32)
        parts[name] = dataclasses.replace(part, arrays={**part.arrays, modality.name: array})
    return Miniature(
        f"{data.name}-beside", parts, classes=data.classes, modalities=(*data.modalities, modality),
        target=data.target, privileged=(*data.privileged, modality.name),
        backbones={**data.backbones, modality.name: data.backbones["shown"]},
    )  # fmt: skip


def _prototypes(rng: np.random.Generator, modality: Modality) -> np.ndarray:
    """Class means (K, *shape): a random pattern; for "hidden" plus a level that pooling keeps."""
    level = np.linspace(-4, 4, len(CLASSES)).reshape(-1, *(1,) * len(modality.shape))
    pattern = rng.standard_normal((len(CLASSES), *modality.shape))
    return pattern + level if modality.name == "hidden" else pattern


def sampled(prepared: Prepared) -> Miniature:
    """The first samples of each class of a prepared data set, with the setting of its default protocol."""
    dataset = prepared.dataset
    protocol = dataset.protocol(dataset.default_protocol)
    used = {"train": protocol.split.train, "test": protocol.split.test}
    used["validation"] = protocol.split.validation or protocol.split.train
    parts = {}
    for name, part in used.items():
        columns = {m.name: prepared.column(part, m.name) for m in dataset.modalities}
        labels, ids = prepared.labels(part).copy(), prepared.index(part)[0]
        for column in columns.values():
            if column.present is not None:
                labels[~column.present] = -1
        classes = np.unique(labels[labels >= 0])
        skip = PER_CLASS["train"] if name == "validation" and part == used["train"] else 0
        rows = [np.flatnonzero(labels == label)[skip : skip + PER_CLASS[name]] for label in classes]
        chosen = np.sort(np.concatenate(rows)) if rows else np.zeros(0, int)
        if not len(chosen):
            raise UsageError(
                f"data set {dataset.name!r}: too few labelled samples in part {part!r} for checks"
            )
        arrays = {m: np.stack([column.read(int(i)) for i in chosen]) for m, column in columns.items()}
        parts[name] = Part([ids[i] for i in chosen], labels[chosen], arrays)
    return Miniature(
        f"{dataset.name}-few", parts, classes=dataset.classes, modalities=dataset.modalities,
        target=protocol.target, privileged=protocol.privileged, backbones=dataset.backbones, like=dataset,
    )  # fmt: skip
