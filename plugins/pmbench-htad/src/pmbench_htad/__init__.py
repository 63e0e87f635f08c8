"""Home tasks (HTAD): wrist accelerometer privileged, sound at test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

SHA256 = "eedeef7290720759a6e4851c18eb6bc93cfc839f563098d5f1588a4e3dc47bce"
CHUNKS = 10  # of the training rows of a class, in file order
VALIDATION_CHUNKS = (8, 9)
CLASSES = ("brush_teeth", "eat_chips", "mop_floor", "sweep", "type_on_keyboard", "wash_hands", "watch_tv")
PREFIXES = {"audio": "v1_", "accel": "v2_"}


class Htad(pm.Dataset):
    """1,386 segments of recordings at home, seven tasks, a vector of features for each sensor."""

    name = "htad"
    summary = "7 tasks at home: wrist accelerometer -> sound (research and education only)"
    classes = CLASSES
    modalities = (
        pm.Modality("audio", "vector", (36,), "mel-frequency cepstral coefficient"),
        pm.Modality("accel", "vector", (16,), "statistic of the acceleration"),
    )
    target = ("audio",)
    privileged = ("accel",)
    splits: ClassVar = {
        "block": pm.Split(
            train="block-train",
            test="block-test",
            validation_groups=tuple(f"{c}-{k}" for c in CLASSES for k in VALIDATION_CHUNKS),
        ),
        "random": pm.Split(train="random-train", test="random-test"),
    }
    default_protocol = "few-10"
    backbones: ClassVar = {"audio": "mlp-64", "accel": "mlp-64"}
    expected: ClassVar = {
        "block-train": (108, 169, 108, 106, 107, 108, 123),
        "block-test": (72, 113, 73, 72, 72, 72, 83),
        "random-train": (90, 141, 91, 89, 90, 90, 103),
        "random-test": (90, 141, 90, 89, 89, 90, 103),
    }
    licence = "research and education; competitions and commerce need permission; not redistributed here"
    source = "https://pypi.org/project/multiviewstacking/0.7.5/"
    citation = (
        "Garcia-Ceja et al.: HTAD: A Home-Tasks Activities Dataset with Wrist-Accelerometer and Audio "
        "Features, MMM 2021, doi:10.1007/978-3-030-67835-7_17"
    )
    access = "comes with the package multiviewstacking==0.7.5; or give its htad.csv"

    def find_source(self) -> Path | None:
        from importlib.util import find_spec

        spec = find_spec("multiviewstacking")  # finds it without importing it
        for folder in spec.submodule_search_locations or () if spec else ():
            path = Path(folder) / "data" / "htad.csv"
            if path.is_file():
                return path
        return None

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: htad.csv."""
        import numpy as np

        labels, arrays = _load(source)
        earlier, chunks = block_split(labels)
        drawn = random_half(labels)
        parts = {
            "block-train": earlier,
            "block-test": ~earlier,
            "random-train": drawn,
            "random-test": ~drawn,
        }
        for name, chosen in parts.items():
            rows = np.flatnonzero(chosen)
            split = name.partition("-")[0]
            yield (
                name,
                pm.Part(
                    ids=[f"{split}-r{row:04d}" for row in rows],
                    labels=labels[rows],
                    arrays={modality: values[rows] for modality, values in arrays.items()},
                    groups=[chunks[row] for row in rows] if split == "block" else None,
                ),
            )


def block_split(labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Whether each row is among the first 60 % of its class in file order, and the name of its chunk.

    Ten chunks of neighbouring rows make up the training rows of a class; its test rows are one more.
    """
    import numpy as np

    earlier = np.zeros(len(labels), bool)
    chunks = [""] * len(labels)
    for label, name in enumerate(CLASSES):
        rows = np.flatnonzero(labels == label)
        count = len(rows) * 3 // 5
        earlier[rows[:count]] = True
        for place, row in enumerate(rows):
            chunks[row] = f"{name}-{place * CHUNKS // count}" if place < count else f"{name}-test"
    return earlier, chunks


def random_half(labels: np.ndarray) -> np.ndarray:
    """Whether each row is in the (larger) half of its class that comes first by the SHA-256 of its number."""
    import hashlib

    import numpy as np

    drawn = np.zeros(len(labels), bool)
    for label in range(len(CLASSES)):
        rows = sorted(
            np.flatnonzero(labels == label).tolist(),
            key=lambda row: hashlib.sha256(b"htad %d" % row).digest(),
        )
        drawn[rows[: (len(rows) + 1) // 2]] = True
    return drawn


def _load(source: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels (N,) and features by modality (N, D), in file order."""
    import csv
    import hashlib

    import numpy as np

    try:
        raw = source.read_bytes()
    except OSError as error:
        raise pm.DataError(f"{source} cannot be read: {error}", "give htad.csv") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != SHA256:
        raise pm.DataError(
            f"{source} has SHA-256 {digest[:12]}..., expected {SHA256[:12]}...: damaged, or another file",
            "reinstall multiviewstacking==0.7.5",
        )
    rows = list(csv.DictReader(raw.decode("latin-1").splitlines()))
    labels = np.array([CLASSES.index(row["class"]) for row in rows])
    arrays = {
        modality: np.array(
            [[float(value) for column, value in row.items() if column.startswith(prefix)] for row in rows],
            np.float32,
        )
        for modality, prefix in PREFIXES.items()
    }
    return labels, arrays


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Htad(),)
