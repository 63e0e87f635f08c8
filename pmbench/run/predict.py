"""Predictions of an exported model for new recordings, read as in training."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.dataset import Dataset
from ..contracts.modality import Modality
from ..contracts.protocol import Split
from ..contracts.samples import Files, Part, Sampling
from ..data.prepare import prepare
from ..errors import DataError, UsageError
from ..plugins import Registry
from .model import CARD, logits_of

if TYPE_CHECKING:
    import numpy as np


_FIELDS = ("file", "sha256", "dataset", "declaration", "inputs", "codecs", "sampling", "classes")


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an exported model; raises UsageError if `folder` holds none."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if missing := [name for name in _FIELDS if name not in card]:
            raise ValueError(f"{CARD} lacks {', '.join(missing)}")
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no exported model: {error}", "`pmbench export` writes one"
        ) from error
    return card


class _Recordings(Dataset):
    """Files without labels, as the test part of a data set."""

    name = "recordings"
    summary = source = licence = citation = "new recordings"
    splits = {"official": Split("train", "test")}  # noqa: RUF012
    default_protocol = "official"
    privileged = ()
    metrics = ("accuracy",)

    def __init__(self, card: Mapping[str, Any], known: Dataset, rows: Sequence[Sequence[Path]]) -> None:
        modalities = tuple(
            Modality(**{**values, "shape": tuple(values["shape"])}) for values in card["inputs"]
        )
        self._known, self._rows = known, rows
        self.__dict__.update(
            classes=tuple(card["classes"]),
            modalities=modalities,
            target=tuple(m.name for m in modalities),
            sampling=Sampling(**card["sampling"]) if card["sampling"] else Sampling(),
        )

    def read(self, source: Path) -> Iterator[tuple[str, Part]]:
        import numpy as np

        for name, rows in (("train", []), ("test", list(self._rows))):
            arrays = {}
            for n, modality in enumerate(self.modalities):
                paths = [row[n] for row in rows]
                as_arrays = Files(paths, partial(_array, shape=modality.shape), rows=True)
                arrays[modality.name] = self._known.files(modality.name, paths) or as_arrays
            labels = np.full(len(rows), -1, np.int64)
            yield name, Part([f"{name} {n}" for n in range(len(rows))], labels, arrays)


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An .npy file of exactly the modality's shape."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged head can raise almost any
        raise DataError(f"{path} is not an .npy file of numbers; expected shape {shape}") from error
    return array


def predict(
    folder: Path, rows: Sequence[Sequence[Path]], registry: Registry, *, workers: int = 0
) -> np.ndarray:
    """Class probabilities (N, K) of N recordings, each with a file for each input of the model.

    Files are read, stored and sampled, and clips averaged, as in training and test; for data sets that read
    no single files, they are .npy arrays as networks see them. The program runs in a process that can open it
    and these samples alone. Raises DataError for files that cannot be read.
    """
    import numpy as np

    card = read_card(folder)
    if card["file"] != "model.pt2":
        raise UsageError(f"{folder} holds an ONNX model", "run its infer.py, or export it as pt2")
    _check_files(rows, card["inputs"])
    known = registry.dataset(card["dataset"]) if card["declaration"] is not None else Dataset()
    dataset = _Recordings(card, known.declared(card["declaration"]), rows)
    with tempfile.TemporaryDirectory(prefix="pmbench-") as scratch:
        codec = "jpeg" if "jpeg" in card["codecs"].values() else "raw"
        try:
            prepared = prepare(dataset, Path(scratch), Path(scratch, "data"), workers=workers, codec=codec)
        except DataError as error:
            hint = f"{folder / 'README.md'} says what the model takes"
            if folders := [path for row in rows for path in row if path.is_dir()]:
                hint += f"; a folder is one clip of numbered images; for its files give {folders[0]}/*"
            raise DataError(error.message, hint) from error
        protocol = prepared.dataset.protocol("official")
        logits = logits_of(folder / card["file"], card["sha256"], prepared, protocol, dataset.target)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def _check_files(rows: Sequence[Sequence[Path]], inputs: Sequence[Mapping[str, Any]]) -> None:
    """Raises DataError for recordings that are missing, or folders of an input that is no clip."""
    for row in rows:
        for path, one in zip(row, inputs, strict=True):
            if not path.exists():
                raise DataError(f"{path} does not exist", f"give a file of {one['name']} for each recording")
            if path.is_dir() and one["kind"] != "clip":
                raise DataError(
                    f"{path} is a folder; expected a file of {one['name']} for each recording",
                    f"for its files give {path}/*",
                )
