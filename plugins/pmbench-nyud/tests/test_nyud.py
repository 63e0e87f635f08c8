"""NYUD crops: counts, a miniature, wrong copies, and HHA of scenes with a known answer."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_nyud import CLASSES, Nyud, hha_image
from pmbench_nyud.hha import NYUD, Camera, cloud, gravity, hha, normals
from pmbench_nyud.miniature import write_nyud

import pmbench as pm
from pmbench.data.checks import check_counts
from pmbench.data.prepare import prepare
from pmbench.testing.media import write_image


class Small(Nyud):
    """Images of 16 x 16."""

    name = "small"
    modalities = tuple(
        pm.Modality(m.name, "image", (3, 16, 16), m.unit, grid="crop", flip="mirror") for m in Nyud.modalities
    )
    stored = (16, 16)
    expected: ClassVar = {"train": 19 * 2 + 1, "test": 19}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_nyud(tmp_path_factory.mktemp("nyud"), counts=(2, 1))


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(Small(), source, tmp_path_factory.mktemp("data"))


def test_published_counts_are_asserted():
    """Lists of the published sizes, with chairs in the majority, are taken, and others are not."""
    chairs = CLASSES.index("chair")
    sizes = {"train": 2_186, "test": 2_401}
    parts = {}
    for part, total in sizes.items():
        labels = np.array([n % 19 if n % 2 else chairs for n in range(total)])
        parts[part] = pm.Part([f"{part}-{n}" for n in range(total)], labels, {})
    assert check_counts(Nyud(), parts) == []
    assert (len(CLASSES), list(CLASSES)) == (19, sorted(CLASSES))
    assert Nyud.metrics[:2] == ("accuracy", "mean_class_accuracy")
    parts["test"] = pm.Part(parts["train"].ids, parts["train"].labels, {})
    with pytest.raises(pm.DataError, match="found 2186 samples, expected 2401"):
        check_counts(Nyud(), parts)


def test_crops_are_joined_by_their_names(prepared):
    ids, _ = prepared.index("train")
    assert ids[:2] == ["train/bathtub/img_0000", "train/bathtub/img_0001"]
    assert np.bincount(prepared.labels("train"))[4] == 3
    present = prepared.column("train", "depth").present
    assert present.tolist() == [False] + [True] * (len(ids) - 1)
    assert prepared.column("test", "depth").present is None
    assert prepared.column("train", "fcrn").present is None
    assert prepared.column("test", "rgb").read(0).shape == (3, 16, 16)
    named = Small().protocol("standard+with-fcrn")
    assert named.privileged == ("fcrn",)


def test_labels_follow_the_order_of_the_folders(source, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(source / "NYUD_multimodal", copy)
    for folder in copy.glob("*/*/night_stand"):
        folder.rename(folder.with_name("night-stand"))
    shutil.rmtree(copy / "train" / "FCRN_depth")
    parts = dict(Small().read(copy))
    assert parts["train"].labels.tolist() == sorted(parts["train"].labels)
    assert parts["test"].labels.tolist() == list(range(19))
    assert not any(parts["train"].arrays["fcrn"].items)
    assert all(parts["test"].arrays["fcrn"].items)
    pickle.dumps([files.load for files in parts["train"].arrays.values()])


def test_wrong_copies_are_named(source, tmp_path):
    with pytest.raises(pm.DataError, match="has no folder train/images"):
        list(Small().read(tmp_path))
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"")
    with pytest.raises(pm.DataError, match="the whole frames of NYU Depth v2, not the crops"):
        list(Small().read(tmp_path))
    with pytest.raises(pm.DataError, match="is one of train and test"):
        list(Small().read(source / "NYUD_multimodal" / "train"))
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    tree = copy / "NYUD_multimodal"
    (tree / "test" / "depth" / "bed").rename(tree / "test" / "depth" / "couch")
    with pytest.raises(pm.DataError, match="bed, couch are not the same classes"):
        list(Small().read(copy))
    shutil.rmtree(tree / "test" / "depth" / "couch")
    with pytest.raises(pm.DataError, match="has 18 folders; expected 19"):
        list(Small().read(copy))
    shutil.rmtree(tree / "test" / "depth")
    with pytest.raises(pm.DataError, match="depth is missing") as raised:
        list(Small().read(copy))
    assert "incomplete" in raised.value.hint
    shutil.copytree(tree / "test" / "images", tree / "test" / "depth")
    for path in (tree / "test" / "depth").rglob("*.jpg"):
        path.rename(path.with_stem(f"d_{path.stem}"))
    with pytest.raises(pm.DataError, match="0 of 19 images have a file of the same name"):
        list(Small().read(copy))


def test_without_data_it_says_where_from_and_what_to_type(tmp_path):
    hint = Nyud().not_prepared(tmp_path).hint
    for text in ("pmorerio/admd", "Google Drive", "pmbench data prepare nyud --source"):
        assert text in hint


# --- HHA --------------------------------------------------------------------------------------------------

ROOM = Camera(200.0, 200.0, 79.5, 59.5, (120, 160))
ABOVE, BACK = 1.2, 3.0  # metres from the camera to the floor and to the wall


def room(pitch: float = 0.0) -> np.ndarray:
    """Depth (120, 160) of a floor and a wall, the camera turned down by `pitch` degrees."""
    rays = cloud(np.ones(ROOM.size), ROOM)
    a = np.radians(pitch)
    down, ahead = np.array([0, np.cos(a), np.sin(a)]), np.array([0, -np.sin(a), np.cos(a)])
    with np.errstate(divide="ignore"):
        floor = ABOVE / np.where(rays @ down > 0, rays @ down, np.nan)
        wall = BACK / (rays @ ahead)
    return np.fmin(floor, wall)


@pytest.mark.parametrize("pitch", [15.0, 20.0])
def test_hha_of_a_room(pitch):
    depth = room(pitch)
    encoded = hha(depth, ROOM)
    assert encoded.dtype == np.uint8
    points = cloud(depth, ROOM)
    a = np.radians(pitch)
    height = ABOVE - points @ np.array([0, np.cos(a), np.sin(a)])
    floor, wall = height < 0.001, height > 0.15
    np.testing.assert_allclose(encoded[..., 0], np.clip(310 / depth, 0, 255), atol=0.51)
    np.testing.assert_allclose(encoded[wall][:, 1], np.clip(100 * height[wall], 0, 255), atol=4)
    assert encoded[floor][:, 1].max() <= 4
    inner = np.zeros(depth.shape, bool)
    inner[8:-8, 8:-8] = True
    ahead = points @ np.array([0, -np.sin(a), np.cos(a)])
    tilt = encoded[..., 2].astype(float)
    assert np.abs(tilt[inner & (height > 0.2)] - 128).max() <= 4  # the wall: 90 degrees
    assert tilt[inner & (ahead < BACK - 0.4)].min() >= 38 + 176  # the floor looks up


def test_normals_of_a_plane_face_the_camera():
    depth = np.full((40, 50), 2.0)
    measured = np.ones(depth.shape, bool)
    measured[10:13, 10:13] = False
    depth[~measured] = 0
    found = normals(cloud(depth, NYUD), measured)
    np.testing.assert_allclose(found[5:-5, 5:-5], np.broadcast_to([0, 0, -1.0], (30, 40, 3)), atol=1e-3)


def test_gravity_is_found_from_a_tilted_start():
    rng = np.random.default_rng(0)
    down = np.array([0.1, 0.95, 0.3])
    down /= np.linalg.norm(down)
    side = np.cross(down, [1, 0, 0])
    side /= np.linalg.norm(side)
    facing = np.concatenate(
        [np.tile(-down, (300, 1)), np.tile(side, (200, 1)), np.tile(np.cross(down, side), (200, 1))]
    )
    found = gravity(facing + rng.normal(0, 0.02, facing.shape))
    assert np.degrees(np.arccos(found @ down)) < 1


def test_without_a_floor_one_is_assumed_and_nothing_measured_is_black():
    depth = np.full((40, 50), 2.0)
    depth[:, :5] = 0
    encoded = hha(depth, NYUD)
    assert (encoded[:, :5] == 0).all()
    middle = encoded[20, 25]
    assert middle[0] == 155
    assert middle[1] == pytest.approx(130, abs=3)  # the camera is 1.3 m above the floor
    with pytest.raises(ValueError, match="no depth is measured"):
        hha(np.zeros((4, 4)))


def test_the_reader_encodes_raw_depth_and_takes_hha_as_it_is(tmp_path):
    millimetres = np.full((40, 50), 2_000, np.uint16)
    write_image(tmp_path / "raw.png", millimetres)
    (shown,) = hha_image(tmp_path / "raw.png", (16, 16))
    assert shown.shape == (16, 16, 3)
    assert shown[8, 8, 0] == 155
    image = np.tile(np.array([10, 120, 240], np.uint8), (16, 16, 1))
    write_image(tmp_path / "hha.png", image)
    (shown,) = hha_image(tmp_path / "hha.png", (16, 16))
    np.testing.assert_array_equal(shown, image)
    write_image(tmp_path / "none.png", np.zeros((8, 8), np.uint16))
    with pytest.raises(pm.DataError, match=r"none\.png: no depth is measured"):
        list(hha_image(tmp_path / "none.png", (4, 4)))
