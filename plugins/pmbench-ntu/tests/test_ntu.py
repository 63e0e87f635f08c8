from __future__ import annotations

import pickle
import shutil
from collections import Counter
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_ntu import Ntu60, Ntu120, alignment_sources, listed_as_missing
from pmbench_ntu.classes import CLASSES
from pmbench_ntu.miniature import write_ntu
from pmbench_ntu.reading import colour, depth, skeleton
from pmbench_ntu.samples import (
    TRAINING_60,
    TRAINING_120,
    Sample,
    cross_view_validation,
    parts_60,
    parts_120,
    sample,
)
from pmbench_ntu.skeletons import alignment, skeletons

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view


def official_60() -> list[Sample]:
    """As many recordings as officially: 112 pairs of setup and training subject, 46 of setup and another."""
    others = sorted(set(range(1, 41)) - TRAINING_60)
    pairs = [(s, p) for s, p in product(range(1, 18), sorted(TRAINING_60))][:112]
    pairs += [(s, p) for s, p in product(range(1, 18), others)][:46]
    return [Sample(s, c, p, r, a) for (s, p), c, r, a in product(pairs, (1, 2, 3), (1, 2), range(1, 61))]


def official_120() -> list[Sample]:
    """Those of the first 60 actions, and 160 pairs of setup and subject of the other 60."""
    pairs = [(s, p) for s, p in product(range(18, 33), range(41, 107))][::6][:160]
    more = [Sample(s, c, p, r, a) for (s, p), c, r, a in product(pairs, (1, 2, 3), (1, 2), range(61, 121))]
    return [*official_60(), *more]


def size(split: str, parts: dict[str, list[Sample]]) -> int:
    return sum(len(parts[part]) for part in split.split("+"))


# --- the protocols ---------------------------------------------------------------------------------------


def test_published_counts_come_out():
    parts, splits = parts_60(official_60()), Ntu60.splits
    assert sum(map(len, parts.values())) == 56_880
    assert Ntu60.expected == {"+".join(parts): 56_880}
    subject, view = splits["cross-subject"], splits["cross-view"]
    assert (size(subject.train, parts), size(subject.test, parts)) == (40_320, 16_560)
    assert size(view.validation, parts) == 31 * 60
    assert (size(view.train, parts) + size(view.validation, parts), size(view.test, parts)) == (
        37_920,
        18_960,
    )


def test_published_counts_of_all_120_actions():
    parts = parts_120(official_120())
    assert sum(map(len, parts.values())) == 114_480
    assert Ntu120.expected == {"+".join(parts): 114_480}
    assert (len(TRAINING_60), len(TRAINING_120)) == (20, 53)
    assert TRAINING_60 < TRAINING_120
    for split in Ntu120.splits.values():
        assert size(split.train, parts) + size(split.test, parts) == 114_480


@pytest.mark.parametrize(
    ("dataset", "sort", "samples"), [(Ntu60, parts_60, official_60()), (Ntu120, parts_120, official_120())]
)
def test_each_split_keeps_apart_what_it_says(dataset, sort, samples):
    parts = sort(samples)
    what = {
        "cross-subject": lambda s: s.subject,
        "cross-view": lambda s: s.camera,
        "cross-setup": lambda s: s.setup % 2,
    }
    for name, split in dataset.splits.items():
        learnt = f"{split.train}+{split.validation}" if split.validation else split.train
        sides = [
            {what[name](s) for part in side.split("+") for s in parts[part]} for side in (learnt, split.test)
        ]
        assert sides[0].isdisjoint(sides[1])
        assert all(sides)
        assert size(learnt, parts) + size(split.test, parts) == len(samples)
    if dataset is Ntu60:
        assert sides[1] == {1}  # cross-view tests on camera 1


def test_validation_of_cross_view_is_drawn_as_published():
    """Seed 0, one action after the other, 31 of the sorted names each: as numpy.random.choice gives them."""
    samples = official_60()
    held = cross_view_validation(sorted(samples))
    np.random.seed(0)
    for action in range(1, 61):
        names = sorted(s.name for s in samples if s.camera != 1 and s.action == action)
        chosen = set(np.random.choice(names, 31, replace=False))
        assert chosen == {s.name for s in held if s.action == action}
    assert cross_view_validation(sorted(samples, key=lambda s: s.name)) == held


def test_names():
    assert sample("S001C002P003R002A013") == Sample(1, 2, 3, 2, 13)
    assert sample("S001C002P003R002A013").name == "S001C002P003R002A013"
    for name in ("S001C002P003R002", "S001C002P003R002A013_rgb", "s001c002p003r002a013"):
        with pytest.raises(pm.DataError, match="is not the name of a sample"):
            sample(name)
    assert (len(CLASSES), len(set(CLASSES))) == (120, 120)
    assert (CLASSES[0], CLASSES[42], CLASSES[59], CLASSES[119]) == (
        "drink_water", "falling_down", "walking_apart", "rock-paper-scissors",
    )  # fmt: skip


# --- a miniature, end to end ------------------------------------------------------------------------------


class Small(Ntu60):
    """Two of the 60 actions."""

    name = "small"
    classes = CLASSES[:2]
    actions = 2
    expected: ClassVar = {"new-front": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ntu")
    return write_ntu(root, actions=(1, 2), subjects=(1, 2, 3), cameras=(1, 2), frames=(8, 10), scale=0.1)


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(Small(), source, tmp_path_factory.mktemp("data"))


def test_parts_hold_who_and_where(prepared):
    ids = {part: prepared.index(part)[0] for part in Small().part_names()}
    assert Counter(part.split("-")[0] for part, names in ids.items() for _ in names) == {
        "learnt": 8,
        "new": 4,
    }
    for part, names in ids.items():
        assert all(name[4:8] == ("C001" if part.endswith("front") else "C002") for name in names)
        assert all((name[8:12] == "P003") == part.startswith("new") for name in names)
    assert sum(len(ids[f"{who}-held"]) for who in ("learnt", "new")) == 2  # one of three of each action


def test_validation_of_cross_subject_is_subject_one(prepared):
    view = training_view(prepared, Small().protocol("cross-subject"), 0)
    names, groups = prepared.index(view.train.part)
    assert {groups[row] for row in view.validation.rows} == {"P001"}
    assert {groups[row] for row in view.train.rows} == {"P002"}
    labels = [int(names[row][-3:]) - 1 for row in view.train.rows]
    assert labels == view.train.labels.tolist()


def test_samples_without_skeleton_are_aligned_by_their_neighbours(prepared, source):
    missing = listed_as_missing(source)
    assert missing == {"S002C002P001R001A001"}
    for part in Small().part_names():
        ids, _ = prepared.index(part)
        for modality in ("rgb", "depth", "ir"):
            assert prepared.column(part, modality, Small().protocol("cross-subject")).present is None
        column = prepared.column(part, "skeleton", Small().protocol("cross-subject"))
        present = np.ones(len(ids), bool) if column.present is None else column.present
        assert [name for name, there in zip(ids, present, strict=True) if not there] == [
            name for name in ids if name in missing
        ]


def test_own_skeleton_first_then_those_of_the_same_setup_and_camera():
    samples = [Sample(s, c, p, 1, 1) for s, c, p in product((1, 2), (1, 2), (1, 2, 3, 4, 5))]
    skeletons = {s.name: Path(s.name) for s in samples if s != Sample(2, 1, 4, 1, 1)}
    sources = alignment_sources(samples, skeletons)
    own = Sample(1, 1, 5, 1, 1)
    assert sources[own][0].name == own.name
    assert len(sources[own]) == 4
    borrowed = sources[Sample(2, 1, 4, 1, 1)]
    assert [path.name[:8] for path in borrowed] == ["S002C001"] * 3


def test_colour_lies_over_depth(source):
    """The hand is where it is in the other image: bright infrared and near depth agree with the skeleton."""
    joints = source / "nturgb+d_skeletons" / "S002C001P001R001A001.skeleton"
    item = (source / "nturgb+d_depth_masked" / joints.stem, (joints,))
    shown = np.stack(list(depth(item, (224, 224))))
    assert shown.shape[1:] == (224, 224, 3)
    box = alignment(skeletons(joints)).depth
    hand = skeletons(joints).depth[:, 0, 11] / (512, 424)  # (T, 2): x and y as shares
    y = ((hand[:, 1] - box[0]) / (box[2] - box[0]) * 224).astype(int)
    x = ((hand[:, 0] - box[1]) / (box[3] - box[1]) * 224).astype(int)
    body, wall = shown[np.arange(len(shown)), y, x].astype(int), (180, 255)
    assert all(not wall[0] < pixel[0] < wall[1] or pixel[2] for pixel in body)  # not the wall's dark red
    rgb = np.stack(list(colour((source / "nturgb+d_rgb" / f"{joints.stem}_rgb.avi", (joints,)), (224, 224))))
    assert rgb.shape[1:] == (224, 224, 3)
    assert len(rgb) >= len(shown)


def test_skeletons_are_sequences_of_one_length(source):
    for path in sorted((source / "nturgb+d_skeletons").iterdir()):
        found = skeleton(path)
        assert found.shape == (150, 64)
        assert found.dtype == np.float32
        joints = skeletons(path).positions
        first = joints[~np.isnan(joints[:, 0, 0, 0])][0, 0]
        last = joints[-1, 0] - first[0]
        np.testing.assert_allclose(found[:75, -1].reshape(25, 3), last, atol=1e-5)
        assert np.abs(found).max() < 6


def test_a_skeleton_of_nobody_is_damaged(tmp_path):
    (tmp_path / "x.skeleton").write_text("2\n0\n0\n")
    with pytest.raises(pm.DataError, match="has no body"):
        skeleton(tmp_path / "x.skeleton")
    with pytest.raises(pm.DataError, match=r"colour and depth cannot be aligned: .*no two tracked joints"):
        list(colour((tmp_path / "x.avi", (tmp_path / "x.skeleton",)), (8, 8)))
    with pytest.raises(pm.DataError, match="no skeleton of its setup and camera"):
        list(colour((tmp_path / "x.avi", ()), (8, 8)))


def test_modalities_that_are_not_there_are_missing(source, tmp_path):
    for folder in ("nturgb+d_rgb", "nturgb+d_skeletons"):
        (tmp_path / folder).symlink_to(source / folder)
    for _, part in Small().read(tmp_path):
        assert not any(part.arrays["depth"].items)
        assert all(part.arrays["rgb"].items)
        pickle.dumps([files.load for files in part.arrays.values()])


@pytest.mark.parametrize("folder", ["nturgb+d_rgb", "nturgb+d_skeletons"])
def test_colour_and_skeletons_are_needed(source, tmp_path, folder):
    shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("nturgb+d_depth*"))
    shutil.rmtree(tmp_path / "copy" / folder)
    with pytest.raises(pm.DataError, match=r"has no (folder|sample)"):
        list(Small().read(tmp_path / "copy"))


def test_folders_may_lie_one_deeper(source, tmp_path):
    (tmp_path / "nturgbd").symlink_to(source)
    assert sum(len(part.ids) for _, part in Small().read(tmp_path)) == 12
