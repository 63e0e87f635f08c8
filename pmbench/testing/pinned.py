"""Fixtures for tests of data plugins: parts, their digests, a new interpreter."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping

from ..contracts.dataset import Dataset
from ..contracts.samples import Files, Part
from ..errors import DataError


def parts_of(dataset: Dataset) -> dict[str, Part]:
    """All parts, read from the embedded source; raises DataError without one."""
    source = dataset.find_source()
    if source is None:
        raise DataError(f"data set {dataset.name!r} has no embedded source")
    return dict(dataset.read(source))


def first_digests(parts: Mapping[str, Part], count: int = 8) -> dict[tuple[str, str], str]:
    """(part, modality) -> 16 hex digits of the SHA-256 of its first samples as little-endian float32."""
    return {
        (name, modality): hashlib.sha256(array[:count].astype("<f4").tobytes()).hexdigest()[:16]
        for name, part in parts.items()
        for modality, array in part.arrays.items()
        if not isinstance(array, Files)
    }


def run_afresh(code: str) -> None:
    """Runs `code` in a new interpreter with the same path; raises CalledProcessError unless it ends well."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
