"""Indian Pines: full spectrum privileged, three colour bands at test, spatially disjoint blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CUBE, TRUTH = "Indian_pines_corrected.npy", "Indian_pines_gt.npy"
SHA256 = {
    CUBE: "8f038e4d81569e38ebfc72a15c9984c150de42580ab260be10a13442e912e451",
    TRUTH: "44610d21625b311b05b8e0c4ba9a6cc755c2fbb9df48e4d89419024aa6ad3f9d",
}
SIZE = 145  # pixels of 20 m
PATCH = 7
COLOURS = (25, 16, 6)  # bands near 640, 550, 460 nm
MIN_PIXELS = 100  # of a class

EDGES = (0, 11, 29, 47, 65, 83, 101, 119, 137, SIZE)
"""Blocks of 18 x 18 pixels; with an offset of 11, every class is in at least three blocks."""

BLOCKS = (
    "vTT+T+TT.",
    "+TvT+++T.",
    "vTT++Tv+v",
    "+++++TvTv",
    "T+TT++v..",
    "++T+vv...",
    ".TvTT++v.",
    ".T+T.T++.",
    ".+v..TT+.",
)
"""What each block is for: + training, v validation (carved from training), T test, . nothing.

Found once by simulated annealing on counts alone, so that every class is in all three; fixed since.
"""


def block_name(row: int, column: int) -> str:
    """The group of the block at `row`, `column` of `BLOCKS`."""
    return f"r{row}c{column}"


def blocks_for(purposes: str) -> list[tuple[int, int]]:
    """(row, column) of all blocks whose mark is in `purposes`."""
    return [(r, c) for r, marks in enumerate(BLOCKS) for c, mark in enumerate(marks) if mark in purposes]


class Pines(pm.Dataset):
    """10,062 labelled pixels of one scene as 7 x 7 patches that never leave their block, 12 land covers."""

    name = "pines"
    summary = "12 land covers of one hyperspectral scene: 200 bands -> 3 colour bands, 7x7 patches"
    classes = (
        "corn_notill",
        "corn_mintill",
        "corn",
        "grass_pasture",
        "grass_trees",
        "hay_windrowed",
        "soybean_notill",
        "soybean_mintill",
        "soybean_clean",
        "wheat",
        "woods",
        "buildings_grass_trees",
    )
    modalities = (
        pm.Modality("rgb", "image", (3, PATCH, PATCH), "digital number", grid="scene"),
        pm.Modality("spectrum", "image", (200, PATCH, PATCH), "digital number", grid="scene"),
    )
    target = ("rgb",)
    privileged = ("spectrum",)
    splits: ClassVar = {
        "blocks": pm.Split(
            train="train",
            test="test",
            validation_groups=tuple(block_name(*block) for block in blocks_for("v")),
        )
    }
    default_protocol = "few-10"
    backbones: ClassVar = {"rgb": "cnn2d-16", "spectrum": "cnn2d-16"}
    expected: ClassVar = {
        "train": (839, 428, 140, 277, 396, 270, 568, 1388, 332, 144, 717, 222),
        "test": (589, 402, 97, 206, 334, 208, 404, 1067, 261, 61, 548, 164),
    }
    licence = "stated by none of the files; mirrors of the scene say CC0; nothing is redistributed"
    source = "https://doi.org/10.4231/R7RX991C"
    citation = (
        "Baumgardner, Biehl, Landgrebe: 220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 "
        "Indian Pine Test Site 3, Purdue University Research Repository (2015), doi:10.4231/R7RX991C"
    )
    access = f"comes with the package tensorly==0.10.0; or give a folder with {CUBE} and {TRUTH}"

    def find_source(self) -> Path | None:
        from importlib.util import find_spec

        spec = find_spec("tensorly")  # finds it without importing it
        for folder in spec.submodule_search_locations or () if spec else ():
            path = Path(folder) / "datasets" / "data"
            if (path / CUBE).is_file():
                return path
        return None

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with the cube and the ground truth as .npy files."""
        import numpy as np

        cube = _load(source, CUBE, (SIZE, SIZE, 200))
        truth = _load(source, TRUTH, (SIZE, SIZE)).astype(np.int64)
        kept = np.flatnonzero(np.bincount(truth[truth > 0]) >= MIN_PIXELS)
        if len(kept) != len(self.classes):
            raise pm.DataError(
                f"{source}: {len(kept)} classes have {MIN_PIXELS} pixels; expected {len(self.classes)}"
            )
        labels = np.full(truth.shape, -1)
        for label, mark in enumerate(kept):
            labels[truth == mark] = label
        for name, purposes in (("train", "+v"), ("test", "T")):
            yield name, _part(cube, labels, blocks_for(purposes))

    def augment(self, batch: Mapping[str, Tensor], rng: pm.AugmentRng) -> Mapping[str, Tensor]:
        """One of the eight flips and quarter turns of each patch, the same for both modalities."""
        import torch

        flip, turn, half_turn = (
            (rng(name) < 0.5)[:, None, None, None] for name in ("flip", "turn", "half_turn")
        )

        def moved(x: Tensor) -> Tensor:
            x = torch.where(flip, x.flip(3), x)
            x = torch.where(turn, x.rot90(1, (2, 3)), x)
            return torch.where(half_turn, x.rot90(2, (2, 3)), x)

        return {name: moved(x) for name, x in batch.items()}


def _load(folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    import hashlib

    import numpy as np

    path = folder / name
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise pm.DataError(
            f"{path} cannot be read: {error}", f"give a folder with {CUBE} and {TRUTH}"
        ) from error
    if digest != SHA256[name]:
        raise pm.DataError(
            f"{path} has SHA-256 {digest[:12]}..., expected {SHA256[name][:12]}...: damaged, or another file",
            "reinstall tensorly==0.10.0",
        )
    array = np.load(path, allow_pickle=False)
    if array.shape != shape:
        raise pm.DataError(f"{path} has shape {array.shape}; expected {shape}")
    return array


def _part(cube: np.ndarray, labels: np.ndarray, blocks: list[tuple[int, int]]) -> pm.Part:
    """All labelled pixels of `blocks`, in order of block, row and column."""
    import numpy as np

    ids: list[str] = []
    groups: list[str] = []
    found, patches = [], []
    for row, column in blocks:
        area = slice(*EDGES[row : row + 2]), slice(*EDGES[column : column + 2])
        pixels = np.argwhere(labels[area] >= 0)  # (n, 2), within the block
        ids += [f"y{y + EDGES[row]:03d}-x{x + EDGES[column]:03d}" for y, x in pixels]
        groups += [block_name(row, column)] * len(pixels)
        found.append(labels[area][tuple(pixels.T)])
        patches.append(block_patches(cube[area])[tuple(pixels.T)])
    spectrum = np.concatenate(patches).astype(np.float32)  # (N, 200, PATCH, PATCH)
    rgb = np.ascontiguousarray(spectrum[:, list(COLOURS)])
    return pm.Part(ids, np.concatenate(found), {"rgb": rgb, "spectrum": spectrum}, groups)


def block_patches(block: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H, W, C, PATCH, PATCH): the patch around each pixel, mirrored at the edges of the block.

    Mirroring is what keeps a patch inside its block: no pixel of another block is ever read.
    """
    import numpy as np

    half = PATCH // 2
    padded = np.pad(block, ((half, half), (half, half), (0, 0)), mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (Pines(),)
