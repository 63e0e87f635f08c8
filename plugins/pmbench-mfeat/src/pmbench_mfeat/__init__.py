"""Handwritten numerals (UCI Multiple Features): the image privileged, rotation-invariant features at test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

SHA256 = "47ed1e22f8f6a479430b2ed2433b9314295f434ab6ddbbddf96fa0f76421d2c4"
PER_CLASS = 200
TRAINING = 100  # the first of each class, in file order
_COMES_WITH = "comes with pmbench-mfeat as mfeat.npz; give that file, or nothing"


class Mfeat(pm.Dataset):
    """2,000 digits in six views of one image, 200 of each class; tested on Fourier coefficients."""

    name = "mfeat"
    summary = "10 handwritten digits: 16x15 image -> Fourier coefficients, which cannot tell 6 from 9"
    classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    modalities = (
        pm.Modality("pix", "image", (1, 16, 15), "inked pixels of a 2x3 block"),
        pm.Modality("fou", "vector", (76,), "Fourier coefficient of the shape"),
        pm.Modality("zer", "vector", (47,), "Zernike moment"),
        pm.Modality("mor", "vector", (6,), "morphological feature"),
        pm.Modality("kar", "vector", (64,), "Karhunen-Loeve coefficient"),
        pm.Modality("fac", "vector", (216,), "profile correlation"),
    )
    target = ("fou",)
    privileged = ("pix",)
    splits: ClassVar = {"fixed": pm.Split(train="train", test="test")}
    default_protocol = "few-10"
    backbones: ClassVar = {
        "pix": "cnn2d-16",
        **dict.fromkeys(("fou", "zer", "mor", "kar", "fac"), "mlp-64"),
    }
    expected: ClassVar = {"train": (TRAINING,) * 10, "test": (PER_CLASS - TRAINING,) * 10}
    licence = "CC BY 4.0"
    source = "https://doi.org/10.24432/C5HC70"
    citation = (
        "Duin: Multiple Features, UCI Machine Learning Repository, doi:10.24432/C5HC70; "
        "Jain, Duin, Mao: Statistical Pattern Recognition: A Review, TPAMI 22 (2000)"
    )
    access = _COMES_WITH

    def find_source(self) -> Path | None:
        path = Path(__file__).with_name("mfeat.npz")
        return path if path.is_file() else None

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: the mfeat.npz of this distribution."""
        import numpy as np

        views = _load(source)
        labels = views.pop("labels").astype(np.int64)
        place = np.arange(len(labels)) % PER_CLASS  # within the class
        for name, rows in (("train", place < TRAINING), ("test", place >= TRAINING)):
            yield (
                name,
                pm.Part(
                    ids=[f"d{labels[i]}-{place[i]:03d}" for i in np.flatnonzero(rows)],
                    labels=labels[rows],
                    arrays={
                        m.name: views[m.name][rows].astype(np.float32).reshape(-1, *m.shape)
                        for m in self.modalities
                    },
                ),
            )


class MfeatZer(Mfeat):
    """The same digits and split, tested on Zernike moments."""

    name = "mfeat-zer"
    summary = "10 handwritten digits: 16x15 image -> Zernike moments, which cannot tell 6 from 9"
    target = ("zer",)


def _load(source: Path) -> dict[str, np.ndarray]:
    """The arrays of mfeat.npz by name."""
    import hashlib

    import numpy as np

    try:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
    except OSError as error:
        raise pm.DataError(f"{source} cannot be read: {error}", _COMES_WITH) from error
    if digest != SHA256:
        raise pm.DataError(
            f"{source} has SHA-256 {digest[:12]}..., expected {SHA256[:12]}...: damaged, or another file",
            _COMES_WITH,
        )
    with np.load(source, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Mfeat(), MfeatZer())
