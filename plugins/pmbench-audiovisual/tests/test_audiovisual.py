"""CREMA-D, RAVDESS and AVE: their protocols at full size, and miniatures from files to prepared form."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_audiovisual import Ave, CremaD, Ravdess, ave, cremad, ravdess
from pmbench_audiovisual.ave import LISTS, events
from pmbench_audiovisual.miniature import write_ave, write_cremad, write_ravdess
from pmbench_audiovisual.reading import frames, log_mel

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view

MODALITIES = (
    pm.Modality("rgb", "clip", (3, 4, 16, 16), "8 bit", flip="mirror"),
    pm.Modality("audio", "image", (1, 64, 51), "dB"),
)
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")


class SmallCremaD(CremaD):
    name, modalities, stored, seconds = "small-crema-d", MODALITIES, (18, 24), 0.5
    sampling = pm.Sampling(frames=4, even=True)
    expected: ClassVar = {"fold-1": 26}


class SmallRavdess(Ravdess):
    name, modalities, stored, seconds = "small-ravdess", MODALITIES, (18, 18), 0.5
    sampling = pm.Sampling(frames=4, even=True)
    expected: ClassVar = {"fold-1": 12}


class SmallAve(Ave):
    name, modalities, stored, seconds = "small-ave", MODALITIES, (18, 24), 0.5
    sampling = pm.Sampling(frames=4, even=True)
    classes = ("Bark", "Church bell", "Frying (food)", "Violin, fiddle")
    expected: ClassVar = {"train": 9, "validation": 4, "test": 4}


# --- CREMA-D ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crema(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cremad")
    actors = (1001, 1005, 1010, 1076)
    return write_cremad(root, actors=actors, frames=(8, 10), size=(24, 32))


def official_cremad() -> list[str]:
    """As many names as officially: 82 of each actor, without 3 of each emotion, 5 of the neutral one."""
    names = []
    for actor, sentence, emotion in product(range(1001, 1092), SENTENCES, cremad.EMOTIONS):
        levels = ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",)
        names += [f"{actor}_{sentence}_{emotion}_{level}" for level in levels]
    dropped: Counter[str] = Counter()
    kept = []
    for name in names:
        emotion = name.split("_")[2]
        if name not in cremad.UNUSABLE and dropped[emotion] < (5 if emotion == "NEU" else 3):
            dropped[emotion] += 1
        else:
            kept.append(name)
    return kept


def test_published_counts_of_cremad_come_out(tmp_path):
    for name in official_cremad():
        (tmp_path / f"{name}.flv").touch()
    parts = dict(CremaD().read(tmp_path))
    labels = np.concatenate([part.labels for part in parts.values()])
    assert tuple(np.bincount(labels)) == CremaD.expected[cremad.ALL]
    assert sum(CremaD.expected[cremad.ALL]) == 7_442
    actors = {part: set(content.groups) for part, content in parts.items()}
    assert [len(actors[f"fold-{k}"]) for k in range(1, 6)] == [18, 19, 18, 18, 18]
    assert len(set.union(*actors.values())) == 91


def test_no_actor_of_cremad_is_trained_on_and_tested(crema, tmp_path_factory):
    prepared = prepare(SmallCremaD(), crema, tmp_path_factory.mktemp("data"))
    split = SmallCremaD().protocol("fold-1").split
    assert set(prepared.index(split.test)[1]) == {"1005", "1010"}
    assert set(prepared.index(split.train)[1]) == {"1001", "1076"}
    view = training_view(prepared, SmallCremaD().protocol("fold-1"), 0)
    _, groups = prepared.index(view.train.part)
    assert not {groups[r] for r in view.train.rows} & {groups[r] for r in view.validation.rows}
    ids, _ = prepared.index(split.train)
    present = prepared.column(split.train, "audio").present
    assert [i for i, there in zip(ids, present, strict=True) if not there] == ["1076_MTI_SAD_XX"]
    row = prepared.index("fold-1")[0].index("1005_IEO_ANG_HI")
    read = prepared.column("fold-1", "audio").read(row)
    np.testing.assert_array_equal(read, log_mel(crema / "AudioWAV" / "1005_IEO_ANG_HI.wav", 0.5))
    assert log_mel(crema / "AudioWAV" / "1005_IEO_ANG_HI.wav", 4.0).shape == CremaD().modality("audio").shape


def test_the_wrong_copy_of_cremad_is_named(crema, tmp_path):
    with pytest.raises(pm.DataError, match=r"has no video such as 1001_DFA_ANG_XX\.flv$"):
        list(CremaD().read(tmp_path))
    (tmp_path / "AudioWAV").symlink_to(crema / "AudioWAV")
    with pytest.raises(pm.DataError, match="only sound") as raised:
        list(CremaD().read(tmp_path))
    assert "VideoFlash is needed" in raised.value.hint
    (tmp_path / "1001_DFA_ANG_XX.flv").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    with pytest.raises(pm.DataError, match=r"ANG_XX\.flv is a pointer of git-lfs") as raised:
        list(CremaD().read(tmp_path))
    assert "git lfs pull" in raised.value.hint
    (tmp_path / "1092_DFA_ANG_XX.flv").touch()
    with pytest.raises(pm.DataError, match="expected actors 1001 to 1091"):
        list(CremaD().read(tmp_path))


# --- RAVDESS ---------------------------------------------------------------------------------------------


def test_published_counts_of_ravdess_come_out(tmp_path):
    for actor, emotion, level, sentence, again in product(range(1, 25), range(1, 9), (1, 2), (1, 2), (1, 2)):
        if (emotion, level) != (1, 2):
            rest = f"0{emotion}-0{level}-0{sentence}-0{again}-{actor:02d}.mp4"
            for start in ("01-01", "02-01", "01-02"):
                (tmp_path / f"{start}-{rest}").touch()
    parts = dict(Ravdess().read(tmp_path))
    assert {k: len(part.ids) for k, part in parts.items()} == {
        f"fold-{k}": 300 - 60 * (k == 5) for k in range(1, 6)
    }
    labels = np.concatenate([part.labels for part in parts.values()])
    assert tuple(np.bincount(labels)) == Ravdess.expected[ravdess.ALL]
    assert len(labels) == 1_440
    assert sorted(actor for actors in ravdess.FOLDS.values() for actor in actors) == list(range(1, 25))
    for k, actors in ravdess.FOLDS.items():
        assert set(parts[f"fold-{k}"].groups) == {f"actor-{actor:02d}" for actor in actors}
    assert sum(d.size for d in Ravdess.downloads) == pytest.approx(13.4e9, rel=0.01)
    assert (len(Ravdess.downloads), len({d.file for d in Ravdess.downloads})) == (24, 24)


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ravdess")
    return write_ravdess(root, actors=(1, 2, 8, 16), frames=(8, 10), size=(36, 64))


def test_no_actor_of_ravdess_is_trained_on_and_tested(speech, tmp_path_factory):
    prepared = prepare(SmallRavdess(), speech, tmp_path_factory.mktemp("data"))
    split = SmallRavdess().protocol("fold-1").split
    assert set(prepared.index(split.test)[1]) == {"actor-02", "actor-16"}
    assert not set(prepared.index(split.train)[1]) & {"actor-02", "actor-16"}
    ids, _ = prepared.index(split.test)
    assert all(i.startswith("01-01-") for i in ids)  # neither songs nor clips without sound
    assert [Ravdess.classes[n] for n in prepared.labels(split.test)[::4]] == ["neutral", "happy", "angry"]
    assert prepared.column(split.test, "audio").present is None
    path = speech / "Actor_02" / f"{ids[0]}.mp4"
    square = next(frames(path, (18, 18), Ravdess.crop))
    whole = next(frames(path, (18, 32), (0, 0, 1, 1)))
    assert np.abs(square.astype(int) - whole[:, 7:25]).mean() < 2


def test_sound_files_come_before_the_tracks_of_videos(speech, tmp_path):
    (tmp_path / "Actor_02").symlink_to(speech / "Actor_02")
    (tmp_path / "03-01-01-01-01-01-02.wav").touch()
    for part, content in Ravdess().read(tmp_path):
        names = [Path(item).name for item in content.arrays["audio"].items]
        assert ("03-01-01-01-01-01-02.wav" in names) == (part == "fold-1")
        assert len(names) == (6 if part == "fold-1" else 0)


def test_the_wrong_copy_of_ravdess_is_named(tmp_path):
    with pytest.raises(pm.DataError, match=r"has no video of speech such as 01-01-06-01-02-01-12\.mp4$"):
        list(Ravdess().read(tmp_path))
    (tmp_path / "03-01-01-01-01-01-01.wav").touch()
    with pytest.raises(pm.DataError, match="only sound alone") as raised:
        list(Ravdess().read(tmp_path))
    assert "Video_Speech_Actor_01.zip" in raised.value.hint
    (tmp_path / "01-02-01-01-01-01-01.mp4").touch()
    with pytest.raises(pm.DataError, match="only sound alone"):
        list(Ravdess().read(tmp_path))


# --- AVE -------------------------------------------------------------------------------------------------


def test_published_counts_of_ave_come_out():
    counts = {}
    for part, total in Ave.expected.items():
        lines = [f"{Ave.classes[n % 28]}&{'-_x'[n % 3]}{part[:2]}{n:08d}&good&0&10" for n in range(total)]
        counts[part] = len(events(["", *lines, ""], Ave.classes))
    assert counts == Ave.expected == {"train": 3_339, "validation": 402, "test": 402}
    assert sum(counts.values()) == 4_143
    assert (len(Ave.classes), list(Ave.classes)) == (28, sorted(Ave.classes))


@pytest.mark.parametrize(
    "line",
    [
        "Bark&abcdefghijk&good&0",
        "Barking&abcdefghijk&good&0&10",
        "Bark&abc&good&0&10",
        "Bark&abcdefghijk&good&a&b",
    ],
)
def test_lines_of_other_lists_are_refused(line):
    with pytest.raises(pm.DataError, match=r"trainSet\.txt: .*; expected Category&VideoID"):
        events([ave.HEAD, line], Ave.classes, "trainSet.txt")


@pytest.fixture(scope="module")
def seen_and_heard(tmp_path_factory) -> Path:
    counts = {"train": 2, "validation": 1, "test": 1}
    return write_ave(tmp_path_factory.mktemp("ave"), counts=counts, seconds=0.9, size=(24, 32))


def test_a_video_of_two_events_is_two_samples_of_one_group(seen_and_heard, tmp_path_factory):
    prepared = prepare(SmallAve(), seen_and_heard, tmp_path_factory.mktemp("data"))
    ids, groups = prepared.index("train")
    twice = [i for i, group in zip(ids, groups, strict=True) if groups.count(group) > 1]
    assert twice == ["_tr01_-0001/Church bell/0-10", "_tr01_-0001/Bark/2-5"]
    assert [SmallAve.classes[n] for n in prepared.labels("train")] == [i.split("/")[1] for i in ids]
    assert len(prepared.index("validation")[0]) == len(prepared.index("test")[0]) == 4
    assert SmallAve().protocol("standard").split.validation == "validation"
    assert prepared.column("train", "audio").read(0).shape == (1, 64, 51)


def test_the_wrong_copy_of_ave_is_named(seen_and_heard, tmp_path):
    (tmp_path / "Annotations.txt").touch()
    with pytest.raises(pm.DataError, match=r"has no trainSet\.txt") as raised:
        list(SmallAve().read(tmp_path))
    assert "AVE_Dataset.zip" in raised.value.hint
    for name in LISTS.values():
        (tmp_path / name).symlink_to(seen_and_heard / "AVE_Dataset" / name)
    with pytest.raises(pm.DataError, match=r"9 of 9 videos of trainSet\.txt are missing, .*-tr00_-0000\.mp4"):
        list(SmallAve().read(tmp_path))


# --- all -------------------------------------------------------------------------------------------------


def test_readers_go_to_other_processes(crema, speech, seen_and_heard):
    for dataset, source in ((CremaD(), crema), (Ravdess(), speech), (SmallAve(), seen_and_heard)):
        for _, part in dataset.read(source):
            pickle.dumps([(files.load, files.rate) for files in part.arrays.values()])
