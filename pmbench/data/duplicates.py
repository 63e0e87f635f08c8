"""Samples with equal contents in several parts, groups or modalities: leaks that no name shows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts.dataset import Dataset
from ..contracts.samples import Part
from .frames import Frames

SHOWN = 3
"""Pairs that are listed as examples."""


@dataclass(frozen=True)
class Duplicates:
    """Numbers of samples whose contents occur in another part, in another group of the part, or in another
    modality; and example pairs of each kind.
    """

    parts: int
    groups: int
    modalities: int
    examples: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.parts or self.groups or self.modalities)

    def __str__(self) -> str:
        counts = (
            (self.parts, "in several parts"),
            (self.groups, "in several groups"),
            (self.modalities, "in several modalities"),
        )
        said = ", ".join(f"{count} {where}" for count, where in counts if count)
        return f"samples with equal contents: {said} (such as {'; '.join(self.examples)})"


def find_duplicates(dataset: Dataset, parts: Mapping[str, Part], folder: Path) -> Duplicates:
    """Compares the stored contents of all parts below `folder`.

    Vectors are left out, and arrays of one repeated number, which are equal by chance.
    """
    places: dict[tuple[str, bytes], list[tuple[str, str, str, str]]] = {}
    for modality in dataset.modalities:
        if modality.kind == "vector":
            continue
        for name, part in parts.items():
            groups = part.ids if part.groups is None else part.groups
            found = _digests(folder / name, modality.name)
            for i, group, digest in zip(part.ids, groups, found, strict=True):
                if digest:
                    places.setdefault((modality.kind, digest), []).append(
                        (name, str(group), modality.name, i)
                    )
    counted = {"parts": set[Any](), "groups": set[Any](), "modalities": set[Any]()}
    examples: dict[str, list[str]] = {kind: [] for kind in counted}
    for same in places.values():
        for kind in _kinds(same):
            counted[kind] |= {(part, i) for part, _, _, i in same}
            first = same[0]
            other = next(p for p in same[1:] if kind in _kinds([first, p])) if len(same) > 1 else first
            if len(examples[kind]) < SHOWN:
                examples[kind].append(
                    f"{first[2]} of {first[3]} ({first[0]}) and {other[2]} of {other[3]} ({other[0]})"
                )
    listed = [text for kind in examples for text in examples[kind]][:SHOWN]
    counts = {kind: len(samples) for kind, samples in counted.items()}
    return Duplicates(**counts, examples=tuple(listed))


def _kinds(same: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """In what equal samples differ. In one modality: part, or group within a part."""
    if len(same) < 2:
        return []
    found = ["modalities"] if len({m for *_, m, _ in same}) > 1 else []
    for modality in {m for *_, m, _ in same}:
        mine = [(part, group) for part, group, m, _ in same if m == modality]
        if len({part for part, _ in mine}) > 1:
            found.append("parts")
        elif len(set(mine)) > 1:
            found.append("groups")
    return list(dict.fromkeys(found))


def _digests(folder: Path, modality: str) -> list[bytes]:
    """Digest of each stored sample; empty for a missing or constant one."""
    path = folder / f"{modality}.npy"
    if path.exists():
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        rows = array.reshape(len(array), math.prod(array.shape[1:]))
        return [b"" if _constant(row) else hashlib.blake2b(row, digest_size=16).digest() for row in rows]
    frames, found = Frames(folder / f"{modality}.arrow"), []
    for sample in range(len(frames)):
        content = hashlib.blake2b(digest_size=16)
        encoded = frames.encoded(sample)
        for frame in encoded:
            content.update(frame)
        found.append(content.digest() if encoded else b"")
    return found


def _constant(row: np.ndarray) -> bool:
    return bool((row == row[:1]).all() or np.isnan(row[:1]).any())
