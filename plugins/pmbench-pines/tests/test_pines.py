from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pmbench_pines
import pytest
from pmbench_pines import BLOCKS, COLOURS, CUBE, EDGES, PATCH, TRUTH, Pines, block_patches

import pmbench as pm
from pmbench.testing import first_digests, parts_of, run_afresh

PINNED = {  # SHA-256 of the first 8 patches
    ("train", "rgb"): "2f2c6cd91b709654",
    ("train", "spectrum"): "18db92bd738423a7",
    ("test", "rgb"): "75e2a9aa9dc8c02b",
    ("test", "spectrum"): "6cfe5739416ba5c4",
}
HALF = PATCH // 2


@pytest.fixture(scope="module")
def source() -> Path:
    path = Pines().find_source()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def parts() -> dict[str, pm.Part]:
    return parts_of(Pines())


def pixels(part: pm.Part) -> np.ndarray:
    """(N, 2) row and column in the scene, from the ids."""
    return np.array([(int(i[1:4]), int(i[6:9])) for i in part.ids])


def test_counts(parts: dict[str, pm.Part]) -> None:
    assert {n: tuple(np.bincount(p.labels).tolist()) for n, p in parts.items()} == Pines.expected
    assert {n: len(p.ids) for n, p in parts.items()} == {"train": 5721, "test": 4341}
    totals = [1428, 830, 237, 483, 730, 478, 972, 2455, 593, 205, 1265, 386]
    assert np.sum([Pines.expected[n] for n in parts], 0).tolist() == totals


def test_arrays(parts: dict[str, pm.Part]) -> None:
    assert first_digests(parts) == PINNED


def test_patches_are_of_the_scene(source: Path, parts: dict[str, pm.Part]) -> None:
    cube, truth = np.load(source / CUBE), np.load(source / TRUTH)
    for part in parts.values():
        y, x = pixels(part).T
        np.testing.assert_array_equal(part.arrays["spectrum"][:, :, HALF, HALF], cube[y, x])
        np.testing.assert_array_equal(part.arrays["rgb"], part.arrays["spectrum"][:, list(COLOURS)])
        marks = np.array([2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15])
        np.testing.assert_array_equal(truth[y, x], marks[part.labels])
    part = parts["train"]
    y, x = pixels(part).T
    depth = [np.abs(axis[:, None] - np.array(EDGES) + 0.5).min(1) for axis in (y, x)]
    inside = int(np.flatnonzero(np.minimum(*depth) > HALF)[0])  # far from the edges of its block
    window = cube[y[inside] - HALF : y[inside] + HALF + 1, x[inside] - HALF : x[inside] + HALF + 1]
    np.testing.assert_array_equal(part.arrays["spectrum"][inside], window.transpose(2, 0, 1))


def test_no_patch_reads_a_pixel_of_another_block(parts: dict[str, pm.Part]) -> None:
    """Patches of a scene whose pixels are their own numbers, by the function that cuts the real ones."""
    scene = np.arange(145 * 145).reshape(145, 145, 1)
    used: dict[str, set[int]] = {}
    for row, marks in enumerate(BLOCKS):
        for column in range(len(marks)):
            area = slice(*EDGES[row : row + 2]), slice(*EDGES[column : column + 2])
            patches = block_patches(scene[area])
            assert patches.shape[-2:] == (PATCH, PATCH)
            np.testing.assert_array_equal(patches[:, :, 0, HALF, HALF], scene[area][:, :, 0])
            used[pmbench_pines.block_name(row, column)] = set(np.unique(patches).tolist())
    assert sum(map(len, used.values())) == 145 * 145  # disjoint, and together the scene
    held_out = set(Pines.splits["blocks"].validation_groups)
    train, test = (set(parts[name].groups or ()) for name in ("train", "test"))
    assert not train & test
    assert held_out < train
    seen = {
        name: set().union(*(used[g] for g in groups))
        for name, groups in (("train", train - held_out), ("validation", held_out), ("test", test))
    }
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]


def test_groups_are_the_blocks_of_the_pixels(parts: dict[str, pm.Part]) -> None:
    for name, purposes in (("train", "+v"), ("test", "T")):
        part = parts[name]
        rows, columns = (np.searchsorted(EDGES, axis, "right") - 1 for axis in pixels(part).T)
        assert list(part.groups or ()) == [f"r{r}c{c}" for r, c in zip(rows, columns, strict=True)]
        assert {BLOCKS[r][c] for r, c in zip(rows, columns, strict=True)} == set(purposes)


def test_every_class_is_in_training_validation_and_test(parts: dict[str, pm.Part]) -> None:
    held_out = np.isin(parts["train"].groups, Pines.splits["blocks"].validation_groups)
    labels = parts["train"].labels
    assert np.bincount(labels[held_out]).tolist() == [223, 98, 89, 59, 98, 72, 189, 453, 110, 36, 187, 55]
    assert np.bincount(labels[~held_out]).min() >= 50
    assert np.bincount(parts["test"].labels).min() >= 60


def test_block_map() -> None:
    assert len(BLOCKS) == len(EDGES) - 1 == 9
    assert {len(marks) for marks in BLOCKS} == {9}
    assert set(np.diff(EDGES)) == {8, 11, 18}
    assert min(np.diff(EDGES)) > HALF  # mirroring once is enough


def test_augmentation_moves_both_modalities_alike() -> None:
    torch = pytest.importorskip("torch")
    draws = {"flip": [0.1, 0.9], "turn": [0.1, 0.9], "half_turn": [0.9, 0.9]}
    asked = []

    def draw(name: str):
        asked.append(name)
        return torch.tensor(draws[name])

    rgb = torch.arange(2 * 3 * 49.0).reshape(2, 3, 7, 7)
    batch = {"rgb": rgb, "spectrum": rgb.repeat(1, 2, 1, 1)}
    moved = Pines().augment(batch, draw)
    assert asked == ["flip", "turn", "half_turn"]
    assert torch.equal(moved["rgb"][0], rgb[0].flip(2).rot90(1, (1, 2)))
    assert torch.equal(moved["rgb"][1], rgb[1])
    assert torch.equal(moved["spectrum"], moved["rgb"].repeat(1, 2, 1, 1))
    assert torch.equal(Pines().augment({"rgb": rgb}, draw)["rgb"], moved["rgb"])


def test_augmentation_reaches_all_eight_positions() -> None:
    torch = pytest.importorskip("torch")
    bits = torch.tensor([[(n >> k) & 1 for k in range(3)] for n in range(8)], dtype=torch.float32)
    names = ["flip", "turn", "half_turn"]
    patch = torch.rand(1, 3, 7, 7).repeat(8, 1, 1, 1)
    moved = Pines().augment({"rgb": patch}, lambda name: bits[:, names.index(name)])["rgb"]
    assert len({tuple(m.flatten().tolist()) for m in moved}) == 8


def test_damaged_or_wrong_folder(source: Path, tmp_path: Path) -> None:
    with pytest.raises(pm.DataError, match="cannot be read"):
        dict(Pines().read(tmp_path))
    for name in (CUBE, TRUTH):
        shutil.copyfile(source / name, tmp_path / name)
    os.truncate(tmp_path / CUBE, 1000)
    with pytest.raises(
        pm.DataError, match=r"Indian_pines_corrected\.npy has SHA-256 .* damaged, or another file"
    ):
        dict(Pines().read(tmp_path))
    shutil.copyfile(source / CUBE, tmp_path / CUBE)
    np.save(tmp_path / TRUTH, np.array([{}], object), allow_pickle=True)
    with pytest.raises(pm.DataError, match=r"Indian_pines_gt\.npy"):
        dict(Pines().read(tmp_path))


def test_listing_and_reading_import_no_tensorly() -> None:
    code = (
        "import sys, pmbench_pines as p; (d,) = p.pmbench_datasets()\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)\n"
        "dict(d.read(d.find_source())); assert not {'tensorly', 'scipy', 'torch'} & set(sys.modules)"
    )
    run_afresh(code)


def test_offered_through_the_hook() -> None:
    (dataset,) = pmbench_pines.pmbench_datasets()
    protocol = dataset.protocol(dataset.default_protocol)
    assert (protocol.name, protocol.split_name, protocol.labels_per_class) == ("few-10", "blocks", 10)
    assert len({m.grid for m in dataset.modalities}) == 1
    assert dataset.augments
    assert set(dataset.backbones) == {m.name for m in dataset.modalities}
