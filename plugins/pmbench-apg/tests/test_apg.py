"""Patches with the signals of a node, and SensIT: pairing, miniatures, and wrong copies."""

from __future__ import annotations

import bz2
import dataclasses
import pickle
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_apg import Apg, Sensit
from pmbench_apg.miniature import PLACES, write_apg, write_sensit
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


@pytest.mark.parametrize(
    ("dataset", "texts"),
    [
        (Apg(), ("no public download", "README of pmbench-apg", "pmbench data prepare apg --source")),
        (Sensit(), ("combined.bz2", "libsvmtools", "pmbench data prepare sensit --source")),
    ],
)
def test_without_data_it_says_where_from_and_what_to_type(dataset, texts, tmp_path):
    hint = dataset.not_prepared(tmp_path).hint
    for text in texts:
        assert text in hint
