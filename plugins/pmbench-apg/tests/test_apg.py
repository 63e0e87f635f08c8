"""Patches with the signals of a node, SensIT and MOD: pairing, miniatures, and wrong copies."""

from __future__ import annotations

import bz2
import dataclasses
import pickle
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import scipy.io.wavfile
from pmbench_apg import Apg, Mod, Sensit
from pmbench_apg.miniature import PLACES, write_apg, write_mod, write_sensit
from pmbench_apg.mod import signal, window
from pmbench_apg.patches import RATE, Patch, node_of, patches, signals

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view


class SmallSensit(Sensit):
    name = "small-sensit"
    expected: ClassVar = {"train": 30, "test": 12}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_apg(tmp_path_factory.mktemp("apg"))


def test_with_a_person_the_nearest_node_without_one_the_farthest():
    patch = Patch("p", "train", 1, "r", "f", 0.5, (0, 0), (20.0, 5.0))
    assert node_of(patch, PLACES) == "n2"
    assert node_of(dataclasses.replace(patch, label=0), PLACES) == "n3"
    assert node_of(dataclasses.replace(patch, person=(45.0, 0.0)), PLACES) == "n2"  # as far as n3
    assert node_of(dataclasses.replace(patch, label=0, person=None), PLACES) == "n1"


def test_patches_and_seconds_are_cut_where_the_table_says(source, tmp_path):
    found = prepare(Apg(), source, tmp_path)
    assert (found.count("train"), found.count("test")) == (24, 8)
    assert found.notes[0].startswith("protocol only")
    ids, groups = found.index("train")
    assert ids[:2] == ["r1-0-1", "r1-0-0"]
    assert set(groups) == {"r1", "r2", "r3"}
    assert found.labels("test").tolist() == [1, 0] * 4
    sensors = found.column("train", "sensors").array
    expected = [np.load(source / sensor / "r1" / "n1.npy")[:RATE] for sensor in ("seismic", "acoustic")]
    np.testing.assert_array_equal(sensors[0], np.stack(expected))
    np.testing.assert_array_equal(found.column("train", "acoustic").array[0], expected[1][None])
    frame = pm.media.pixels(source / "frames" / "r1" / "0000.png")
    shown = found.column("train", "image").read(1).transpose(1, 2, 0)
    assert np.abs(shown - frame[32:96, 64:128].astype(float)).mean() < 12  # JPEG of noise
    loud = np.abs(sensors).mean((1, 2))
    labels = found.labels("train")
    assert loud[labels == 1].mean() > 2 * loud[labels == 0].mean()
    view = training_view(found, Apg().protocol("patch-64x64"), 0)
    assert len(set(np.array(groups)[view.validation.rows])) == 1
    for _, part in Apg().read(source):
        pickle.dumps([files.load for files in part.arrays.values()])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("r1-0-1,train,1", "r1-0-1,val,1", "line 2: split 'val'"),
        ("r1-0-1,train,1", "r1-0-1,train,2", "label '2'"),
        ("0000.png,0.5,0,8,2,0", "0000.png,0.5,left,8,2,0", "expected pixels, seconds and metres"),
        ("0000.png,0.5,0,8,2,0", "0000.png,0.5,0,8,,", "needs person_x"),
        ("person_y", "py", "has no column person_y"),
    ],
)
def test_wrong_rows_are_told(old, new, reason, source, tmp_path):
    text = (source / "patches.csv").read_text()
    assert old in text
    (tmp_path / "patches.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(pm.DataError, match=reason):
        patches(tmp_path / "patches.csv")


def test_files_that_do_not_fit_are_told(source, tmp_path):
    with pytest.raises(pm.DataError, match=r"patches\.csv cannot be read"):
        list(Apg().read(tmp_path))
    with pytest.raises(pm.DataError, match=r"a second around 0\.25 s needs the samples -1024 to 3072"):
        signals([(source / "seismic" / "r1" / "n1.npy", 0.25)])
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    text = (copy / "patches.csv").read_text().replace("64,32,", "100,32,")
    (copy / "patches.csv").write_text(text)
    (copy / "acoustic" / "r2" / "n1.npy").write_bytes(b"none")
    with pytest.raises(pm.DataError, match="files of 'apg' cannot be read"):
        prepare(Apg(), copy, tmp_path / "data")


def test_sensit(tmp_path):
    found = prepare(SmallSensit(), write_sensit(tmp_path / "source"), tmp_path / "data")
    assert found.labels("test").tolist() == [0, 1, 2] * 4
    lines = bz2.decompress((tmp_path / "source" / "combined.bz2").read_bytes()).decode().splitlines()
    values = {int(i): float(v) for i, v in (pair.split(":") for pair in lines[4].split()[1:])}
    assert found.column("train", "acoustic").array[4, 0] == pytest.approx(values[1])
    assert found.column("train", "seismic").array[4, 49] == pytest.approx(values[100])
    assert found.column("train", "acoustic").array[4, 16] == 0  # absent
    assert Sensit.expected == {"train": 78_823, "test": 19_705}
    (tmp_path / "source" / "combined.bz2").rename(tmp_path / "source" / "acoustic.bz2")
    with pytest.raises(pm.DataError, match=r"has no file combined\.bz2") as raised:
        list(SmallSensit().read(tmp_path / "source"))
    assert "acoustic.bz2 is of one sensor alone" in raised.value.hint
    for text, reason in (
        ("1 1:0.5\n", "has no seismic features"),
        ("4 1:0.5 60:1\n", "class 4"),
        ("1 101:0.5\n", "feature 101"),
        ("1 x\n", "cannot be read"),
    ):
        (tmp_path / "source" / "combined").write_text(text)
        with pytest.raises(pm.DataError, match=reason):
            list(SmallSensit().read(tmp_path / "source"))


def test_windows_of_mod_hold_two_seconds_of_both_sensors(tmp_path):
    source = write_mod(tmp_path / "source")
    found = prepare(Mod(), source, tmp_path / "data")
    assert (found.count("train"), found.count("test")) == (7 * 2 * 3, 7 * 3)  # 6.5 s: three windows
    ids, groups = found.index("test")
    assert (ids[1], groups[1]) == ("k0-r2-0001", "k0-r2")
    assert found.labels("test").tolist() == [kind for kind in range(7) for _ in range(3)]
    seismic = np.load(source / "seismic" / "k0-r2.npy")
    np.testing.assert_array_equal(found.column("test", "seismic").array[1, 0], seismic[200:400])
    _, acoustic = scipy.io.wavfile.read(source / "acoustic" / "k0-r2.wav")
    np.testing.assert_array_equal(found.column("test", "acoustic").array[1, 0], acoustic[16_000:32_000])
    assert "no published number" in found.notes[0]
    view = training_view(found, Mod().protocol("recordings"), 0)
    _, groups = found.index("train")
    assert not {groups[r] for r in view.train.rows} & {groups[r] for r in view.validation.rows}
    for _, part in Mod().read(source):
        pickle.dumps([files.load for files in part.arrays.values()])


def test_wrong_copies_of_mod_are_named(tmp_path):
    (tmp_path / "sample.pt").touch()
    with pytest.raises(pm.DataError, match=r"has no recordings\.csv, but files \.pt$") as raised:
        list(Mod().read(tmp_path))
    assert "the packing of the authors is not read" in raised.value.hint
    source = write_mod(tmp_path / "source", seconds=2, kinds=1)
    table = source / "recordings.csv"
    text = table.read_text()
    for old, new in (("train,0", "train,7"), ("train,0", "train,tank"), ("train,0", "val,0")):
        table.write_text(text.replace(old, new, 1))
        with pytest.raises(pm.DataError, match=r"line 2: split .* expected train or test, and 0 to 6"):
            list(Mod().read(source))
    table.write_text(text)
    sound = source / "acoustic" / "k0-r1.wav"
    scipy.io.wavfile.write(sound, 16_000, np.zeros(32_000, np.int16))
    with pytest.raises(pm.DataError, match=r"k0-r1\.wav has 16,000 samples a second; expected 8,000"):
        list(Mod().read(source))
    scipy.io.wavfile.write(sound, 8_000, np.zeros((16_000, 2), np.int16))
    with pytest.raises(pm.DataError, match=r"has shape \(16000, 2\) of int16"):
        window((sound, 0), 8_000)
    sound.write_bytes(b"none")
    with pytest.raises(pm.DataError, match=r"k0-r1\.wav cannot be read"):
        list(Mod().read(source))
    sound.unlink()
    with pytest.raises(pm.DataError, match=r"acoustic has neither k0-r1\.npy nor k0-r1\.wav"):
        list(Mod().read(source))
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(pm.DataError, match=r"x\.npy cannot be read"):
        signal(tmp_path / "x.npy", 100)


@pytest.mark.parametrize(
    ("dataset", "texts"),
    [
        (Apg(), ("no public download", "README of pmbench-apg", "pmbench data prepare apg --source")),
        (Mod(), ("tomoyoshki/focal", "README of pmbench-apg", "pmbench data prepare mod --source")),
        (Sensit(), ("combined.bz2", "libsvmtools", "pmbench data prepare sensit --source")),
    ],
)
def test_without_data_it_says_where_from_and_what_to_type(dataset, texts, tmp_path):
    hint = dataset.not_prepared(tmp_path).hint
    for text in texts:
        assert text in hint
