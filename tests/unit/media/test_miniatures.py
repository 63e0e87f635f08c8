"""The miniatures have the layout, the traps and the classes that they say."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pmbench import media
from pmbench.testing.media import write_ntu, write_ucf
from pmbench.testing.media.scenes import MOTIONS, clip, moving


@pytest.fixture(scope="module")
def ucf(tmp_path_factory) -> Path:
    return write_ucf(tmp_path_factory.mktemp("ucf"), clips=2, frames=(18, 20), size=(24, 32))


@pytest.fixture(scope="module")
def ntu(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ntu")
    return write_ntu(root, actions=(1, 2), subjects=(1, 3), cameras=(1, 2, 3), scale=0.1)


def listed(root: Path, name: str) -> list[str]:
    return (root / "ucfTrainTestlist" / name).read_text().split("\n")[:-1]


def test_ucf_lists_name_the_files_that_are_there(ucf):
    there = {f"{p.parent.name}/{p.name}" for p in (ucf / "UCF-101").glob("*/*.avi")}
    assert len(there) == 6 * 8 * 2
    numbers = dict(reversed(line.split()) for line in listed(ucf, "classInd.txt"))
    assert [*numbers.values()] == [str(n) for n in range(1, 7)]
    for split in (1, 2, 3):
        train = [line.split() for line in listed(ucf, f"trainlist0{split}.txt")]
        test = listed(ucf, f"testlist0{split}.txt")
        assert {file for file, _ in train} | set(test) == there
        assert all(numbers[file.split("/")[0]] == number for file, number in train)
        tested = {int(file.split("_g")[1][:2]) for file in test}
        assert tested == {g for g in (1, 2, 8, 9, 15, 16) if (g - 1) // 7 == split - 1}
        assert len(train) == 6 * 6 * 2


def test_ucf_has_its_traps(ucf):
    videos = ucf / "UCF-101"
    pushups = [p.name for p in (videos / "HandstandPushups").iterdir()]
    assert all(name.startswith("v_HandStandPushups_g") for name in pushups)
    silent = {p.name.split("_c")[0] for p in videos.glob("*/*.avi") if not media.has_audio(p)}
    expected = {"v_BasketballDunk_g15", "v_HandStandPushups_g16"}
    assert silent == expected | {
        f"v_{name}_g{g:02d}" for name in ("Basketball", "JumpRope") for g in (1, 2, 8, 9, 15, 16, 24, 25)
    }
    assert {p.stat().st_size > 0 for p in videos.glob("*/*.avi")} == {True}


def test_ucf_is_written_alike_every_time(tmp_path):
    twice = [write_ucf(tmp_path / name, silent=(), groups=(1,), clips=1) for name in ("one", "two")]
    for one, other in zip(*(sorted(root.rglob("*.*")) for root in twice), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_pitch_tells_the_class(ucf):
    pitches: dict[str, set[int]] = {}
    for path in (ucf / "UCF-101").glob("*/*.avi"):
        if media.has_audio(path):
            mel = media.log_mel(media.sound(path))
            pitches.setdefault(path.parent.name, set()).add(int(mel.mean(1).argmax()))
    ranges = sorted((min(found), max(found)) for found in pitches.values())
    assert len(ranges) == 4
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


@pytest.mark.parametrize("motion", MOTIONS)
def test_motions_are_what_they_say(motion):
    for seed in range(20):
        centre, radius, seen = moving(motion, 60, np.random.default_rng(seed))
        steps = {"up": -np.diff(centre[:, 0]), "down": np.diff(centre[:, 0]), "growing": np.diff(radius)}
        steps |= {"shrinking": -np.diff(radius), "sideways": np.diff(centre[:, 1])}
        if motion == "blinking":
            assert 0.2 < seen.mean() < 0.8
        else:
            moved = steps.pop(motion)
            right = moved > 0
            assert right.mean() > 0.9 or (motion == "sideways" and right.mean() < 0.1)
            assert seen.all()


def test_classes_differ_up_to_thirty():
    def drawn(label: int) -> np.ndarray:
        rng, scene = np.random.default_rng(0), np.random.default_rng(1)
        return clip(label, 16, (24, 32), rng, scene)

    clips = {drawn(label).tobytes() for label in range(30)}
    assert len(clips) == 30


def test_ntu_has_the_layout_of_the_official_one(ntu):
    names = {p.name.removesuffix("_rgb.avi") for p in (ntu / "nturgb+d_rgb").iterdir()}
    assert len(names) == 12
    assert names == {p.name.removesuffix("_ir.avi") for p in (ntu / "nturgb+d_ir").iterdir()}
    assert names == {p.name for p in (ntu / "nturgb+d_depth_masked").iterdir()}
    missing = names - {p.stem for p in (ntu / "nturgb+d_skeletons").iterdir()}
    listed = (ntu / "NTU_RGBD_samples_with_missing_skeletons.txt").read_text().split("\n")
    assert listed[3:] == [*missing, ""]
    assert len(missing) == 1


def test_ntu_images_lie_over_each_other(ntu):
    """Colour and depth align by their skeletons; the hand is where the joints say, all else is masked."""
    differing = 0
    for path in sorted((ntu / "nturgb+d_skeletons").iterdir()):
        joints = media.skeletons(path)
        found = media.alignment(joints)
        assert found.scale == pytest.approx(0.339, abs=1e-3)
        assert found.offset == pytest.approx((-69, 28), abs=0.5)
        folder = ntu / "nturgb+d_depth_masked" / path.stem
        depth = np.stack(list(media.depth_frames(folder, (40, 40), "MDepth-*.png")))
        rgb = list(
            media.video_frames(ntu / "nturgb+d_rgb" / f"{path.stem}_rgb.avi", (40, 40), crop=found.colour)
        )
        assert len(depth) == len(joints.tracking)
        assert 0 <= len(rgb) - len(depth) <= 2
        differing += len(rgb) != len(depth)
        body = np.nanmedian(joints.positions[:, 0, :, 2])
        nearest = depth[depth > 0].min() / 255 * 5
        assert nearest == pytest.approx(np.nanmin(joints.positions[:, 0, :, 2]), abs=0.3)
        assert nearest < body
        assert (depth == 0).mean() > 0.4  # masked
    assert differing


def test_ntu_samples_are_the_product_of_what_is_asked_for(tmp_path):
    write_ntu(tmp_path, actions=(61,), subjects=(45, 106), setups=(18, 19), cameras=(1,), replications=(1, 2),
              frames=(6, 6), scale=0.06)  # fmt: skip
    names = sorted(p.name for p in (tmp_path / "nturgb+d_rgb").iterdir())
    assert names == [
        "S018C001P106R001A061_rgb.avi", "S018C001P106R002A061_rgb.avi",
        "S019C001P045R001A061_rgb.avi", "S019C001P045R002A061_rgb.avi",
    ]  # fmt: skip
