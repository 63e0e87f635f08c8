"""Validation data carved out of a training part, and the classes that are left."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..contracts.protocol import Protocol, Split
from ..errors import DataError, plural

VALIDATION_SHARE = 0.15
LISTED = 30
"""Largest number of classes in a table of counts."""

Labelled = tuple[Sequence[str], Sequence[str] | None, np.ndarray]
"""Ids, groups or None, and labels (N,) of a part; -1 is a sample without label."""


def carve(dataset: str, split: Split, part: Labelled) -> np.ndarray:
    """(N,) bool mask of the training part's samples that are set aside for validation.

    Takes whole groups if the part has groups, else a share of each class. Raises DataError for unknown
    validation groups, or if nothing would be left to train on.
    """
    ids, groups, labels = part
    if groups is None:
        held_out = np.zeros(len(ids), bool)
        order = np.array([_hash(i) for i in ids])
        for label in np.unique(labels[labels >= 0]):
            members = np.flatnonzero(labels == label)
            take = max(1, round(len(members) * VALIDATION_SHARE))
            held_out[members[np.argsort(order[members], kind="stable")[:take]]] = True
        return held_out
    names = np.array(groups)
    if split.validation_groups:
        absent = set(split.validation_groups) - set(groups)
        if absent:
            raise DataError(f"data set {dataset!r}: no validation groups {sorted(absent)} in {split.train!r}")
        return np.isin(names, split.validation_groups)
    sizes, count, selected = Counter(groups), 0, []
    for name in sorted(sizes, key=_hash):
        if count / len(ids) >= VALIDATION_SHARE:
            break
        selected.append(name)
        count += sizes[name]
    held_out = np.isin(names, selected)
    if held_out.all():
        raise DataError(
            f"data set {dataset!r}: one group only, so none can be set aside for validation",
            "name a validation part, or more groups",
        )
    return held_out


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def class_counts(
    dataset: str, split: Split, part: Callable[[str], Labelled], classes: int
) -> dict[str, np.ndarray]:
    """Labelled samples of each class (K,) for training, validation and test, after the carve-out.

    `part` gives ids, groups and labels by the name of a part, or of several joined.
    """
    train, test = part(split.train), part(split.test)
    if split.validation is not None:
        kept, validation = train[2], part(split.validation)[2]
    else:
        held_out = carve(dataset, split, train)
        kept, validation = train[2][~held_out], train[2][held_out]
    labels = {"training": kept, "validation": validation, "test": test[2]}
    return {
        name: np.bincount(found[found >= 0], minlength=classes)[:classes] for name, found in labels.items()
    }


def class_problems(counts: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[str]:
    """What keeps a model from being trained and tested on all classes; empty if nothing does."""
    training, validation, test = counts["training"], counts["validation"], counts["test"]

    def named(mask: np.ndarray) -> str:
        found = [classes[int(n)] for n in np.flatnonzero(mask)]
        return ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")

    problems = []
    if not test.sum():
        problems.append("no test sample has a label")
    if not training.sum():
        problems.append("no training sample has a label")
    elif (training > 0).sum() < 2:
        problems.append(f"training samples are of one class only ({named(training > 0)})")
    if not validation.sum():
        problems.append("no validation sample has a label")
    moved = (training == 0) & (validation > 0)
    if moved.any():
        problems.append(f"all training samples of {named(moved)} are set aside for validation")
    only_test = (training == 0) & (validation == 0) & (test > 0)
    if only_test.any():
        problems.append(f"{named(only_test)} is in the test part only")
    return problems


def too_few(counts: Mapping[str, np.ndarray], classes: Sequence[str], protocol: Protocol) -> str:
    """The reason why few-K cannot be drawn, or empty."""
    wanted, training = protocol.labels_per_class, counts["training"]
    if wanted is None or not len(training) or training.min() >= wanted:
        return ""
    least = int(training.argmin())
    return (
        f"few-{wanted} needs {plural(wanted, 'labelled training sample')} of each class; {classes[least]!r} "
        f"has {training[least]} besides {counts['validation'][least]} set aside for validation"
    )


def counts_table(counts: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[list[str]]:
    """Header and rows: samples of each class by part; for more than LISTED classes those with the fewest."""
    order: Sequence[int] = range(len(classes))
    head = "class"
    if len(classes) > LISTED:
        order = sorted(np.argsort(counts["training"], kind="stable")[:LISTED].tolist())
        head = f"class (the {LISTED} smallest of {len(classes)})"
    rows = [[head, *counts]]
    return rows + [[classes[n], *(str(int(counts[part][n])) for part in counts)] for n in order]
