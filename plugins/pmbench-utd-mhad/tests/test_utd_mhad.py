from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import scipy.io
from pmbench_utd_mhad.dataset import ABSENT, CLASSES, KINDS, UtdMhad, found, subject
from pmbench_utd_mhad.miniature import write_utd_mhad
from pmbench_utd_mhad.reading import depth, inertial, matrix, resampled, skeleton

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view


class Small(UtdMhad):
    """Two of the 27 actions, small frames."""

    name = "small"
    classes = CLASSES[:2]
    modalities = (
        pm.Modality("rgb", "clip", (3, 4, 16, 16), "8 bit"),
        pm.Modality("depth", "clip", (1, 4, 16, 16), "0 to 5 m"),
        *UtdMhad.modalities[2:],
    )
    stored = (18, 24)
    expected: ClassVar = {"odd": 4, "even": 2}
    sampling = pm.Sampling(frames=4, even=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("utd")
    return write_utd_mhad(root, actions=(1, 2), subjects=(1, 7, 8), trials=(1,), size=(24, 32))


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(Small(), source, tmp_path_factory.mktemp("data"))


def test_published_counts_come_out(tmp_path):
    for a in range(1, 28):
        for name in (f"a{a}_s{s}_t{t}" for s in range(1, 9) for t in range(1, 5)):
            for kind in KINDS.values():
                (tmp_path / f"{name}_{kind}").touch()
    parts = dict(UtdMhad().read(tmp_path))
    assert {part: len(content.ids) for part, content in parts.items()} == UtdMhad.expected
    assert sum(UtdMhad.expected.values()) == 861 == 27 * 8 * 4 - len(ABSENT)
    for part, content in parts.items():
        assert set(content.groups) == {f"s{n}" for n in range(1, 9) if n % 2 == (part == "odd")}
        assert not ABSENT & set(content.ids)
        assert [int(i.split("_")[0][1:]) - 1 for i in content.ids] == content.labels.tolist()
    assert (len(CLASSES), len(set(CLASSES))) == (27, 27)


def test_training_and_test_have_other_people(prepared):
    view = training_view(prepared, Small().protocol("cross-subject"), 0)
    names, groups = prepared.index("odd")
    assert {groups[row] for row in view.validation.rows} == {"s7"}
    assert {groups[row] for row in view.train.rows} == {"s1"}
    assert prepared.index("even")[1] == ["s8", "s8"]
    assert names == ["a1_s1_t1", "a1_s7_t1", "a2_s1_t1", "a2_s7_t1"]
    assert [subject(name) for name in names] == [1, 7, 1, 7]


def test_every_modality_is_that_of_the_files(prepared, source):
    protocol = Small().protocol("cross-subject")
    shapes = {m.name: m.shape for m in Small.modalities}
    for name, shape in shapes.items():
        column = prepared.column("even", name, protocol)
        assert column.present is None
        assert column.read(0).shape == shape
    mat = scipy.io.loadmat(source / "Inertial" / "a1_s8_t1_inertial.mat")["d_iner"]
    read = prepared.column("even", "inertial", protocol).read(0)
    np.testing.assert_allclose(read[:, [0, -1]], mat[[0, -1]].T, atol=1e-5)
    assert 0.5 < read[1].mean() < 1.6  # gravity, in g
    maps = list(depth(source / "Depth" / "a1_s8_t1_depth.mat", (24, 32)))
    assert {m.shape for m in maps} == {(24, 32, 1)}
    assert np.unique(maps).tolist() == pytest.approx([1.5 / 5 * 255, 3 / 5 * 255], abs=1)  # none in between


def test_skeletons_start_at_the_centre_of_the_hips(source):
    path = source / "Skeleton" / "a2_s1_t1_skeleton.mat"
    joints = matrix(path, "d_skel", (20, 3, None))
    read = skeleton(path, 64).reshape(20, 3, 64)
    np.testing.assert_allclose(read[3, :, 0], 0, atol=1e-6)
    np.testing.assert_allclose(read[:, :, -1], joints[:, :, -1] - joints[3, :, 0], atol=1e-5)
    assert np.abs(read).max() < 2.5


def test_recordings_are_stretched_to_one_length():
    line = np.stack([np.arange(5.0), 2 * np.arange(5.0)])
    np.testing.assert_allclose(resampled(line, 9)[0], np.arange(9) / 2)
    np.testing.assert_allclose(resampled(line[:, :1], 4), 0)


def test_a_modality_that_is_not_there_is_missing(source, tmp_path):
    (tmp_path / "RGB").symlink_to(source / "RGB")
    for _, part in Small().read(tmp_path):
        assert all(part.arrays["rgb"].items)
        assert not any(any(part.arrays[name].items) for name in ("depth", "skeleton", "inertial"))
        pickle.dumps([(files.load, files.rate) for files in part.arrays.values()])


def test_the_wrong_source_is_named(source, tmp_path):
    with pytest.raises(pm.DataError, match=r"has no video a1_s1_t1_color\.avi$") as raised:
        found(tmp_path)
    assert "RGB.zip" in raised.value.hint
    (tmp_path / "Inertial").symlink_to(source / "Inertial")
    with pytest.raises(pm.DataError, match="only files of inertial"):
        found(tmp_path)
    (tmp_path / "a28_s1_t1_color.avi").touch()
    with pytest.raises(pm.DataError, match=r"holds a28_s1_t1_color\.avi; expected actions a1 to a27"):
        found(tmp_path)


@pytest.mark.parametrize("content", [b"", b"none", b"MATLAB 5.0 MAT-file"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(pm.DataError, match=r"x\.mat is not a MATLAB file"):
        inertial(tmp_path / "x.mat", 8)


def test_a_truncated_file_is_named(source, tmp_path):
    whole = (source / "Skeleton" / "a1_s1_t1_skeleton.mat").read_bytes()
    (tmp_path / "x.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(pm.DataError, match=r"x\.mat is not a MATLAB file|holds nothing"):
        skeleton(tmp_path / "x.mat", 8)


def test_a_file_of_another_modality_is_named(source):
    path = source / "Skeleton" / "a1_s1_t1_skeleton.mat"
    with pytest.raises(pm.DataError, match=r"holds nothing as d_iner; expected numbers \(T, 6\)"):
        inertial(path, 8)
    with pytest.raises(pm.DataError, match=r"float64 \(20, 3, \d+\) as d_skel; expected .* \(21, 3, T\)"):
        matrix(path, "d_skel", (21, 3, None))


def test_half_a_download_is_told(source, tmp_path):
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "RGB" / "a1_s8_t1_color.avi").unlink()
    with pytest.raises(pm.DataError, match="found 1 samples, expected 2"):
        prepare(Small(), tmp_path / "copy", tmp_path / "data")
