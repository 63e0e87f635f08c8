"""Readers of features: one .npy file (T, D) for each utterance and modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pmbench as pm

from .release import Utterance

if TYPE_CHECKING:
    import numpy as np

FEATURES = "features"


def files(source: Path, modality: str, utterances: Sequence[Utterance]) -> list[Path]:
    """Where the features of a modality lie; raises DataError unless all are there."""
    folder = source / FEATURES / modality
    here = {path.name for path in folder.glob("*.npy")}
    absent = [one.name for one in utterances if f"{one.name}.npy" not in here]
    if absent:
        raise pm.DataError(
            f"{folder} lacks {len(absent):,} of {len(utterances):,} utterances, for example {absent[0]}.npy",
            f"`python -m pmbench_iemocap.features {source}` writes those that are not there; or bring your "
            "own, (T, D) each",
        )
    return [folder / f"{one.name}.npy" for one in utterances]


def sequence(path: Path, width: int, steps: int) -> np.ndarray:
    """(width, steps) float32: the first `steps` of the features (T, width), or all of them and then zeros."""
    import numpy as np

    found = _opened(path)
    check_width(found, path, width)
    cut = np.asarray(found[:steps], np.float32).T
    if not np.isfinite(cut).all():
        raise pm.DataError(f"{path} holds values that are not finite", "write it again")
    return np.pad(cut, ((0, 0), (0, steps - cut.shape[1])))


def lengths(paths: Sequence[Path], width: int) -> list[int]:
    """Steps T of each file; files that cannot be read are left out. Raises DataError for another width."""
    found = []
    for path in paths:
        try:
            array = _opened(path)
        except pm.DataError:
            continue  # reading tells
        check_width(array, path, width)
        found.append(len(array))
    return found


def check_width(array: np.ndarray, path: Path, width: int) -> None:
    """Raises DataError unless an array is (T, width), T from 1 on."""
    if array.ndim == 2 and array.shape[1] == width and len(array):
        return
    hint = f"these are features of another model; {width} values a step are expected of {path.parent.name}"
    if array.ndim == 2 and len(array) == width:
        hint = "steps are the first axis: transpose it"
    raise pm.DataError(f"{path} has shape {array.shape}; expected (T, {width})", hint)


def _opened(path: Path) -> np.ndarray:
    import numpy as np

    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged head can raise almost any
        raise pm.DataError(f"{path} is not an .npy file of numbers: {error}", "write it again") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise pm.DataError(f"{path} is not an .npy file of numbers", "write it again")
    return found
