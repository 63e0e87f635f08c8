"""Data sets of files: stored frames, sampled clips and crops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import videos

import pmbench as pm
from pmbench.data.frames import Frames, FramesColumn, Writer
from pmbench.data.prepare import prepare
from pmbench.data.prepared import open_prepared, verify
from pmbench.errors import DataError
from pmbench.training.batches import Order, TrainingBatches
from pmbench.training.samples import training_view


@pytest.fixture
def raw(source, tmp_path):
    return prepare(videos.Videos(), source, tmp_path / "data", codec="raw")


def protocol(name="one"):
    return videos.Videos().protocol(name)


# --- stored frames --------------------------------------------------------------------------------------


def test_frames_file_roundtrip(tmp_path):
    rng = np.random.default_rng(0)
    samples = [rng.integers(0, 256, (n, 6, 7, 2), dtype=np.uint8) for n in (3, 0, 5)]
    for codec in ("raw", "jpeg"):
        with (tmp_path / codec).open("wb") as file:
            writer = Writer(file, codec)
            for sample, rate in zip(samples, (25.0, 0.0, 29.97), strict=True):
                writer.add(sample, rate)
            writer.close()
        frames = Frames(tmp_path / codec)
        assert frames.shape == (6, 7, 2)
        assert frames.counts.tolist() == [3, 0, 5]
        assert frames.rates.tolist() == [25.0, 0.0, 29.97]
        got = np.stack(frames.read(2, [4, 0]))
        if codec == "raw":
            np.testing.assert_array_equal(got, samples[2][[4, 0]])
        else:
            assert np.abs(got.astype(int) - samples[2][[4, 0]]).mean() < 12  # noise, at quality 90


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_frames_file_is_named(tmp_path, damage):
    path = tmp_path / "x.arrow"
    with path.open("wb") as file:
        writer = Writer(file, "raw")
        writer.add(videos.video(0, 3), 25)
        writer.close()
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[:-9], "other": b"RIFF" * 100}[damage])
    with pytest.raises(DataError, match=r"x\.arrow is not a complete frames file"):
        Frames(path)


def test_frames_of_other_sizes_are_refused(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        writer = Writer(file, "raw")
        writer.add(np.zeros((1, 4, 4, 3), np.uint8), 0)
        with pytest.raises(DataError, match=r"\(5, 4, 3\), earlier ones \(4, 4, 3\)"):
            writer.add(np.zeros((1, 5, 4, 3), np.uint8), 0)
        with pytest.raises(DataError, match="float64"):
            writer.add(np.zeros((1, 4, 4, 3)), 0)


def test_prepared_files_roundtrip(raw, source):
    assert raw.index("b+c")[0] == raw.index("b")[0] + raw.index("c")[0]
    assert raw.count("b+c") == 6
    assert raw.labels("a+b").tolist() == [0, 1, 0, 0, 1, 0]
    column = raw.column("b+c", "rgb", protocol())
    assert column.length == 6
    assert column.shape == (3, 4, 8, 10)
    sound = raw.column("b+c", "sound", protocol())
    assert sound.present.tolist() == [True, True, True, False, True, True]
    np.testing.assert_array_equal(sound.read(5), np.arange(5) + 22)
    assert raw.manifest["parts"]["c"]["files"]["sound"]["missing"] == 1
    assert "missing" not in raw.manifest["parts"]["b"]["files"]["sound"]
    face = raw.column("a", "face", protocol()).read(1)
    np.testing.assert_array_equal(face, videos.video(1, 7)[0, 2:10, 3:13].transpose(2, 0, 1))
    assert all(row["ok"] for row in verify(videos.Videos(), raw.folder.parent))


def test_each_modality_and_part_has_its_own_file(raw):
    opened = raw.files("b+c", ("rgb", "labels"))
    assert [p.relative_to(raw.folder).as_posix() for p in opened] == [
        "b/rgb.arrow", "b/labels.npy", "c/rgb.arrow", "c/labels.npy",
    ]  # fmt: skip


def test_jpeg_is_close_and_smaller(source, tmp_path):
    jpeg = prepare(videos.Videos(), source, tmp_path / "jpeg")
    rgb = jpeg.column("a", "rgb", protocol()).read(0).astype(int)
    expected = videos.video(0, 6)[1:5, 2:10, 3:13].transpose(3, 0, 1, 2)
    assert np.abs(rgb - expected).max() < 25
    flow = jpeg.column("a", "flow", protocol()).read(0).astype(int)
    assert np.abs(flow - expected[:2]).mean() < 6


def test_a_changed_frames_file_is_found(raw):
    path = raw.path("a", "rgb")
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        open_prepared(videos.Videos(), raw.folder.parent).column("a", "rgb")
    assert [r for r in verify(videos.Videos(), raw.folder.parent) if not r["ok"]]


# --- sampling and crops ---------------------------------------------------------------------------------


def test_sampling_of_consecutive_frames():
    sampling = pm.Sampling(frames=4, stride=2)
    assert sampling.indices(20, 0.0) == [0, 2, 4, 6]
    assert sampling.indices(20, 1.0) == [13, 15, 17, 19]
    assert sampling.indices(20, 0.5) == [6, 8, 10, 12]
    assert sampling.indices(5, 0.7) == [0, 2, 4, 1]  # too short: from the beginning again
    assert sampling.indices(1, 0.2) == [0, 0, 0, 0]


def test_sampling_of_even_segments():
    sampling = pm.Sampling(frames=5, even=True)
    assert sampling.indices(50, 0.5) == [5, 15, 25, 35, 45]
    assert sampling.indices(50, 0.0) == [0, 10, 20, 30, 40]
    assert sampling.indices(50, 1.0) == [9, 19, 29, 39, 49]
    assert sampling.indices(2, 0.5) == [0, 0, 1, 1, 1]


def test_test_clips_are_evenly_spaced():
    assert pm.Sampling(test_clips=1).moments() == [0.5]
    assert pm.Sampling(test_clips=4).moments() == [0.125, 0.375, 0.625, 0.875]


def test_protocols_declare_the_sampling_of_clips():
    assert protocol().sampling == videos.Videos.sampling
    for name, frames, even in (("one+even-5", 5, True), ("even-5", 5, True), ("two+clip-8", 8, False)):
        found = protocol(name)
        assert (found.sampling.frames, found.sampling.even) == (frames, even)
        assert found.sampling.test_clips == 2
        assert found.seen(videos.Videos().modality("rgb")).shape == (3, frames, 8, 10)
        assert found.seen(videos.Videos().modality("sound")).shape == (5,)
        assert videos.Videos().protocol(found.name) == found
    assert protocol("one+clip-4").name == "one"
    assert protocol("few-3+even-5@sound").name == "few-3+even-5@sound"
    assert protocol("two+clip-8").identity() != protocol("two").identity()
    for wrong in ("clip-0", "even", "clip-3+even-4"):
        with pytest.raises(pm.UsageError):
            protocol(wrong)


def position(clip):
    """Columns, rows and times of the pixels of a clip of `videos.video(0, ...)`."""
    return (clip[0, 0, 0].astype(int) - 40) // 10, (clip[1, 0, :, 0].astype(int) - 40) // 12, (
        clip[2, :, 0, 0].astype(int) - 40) // 8  # fmt: skip


def test_crop_params_select_a_clip(raw):
    read = raw.column("a", "rgb", protocol()).read
    x, y, t = position(read(0))
    assert (x.tolist(), y.tolist(), t.tolist()) == (list(range(3, 13)), list(range(2, 10)), [1, 2, 3, 4])
    x, y, t = position(read(0, pm.CropParams(1.0, 1.0, 0.0)))
    assert (x[0], y[0], t.tolist()) == (0, 4, [2, 3, 4, 5])
    x, y, t = position(read(0, pm.CropParams(0.0, 0.0, 1.0, flip=True)))
    assert (x.tolist(), y[0], t[0]) == (list(range(15, 5, -1)), 0, 0)


def test_a_flip_reverses_horizontal_flow(raw):
    column = raw.column("a", "flow", protocol())
    plain, flipped = column.read(0), column.read(0, pm.CropParams(flip=True))
    np.testing.assert_array_equal(flipped[0], 255 - plain[0, :, :, ::-1])
    np.testing.assert_array_equal(flipped[1], plain[1, :, :, ::-1])
    still = FramesColumn.open(
        raw.path("a", "flow"), dataclasses.replace(column.modality, flip=""), column.sampling
    )
    np.testing.assert_array_equal(still.read(0, pm.CropParams(flip=True)), still.read(0))


def test_frames_smaller_than_the_modality_are_refused(raw):
    large = pm.Modality("rgb", "clip", (3, 4, 13, 10), "8 bit")
    with pytest.raises(DataError, match=r"\(12, 16, 3\); 'rgb' needs at least \(13, 10, 3\)"):
        FramesColumn.open(raw.path("a", "rgb"), large, None)


@dataclasses.dataclass(frozen=True)
class Both(pm.Stage):
    reads = ("rgb", "flow", "face")

    def build(self, bench): ...

    def losses(self, nets, batch): ...


def epochs(prepared, epoch=0, seed=0, threads=0):
    view = training_view(prepared, protocol(), seed)
    stage = Both()
    stats = {m: view.channel_stats(m) for m in stage.reads}
    indices = view.indices_for(stage)
    order = Order(np.arange(len(indices)), np.arange(0), 4, 2, seed)
    batches = TrainingBatches(view, stage, order, stats, torch.device("cpu"), threads)
    return stats, list(batches.epoch(epoch, 3))


def test_crops_are_shared_on_one_grid_and_new_in_every_epoch(raw):
    stats, found = epochs(raw)
    crops = set()
    for batch in found:
        rgb, flow = (
            (batch[name].numpy() * std + mean).round().astype(int)
            for name in ("rgb", "flow")
            for mean, std in [stats[name].shaped(4)]
        )
        columns, flipped = rgb[:, 0, 0, 0], rgb[:, 0, 0, 0, 1] < rgb[:, 0, 0, 0, 0]
        reversed_ = np.where(flipped[:, None], 255 - flow[:, 0, 0, 0], flow[:, 0, 0, 0])
        np.testing.assert_array_equal(reversed_, columns)  # the same columns of the frame
        np.testing.assert_array_equal(flow[:, 1], rgb[:, 1])  # the same rows
        crops |= {tuple(x) for x in columns.tolist()}
    assert len(crops) > 3
    again = epochs(raw, threads=3)[1]
    for a, b in zip(found, again, strict=True):
        assert torch.equal(a["rgb"], b["rgb"])
    other = epochs(raw, epoch=1)[1]
    assert not torch.equal(found[0]["rgb"], other[0]["rgb"])


def test_samples_without_a_modality(raw):
    view = training_view(raw, protocol(), 0)
    assert view.present_of("rgb") is None
    sound = view.present_of("sound")
    ids = np.array(raw.index("b+c")[0])
    lacking = ids[view.train.rows][~sound] if sound is not None else []
    validated = ids[view.validation.rows]
    assert "c/g0-0-silent" in [*lacking, *validated]
    kept = view.validation_for(dataclasses.replace(Listen()))
    assert "c/g0-0-silent" not in ids[kept.rows]
    assert len(view.indices_for(Listen())) == (len(view.train.rows) - len(lacking))
    assert np.isfinite(view.channel_stats("sound").mean).all()


@dataclasses.dataclass(frozen=True)
class Listen(Both):
    reads = ("sound",)
