from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_hmdb.dataset import LISTS, Hmdb51, frames, is_short
from pmbench_hmdb.lists import CLASSES, FEW, SPLITS, TEST, TRAIN, Clip, clips, part_of, parts
from pmbench_hmdb.miniature import write_hmdb

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view

Lists = dict[tuple[str, int], list[str]]


def official() -> Lists:
    """Lists of the official size: 70 training and 30 test clips of each class and split, of 6,766 files."""
    lists: Lists = {}
    for label, action in enumerate(CLASSES):
        files = [
            f"vid[{n // 4}]&x_{action}_u_nm_np1_fr_goo_{n % 4}.avi" for n in range(6_766 // 51 + (label < 34))
        ]
        for split in SPLITS:
            flags = np.zeros(len(files), int)
            order = np.random.default_rng((label, split)).permutation(len(files))
            flags[order[:70]], flags[order[70:100]] = 1, 2
            lists[action, split] = [f"{file} {flag} " for file, flag in zip(files, flags, strict=True)]
    return lists


# --- the lists -------------------------------------------------------------------------------------------


def test_published_counts_come_out():
    lists = official()
    assert (len(CLASSES), sum(len(lists[action, 1]) for action in CLASSES)) == (51, 6_766)
    found = clips(lists)
    where = {part_of(clip.flags, short) for clip in found for short in (False, True)}
    assert where <= Hmdb51().part_names()
    for split in SPLITS:
        for flag, count in ((TRAIN, 3_570), (TEST, 1_530)):
            names = set(parts(split, flag, short=True).split("+"))
            mine = [clip for clip in found if part_of(clip.flags, False) in names]
            assert len(mine) == count == Hmdb51.expected[parts(split, flag, short=True)]
            assert {sum(clip.action == action for clip in mine) for action in CLASSES} == {count // 51}
    assert all(any(flag != "0" for flag in clip.flags) for clip in found)


def test_splits_are_of_whole_parts():
    for split in SPLITS:
        whole, long = Hmdb51.splits[f"split-{split}"], Hmdb51.splits[f"split-{split}-drop-short"]
        for mine, kept in ((whole.train, long.train), (whole.test, long.test)):
            assert set(kept.split("+")) == {name for name in mine.split("+") if not name.endswith("-short")}
        assert not set(whole.train.split("+")) & set(whole.test.split("+"))


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09"),
        ("(HQ)_Rock_[1]&2_Brush_Hair_f_cm_np12_ri_med_10.avi", "(HQ)_Rock_[1]&2"),
        ("no_tail.avi", "no_tail"),
    ],
)
def test_a_recording_is_known_by_the_start_of_the_name(file, group):
    assert Clip("brush_hair", file, "120").group == group


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda lists: lists["wave", 2].pop(), "lists of wave for split 2 and split 1 do not name the same"),
        (lambda lists: lists["run", 1].append(lists["run", 1][0]), r"run_test_split1\.txt: .*once"),
        (lambda lists: lists["run", 3].__setitem__(0, "x.avi 3"), r"'x\.avi 3'; expected .* 0, 1 or 2"),
        (lambda lists: lists["run", 3].__setitem__(0, "run/x 1"), "'run/x 1'; expected"),
    ],
)
def test_lists_that_are_not_the_official_ones_are_refused(spoil, reason):
    lists = official()
    spoil(lists)
    with pytest.raises(pm.DataError, match=reason):
        clips(lists)


# --- a miniature, end to end ------------------------------------------------------------------------------


class Small(Hmdb51):
    """Two of the 51 classes, frames of 16 x 16; eight frames are not short."""

    name = "small"
    classes = FEW[:2]
    modalities = (
        pm.Modality("rgb", "clip", (3, 4, 16, 16), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("flow", "clip", (2, 4, 16, 16), "20 px / 127.5", grid="frame", flip="negate"),
    )
    stored, short = (18, 24), 8
    expected: ClassVar = {parts(1, TEST, short=True): 2, parts(3, TRAIN, short=True): 2 * 4}
    sampling = pm.Sampling(frames=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_hmdb(
        tmp_path_factory.mktemp("hmdb"), classes=FEW[:2], clips=1, frames=(6, 10), size=(24, 32), seed=1
    )


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(Small(), source, tmp_path_factory.mktemp("data"))


def lengths(source: Path) -> dict[str, int]:
    listed = [p for p in source.rglob("*.avi") if not p.name.startswith("unlisted")]
    return {f"{p.parent.name}/{p.stem}": sum(1 for _ in frames(p, (18, 24))) for p in listed}


def test_each_split_tests_one_recording(prepared):
    for split, recording in zip(SPLITS, ("#437_How_To", "20060723sf[1]", "50;FIRST!DATES"), strict=True):
        protocol = Small().protocol(f"split-{split}")
        ids, groups = prepared.index(protocol.split.test)
        assert set(groups) == {recording}
        assert sorted({i.partition("/")[0] for i in ids}) == list(FEW[:2])
        train, _ = prepared.index(protocol.split.train)
        assert len(train) == 2 * (4 if split == 3 else 3)
        assert [FEW[label] for label in prepared.labels(protocol.split.test)] == [
            i.partition("/")[0] for i in ids
        ]
    view = training_view(prepared, Small().protocol("split-1"), 0)
    _, groups = prepared.index(view.train.part)
    assert not {groups[r] for r in view.train.rows} & {groups[r] for r in view.validation.rows}


def test_short_clips_can_be_left_out(prepared, source):
    counted = lengths(source)
    for split in SPLITS:
        whole, long = (Small().protocol(f"split-{split}{end}").split for end in ("", "-drop-short"))
        for mine, kept in ((whole.train, long.train), (whole.test, long.test)):
            short = set(prepared.index(mine)[0]) - set(prepared.index(kept)[0])
            assert short == {i for i in prepared.index(mine)[0] if counted[i] < Small.short}
    assert {n < Small.short for n in counted.values()} == {True, False}


@pytest.mark.parametrize("length", [Hmdb51.short - 1, Hmdb51.short])
@pytest.mark.parametrize("reported", [-1, 0, 1])
def test_headers_that_are_off_by_one_do_not_count(tmp_path, length, reported):
    from pmbench.testing.media import write_video

    shown = np.random.default_rng(0).integers(0, 255, (length, 16, 16, 3), np.uint8)
    write_video(tmp_path / "x.avi", shown, reported=length + reported)
    assert is_short(tmp_path / "x.avi", Hmdb51.short) is (length < Hmdb51.short)


def test_frames_and_flow_are_those_of_the_file(prepared, source):
    protocol = Small().protocol("split-1")
    ids, _ = prepared.index(protocol.split.test)
    path = source / f"{ids[0]}.avi"
    shown = np.stack(list(frames(path, (18, 24)))).astype(int)
    clip = prepared.column(protocol.split.test, "rgb", protocol).read(0)
    start = round(0.5 * (len(shown) - 4))
    assert np.abs(clip - shown[start : start + 4, 1:17, 4:20].transpose(3, 0, 1, 2)).mean() < 12  # JPEG
    assert prepared.column(protocol.split.test, "flow", protocol).read(0).shape == (2, 4, 16, 16)


def test_readers_go_to_other_processes(source):
    for _, part in Small().read(source):
        pickle.dumps([(files.load, files.rate) for files in part.arrays.values()])


def test_folders_may_lie_deeper(source, tmp_path):
    (tmp_path / "hmdb51_org").mkdir()
    for action in FEW[:2]:
        (tmp_path / "hmdb51_org" / action).mkdir()
        (tmp_path / "hmdb51_org" / action / action).symlink_to(source / action)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / LISTS).symlink_to(source / LISTS)
    assert sum(len(part.ids) for _, part in Small().read(tmp_path)) == 2 * 5


def spoiled(source: Path, folder: Path) -> Path:
    for entry in source.iterdir():
        (folder / entry.name).symlink_to(entry)
    return folder


def test_a_source_without_lists_is_named(source, tmp_path):
    (spoiled(source, tmp_path) / LISTS).unlink()
    with pytest.raises(pm.DataError, match=f"has no folder {LISTS}") as raised:
        list(Small().read(tmp_path))
    assert "test_train_splits.rar" in raised.value.hint
    (tmp_path / LISTS).mkdir()
    with pytest.raises(pm.DataError, match=r"cartwheel_test_split1\.txt cannot be read"):
        list(Small().read(tmp_path))


def test_archives_that_are_still_packed_are_named(source, tmp_path):
    (tmp_path / LISTS).symlink_to(source / LISTS)
    with pytest.raises(pm.DataError, match="has no folder of a class, such as cartwheel"):
        list(Small().read(tmp_path))
    (tmp_path / "hmdb51_org").mkdir()
    (tmp_path / "hmdb51_org" / "cartwheel.rar").touch()
    with pytest.raises(
        pm.DataError, match=r"1 archives of classes, such as cartwheel\.rar, are still packed"
    ):
        list(Small().read(tmp_path))


def test_a_clip_that_is_not_there_is_named(source, tmp_path):
    (spoiled(source, tmp_path) / "cartwheel").unlink()
    shutil.copytree(source / "cartwheel", tmp_path / "cartwheel")
    (tmp_path / "cartwheel" / "20060723sf[1]_cartwheel_f_cm_np1_ri_med_0.avi").unlink()
    with pytest.raises(
        pm.DataError, match=r"1 of 10 clips are missing, .*cartwheel/20060723sf\[1\]_cartwheel"
    ):
        list(Small().read(tmp_path))


def test_a_damaged_clip_is_named_when_it_is_read(source, tmp_path):
    (spoiled(source, tmp_path) / "cartwheel").unlink()
    shutil.copytree(source / "cartwheel", tmp_path / "cartwheel")
    (tmp_path / "cartwheel" / "20060723sf[1]_cartwheel_f_cm_np1_ri_med_0.avi").write_bytes(b"")
    parts_ = dict(Small().read(tmp_path))
    assert sum(len(part.ids) for part in parts_.values()) == 10
    path = tmp_path / "cartwheel" / "20060723sf[1]_cartwheel_f_cm_np1_ri_med_0.avi"
    with pytest.raises(pm.DataError, match="is empty"):
        list(frames(path, (8, 8)))
