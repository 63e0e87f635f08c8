"""Northwestern-UCLA and UWA3D II: splits and joins on generated names, miniatures, and wrong copies."""

from __future__ import annotations

import pickle
import shutil
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from pmbench_multiview import NwUcla, Uwa3d
from pmbench_multiview.frames import FARTHEST, colour, common, depth
from pmbench_multiview.miniature import write_nwucla, write_uwa3d
from pmbench_multiview.nwucla import ACTIONS
from pmbench_multiview.uwa3d import joined

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.testing.media import write_image
from pmbench.training.samples import training_view

SHAPES = tuple(
    pm.Modality(m.name, "clip", (3, 4, 16, 16), "8 bit", grid="frame", flip="mirror")
    for m in NwUcla.modalities
)
SAMPLING = pm.Sampling(frames=4, even=True)


class SmallNw(NwUcla):
    name = "small-nw"
    modalities, sampling, stored, known = SHAPES, SAMPLING, (16, 16), range(1, 100)


class SmallUwa(Uwa3d):
    name = "small-uwa"
    modalities, sampling, stored, known = SHAPES, SAMPLING, (16, 16), range(1, 100)


# --- names and splits ------------------------------------------------------------------------------------


def test_the_twelve_pairs_of_views_and_the_split_of_garcia():
    splits = dict(Uwa3d.splits)
    garcia = splits.pop("garcia")
    assert (garcia.train, garcia.test) == ("view-1+view-2+view-3", "view-4")
    assert len(splits) == 12
    expected = {
        (pair, test) for pair in combinations(range(1, 5), 2) for test in range(1, 5) if test not in pair
    }
    found = {
        (tuple(int(part[-1]) for part in split.train.split("+")), int(split.test[-1]))
        for split in splits.values()
    }
    assert found == expected
    assert "v12-v3" in splits
    assert Uwa3d().protocol("v34-v1").name == "v34-v1"


def test_cross_view_tests_on_the_third_view():
    split = NwUcla.splits["cross-view"]
    assert (split.train, split.test) == ("view-1+view-2", "view-3")
    assert (len(ACTIONS), list(ACTIONS)) == (10, [1, 2, 3, 4, 5, 6, 8, 9, 11, 12])
    assert NwUcla.classes[6:] == ("donning", "doffing", "throw", "carry")
    assert 1_475 in NwUcla.known
    assert 1_494 in NwUcla.known
    assert 1_075 in Uwa3d.known


MISSING = ("a21_s02_v04_e01", "a06_s06_v04_e01", "a02_s06_v03_e01", "a07_s02_v02_e01", "a16_s06_v02_e01")
"""Clips that are not there in both modalities."""


def official() -> list[str]:
    """1,075 names: most of 30 actions, 10 people and 4 views, MISSING among them."""
    names = [
        f"a{a:02d}_s{s:02d}_v{v:02d}_e01" for a, s, v in product(range(1, 31), range(1, 11), range(1, 5))
    ]
    spare = [name for name in names if name not in MISSING]
    return sorted([*spare[: 1_075 - len(MISSING)], *MISSING])


def test_clips_are_joined_by_action_person_and_view():
    names = official()
    assert len(names) == 1_075
    with_depth = [f"{name[:-1]}0" for name in names if name not in MISSING]
    found = joined(names, with_depth)
    assert list(found) == names
    assert {name for name, (_, other) in found.items() if other is None} == set(MISSING)
    assert all(other is None or other == f"{name[:-1]}0" for name, (_, other) in found.items())
    assert joined(names, [n for n in names if n not in MISSING]) == {
        name: (name, None if name in MISSING else name) for name in names
    }
    assert list(joined([], with_depth)) == []


def test_clips_that_cannot_be_joined_are_refused():
    twice = ["a01_s01_v01_e01", "a01_s01_v01_e02"]
    assert joined(twice, twice[1:]) == {twice[0]: (twice[0], None), twice[1]: (twice[1], twice[1])}
    with pytest.raises(pm.DataError, match="which belong together"):
        joined(twice, ["a01_s01_v01_e00"])
    with pytest.raises(pm.DataError, match="colour has nothing and depth"):
        joined([], twice)


# --- miniatures -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nw(tmp_path_factory) -> Path:
    return write_nwucla(tmp_path_factory.mktemp("nw"), actions=(1, 8), people=(1, 2, 3))


@pytest.fixture(scope="module")
def uwa(tmp_path_factory) -> Path:
    return write_uwa3d(tmp_path_factory.mktemp("uwa"), actions=(1, 30), people=(1, 2))


def test_parts_of_northwestern_ucla_are_views(nw, tmp_path):
    found = prepare(SmallNw(), nw, tmp_path)
    ids, groups = found.index("view-1")
    assert ids[:2] == ["v01_a01_s01_e00", "v01_a01_s02_e01"]
    assert groups == ["s01", "s02", "s03"] * 2
    assert found.labels("view-3").tolist() == [0, 0, 0, 6, 6, 6]
    assert found.column("view-1", "depth").present.tolist() == [True, False, True, True, True, True]
    assert found.column("view-1", "rgb").present is None
    view = training_view(found, SmallNw().protocol("cross-view"), 0)
    held = {groups[row % 6] for row in view.validation.rows}
    assert held
    assert held.isdisjoint(groups[row % 6] for row in view.train.rows)


def test_frames_are_in_order_of_their_numbers_and_joined(nw):
    """96, 97, ..., 100: sorted as text, 100 would come first; stamps of colour and depth differ."""
    folder = nw / "multiview_action" / "view_1" / "a01_s01_e00"
    pairs = common((folder, folder), NwUcla.names)
    numbers = [int(path.name.split("_")[1]) for path, _ in pairs]
    assert numbers == list(range(96, 96 + len(numbers)))
    assert numbers[-1] > 100
    assert all(int(far.name.split("_")[1]) == n for n, (_, far) in zip(numbers, pairs, strict=True))
    gap = nw / "multiview_action" / "view_1" / "a01_s03_e02"
    frames = [int(path.name.split("_")[1]) for path, _ in common((gap, gap), NwUcla.names)]
    assert 97 not in frames
    shown, far = (list(read((gap, gap), size=(16, 16), names=NwUcla.names)) for read in (colour, depth))
    assert len(shown) == len(far) == len(frames)
    alone = list(colour((gap, None), size=(16, 16), names=NwUcla.names))
    assert len(alone) == len(shown) + 1


def test_depth_is_millimetres_over_five_metres(tmp_path):
    values = np.array([[0, 1_000, 2_500], [5_000, 5_001, 9_999]], np.uint16)
    write_image(tmp_path / "frame_1_tc_2_depth.png", values)
    write_image(tmp_path / "frame_1_tc_1_rgb.jpg", np.zeros((16, 16, 3), np.uint8))
    (found,) = depth((tmp_path, tmp_path), size=(2, 3), names=NwUcla.names)
    expected = np.rint(np.clip(values / 1000 / FARTHEST, 0, 1) * 255)
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, -1))
    write_image(tmp_path / "frame_1_tc_2_depth.png", np.full((2, 3), 16_000, np.uint16))
    with pytest.raises(pm.DataError, match="they are no millimetres"):
        list(depth((tmp_path, tmp_path), size=(2, 3), names=NwUcla.names))


def test_numbers_that_do_not_agree_are_told(tmp_path):
    for number in range(4):
        write_image(tmp_path / f"frame_{number}_tc_1_rgb.jpg", np.zeros((16, 16, 3), np.uint8))
        write_image(tmp_path / f"frame_{number + 3}_tc_1_depth.png", np.zeros((8, 8), np.uint16))
    with pytest.raises(pm.DataError, match="4 images in colour and 4 in depth have 1 numbers in common"):
        common((tmp_path, tmp_path), NwUcla.names)
    write_image(tmp_path / "frame_3_tc_9_rgb.jpg", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(pm.DataError, match="have the same number"):
        common((tmp_path, None), NwUcla.names)


@pytest.mark.parametrize("deep", [True, False])
def test_parts_of_uwa3d(deep, tmp_path, uwa):
    source = uwa if deep else write_uwa3d(tmp_path / "eight", actions=(1, 30), people=(1, 2), deep=False)
    found = prepare(SmallUwa(), source, tmp_path / "data")
    assert found.index("view-1")[0] == [f"a{a}_s0{s}_v01_e01" for a in ("01", "30") for s in (1, 2)]
    assert found.labels("view-4").tolist() == [0, 0, 29, 29]
    assert found.index("view-3")[0][0] == "a01_s02_v03_e01"  # that of the first person has no colour
    assert found.column("view-2", "depth").present.tolist() == [False, True, True, True]
    far = found.column("view-1", "depth").read(0)
    assert far.shape == (3, 4, 16, 16)
    assert np.median(far) == pytest.approx(4_000 / 5_000 * 255, abs=8)
    assert training_view(found, SmallUwa().protocol("v12-v3"), 0).train.rows.size


def test_frames_with_a_comma_are_joined_with_those_without(uwa):
    item = (uwa / "UWA3D-RGB" / "a01_s01_v04_e01", uwa / "UWA3D-Depth" / "WholeFrames" / "a01_s01_v04_e00")
    pairs = common(item, Uwa3d.names)
    assert pairs[0][0].name == "002,.jpg"  # the first has no depth
    assert pairs[0][1].name == "002.png"


def test_what_reads_the_files_goes_to_other_processes(nw, uwa):
    for dataset, source in ((SmallNw(), nw), (SmallUwa(), uwa)):
        for _, part in dataset.read(source):
            pickle.dumps([files.load for files in part.arrays.values()])


def test_wrong_copies_of_northwestern_ucla_are_named(nw, tmp_path):
    with pytest.raises(pm.DataError, match="has 18 clips of 'nw-ucla'; expected 1400 to 1519") as raised:
        list(NwUcla().read(nw))
    assert "all parts of the archive" in raised.value.hint
    (tmp_path / "carry").mkdir()
    (tmp_path / "carry" / "v01.avi").write_bytes(b"")
    with pytest.raises(pm.DataError, match="it is the archive of videos, without depth"):
        list(NwUcla().read(tmp_path))
    with pytest.raises(pm.DataError, match="no folder view_1, only others"):
        list(NwUcla().read(nw / "multiview_action" / "view_1"))
    copy = tmp_path / "copy"
    shutil.copytree(nw, copy)
    shutil.move(copy / "multiview_action/view_2/a01_s01_e00", copy / "multiview_action/view_2/a07_s01_e00")
    with pytest.raises(pm.DataError, match="7 is no action"):
        list(SmallNw().read(copy))
    shutil.rmtree(copy / "multiview_action" / "view_2")
    with pytest.raises(pm.DataError, match="no folder view_2, only view_1, view_3"):
        list(SmallNw().read(copy))


def test_wrong_copies_of_uwa3d_are_named(uwa, tmp_path):
    with pytest.raises(pm.DataError, match="has 15 clips of 'uwa3d'; expected 1065 to 1084"):
        list(Uwa3d().read(uwa))
    copy = tmp_path / "copy"
    shutil.copytree(uwa, copy)
    (copy / "UWA3D-RGB" / "a01_s01_v01_e01").rename(copy / "UWA3D-RGB" / "a01_s01_e01")
    with pytest.raises(pm.DataError, match="expected a folder aNN_sNN_vNN_eNN") as raised:
        list(SmallUwa().read(copy))
    assert "the first UWA3D" in raised.value.hint
    (copy / "UWA3D-Depth" / "WholeFrames").rename(copy / "UWA3D-Depth" / "ROI")
    with pytest.raises(pm.DataError, match=r"no folder WholeFrames, but .*UWA3D-Depth") as raised:
        list(SmallUwa().read(copy))
    assert "not regions of interest" in raised.value.hint
    (tmp_path / "s" / "ActionsSkeleton").mkdir(parents=True)
    with pytest.raises(pm.DataError, match="holds skeletons"):
        list(SmallUwa().read(tmp_path / "s"))


@pytest.mark.parametrize(
    ("dataset", "texts"),
    [
        (
            NwUcla(),
            (
                "all parts of the RGB-D archive",
                "wangjiangb.github.io",
                "pmbench data prepare nw-ucla --source",
            ),
        ),
        (Uwa3d(), ("ask the authors", "staffhome.ecm.uwa.edu.au", "pmbench data prepare uwa3d --source")),
    ],
)
def test_without_data_it_says_where_from_and_what_to_type(dataset, texts, tmp_path):
    hint = dataset.not_prepared(tmp_path).hint
    for text in texts:
        assert text in hint
