"""Recordings from any of the forms in which the data set is published."""

from __future__ import annotations

from pathlib import Path

import pmbench as pm

from . import archive, pickled
from .windows import Recording


def recordings_at(source: Path) -> list[Recording]:
    """The recordings of the package's pickle, or of the UCI archive, zipped or unpacked, in order of user."""
    if not source.exists():
        raise pm.DataError(f"there is no {source}", "give HAPT.pkl.gz, 'HAPT Data Set.zip' or its folder")
    if source.is_dir() or source.suffix == ".zip":
        return archive.recordings(source)
    return pickled.recordings(source)
