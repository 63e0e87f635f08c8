"""The prepared form of a data set: one file per modality and part, labels apart, digests in a manifest."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..contracts.dataset import Dataset
from ..contracts.modality import Modality
from ..contracts.protocol import Protocol, Split
from ..contracts.samples import Column, Corruption, CropParams, Sampling
from ..errors import DataError, plural
from ..files import file_digest
from ..store.keys import digests_of

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 2
"""Version of the layout. Raise it with every change, so that older data is prepared again."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set. Methods that take a part also take several joined, as in "a+b"."""

    dataset: Dataset
    folder: Path
    manifest: Mapping[str, Any]

    def missing(self, part: str, modality: str) -> int:
        """Number of samples of a part that lack a modality."""
        return sum(self._entry(p, modality).get("missing", 0) for p in part.split("+"))

    @property
    def lacks(self) -> list[str]:
        """Descriptions of missing samples and files; empty if the source was complete."""
        return self.manifest.get("lacks", [])

    def count(self, part: str) -> int:
        """Number of samples of a part."""
        return sum(self.manifest["parts"][p]["count"] for p in part.split("+"))

    @property
    def notes(self) -> list[str]:
        """What reading changed and what it guessed, a line each."""
        return self.manifest.get("notes", [])

    @property
    def duplicates(self) -> str:
        """Samples with equal contents in several parts, groups or modalities, in words; or empty."""
        return self.manifest.get("duplicates", "")

    def codec(self, part: str, modality: str) -> str:
        """How frames are stored: "jpeg" or "raw"; empty for a modality that is not stored as frames."""
        from .frames import Frames  # imports numpy

        path = self.path(part.partition("+")[0], modality)
        return Frames(path).codec if path.suffix == ".arrow" else ""

    def class_counts(self, split: Split) -> dict[str, np.ndarray]:
        """Labelled samples of each class (K,) for training, validation and test."""
        from .carve import class_counts  # imports numpy

        def part(name: str) -> tuple[list[str], list[str] | None, np.ndarray]:
            return *self.index(name), self.labels(name)

        return class_counts(self.dataset.name, split, part, len(self.dataset.classes))

    @property
    def fingerprint(self) -> dict[str, dict[str, str]]:
        """part -> file (a modality, "labels", "index") -> SHA-256."""
        return {
            part: {name: file["sha256"] for name, file in entry["files"].items()}
            for part, entry in self.manifest["parts"].items()
        }

    def digests(self, part: str, names: tuple[str, ...]) -> dict[str, str]:
        """file (a modality, "labels", "index") -> SHA-256, of a part."""
        return digests_of(self.fingerprint, part, names)

    def path(self, part: str, name: str) -> Path:
        """File of a modality, "labels" or "index" of a single part."""
        return self.folder / self._entry(part, name)["file"]

    def files(self, part: str, names: tuple[str, ...]) -> list[Path]:
        """Files of a part: modalities, "labels" or "index"."""
        return [self.path(p, name) for p in part.split("+") for name in names]

    def index(self, part: str) -> tuple[list[str], list[str] | None]:
        """Sample ids, and groups or None; raises DataError if some of the joined parts have groups only."""
        ids: list[str] = []
        groups: list[str] = []
        for p in part.split("+"):
            content = json.loads(self.checked(p, "index").read_text(encoding="utf-8"))
            ids += content["ids"]
            groups += content["groups"] or []
        if len(groups) not in (0, len(ids)):
            raise DataError(
                f"data set {self.dataset.name!r}: of {part!r}, some parts have groups and others none",
                "this is a defect of the data set plugin; either all joined parts have groups, or none",
            )
        return ids, groups or None

    def attack_types(self, part: str) -> list[str] | None:
        """Kind of attack of each sample; None unless all joined parts have them."""
        found = [json.loads(self.checked(p, "index").read_text(encoding="utf-8")) for p in part.split("+")]
        if not all("attack_types" in content for content in found):
            return None
        return [kind for content in found for kind in content["attack_types"]]

    def labels(self, part: str) -> np.ndarray:
        """Class indices (N,), int64; -1 for a sample without label."""
        import numpy as np

        return np.concatenate(
            [np.load(self.checked(p, "labels"), allow_pickle=False) for p in part.split("+")]
        )

    def column(self, part: str, name: str, protocol: Protocol | None = None) -> Column:
        """One modality of a part, as the protocol (by default the data set's) samples and corrupts it.

        Raises DataError if a file is missing or its digest differs.
        """
        protocol = protocol or self.dataset.protocol(self.dataset.default_protocol)
        modality, sampling = protocol.seen(self.dataset.modality(name)), protocol.sampling
        corruption = protocol.corruption_of(name)
        return concat_columns(
            [open_column(self.checked(p, name), modality, sampling, corruption, p) for p in part.split("+")]
        )

    def complete(self, part: str, names: Sequence[str]) -> np.ndarray:
        """(n,) positions of the samples of a part that have all of these modalities."""
        import numpy as np

        masks = [self.column(part, name).present for name in names]
        every = np.ones(self.count(part), bool)
        return np.flatnonzero(np.logical_and.reduce([every, *(m for m in masks if m is not None)]))

    def _entry(self, part: str, name: str) -> dict[str, Any]:
        return self.manifest["parts"][part]["files"][name]

    def checked(self, part: str, name: str) -> Path:
        """The file, after a check of its digest; a frames file with unchanged size and time is trusted."""
        entry = self._entry(part, name)
        path = self.path(part, name)
        try:
            stat = path.stat()
            if (stat.st_size, stat.st_mtime_ns) == (entry["bytes"], entry.get("mtime_ns")):
                return path
            found = _digest_once(path, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}", self._again()) from error
        if found != entry["sha256"]:
            raise DataError(
                f"{path} is damaged: {stat.st_size} bytes with SHA-256 {found[:12]}..., "
                f"expected {entry['bytes']} bytes with {entry['sha256'][:12]}...",
                self._again(),
            )
        return path

    def _again(self) -> str:
        return f"delete {self.folder} and run `pmbench data prepare {self.dataset.name}` again"


def open_column(
    path: Path, modality: Modality, sampling: Sampling | None, corruption: Corruption | None, part: str
) -> Column:
    """The column of a part's file; raises DataError if its samples are not of the modality's shape."""
    if corruption is None:
        return _column(path, modality, sampling)
    return _corrupted(path, path.stat().st_mtime_ns, modality, sampling, corruption, part)


@functools.lru_cache(maxsize=8)
def _corrupted(
    path: Path,
    mtime_ns: int,
    modality: Modality,
    sampling: Sampling | None,
    corruption: Corruption,
    part: str,
) -> Column:
    from .corruption import corrupted

    return corrupted(_column(path, modality, sampling), corruption, f"{part}/{modality.name}")


def _column(path: Path, modality: Modality, sampling: Sampling | None) -> Column:
    import numpy as np

    if path.suffix == ".arrow":
        from .frames import FramesColumn

        return FramesColumn.open(path, modality, sampling)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape[1:] != modality.shape:
        raise DataError(
            f"{path} holds samples of shape {array.shape[1:]}, {modality.name!r} is of {modality.shape}",
            "arrays are not sampled: clips that a protocol samples must be given as files",
        )
    present = ~np.isnan(array[(slice(None), *[0] * (array.ndim - 1))])
    return Column(len(array), array, None if present.all() else present)


def concat_columns(columns: list[Column]) -> Column:
    """The columns of several parts, concatenated along their samples."""
    import numpy as np

    if len(columns) == 1:
        return columns[0]
    present = None
    if any(c.present is not None for c in columns):
        present = np.concatenate(
            [np.ones(c.length, bool) if c.present is None else c.present for c in columns]
        )
    arrays = [c.array for c in columns if c.array is not None]
    array = cast("np.ndarray", ConcatArray(arrays)) if len(arrays) == len(columns) else None
    return ConcatColumn(sum(c.length for c in columns), array, present, tuple(columns))


class ConcatArray:
    """Arrays concatenated along axis 0 without a copy: they may be large memory-mapped files."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        import numpy as np

        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])
        self.shape = (int(self._ends[-1]), *arrays[0].shape[1:])
        self.dtype = np.result_type(*arrays)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        import numpy as np

        numbers = np.searchsorted(self._ends, rows, side="right")  # of the array that holds each row
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for number in np.unique(numbers):
            mask, array = numbers == number, self._arrays[number]
            found[mask] = array[rows[mask] - (self._ends[number] - len(array))]
        return found


@dataclass(frozen=True)
class ConcatColumn(Column):
    """Columns concatenated along their samples, for `concat_columns`."""

    columns: tuple[Column, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.columns[0].shape

    def read(self, index: int, crop: CropParams = CropParams()) -> np.ndarray:  # noqa: B008
        for column in self.columns:
            if index < column.length:
                return column.read(index, crop)
            index -= column.length
        raise IndexError(index)


@functools.lru_cache(maxsize=256)
def _digest_once(path: Path, size: int, modified: int) -> str:
    return file_digest(path)


def data_folder(dataset: Dataset, root: Path) -> Path:
    return root / f"{re.sub('[/:]', '-', dataset.name)}-v{dataset.version}"


def open_prepared(dataset: Dataset, root: Path) -> Prepared:
    """The prepared form under `root`; raises DataNotPrepared, or DataError where its manifest is damaged."""
    folder = data_folder(dataset, root)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["dataset"] != dataset.name:
            raise ValueError(f"data set {manifest['dataset']!r}")
        if manifest["schema"] != SCHEMA:
            raise dataset.not_prepared(root, f"found schema {manifest['schema']}, expected {SCHEMA}")
        indexes = {
            part: folder / entry["files"]["index"]["file"] for part, entry in manifest["parts"].items()
        }
    except FileNotFoundError:
        raise dataset.not_prepared(root) from None
    except NotADirectoryError as error:
        raise DataError(
            f"{error.filename} cannot be a folder of prepared data", "choose another with --data"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder / 'manifest.json'} is not a manifest of data set {dataset.name!r}: {error}",
            f"delete {folder} and run `pmbench data prepare {dataset.name}` again",
        ) from error
    if manifest.get("declared") is not None:
        dataset = dataset.declared(manifest["declared"])
    prepared = Prepared(dataset, folder, manifest)
    _check_disjoint(prepared, indexes)
    return prepared


def _check_disjoint(prepared: Prepared, indexes: Mapping[str, Path]) -> None:
    """Raises DataError if two parts of a split share an id."""
    dataset = prepared.dataset
    pairs = {(s.train, other) for s in dataset.splits.values() for other in (s.test, s.validation) if other}
    pairs |= {(s.validation, s.test) for s in dataset.splits.values() if s.validation}
    ids: dict[str, set[str]] = {}
    for first, second in sorted(pairs):
        for part in (first, second):
            if absent := [p for p in part.split("+") if p not in indexes]:
                raise DataError(
                    f"data set {dataset.name!r} has no part {absent[0]!r}; its parts: {', '.join(indexes)}",
                    f"if the plugin changed: `pmbench data prepare {dataset.name} --force`; "
                    "otherwise a split names a part that the plugin does not offer",
                )
            if part not in ids:
                ids[part] = {i for p in part.split("+") for i in _ids(prepared, indexes[p])}
        if shared := ids[first] & ids[second]:
            raise DataError(
                f"data set {dataset.name!r}: {plural(len(shared), 'sample is', 'samples are')} in both "
                f"{first!r} and {second!r}, for example {min(shared)!r}",
                "this is a defect of the data set plugin; a sample belongs to one of them",
            )


def _ids(prepared: Prepared, path: Path) -> set[str]:
    try:
        return set(json.loads(path.read_text(encoding="utf-8"))["ids"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}", prepared._again()) from error


def damaged(prepared: Prepared) -> list[Path]:
    """Files that are missing or whose digest differs from the manifest."""
    entries = [file for part in prepared.manifest["parts"].values() for file in part["files"].values()]
    paths = {prepared.folder / file["file"]: file["sha256"] for file in entries}
    return [path for path, expected in paths.items() if not path.is_file() or file_digest(path) != expected]


def verify(dataset: Dataset, root: Path) -> list[dict[str, Any]]:
    """Rows {part, what, expected, found, ok}, one per file and per declared count; raises DataNotPrepared."""
    prepared = open_prepared(dataset, root)
    rows: list[dict[str, Any]] = []

    def row(part: str, quantity: str, expected: object, found: object) -> None:
        rows.append(
            {"part": part, "what": quantity, "expected": expected, "found": found, "ok": expected == found}
        )

    parts = prepared.manifest["parts"]
    for part, expected in dataset.expected.items():
        found = [parts[p] for p in part.split("+") if p in parts]
        if len(found) != len(part.split("+")):
            row(part, "samples", expected, "missing")
        elif isinstance(expected, tuple):
            by_class = [sum(counts) for counts in zip(*(entry["classes"] for entry in found), strict=True)]
            row(part, "samples by class", list(expected), by_class)
        else:
            row(part, "samples", expected, sum(entry["count"] for entry in found))
    for part, entry in parts.items():
        for name, file in entry["files"].items():
            path = prepared.folder / file["file"]
            row(part, f"{name} SHA-256", file["sha256"], file_digest(path) if path.exists() else "missing")
    return rows
