"""What both data sets share: declarations, the reader of an image, and the search for files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

MODALITIES = ("color", "depth", "ir")
"""Names of the folders; the modalities are called rgb, depth and ir."""

MMH = pm.Recipe(
    optimizer="sgd",
    lr=1e-3,
    weight_decay=5e-4,
    epochs=50,
    batch_size=64,
    schedule="step",
    milestones=(1 / 6, 1 / 3, 1 / 2),
    warmup=0.1,
)
SETUP = pm.Setup(
    papers=("MMH",),
    differs=(
        "images stored at 128 x 128 and cropped to 112 x 112, not rotated",
        "the epoch is chosen on validation data, not on the test list",
    ),
)


class Faces(pm.Dataset):
    """Single images of cropped faces, live or an attack. `stored` (H, W) is the size of stored images."""

    classes = ("attack", "live")
    positive_class = 1
    modalities = (
        pm.Modality("rgb", "image", (3, 112, 112), "8 bit", grid="face", flip="mirror"),
        pm.Modality("depth", "image", (3, 112, 112), "8 bit", grid="face", flip="mirror"),
        pm.Modality("ir", "image", (3, 112, 112), "8 bit", grid="face", flip="mirror"),
    )
    stored: ClassVar[tuple[int, int]] = (128, 128)
    target = ("rgb",)
    privileged = ("depth", "ir")
    backbones: ClassVar = {m.name: "surf_resnet18-64" for m in modalities}
    metrics = (
        *("acer", "acer_worst", "acer_mmh", "apcer", "bpcer", "hter"),
        *("tpr@fpr=1e-2", "tpr@fpr=1e-3", "tpr@fpr=1e-4", "accuracy"),
    )
    licence = "signed agreement, academic research only; nothing is redistributed"
    unpack = True


def face(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """One uint8 frame (H, W, 3); the files of depth and infrared have three channels, too."""
    yield pm.media.image(path, size)


def located(source: Path, name: str) -> Path | None:
    """The file or folder `name` in `source`, or up to three folders deeper."""
    for above in ("", "*/", "*/*/", "*/*/*/"):
        for path in sorted(source.glob(above + name)):
            return path
    return None


def lines_of(path: Path) -> list[str]:
    """The lines of a list without blanks around them; raises DataError if it cannot be read."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise pm.DataError(f"{path} cannot be read: {error}", "get it again") from error
    if lines and lines[0].startswith("version https://git-lfs"):
        raise pm.DataError(
            f"{path} is a pointer of Git LFS, not the list", "get the file itself with `git lfs pull`"
        )
    return [line.strip() for line in lines if line.strip()]
