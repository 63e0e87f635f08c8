"""Checks of parts before and after they are written: shapes, labels, counts, classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contracts.dataset import Dataset
from ..contracts.samples import Files, Part
from ..errors import DataError, plural
from .carve import class_counts, class_problems, counts_table


def check_part(dataset: Dataset, name: str, part: Part) -> None:
    """Raises DataError unless a part has the declared shapes, valid labels, finite numbers and unique ids."""
    where = f"data set {dataset.name!r}, part {name!r}"
    count = len(part.ids)
    if invalid := [i for i in part.ids if not isinstance(i, str)]:
        raise DataError(f"{where}: id {invalid[0]!r} is {type(invalid[0]).__name__}; expected text")
    if len(set(part.ids)) != count:
        seen: set[str] = set()
        twice = next(i for i in part.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise DataError(f"{where}: id {twice!r} occurs more than once")
    if part.labels.shape != (count,) or (part.groups is not None and len(part.groups) != count):
        raise DataError(
            f"{where}: {count} ids, labels of shape {part.labels.shape}; expected one label, and one group "
            "if there are groups, per sample"
        )
    if part.attack_types is not None and len(part.attack_types) != count:
        raise DataError(f"{where}: {len(part.attack_types)} attack types for {plural(count, 'sample')}")
    if part.labels.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {part.labels.dtype}; expected whole numbers")
    if count and not (part.labels.min() >= -1 and part.labels.max() < len(dataset.classes)):
        raise DataError(
            f"{where}: labels from {part.labels.min()} to {part.labels.max()}; "
            f"expected -1 or 0 to {len(dataset.classes) - 1}"
        )
    for modality in dataset.modalities:
        if modality.name in ("labels", "index") or not re.fullmatch(r"[\w-]+", modality.name):
            raise DataError(
                f"data set {dataset.name!r}: no modality can be called {modality.name!r}",
                "a name has letters, digits, '-' and '_'; labels and index are names of other files",
            )
        array = part.arrays.get(modality.name)
        if isinstance(array, Files):
            if len(array.items) != count:
                raise DataError(
                    f"{where}, modality {modality.name!r}: {plural(len(array.items), 'file')} for "
                    f"{plural(count, 'sample')}"
                )
            continue
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


def check_classes(dataset: Dataset, parts: Mapping[str, Part]) -> None:
    """Raises DataError with a table of counts unless all classes can be trained and tested on."""

    def joined(name: str) -> tuple[list[str], list[str] | None, np.ndarray]:
        found = [parts[p] for p in name.split("+")]
        groups = [group for part in found for group in part.groups or ()]
        ids = [i for part in found for i in part.ids]
        return ids, groups or None, np.concatenate([part.labels for part in found])

    for split in dataset.splits.values():
        counts = class_counts(dataset.name, split, joined, len(dataset.classes))
        if problems := class_problems(counts, dataset.classes):
            table = counts_table(counts, dataset.classes)
            widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
            lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
            raise DataError(
                f"data set {dataset.name!r}: {'; '.join(problems)}\n" + "\n".join(lines),
                "add samples, or leave the class out; validation data is set aside by whole groups, or 15 % "
                "of each class but at least one sample, unless rows have the split validation",
            )


def check_counts(dataset: Dataset, parts: Mapping[str, Part], incomplete: bool = False) -> list[str]:
    """Raises DataError if the numbers of samples differ from the declared ones.

    With `incomplete` fewer samples are allowed; returns a text for each part that has fewer.
    """
    lacks = []
    for name, expected in dataset.expected.items():
        if absent := [part for part in name.split("+") if part not in parts]:
            raise DataError(
                f"data set {dataset.name!r} has no part {absent[0]!r}; its parts: {', '.join(parts)}"
            )
        labels = np.concatenate([parts[part].labels for part in name.split("+")])
        counted = np.bincount(labels[labels >= 0], minlength=len(dataset.classes)).tolist()
        found, declared = (counted, [*expected]) if isinstance(expected, tuple) else (len(labels), expected)
        if found == declared:
            continue
        if not incomplete or np.sum(found) > np.sum(declared):
            raise DataError(
                f"data set {dataset.name!r}, part {name!r}: found {found} samples, expected {declared}",
                "the source is incomplete or not the official one; --incomplete accepts fewer samples",
            )
        lacks.append(f"part {name}: {plural(np.sum(found), 'sample')} of {np.sum(declared)}")
    return lacks


def check_targets(dataset: Dataset, written: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    """Raises DataError if a test sample lacks a target modality."""
    for name in sorted(dataset.part_names(test=True) & written.keys()):
        for modality in dataset.target:
            if missing := written[name]["files"][modality].get("missing", 0):
                files = parts[name].arrays[modality]
                assert isinstance(files, Files)
                items = zip(parts[name].ids, files.items, strict=True)
                first = next((i for i, item in items if item is None), "")
                raise DataError(
                    f"{plural(missing, 'test sample lacks', 'test samples lack')} {modality!r} in part "
                    f"{name!r} of {dataset.name!r}, such as {first!r}",
                    "the source is incomplete",
                )
