"""What both data sets share: declarations, and readers of frames that colour and depth have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

FARTHEST = 5.0  # metres; farther is white
POSSIBLE = 10.0  # metres; a Kinect measures nothing farther

Item = tuple[Path, Path | None]
"""Folders of the colour and depth images of a clip; None without depth."""

Names = tuple[str, str]
"""Expressions for the names of colour and depth images, whose first group is the number of the frame."""
MDMS = pm.Recipe(optimizer="adam", lr=1e-3, weight_decay=0.0, epochs=40, batch_size=5, schedule="constant")
SETUP = pm.Setup(
    papers=("Garcia et al., TPAMI 2019 (ADMD, slides)",),
    weights={"rgb": "imagenet", "depth": "imagenet"},
    differs=("the recipe is that of NTU RGB+D", "people who validate do not train"),
)


class Actions(pm.Dataset):
    """Base of both. `names` match files; `stored` (H, W) is the size of stored frames; `known` bounds the
    number of clips, on which sources do not agree.
    """

    modalities = (
        pm.Modality("rgb", "clip", (3, 5, 224, 224), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("depth", "clip", (3, 5, 224, 224), "0 to 5 m, grey", grid="frame", flip="mirror"),
    )
    names: ClassVar[Names]
    known: ClassVar[range]
    stored: ClassVar[tuple[int, int]] = (224, 224)
    target = ("rgb",)
    privileged = ("depth",)
    sampling = pm.Sampling(frames=5, even=True)
    backbones: ClassVar = {"rgb": "mdms_resnet50", "depth": "mdms_resnet50"}
    unpack = True

    def part(
        self, ids: Sequence[str], labels: Sequence[int], items: Sequence[Item], people: Sequence[str]
    ) -> pm.Part:
        """A part of clips; those without depth lack that modality."""
        import numpy as np

        with_depth = [item if item[1] else None for item in items]
        return pm.Part(
            ids,
            np.array(labels, np.int64),
            {
                "rgb": pm.Files(items, partial(colour, size=self.stored, names=self.names)),
                "depth": pm.Files(with_depth, partial(depth, size=self.stored, names=self.names)),
            },
            people,
        )

    def check_number(self, source: Path, count: int) -> None:
        """Raises DataError unless there are about as many clips as there should be."""
        if count not in self.known:
            raise pm.DataError(
                f"{source} has {pm.plural(count, 'clip')} of {self.name!r}; expected {self.known.start} to "
                f"{self.known.stop - 1}",
                "the download is incomplete: get all parts of the archive"
                if count < self.known.start
                else "two copies lie in one folder, or this is another data set",
            )


def colour(item: Item, size: tuple[int, int], names: Names) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3)."""
    for path, _ in common(item, names):
        yield pm.media.image(path, size)


def depth(item: Item, size: tuple[int, int], names: Names) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3), three equal channels: 0 to FARTHEST metres are 0 to 255, not measured is 0.

    Files of 16 bits are millimetres, those of 8 bits are taken as they are.
    """
    import numpy as np

    for _, path in common(item, names):
        assert path is not None
        values = pm.media.pixels(path)[..., :1]
        if values.dtype == np.uint16:
            if (values > 1000 * POSSIBLE).mean() > 0.5:
                raise pm.DataError(
                    f"{path}: most values are above {1000 * POSSIBLE:g}, so that they are no millimetres",
                    "expected the depth images of the official archive",
                )
            values = np.rint(np.clip(values / 1000 / FARTHEST, 0, 1) * 255).astype(np.uint8)
        elif values.dtype != np.uint8:
            raise pm.DataError(f"{path} holds {values.dtype}; expected whole numbers of 8 or 16 bits")
        yield np.repeat(pm.media.nearest(values, size), 3, -1)


def common(item: Item, names: Names) -> list[tuple[Path, Path | None]]:
    """Colour and depth image of each frame, in order of their numbers.

    Of a clip with depth, frames without one of the two are left out; raises DataError if that is most.
    """
    first = numbered(item[0], names[0])
    if item[1] is None:
        return [(first[number], None) for number in sorted(first)]
    second = numbered(item[1], names[1])
    both = sorted(first.keys() & second.keys())
    if 2 * len(both) < max(len(first), len(second), 1):
        raise pm.DataError(
            f"{item[0]}: {len(first)} images in colour and {len(second)} in depth have {len(both)} numbers "
            "in common",
            "get the clip again",
        )
    return [(first[number], second[number]) for number in both]


def numbered(folder: Path, name: str) -> dict[int, Path]:
    """Number -> file. Names need no padding: they are never sorted as text."""
    pattern, found = re.compile(name), dict[int, Path]()
    for file in sorted(os.listdir(folder)):
        if match := pattern.fullmatch(file):
            number = int(match[1])
            if number in found:
                raise pm.DataError(f"{folder}: {found[number].name} and {file} have the same number")
            found[number] = folder / file
    return found


def located(source: Path, name: str) -> Path | None:
    """The file or folder `name` in `source`, or up to three folders deeper."""
    for above in ("", "*/", "*/*/", "*/*/*/"):
        for path in sorted(source.glob(above + name)):
            return path
    return None
