"""Object crops of NYU Depth v2: colour at test; depth besides in training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

CLASSES = (
    *("bathtub", "bed", "bookshelf", "box", "chair", "counter", "desk", "door", "dresser", "garbage_bin"),
    *("lamp", "monitor", "night_stand", "pillow", "sink", "sofa", "table", "television", "toilet"),
)
"""Names to show; labels are counted in the order of the folders' names, whatever their spelling."""
IMAGES, DEPTH, PREDICTED = "images", "depth", "FCRN_depth"


class Nyud(pm.Dataset):
    """4,587 crops of 19 kinds of objects. `stored` (H, W) is the size of stored images."""

    name = "nyud"
    summary = "19 kinds of objects in rooms, 4,587 crops: HHA-encoded depth -> image"
    classes = CLASSES
    modalities = (
        pm.Modality("rgb", "image", (3, 224, 224), "8 bit", grid="crop", flip="mirror"),
        pm.Modality("depth", "image", (3, 224, 224), "HHA", grid="crop", flip="mirror"),
        pm.Modality(
            "fcrn", "image", (3, 224, 224), "predicted depth, in colours", grid="crop", flip="mirror"
        ),
    )
    stored: ClassVar[tuple[int, int]] = (224, 224)
    splits: ClassVar = {"standard": pm.Split("train", "test")}
    target = ("rgb",)
    privileged = ("depth",)
    default_protocol = "standard"
    expected: ClassVar = {"train": 2_186, "test": 2_401}
    backbones: ClassVar = {m.name: "mdms_resnet50" for m in modalities}
    recipes: ClassVar = {
        "admd/nyud": pm.Recipe(
            optimizer="adam", lr=1e-4, weight_decay=0.0, epochs=37, batch_size=4, schedule="constant"
        )
    }
    setups: ClassVar = {
        "admd/nyud": pm.Setup(
            papers=("Garcia et al., TPAMI 2019 (ADMD, slides)",),
            options={"admd": {"discriminator": "objects"}},
            weights={"rgb": "imagenet", "depth": "imagenet", "fcrn": "imagenet"},
            differs=("37 epochs for every stage", "15 % of each class validate and do not train"),
        )
    }
    licence = "for research; neither NYU Depth v2 nor the crops state a licence; nothing is redistributed"
    source = "https://github.com/pmorerio/admd/tree/master/NYUD"
    access = (
        "get the crops (NYUD_multimodal) that the README of the folder NYUD links to on Google Drive; NYU "
        "Depth v2 itself is not needed"
    )
    unpack = True
    citation = (
        "Silberman, Hoiem, Kohli, Fergus: Indoor Segmentation and Support Inference from RGBD Images, ECCV "
        "2012; Garcia, Morerio, Murino: Learning with Privileged Information via Adversarial "
        "Discriminative Modality Distillation, TPAMI 2020, arXiv:1810.08437"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder that holds `train` and `test`, at most two deeper.

        A crop without a file of the same name in `depth` or `FCRN_depth` lacks that modality.
        """
        import numpy as np

        tree, kinds = _tree(source), list[str]()
        for part in ("train", "test"):
            images, depth = _crops(tree / part / IMAGES), _crops(tree / part / DEPTH)
            predicted = _crops(tree / part / PREDICTED) if (tree / part / PREDICTED).is_dir() else {}
            kinds = kinds or sorted({kind for kind, _ in images})
            _check_joined(tree / part, kinds, images, depth)
            columns = {"rgb": (images, colour), "depth": (depth, hha_image), "fcrn": (predicted, colour)}
            yield (
                part,
                pm.Part(
                    [f"{part}/{kind}/{stem}" for kind, stem in images],
                    np.array([kinds.index(kind) for kind, _ in images], np.int64),
                    {
                        name: pm.Files([files.get(key) for key in images], partial(load, size=self.stored))
                        for name, (files, load) in columns.items()
                    },
                ),
            )


def colour(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """One uint8 frame (H, W, 3)."""
    yield pm.media.image(path, size)


def hha_image(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """One uint8 frame (H, W, 3): an image that is HHA, or the HHA of 16 bits of millimetres."""
    import numpy as np

    values = pm.media.pixels(path)
    if values.dtype != np.uint16:
        yield pm.media.image(path, size)
        return
    from .hha import hha

    try:
        encoded = hha(values[..., 0] / 1000)
    except ValueError as error:
        raise pm.DataError(f"{path}: {error}") from error
    yield pm.media.nearest(encoded, size)


def _tree(source: Path) -> Path:
    for above in ("", "*/", "*/*/"):
        for path in sorted(source.glob(f"{above}train/{IMAGES}")):
            return path.parent.parent
    if any(source.glob("*nyu_depth_v2_labeled.mat")):
        raise pm.DataError(
            f"{source} has nyu_depth_v2_labeled.mat: the whole frames of NYU Depth v2, not the crops",
            "get the crops NYUD_multimodal",
        )
    if (source / IMAGES).is_dir():
        raise pm.DataError(f"{source} is one of train and test", "give the folder that holds both")
    raise pm.DataError(
        f"{source} has no folder train/{IMAGES}",
        f"expected NYUD_multimodal with train and test, {IMAGES} and {DEPTH}",
    )


def _crops(folder: Path) -> dict[tuple[str, str], Path]:
    """(folder of the class, name without ending) -> file, in order."""
    if not folder.is_dir():
        raise pm.DataError(f"{folder} is missing", "the download is incomplete: get the archive again")
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(kinds) != len(CLASSES):
        raise pm.DataError(
            f"{folder} has {pm.plural(len(kinds), 'folder')}; expected {len(CLASSES)}, one for each class",
            f"they are {', '.join(CLASSES)}; get the archive again",
        )
    found: dict[tuple[str, str], Path] = {}
    for kind in kinds:
        for path in sorted(kind.iterdir()):
            if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
                continue
            if (kind.name, path.stem) in found:
                raise pm.DataError(f"{path} and {found[kind.name, path.stem]} have the same name")
            found[kind.name, path.stem] = path
    return found


def _check_joined(
    folder: Path,
    kinds: Sequence[str],
    images: Mapping[tuple[str, str], Path],
    depth: Mapping[tuple[str, str], Path],
) -> None:
    """Raises DataError if classes differ, or fewer than half of the crops have a depth of the same name."""
    for name, crops in ((IMAGES, images), (DEPTH, depth)):
        if odd := sorted({kind for kind, _ in crops} ^ set(kinds)):
            raise pm.DataError(
                f"{folder / name}: {', '.join(odd)} are not the same classes as in train/{IMAGES}"
            )
    both = len(images.keys() & depth.keys())
    if 2 * both < len(images):
        raise pm.DataError(
            f"{folder}: {both} of {len(images)} images have a file of the same name in {DEPTH}",
            f"names in {IMAGES} and {DEPTH} agree in the official archive: get it again",
        )


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    from .demo import NyudDemo  # which imports this module

    return (Nyud(), NyudDemo())
