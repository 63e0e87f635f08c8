"""Is there a person in a patch of a video frame? Sensor nodes on the ground are privileged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

from .tables import read_table

if TYPE_CHECKING:
    import numpy as np

RATE = 4_096  # hertz
SIDE = 64  # pixels of a patch
SENSORS = ("seismic", "acoustic")
PATCHES = ("id", "split", "label", "recording", "frame", "time", "x", "y", "person_x", "person_y")
NODES = ("node", "x", "y")


@dataclass(frozen=True)
class Patch:
    """One row of patches.csv: the patch's place in pixels, its time in seconds from the start of the
    recording, and the place of the person then in metres, None without one.
    """

    name: str
    split: str
    label: int
    recording: str
    frame: str
    time: float
    corner: tuple[int, int]
    person: tuple[float, float] | None


class Apg(pm.Dataset):
    """Patches of video frames with one second of the signals of one node, by a documented folder."""

    name = "apg"
    summary = "person in an image patch: seismic and acoustic nodes -> image (protocol only, own copy)"
    classes = ("no_person", "person")
    modalities = (
        pm.Modality("image", "image", (3, SIDE, SIDE), "8 bit", flip="mirror"),
        pm.Modality("sensors", "sequence", (2, RATE), "as recorded", grid="time"),
        pm.Modality("seismic", "sequence", (1, RATE), "as recorded", grid="time"),
        pm.Modality("acoustic", "sequence", (1, RATE), "as recorded", grid="time"),
    )
    splits: ClassVar = {"patch-64x64": pm.Split("train", "test")}
    target = ("image",)
    privileged = ("sensors",)
    default_protocol = "patch-64x64"
    metrics = ("accuracy", "f1", "mean_class_accuracy")
    backbones: ClassVar = {
        "image": "cnn2d-32",
        "sensors": "cnn1d-32",
        "seismic": "cnn1d-32",
        "acoustic": "cnn1d-32",
    }
    recipes: ClassVar = {
        "cgan/apg": pm.Recipe(
            optimizer="adam", lr=1e-3, weight_decay=0.0, epochs=50, batch_size=64, schedule="constant"
        )
    }
    notes = (
        "protocol only: data, split and counts of the paper are not public, so that no published number "
        "can be compared with results on this data",
    )
    licence = "on request from the U.S. Army Research Laboratory; your own copy; nothing is redistributed"
    source = "Army Research Laboratory, technical report of 2015 on the collection at Aberdeen Proving Ground"
    access = (
        "there is no public download; ask the authors of the report for the data, or use recordings of your "
        "own, and arrange them as the README of pmbench-apg says: patches.csv, nodes.csv, frames, seismic, "
        "acoustic"
    )
    citation = (
        "Nabritt, Damarla, Chatters: Personnel and Vehicle Data Collection at Aberdeen Proving Ground "
        "(APG) and its Distribution for Research, ARL 2015; Roheda, Riggan, Krim, Dai: Cross-Modality "
        "Distillation: A Case for Conditional Generative Adversarial Networks, ICASSP 2018, arXiv:1807.07682"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder as the README says."""
        import numpy as np

        found, nodes = patches(source / "patches.csv"), places(source / "nodes.csv")
        for part in ("train", "test"):
            rows = [patch for patch in found if patch.split == part]
            chosen = [node_of(patch, nodes) for patch in rows]
            windows = {
                sensor: [
                    (source / sensor / patch.recording / f"{node}.npy", patch.time)
                    for patch, node in zip(rows, chosen, strict=True)
                ]
                for sensor in SENSORS
            }
            images = [(source / "frames" / p.recording / p.frame, *p.corner) for p in rows]
            yield (
                part,
                pm.Part(
                    [patch.name for patch in rows],
                    np.array([patch.label for patch in rows], np.int64),
                    {
                        "image": pm.Files(images, image),
                        "sensors": pm.Files(list(zip(*windows.values(), strict=True)), signals),
                        **{s: pm.Files([(window,) for window in windows[s]], signals) for s in SENSORS},
                    },
                    [patch.recording for patch in rows],
                ),
            )


def node_of(patch: Patch, nodes: Mapping[str, tuple[float, float]]) -> str:
    """The node that a patch is paired with: the nearest to the person for one with a person, the farthest for
    one without. Of equally far ones, and where there is no person at all, the first by name.
    """
    if patch.person is None:
        return min(nodes)
    sign = 1 if patch.label else -1
    return min(sorted(nodes), key=lambda node: sign * math.dist(nodes[node], patch.person or (0, 0)))


def patches(path: Path) -> list[Patch]:
    """The rows of patches.csv; raises DataError with the line of a wrong one."""
    found = []
    for line, row in read_table(path, PATCHES):
        where = f"{path}, line {line}"
        if row["split"] not in ("train", "test") or row["label"] not in ("0", "1"):
            raise pm.DataError(
                f"{where}: split {row['split']!r}, label {row['label']!r}; expected train or test, and 1 "
                "for a person, else 0"
            )
        try:
            person = (float(row["person_x"]), float(row["person_y"])) if row["person_x"] else None
            corner = int(row["x"]), int(row["y"])
            time = float(row["time"])
        except ValueError as error:
            raise pm.DataError(f"{where}: {error}; expected pixels, seconds and metres") from error
        if person is None and row["label"] == "1":
            raise pm.DataError(f"{where}: a patch with a person needs person_x and person_y in metres")
        where_and_when = row["recording"], row["frame"], time
        found.append(Patch(row["id"], row["split"], int(row["label"]), *where_and_when, corner, person))
    return found


def places(path: Path) -> dict[str, tuple[float, float]]:
    """Node -> its place in metres, of nodes.csv."""
    try:
        return {row["node"]: (float(row["x"]), float(row["y"])) for _, row in read_table(path, NODES)}
    except ValueError as error:
        raise pm.DataError(f"{path}: {error}; expected metres") from error


def image(item: tuple[Path, int, int]) -> Iterator[np.ndarray]:
    """The patch, uint8 (64, 64, 3), that starts at x, y of a frame."""
    path, x, y = item
    patch = pm.media.pixels(path)[max(y, 0) : y + SIDE, max(x, 0) : x + SIDE]
    if patch.shape != (SIDE, SIDE, 3) or patch.dtype.name != "uint8":
        raise pm.DataError(
            f"{path}: the patch at {x}, {y} is {patch.shape} of {patch.dtype}; expected ({SIDE}, {SIDE}, "
            "3) of uint8",
            "the corner in patches.csv is the upper left one, in pixels of the frame",
        )
    yield patch


def signals(item: Sequence[tuple[Path, float]]) -> np.ndarray:
    """(C, 4096): one second around a time, of one signal a channel."""
    import numpy as np

    return np.stack([window(path, time) for path, time in item])


def window(path: Path, time: float) -> np.ndarray:
    """(4096,) float32: the second in whose middle `time` lies, of a signal (n,) at 4,096 hertz."""
    import numpy as np

    try:
        signal = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged head can raise almost any
        raise pm.DataError(f"{path} is not an .npy file of numbers: {error}") from error
    start = round((time - 0.5) * RATE)
    if signal.ndim != 1 or start < 0 or start + RATE > len(signal):
        raise pm.DataError(
            f"{path} has shape {signal.shape}; a second around {time:g} s needs the samples {start} to "
            f"{start + RATE}",
            f"expected (n,) at {RATE:,} hertz from the start of the recording",
        )
    return np.asarray(signal[start : start + RATE], np.float32)
