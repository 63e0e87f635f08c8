"""The ready-to-train form of a data set: one file per modality and part, labels apart, all digests in a
manifest.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..contracts.dataset import Column, Dataset, Part
from ..errors import DataError, DataNotPrepared
from ..files import explain, folder_atomic, write_json
from .identity import file_digest

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 1


@dataclass(frozen=True)
class Prepared:
    """A prepared data set on this machine."""

    dataset: Dataset
    folder: Path
    manifest: Mapping[str, Any]

    def count(self, part: str) -> int:
        """Samples of a part."""
        return self.manifest["parts"][part]["count"]

    @property
    def fingerprint(self) -> dict[str, dict[str, str]]:
        """part -> file (a modality, "labels", "index") -> SHA-256."""
        return {
            part: {name: file["sha256"] for name, file in entry["files"].items()}
            for part, entry in self.manifest["parts"].items()
        }

    def path(self, part: str, name: str) -> Path:
        return self.folder / self.manifest["parts"][part]["files"][name]["file"]

    def files(self, part: str, names: tuple[str, ...]) -> list[Path]:
        return [self.path(part, name) for name in names]

    def index(self, part: str) -> tuple[list[str], list[str] | None]:
        """Sample ids and, where there are any, groups."""
        content = json.loads(self._checked(part, "index").read_text(encoding="utf-8"))
        return content["ids"], content["groups"]

    def labels(self, part: str) -> np.ndarray:
        """(N,) int64, -1 where there is no label."""
        import numpy as np

        return np.load(self._checked(part, "labels"), allow_pickle=False)

    def column(self, part: str, modality: str) -> Column:
        """One modality of one part; the file is checked against its digest first."""
        import numpy as np

        array = np.load(self._checked(part, modality), mmap_mode="r", allow_pickle=False)
        return Column(len(array), array)

    def _checked(self, part: str, name: str) -> Path:
        path = self.path(part, name)
        entry = self.manifest["parts"][part]["files"][name]
        try:
            stat = path.stat()
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


@functools.lru_cache(maxsize=256)
def _digest_once(path: Path, size: int, modified: int) -> str:
    return file_digest(path)


def data_folder(dataset: Dataset, root: Path) -> Path:
    return root / f"{dataset.name}-v{dataset.version}"


def open_prepared(dataset: Dataset, root: Path) -> Prepared:
    """The prepared form under `root`; raises DataNotPrepared, or DataError where its manifest is damaged."""
    folder = data_folder(dataset, root)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA or manifest["dataset"] != dataset.name:
            raise ValueError(f"schema {manifest['schema']}, data set {manifest['dataset']!r}")
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
            if part not in indexes:
                raise DataError(
                    f"data set {dataset.name!r} has no part {part!r}; its parts: {', '.join(indexes)}"
                )
            if part not in ids:
                ids[part] = _ids(prepared, indexes[part])
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


def find_or_prepare(dataset: Dataset, root: Path) -> Prepared:
    """The prepared form; an embedded data set is prepared on first use."""
    try:
        return open_prepared(dataset, root)
    except DataNotPrepared:
        source = dataset.find_source()
        if source is None:
            raise
        return prepare(dataset, source, root)


def prepare(
    dataset: Dataset, source: Path, root: Path, report: Callable[[str, int], None] = lambda part, count: None
) -> Prepared:
    """Reads the official form at `source`, checks it, and writes the prepared form under `root`.

    Safe to call again and from several processes: what is whole stays, what is not is written anew. `report`
    is called with each part's name and number of samples once it is written.
    """
    if not source.exists():
        raise DataError(
            f"{source} does not exist", f"give the official form of {dataset.name}: {dataset.source}"
        )
    folder = data_folder(dataset, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(error, root) from error
    with FileLock(root / f".{folder.name}.lock"):
        try:
            prepared = open_prepared(dataset, root)
            if not _damaged(prepared):
                return prepared
        except (DataNotPrepared, DataError):
            pass
        with folder_atomic(folder) as temporary:
            parts = {}
            for name, part in dataset.read(source):
                if name in parts:
                    raise DataError(f"data set {dataset.name!r} gives part {name!r} twice")
                check_part(dataset, name, part)
                parts[name] = _write_part(temporary, name, part, len(dataset.classes))
                report(name, len(part.ids))
            check_counts(dataset, parts)
            write_json(
                temporary / "manifest.json",
                {"schema": SCHEMA, "dataset": dataset.name, "version": dataset.version, "parts": parts},
            )
    return open_prepared(dataset, root)


def check_part(dataset: Dataset, name: str, part: Part) -> None:
    """Raises DataError unless a part has what the data set declares: shapes, labels, finite numbers, unique
    ids.
    """
    import numpy as np

    where = f"data set {dataset.name!r}, part {name!r}"
    count = len(part.ids)
    if len(set(part.ids)) != count:
        seen: set[str] = set()
        twice = next(i for i in part.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise DataError(f"{where}: id {twice!r} occurs more than once")
    if part.labels.shape != (count,) or (part.groups is not None and len(part.groups) != count):
        raise DataError(f"{where}: {count} ids, labels of shape {part.labels.shape}; expected one a sample")
    if part.labels.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {part.labels.dtype}; expected whole numbers")
    if count and not (part.labels.min() >= -1 and part.labels.max() < len(dataset.classes)):
        raise DataError(
            f"{where}: labels from {part.labels.min()} to {part.labels.max()}; "
            f"expected -1 or 0 to {len(dataset.classes) - 1}"
        )
    for modality in dataset.modalities:
        array = part.arrays.get(modality.name)
        if array is None or array.shape != (count, *modality.shape):
            found = "nothing" if array is None else f"shape {array.shape}"
            raise DataError(
                f"{where}, modality {modality.name!r}: {found}; expected {(count, *modality.shape)}"
            )
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{where}, modality {modality.name!r}: values are {array.dtype}; expected numbers"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(1))[0])
            raise DataError(f"{where}, modality {modality.name!r}: sample {part.ids[bad]!r} is not finite")


def check_counts(dataset: Dataset, parts: Mapping[str, Any]) -> None:
    """Raises DataError where counts differ from what the data set's source states."""
    for name, expected in dataset.expected.items():
        if name not in parts:
            raise DataError(f"data set {dataset.name!r} has no part {name!r}; its parts: {', '.join(parts)}")
        found = parts[name]["classes"] if isinstance(expected, tuple) else parts[name]["count"]
        wanted = list(expected) if isinstance(expected, tuple) else expected
        if found != wanted:
            raise DataError(
                f"data set {dataset.name!r}, part {name!r}: found {found} samples, expected {wanted}",
                "the source is incomplete or not the official one",
            )


def _write_part(folder: Path, name: str, part: Part, classes: int) -> dict[str, Any]:
    import numpy as np

    (folder / name).mkdir()
    arrays = {"labels": part.labels.astype(np.int64), **part.arrays}
    for file, array in arrays.items():
        np.save(folder / name / f"{file}.npy", np.ascontiguousarray(array), allow_pickle=False)
    groups = None if part.groups is None else [str(g) for g in part.groups]
    write_json(folder / name / "index.json", {"ids": list(part.ids), "groups": groups})
    paths = {file: f"{name}/{file}.npy" for file in arrays} | {"index": f"{name}/index.json"}
    counted = np.bincount(part.labels[part.labels >= 0], minlength=classes).tolist()
    return {
        "count": len(part.ids),
        "classes": counted,
        "files": {
            file: {
                "file": path,
                "sha256": file_digest(folder / path),
                "bytes": (folder / path).stat().st_size,
            }
            for file, path in paths.items()
        },
    }


def _damaged(prepared: Prepared) -> list[Path]:
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

    for part in dataset.expected.keys() - prepared.manifest["parts"].keys():
        row(part, "samples", dataset.expected[part], "missing")
    for part, entry in prepared.manifest["parts"].items():
        expected = dataset.expected.get(part)
        if isinstance(expected, tuple):
            row(part, "samples by class", list(expected), entry["classes"])
        elif expected is not None:
            row(part, "samples", expected, entry["count"])
        for name, file in entry["files"].items():
            path = prepared.folder / file["file"]
            row(part, f"{name} SHA-256", file["sha256"], file_digest(path) if path.exists() else "missing")
    return rows
