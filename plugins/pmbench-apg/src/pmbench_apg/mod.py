"""MOD: which of seven moving targets passes? By seismic signals; acoustic ones are privileged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

from .tables import read_table

if TYPE_CHECKING:
    import numpy as np

RATES: Mapping[str, int] = {"seismic": 100, "acoustic": 8_000}
"""Sensor -> samples a second."""
SECONDS = 2
COLUMNS = ("recording", "split", "label")


class Mod(pm.Dataset):
    """Windows of two seconds of recordings by a microphone and a geophone, by a documented folder."""

    name = "mod"
    summary = "7 kinds of moving targets: acoustic -> seismic signals (own copy, not the official packing)"
    classes = tuple(f"target-{number}" for number in range(7))
    modalities = (
        pm.Modality("seismic", "sequence", (1, SECONDS * RATES["seismic"]), "as recorded"),
        pm.Modality("acoustic", "sequence", (1, SECONDS * RATES["acoustic"]), "as recorded"),
    )
    splits: ClassVar = {"recordings": pm.Split("train", "test")}
    target = ("seismic",)
    privileged = ("acoustic",)
    default_protocol = "recordings"
    backbones: ClassVar = {"seismic": "cnn1d-32", "acoustic": "cnn1d-32"}
    notes = (
        "own split: the official packing and split are not read, so that no published number can be compared "
        "with results on this data",
    )
    licence = "see the page of its authors; your own copy; nothing is redistributed"
    source = "https://github.com/tomoyoshki/focal"
    access = (
        "the page has links to the data, whose packing pmbench does not read; arrange recordings as the "
        "README of pmbench-apg says: recordings.csv, acoustic, seismic"
    )
    citation = (
        "Liu, Kimura, Liu, Wang, Li, Diggavi, Srivastava, Abdelzaher: FOCAL: Contrastive Learning for "
        "Multimodal Time-Series Sensing Signals in Factorized Orthogonal Latent Space, NeurIPS 2023"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder as the README says. A recording has as many windows as both sensors fill."""
        import numpy as np

        if not (source / "recordings.csv").exists() and next(source.rglob("*.pt"), None):
            raise pm.DataError(
                f"{source} has no recordings.csv, but files .pt",
                "the packing of the authors is not read: the README of pmbench-apg says what is",
            )
        windows: dict[str, list[tuple[str, int, int]]] = {"train": [], "test": []}  # recording, number, label
        files: dict[tuple[str, str], Path] = {}
        for line, row in read_table(source / "recordings.csv", COLUMNS):
            if row["split"] not in windows or row["label"] not in map(str, range(len(self.classes))):
                raise pm.DataError(
                    f"{source / 'recordings.csv'}, line {line}: split {row['split']!r}, label "
                    f"{row['label']!r}; expected train or test, and 0 to {len(self.classes) - 1}"
                )
            name, label = row["recording"], int(row["label"])
            files |= {(sensor, name): _file(source / sensor, name) for sensor in RATES}
            seconds = min(len(signal(files[s, name], rate)) // rate for s, rate in RATES.items())
            windows[row["split"]] += [(name, number, label) for number in range(seconds // SECONDS)]
        for part, found in windows.items():
            yield (
                part,
                pm.Part(
                    [f"{name}-{number:04d}" for name, number, _ in found],
                    np.array([label for *_, label in found], np.int64),
                    {
                        sensor: pm.Files(
                            [(files[sensor, name], number) for name, number, _ in found],
                            partial(window, rate=rate),
                        )
                        for sensor, rate in RATES.items()
                    },
                    [name for name, *_ in found],
                ),
            )


def window(item: tuple[Path, int], rate: int) -> np.ndarray:
    """(1, 2 * rate) float32: window `number` of a recording."""
    import numpy as np

    path, number = item
    start = number * SECONDS * rate
    return np.asarray(signal(path, rate)[None, start : start + SECONDS * rate], np.float32)


def signal(path: Path, rate: int) -> np.ndarray:
    """The samples (n,) of a .wav file, as they are stored, or of an .npy file; raises DataError."""
    import numpy as np
    import scipy.io.wavfile

    try:
        if path.suffix == ".npy":
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            own, found = scipy.io.wavfile.read(path, mmap=True)
            if own != rate:
                raise pm.DataError(
                    f"{path} has {own:,} samples a second; expected {rate:,}",
                    "resample it, with a low-pass filter",
                )
    except pm.DataError:
        raise
    except Exception as error:  # a damaged head can raise almost any
        raise pm.DataError(f"{path} cannot be read: {error}", "expected .npy (n,), or .wav") from error
    if found.ndim != 1 or found.dtype.kind not in "iuf":
        raise pm.DataError(
            f"{path} has shape {found.shape} of {found.dtype}; expected (n,) numbers at {rate:,} a second",
            "give one channel",
        )
    return found


def _file(folder: Path, recording: str) -> Path:
    for path in (folder / f"{recording}.npy", folder / f"{recording}.wav"):
        if path.is_file():
            return path
    raise pm.DataError(
        f"{folder} has neither {recording}.npy nor {recording}.wav", "each recording needs both sensors"
    )
