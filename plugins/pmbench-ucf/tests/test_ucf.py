from __future__ import annotations

import io
import pickle
import re
import tarfile
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_ucf import EVERYTHING, SPLIT, Ucf51, Ucf101, embedding, flow, frames, log_mel
from pmbench_ucf.classes import CLASSES, SOUNDING
from pmbench_ucf.lists import SPLITS, clips, fold, numbered
from pmbench_ucf.miniature import write_ucf

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.testing.media import write_video
from pmbench.training.samples import training_view

Lists = tuple[dict[int, str], dict[int, list[str]], dict[int, list[str]]]


def spread(total: int, cells: int) -> list[int]:
    """`total` in `cells` whole numbers that differ by one at most."""
    return [total // cells + (i < total % cells) for i in range(cells)]


def official() -> Lists:
    """Lists of the official size: how many clips of the classes with and without sound each fold has."""
    numbers = dict(enumerate(CLASSES, 1))
    silent = [name for name in CLASSES if name not in SOUNDING]
    test_groups = {1: range(1, 8), 2: range(8, 15), 3: range(15, 22), 0: range(22, 26)}
    totals = {1: (1944, 3783), 2: (1930, 3734), 3: (1890, 3696), 0: (6845 - 5764, 13320 - 11213)}
    files: dict[int, list[str]] = {}
    for k, (sounding, whole) in totals.items():
        files[k] = []
        for names, total in ((SOUNDING, sounding), (silent, whole - sounding)):
            cells = list(product(names, test_groups[k]))
            for (name, group), count in zip(cells, spread(total, len(cells)), strict=True):
                spelt = name.replace("HandstandP", "HandStandP")
                files[k] += [f"{name}/v_{spelt}_g{group:02d}_c{c:02d}.avi" for c in range(1, count + 1)]
    label = {name: number for number, name in numbers.items()}
    train = {
        k: [f"{f} {label[f.split('/')[0]]}" for other in files if other != k for f in files[other]]
        for k in SPLITS
    }
    return numbers, train, {k: files[k] for k in SPLITS}


# --- the lists -------------------------------------------------------------------------------------------


def test_published_counts_come_out():
    assert (len(CLASSES), len(set(CLASSES)), len(SOUNDING)) == (101, 101, 51)
    assert set(SOUNDING) < set(CLASSES)
    assert list(SOUNDING) == sorted(SOUNDING)
    found = clips(*official())
    sizes = {part: sum(c.part == part for c in found) for part in EVERYTHING.split("+")}
    for k, (train, test) in enumerate(((9_537, 3_783), (9_586, 3_734), (9_624, 3_696)), 1):
        split = SPLIT[f"split-{k}"]
        assert sum(sizes[part] for part in split.train.split("+")) == train
        assert sizes[split.test] == test
    with_sound = [c for c in found if c.action in SOUNDING]
    tested = [c for c in with_sound if c.part == "fold-1"]
    assert (len(with_sound) - len(tested), len(tested)) == (4_901, 1_944)
    assert Ucf101.expected == {"fold-1": 3_783, EVERYTHING: 13_320}
    assert Ucf51.expected == {"fold-1": 1_944, EVERYTHING: 4_901 + 1_944}


def test_a_clip_is_what_its_name_says():
    clip = next(c for c in clips(*official()) if c.action == "HandstandPushups" and c.group == 14)
    assert clip.name.startswith("v_HandStandPushups_g14_c")
    assert clip.part == "fold-2"


def test_every_split_trains_on_the_groups_that_validate():
    for split in SPLIT.values():
        assert "rest" in split.train.split("+")
        assert set(split.validation_groups) <= {f"g{n}" for n in range(22, 26)}
        assert split.test not in split.train.split("+")


def swapped(lists: Lists, split: int) -> Lists:
    """One clip of a group in the test list of `split` goes to its training list."""
    _, train, test = lists
    file = test[split].pop(0)
    train[split].append(f"{file} 1")
    return lists


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda n, train, test: train[1].pop(), "do not list the same clips"),
        (lambda n, train, test: train[2].append(train[2][0]), "split 2 lists a clip twice"),
        (lambda n, train, test: test[1].append(train[1][0].split()[0]), "split 1 lists a clip twice"),
        (lambda n, train, test: swapped((n, train, test), 1), r"group 1 of \w+ is in"),
        (lambda n, train, test: train[3].__setitem__(0, train[3][0][:-1] + "9"), "its number is that of"),
        (
            lambda n, train, test: train[3].__setitem__(0, train[3][0].split()[0]),
            "its number is that of None",
        ),
        (lambda n, train, test: n.pop(5), "its number is that of None|expected <Class>"),
        (
            lambda n, train, test: (
                train.__setitem__(2, [line for line in train[2] if line.split()[0] != test[1][0]]),
                test[2].append(test[1][0]),
            ),
            "is tested by split 1 and by split 2",
        ),
    ],
)
def test_lists_that_contradict_themselves_are_refused(spoil, reason):
    lists = official()
    spoil(*lists)
    with pytest.raises(pm.DataError, match=reason):
        clips(*lists)


def test_class_numbers_are_read_as_they_stand():
    assert numbered(["1 ApplyEyeMakeup\r", "", "2 ApplyLipstick"]) == {
        1: "ApplyEyeMakeup",
        2: "ApplyLipstick",
    }
    for line in ("ApplyEyeMakeup 1", "1", "x y"):
        with pytest.raises(pm.DataError, match="expected a number and the name of a class"):
            numbered([line])


# --- a miniature, end to end ------------------------------------------------------------------------------

NAMES = ("BabyCrawling", "BasketballDunk", "HandstandPushups", "PlayingCello")


class Small51(Ucf51):
    """Four of the 51 classes, frames of 16 x 16."""

    name = "small51"
    classes = NAMES
    modalities = (
        pm.Modality("rgb", "clip", (3, 4, 16, 16), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("audio", "image", (1, 64, 51), "dB"),
        Ucf51.modalities[2],
    )
    stored = (18, 24)
    seconds = 0.5
    expected: ClassVar = {"fold-1": 4 * 2, EVERYTHING: 4 * 8}
    sampling = pm.Sampling(frames=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_ucf(tmp_path_factory.mktemp("ucf"), clips=1, frames=(8, 10), size=(24, 32), features=True)


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(Small51(), source, tmp_path_factory.mktemp("data"))


def test_parts_are_the_folds_of_the_lists(prepared):
    groups = {part: set(prepared.index(part)[1]) for part in EVERYTHING.split("+")}
    assert groups == {
        "fold-1": {"g01", "g02"}, "fold-2": {"g08", "g09"}, "fold-3": {"g15", "g16"}, "rest": {"g24", "g25"},
    }  # fmt: skip
    ids, _ = prepared.index("fold-1")
    assert ids[:2] == ["v_BabyCrawling_g01_c01", "v_BabyCrawling_g02_c01"]
    actions = [NAMES[label].lower() for label in prepared.labels("fold-1")]
    assert actions == [name.split("_")[1].lower() for name in ids]
    view = training_view(prepared, Small51().protocol("split-1"), 0)
    assert len(view.validation.rows) == 8
    assert len(view.train.rows) == 16


def test_clips_without_sound_lack_the_modality_and_nothing_else(prepared):
    train = SPLIT["split-1"].train
    column = prepared.column(train, "audio", Small51().protocol("split-1"))
    ids, _ = prepared.index(train)
    lacking = {i for i, there in zip(ids, column.present, strict=True) if not there}
    assert lacking == {"v_BasketballDunk_g15_c01", "v_HandStandPushups_g16_c01"}
    rgb = prepared.column(train, "rgb", Small51().protocol("split-1"))
    assert rgb.present is None
    view = training_view(prepared, Small51().protocol("split-1"), 0)
    assert view.present_of("audio").sum() == 14


def test_frames_and_sound_are_those_of_the_files(prepared, source):
    train, protocol = "rest", Small51().protocol("split-1")
    ids, _ = prepared.index(train)
    row = ids.index("v_HandStandPushups_g24_c01")
    path = source / "UCF-101" / "HandstandPushups" / "v_HandStandPushups_g24_c01.avi"
    shown = np.stack(list(frames(path, (18, 24)))).astype(int)
    clip = prepared.column(train, "rgb", protocol).read(row)  # the middle
    assert clip.shape == (3, 4, 16, 16)
    start = round(0.5 * (len(shown) - 4))
    expected = shown[start : start + 4, 1:17, 4:20].transpose(3, 0, 1, 2)
    assert np.abs(clip - expected).mean() < 12  # JPEG of noise
    mel = prepared.column(train, "audio", protocol).read(row)
    np.testing.assert_array_equal(mel, log_mel(path, 0.5))
    assert mel.shape == (1, 64, 51)
    assert log_mel(path, Ucf51.seconds).shape == Ucf51().modality("audio").shape


def test_published_vectors_are_found_by_the_names_of_the_clips(prepared, source):
    train = SPLIT["split-1"].train
    column = prepared.column(train, "cnn14", Small51().protocol("split-1+with-cnn14"))
    ids, _ = prepared.index(train)
    lacking = {i for i, there in zip(ids, column.present, strict=True) if not there}
    assert lacking == {"v_BasketballDunk_g15_c01", "v_HandStandPushups_g16_c01"}
    name = "v_HandStandPushups_g24_c01"
    with tarfile.open(source / "audiocnn14embed512_features.tar.gz") as archive:
        stored = archive.extractfile(f"audiocnn14embed512_features/HandstandPushups/{name}.npy")
        np.testing.assert_array_equal(column.read(ids.index(name)), np.load(io.BytesIO(stored.read())))


def test_vectors_that_are_none_are_told(source, tmp_path):
    import shutil

    shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("*.tar.gz"))
    folder = tmp_path / "copy" / "audiocnn14embed512_features" / "PlayingCello"
    folder.mkdir(parents=True)
    np.save(folder / "v_PlayingCello_g09_c01.npy", np.zeros(511, np.float32))
    (folder / "v_PlayingCello_g08_c01.npy").write_bytes(b"none")
    with pytest.raises(pm.DataError, match="2 files of 'small51' cannot be read") as raised:
        prepare(Small51(), tmp_path / "copy", tmp_path / "data")
    assert re.search(r"g09_c01\.npy: shape \(511,\); expected \(512,\)", raised.value.message)
    assert re.search(r"g08_c01\.npy is not an array as numpy writes it", raised.value.message)


def test_flow_has_a_frame_for_every_frame_and_knows_its_direction(tmp_path):
    shown = np.full((5, 48, 64, 3), 30, np.uint8)
    for t in range(5):
        shown[t, 10:30, 10 + 3 * t : 30 + 3 * t] = np.random.default_rng(0).integers(100, 255, (20, 20, 3))
    write_video(tmp_path / "clip.avi", shown)
    flows = np.stack(list(flow(tmp_path / "clip.avi", (48, 64))))
    assert flows.shape == (5, 48, 64, 2)
    inside = (flows[2, 14:26, 22:30].astype(float) / 255 - 0.5) * 40
    assert np.median(inside[..., 0]) == pytest.approx(3, abs=0.7)
    assert np.median(inside[..., 1]) == pytest.approx(0, abs=0.7)


def test_what_reads_the_files_goes_to_other_processes(source):
    for dataset in (Ucf101(), Ucf51()):
        dataset = type("Any", (type(dataset),), {"classes": (*NAMES, "Basketball", "JumpRope")})()
        for part, content in dataset.read(source):
            assert part in EVERYTHING
            for files in content.arrays.values():
                assert isinstance(files, pm.Files)
                pickle.dumps((files.load, files.rate))


def test_a_clip_that_is_not_there_is_named(source, tmp_path):
    import shutil

    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "UCF-101" / "PlayingCello" / "v_PlayingCello_g09_c01.avi").unlink()
    with pytest.raises(pm.DataError, match=r"1 of 32 clips are missing, .*v_PlayingCello_g09_c01\.avi"):
        list(Small51().read(tmp_path / "copy"))


def test_a_damaged_clip_is_told_when_it_is_read(source, tmp_path):
    import shutil

    shutil.copytree(source, tmp_path / "copy")
    path = tmp_path / "copy" / "UCF-101" / "PlayingCello" / "v_PlayingCello_g09_c01.avi"
    path.write_bytes(b"")
    with pytest.raises(pm.DataError, match=r"2 files of 'small51' cannot be read: .*is empty"):
        prepare(Small51(), tmp_path / "copy", tmp_path / "data")


def test_the_wrong_source_is_told(tmp_path):
    (tmp_path / "UCF-101").mkdir()
    with pytest.raises(pm.DataError, match="has no folder ucfTrainTestlist"):
        list(Ucf51().read(tmp_path))
    (tmp_path / "ucfTrainTestlist").mkdir()
    with pytest.raises(pm.DataError, match=r"classInd\.txt cannot be read") as raised:
        list(Ucf51().read(tmp_path))
    assert "detection task" in raised.value.hint


def test_folders_may_lie_one_deeper(source, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "UCF-101").symlink_to(source / "UCF-101")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "ucfTrainTestlist").symlink_to(source / "ucfTrainTestlist")
    assert [part for part, _ in Small51().read(tmp_path)] == [*map(fold, SPLITS), "rest"]


def test_a_damaged_embedding_is_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros(512, np.float32))
    content = (tmp_path / "v.npy").read_bytes()
    for damage in (content.replace(b"}", b" "), content[:200], b""):
        (tmp_path / "v.npy").write_bytes(damage)
        with pytest.raises(pm.DataError, match="is not an array as numpy writes it"):
            embedding(tmp_path / "v.npy")
