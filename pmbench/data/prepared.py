"""The ready-to-train form of a data set: one file per modality and part, labels apart, all digests in a
manifest.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..contracts.dataset import Dataset
from ..contracts.modality import Modality
from ..contracts.protocol import Protocol
from ..contracts.samples import Column, CropParams, Sampling
from ..errors import DataError
from ..files import file_digest
from ..store.keys import digests_of

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 2
"""Layout of the prepared form. Raise it with every change, so that older data is prepared anew."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set on this machine."""

    dataset: Dataset
    folder: Path
    manifest: Mapping[str, Any]

    def missing(self, part: str, modality: str) -> int:
        """Samples of a part that lack a modality."""
        return sum(self._entry(one, modality).get("missing", 0) for one in part.split("+"))

    @property
    def lacks(self) -> list[str]:
        """Where an incomplete source was taken, how much of it there is."""
        return self.manifest.get("lacks", [])

    def count(self, part: str) -> int:
        """Samples of a part, or of several: "a+b"."""
        return sum(self.manifest["parts"][one]["count"] for one in part.split("+"))

    @property
    def fingerprint(self) -> dict[str, dict[str, str]]:
        """part -> file (a modality, "labels", "index") -> SHA-256."""
        return {
            part: {name: file["sha256"] for name, file in entry["files"].items()}
            for part, entry in self.manifest["parts"].items()
        }

    def digests(self, part: str, names: tuple[str, ...]) -> dict[str, str]:
        """file (a modality, "labels", "index") -> SHA-256, for a part or several."""
        return digests_of(self.fingerprint, part, names)

    def path(self, part: str, name: str) -> Path:
        """The file of a modality, "labels" or "index" of one part."""
        return self.folder / self._entry(part, name)["file"]

    def files(self, part: str, names: tuple[str, ...]) -> list[Path]:
        return [self.path(one, name) for one in part.split("+") for name in names]

    def index(self, part: str) -> tuple[list[str], list[str] | None]:
        """Sample ids and, where there are any, groups."""
        ids: list[str] = []
        groups: list[str] = []
        for one in part.split("+"):
            content = json.loads(self._checked(one, "index").read_text(encoding="utf-8"))
            ids += content["ids"]
            groups += content["groups"] or []
        if len(groups) not in (0, len(ids)):
            raise DataError(
                f"data set {self.dataset.name!r}: of {part!r}, some parts have groups and others none",
                "this is a defect of the data set plugin; parts that are joined all have them, or none",
            )
        return ids, groups or None

    def labels(self, part: str) -> np.ndarray:
        """(N,) int64, -1 where there is no label."""
        import numpy as np

        return np.concatenate(
            [np.load(self._checked(one, "labels"), allow_pickle=False) for one in part.split("+")]
        )

    def column(self, part: str, name: str, protocol: Protocol | None = None) -> Column:
        """One modality of one part, clips as the protocol samples them; its files are checked against their
        digests first.
        """
        protocol = protocol or self.dataset.protocol(self.dataset.default_protocol)
        modality = protocol.seen(self.dataset.modality(name))
        return concat_columns([self._column(one, modality, protocol.sampling) for one in part.split("+")])

    def complete(self, part: str, names: Sequence[str]) -> np.ndarray:
        """Which samples of a part have all of these modalities: their numbers."""
        import numpy as np

        masks = [self.column(part, name).present for name in names]
        whole = np.ones(self.count(part), bool)
        return np.flatnonzero(np.logical_and.reduce([whole, *(m for m in masks if m is not None)]))

    def _column(self, part: str, modality: Modality, sampling: Sampling | None) -> Column:
        import numpy as np

        path = self._checked(part, modality.name)
        if path.suffix == ".arrow":
            from .frames import FramesColumn

            return FramesColumn.open(path, modality, sampling)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.shape[1:] != modality.shape:
            raise DataError(
                f"{path} holds samples of shape {array.shape[1:]}, {modality.name!r} is of {modality.shape}",
                "arrays are not sampled: a data set whose clips a protocol samples gives files",
            )
        present = None
        if self.missing(part, modality.name):
            present = ~np.isnan(array.reshape(len(array), -1)[:, 0])
        return Column(len(array), array, present)

    def _entry(self, part: str, name: str) -> dict[str, Any]:
        return self.manifest["parts"][part]["files"][name]

    def _checked(self, part: str, name: str) -> Path:
        """The file, after a look at its digest; one of gigabytes is trusted while its size and time are what
        they were when it was written.
        """
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


def concat_columns(columns: list[Column]) -> Column:
    """The columns of several parts as one."""
    import numpy as np

    if len(columns) == 1:
        return columns[0]
    present = None
    if any(c.present is not None for c in columns):
        present = np.concatenate(
            [np.ones(c.length, bool) if c.present is None else c.present for c in columns]
        )
    arrays = [c.array for c in columns if c.array is not None]
    whole = cast("np.ndarray", ConcatArray(arrays)) if len(arrays) == len(columns) else None
    return ConcatColumn(sum(c.length for c in columns), whole, present, tuple(columns))


class ConcatArray:
    """Arrays concatenated along axis 0, without a copy: they may be memory-mapped files of gigabytes."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        import numpy as np

        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])
        self.shape = (int(self._ends[-1]), *arrays[0].shape[1:])
        self.dtype = np.result_type(*arrays)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        import numpy as np

        which = np.searchsorted(self._ends, rows, side="right")  # array of each row; raises behind the last
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for number in np.unique(which):
            mine, array = which == number, self._arrays[number]
            found[mine] = array[rows[mine] - (self._ends[number] - len(array))]
        return found


@dataclass(frozen=True)
class ConcatColumn(Column):
    """Columns concatenated along their samples."""

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
    return root / f"{dataset.name.replace('/', '-')}-v{dataset.version}"


def open_prepared(dataset: Dataset, root: Path) -> Prepared:
    """The prepared form under `root`; raises DataNotPrepared, or DataError where its manifest is damaged."""
    folder = data_folder(dataset, root)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["dataset"] != dataset.name:
            raise ValueError(f"data set {manifest['dataset']!r}")
        if manifest["schema"] != SCHEMA:
            raise dataset.not_prepared(root, f"schema {manifest['schema']} is there, {SCHEMA} is needed")
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
    """No id may be in both the training or validation part and the test part of a split."""
    dataset = prepared.dataset
    wanted = {(s.train, other) for s in dataset.splits.values() for other in (s.test, s.validation) if other}
    wanted |= {(s.validation, s.test) for s in dataset.splits.values() if s.validation}
    ids: dict[str, set[str]] = {}
    for first, second in sorted(wanted):
        for part in (first, second):
            if absent := [one for one in part.split("+") if one not in indexes]:
                raise DataError(
                    f"data set {dataset.name!r} has no part {absent[0]!r}; its parts: {', '.join(indexes)}"
                )
            if part not in ids:
                ids[part] = {i for one in part.split("+") for i in _ids(prepared, indexes[one])}
        if shared := ids[first] & ids[second]:
            raise DataError(
                f"data set {dataset.name!r}: {len(shared)} samples are in both {first!r} and {second!r}, "
                f"for example {min(shared)!r}",
                "this is a defect of the data set plugin; a sample belongs to one of them",
            )


def _ids(prepared: Prepared, path: Path) -> set[str]:
    try:
        return set(json.loads(path.read_text(encoding="utf-8"))["ids"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}", prepared._again()) from error


def damaged(prepared: Prepared) -> list[Path]:
    """Files that are missing or not what the manifest says."""
    entries = [file for part in prepared.manifest["parts"].values() for file in part["files"].values()]
    paths = {prepared.folder / file["file"]: file["sha256"] for file in entries}
    return [path for path, expected in paths.items() if not path.is_file() or file_digest(path) != expected]


def verify(dataset: Dataset, root: Path) -> list[dict[str, Any]]:
    """One row a file and a count: {part, what, expected, found, ok}. Raises DataNotPrepared."""
    prepared = open_prepared(dataset, root)
    rows: list[dict[str, Any]] = []

    def row(part: str, what: str, expected: object, found: object) -> None:
        rows.append(
            {"part": part, "what": what, "expected": expected, "found": found, "ok": expected == found}
        )

    parts = prepared.manifest["parts"]
    for part, expected in dataset.expected.items():
        found = [parts[one] for one in part.split("+") if one in parts]
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
