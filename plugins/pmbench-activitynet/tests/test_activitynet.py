from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pmbench_activitynet.annotations import id_of, videos
from pmbench_activitynet.classes import CLASSES, FEW
from pmbench_activitynet.dataset import ANNOTATIONS, ActivityNet, found, frames, log_mel
from pmbench_activitynet.miniature import write_activitynet

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view


def official() -> dict[str, Any]:
    """A document of the official size: 10,024, 4,926 and 5,044 videos, 15,410 and 7,654 segments."""
    database: dict[str, Any] = {}
    for subset, count, segments in (("training", 10_024, 15_410), ("validation", 4_926, 7_654)):
        for n in range(count):
            label = CLASSES[n % 200]
            each = 1 + (n < segments - count)
            marked = [{"label": label, "segment": [2.0 * k, 2.0 * k + 1]} for k in range(each)]
            database[f"{'-_x'[n % 3]}{subset[:2]}{n:08d}"] = {"subset": subset, "annotations": marked}
    for n in range(5_044):
        database[f"-te{n:08d}"] = {"subset": "testing", "annotations": []}
    return {"version": "VERSION 1.3", "taxonomy": [], "database": database}


# --- the annotations -------------------------------------------------------------------------------------


def test_published_counts_come_out():
    document = official()
    segments = {"training": 0, "validation": 0, "testing": 0}
    for entry in document["database"].values():
        segments[entry["subset"]] += len(entry["annotations"])
    assert segments == {"training": 15_410, "validation": 7_654, "testing": 0}
    listed = videos(document, CLASSES)
    counts = {part: sum(video.part == part for video in listed) for part in ("train", "validation")}
    assert counts == ActivityNet.expected == {"train": 10_024, "validation": 4_926}
    assert sum(counts.values()) == 14_950  # as the AMID paper counts
    assert {video.label for video in listed} == set(CLASSES)
    assert (len(CLASSES), len(set(CLASSES)), list(CLASSES)) == (200, 200, sorted(CLASSES))


def test_the_label_of_a_video_is_the_one_with_most_time():
    marked = [
        {"label": "Zumba", "segment": [0, 4]},
        {"label": "Archery", "segment": [0, 3]},
        {"label": "Archery", "segment": [5, 7]},
    ]
    document = {
        "version": "VERSION 1.3",
        "database": {"a" * 11: {"subset": "training", "annotations": marked}},
    }
    assert videos(document, CLASSES)[0].label == "Archery"
    marked.append({"label": "Zumba", "segment": [8, 9]})
    assert videos(document, CLASSES)[0].label == "Archery"  # of equals the first by name


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: d.pop("database"), "has no 'database'"),
        (lambda d: d.update(version="VERSION 1.2"), r"of release 'VERSION 1\.2'"),
        (
            lambda d: d["database"].update({"a" * 11: {"subset": "training"}}),
            "entry of aaaaaaaaaaa is damaged",
        ),
        (lambda d: d["database"]["-tr00000000"].update(annotations=[]), "entry of -tr00000000 is damaged"),
        (
            lambda d: d["database"]["-tr00000000"]["annotations"][0].update(label="Sleeping", segment=[0, 9]),
            "'Sleeping' of -tr00000000 is none of the 200 classes",
        ),
        (lambda d: d["database"].update(short=d["database"]["-tr00000000"]), "'short' is no id"),
    ],
)
def test_other_documents_are_refused(spoil, reason):
    document = official()
    spoil(document)
    with pytest.raises(pm.DataError, match=reason):
        videos(document, CLASSES)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("v_-abcdefghij.mp4", "-abcdefghij"),
        ("v_v_abcdefghi.mkv", "v_abcdefghi"),
        ("v_abcdefghi.webm", "v_abcdefghi"),
        ("-bcdefghijk.MP4", "-bcdefghijk"),
        ("v_abc.mp4", None),
        ("v_-abcdefghij.mp4.part", None),
        ("v_-abcdefghij.npy", None),
    ],
)
def test_ids_are_those_of_the_file_names(file, name):
    assert id_of(file) == name


# --- a miniature, end to end ------------------------------------------------------------------------------


class Small(ActivityNet):
    """Four of the 200 classes, frames of 16 x 16."""

    name = "small"
    classes = FEW
    modalities = (
        pm.Modality("rgb", "clip", (3, 4, 16, 16), "8 bit", flip="mirror"),
        pm.Modality("audio", "image", (1, 64, 51), "dB"),
    )
    stored, seconds = (18, 24), 0.5
    expected: ClassVar = {"train": 12, "validation": 4}
    sampling = pm.Sampling(frames=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("activitynet")
    return write_activitynet(root, training=3, validation=1, seconds=(1.0, 1.6), size=(24, 32))


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(Small(), source, tmp_path_factory.mktemp("data"))


def test_validation_is_the_test(prepared):
    protocol = Small().protocol("standard")
    assert (protocol.split.train, protocol.split.test) == ("train", "validation")
    ids, _ = prepared.index("validation")
    assert [int(i[2:4]) for i in ids] == prepared.labels("validation").tolist()
    assert {i[0] for i in prepared.index("train")[0]} == {"-", "_", "a"}
    view = training_view(prepared, protocol, 0)
    assert not set(view.train.rows) & set(view.validation.rows)


def test_frames_are_sampled_by_time(prepared, source):
    """Five a second from files of 10, 15 and 30 frames a second, and from one with gaps."""
    database = json.loads((source / ANNOTATIONS).read_text())["database"]
    column = prepared.column("train", "rgb")
    for row, name in enumerate(prepared.index("train")[0]):
        stored = column.columns[0].frames if hasattr(column, "columns") else column.frames
        assert stored.rates[row] == 5
        assert stored.counts[row] == pytest.approx(database[name]["duration"] * 5, abs=1.5)


def test_videos_without_sound_are_counted(prepared):
    column = prepared.column("train", "audio")
    lacking = {i for i, there in zip(prepared.index("train")[0], column.present, strict=True) if not there}
    assert lacking == {f"-t{label:02d}_-00000" for label in range(4)}
    assert prepared.missing("train", "audio") == 4
    assert prepared.missing("train+validation", "rgb") == 0


def test_sound_is_that_of_the_middle(source, tmp_path):
    from pmbench.testing.media import RATE, write_video

    t = np.arange(3 * RATE) / RATE
    sound = 0.5 * np.sin(2 * np.pi * np.where((t > 1) & (t < 2), 4_000, 300) * t)
    write_video(tmp_path / "v.mp4", np.zeros((30, 16, 16, 3), np.uint8), fps=10, sound=sound)
    whole, middle = (log_mel(tmp_path / "v.mp4", seconds)[0] for seconds in (3.0, 0.9))
    assert middle.shape == (64, 91)
    assert middle[:, 5:-5].mean(1).argmax() == whole[:, 130:170].mean(1).argmax() > 30
    assert whole[:, 20:80].mean(1).argmax() < 15
    assert log_mel(tmp_path / "v.mp4", ActivityNet.seconds).shape == ActivityNet().modality("audio").shape


def test_readers_go_to_other_processes(source):
    for _, part in Small().read(source):
        pickle.dumps([(files.load, files.rate) for files in part.arrays.values()])


def test_folders_may_lie_anywhere_and_the_largest_file_of_a_video_counts(source, tmp_path):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "videos").symlink_to(source)
    broken = next((source / "validation").iterdir()).name
    (tmp_path / broken).write_bytes(b"0")
    _, files = found(tmp_path)
    assert len(files) == 16
    assert {path.parent.name for path in files.values()} == {"training", "validation"}
    assert all(next(frames(path, (8, 8), 5.0)).shape == (8, 8, 3) for path in files.values())


def test_the_wrong_source_is_named(source, tmp_path):
    (tmp_path / "activity_net.v1-2.min.json").touch()
    with pytest.raises(pm.DataError, match=r"no activity_net\.v1-3\.min\.json, only activity_net\.v1-2\.min"):
        list(Small().read(tmp_path))
    shutil.copy(source / ANNOTATIONS, tmp_path)
    with pytest.raises(pm.DataError, match="has no video"):
        list(Small().read(tmp_path))
    (tmp_path / "v_-----test--.mp4").touch()
    with pytest.raises(pm.DataError, match="holds 1 videos, none of which is labelled") as raised:
        list(Small().read(tmp_path))
    assert "withheld" in raised.value.hint
    (tmp_path / ANNOTATIONS).write_text('{"version": "VERSION 1.3", "results": {}}')
    with pytest.raises(pm.DataError, match=r"activity_net\.v1-3\.min\.json: it has no 'database'"):
        list(Small().read(tmp_path))
    (tmp_path / ANNOTATIONS).write_text("<html>")
    with pytest.raises(pm.DataError, match=r"min\.json cannot be read"):
        list(Small().read(tmp_path))


def test_half_a_download_is_told_and_may_be_accepted(source, tmp_path):
    shutil.copytree(source, tmp_path / "copy")
    next((tmp_path / "copy" / "training").iterdir()).unlink()
    with pytest.raises(pm.DataError, match="found 11 samples, expected 12") as raised:
        prepare(Small(), tmp_path / "copy", tmp_path / "data")
    assert "--incomplete" in raised.value.hint
    half = prepare(Small(), tmp_path / "copy", tmp_path / "data", allow=["incomplete"])
    assert half.manifest["lacks"] == ["part train: 11 samples of 12"]
