"""The miniature of UCF101 has the official layout and its pitfalls."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from pmbench_ucf.miniature import write_ucf

from pmbench import media


@pytest.fixture(scope="module")
def ucf(tmp_path_factory) -> Path:
    return write_ucf(tmp_path_factory.mktemp("ucf"), clips=2, frames=(18, 20), size=(24, 32))


def listed(root: Path, name: str) -> list[str]:
    return (root / "ucfTrainTestlist" / name).read_text().split("\n")[:-1]


def test_lists_name_the_files(ucf):
    files = {f"{p.parent.name}/{p.name}" for p in (ucf / "UCF-101").glob("*/*.avi")}
    assert len(files) == 6 * 8 * 2
    numbers = dict(reversed(line.split()) for line in listed(ucf, "classInd.txt"))
    assert [*numbers.values()] == [str(n) for n in range(1, 7)]
    for split in (1, 2, 3):
        train = [line.split() for line in listed(ucf, f"trainlist0{split}.txt")]
        test = listed(ucf, f"testlist0{split}.txt")
        assert {file for file, _ in train} | set(test) == files
        assert all(numbers[file.split("/")[0]] == number for file, number in train)
        tested = {int(file.split("_g")[1][:2]) for file in test}
        assert tested == {g for g in (1, 2, 8, 9, 15, 16) if (g - 1) // 7 == split - 1}
        assert len(train) == 6 * 6 * 2


def test_it_has_the_pitfalls(ucf):
    videos = ucf / "UCF-101"
    pushups = [p.name for p in (videos / "HandstandPushups").iterdir()]
    assert all(name.startswith("v_HandStandPushups_g") for name in pushups)
    silent = {p.name.split("_c")[0] for p in videos.glob("*/*.avi") if not media.has_audio(p)}
    expected = {"v_BasketballDunk_g15", "v_HandStandPushups_g16"}
    assert silent == expected | {
        f"v_{name}_g{g:02d}" for name in ("Basketball", "JumpRope") for g in (1, 2, 8, 9, 15, 16, 24, 25)
    }
    assert {p.stat().st_size > 0 for p in videos.glob("*/*.avi")} == {True}


def test_it_is_deterministic(tmp_path):
    twice = [write_ucf(tmp_path / name, silent=(), groups=(1,), clips=1) for name in ("one", "two")]
    for one, other in zip(*(sorted(root.rglob("*.*")) for root in twice), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_pitch_depends_on_the_class(ucf):
    pitches: dict[str, set[int]] = {}
    for path in (ucf / "UCF-101").glob("*/*.avi"):
        if media.has_audio(path):
            mel = media.log_mel(media.sound(path))
            pitches.setdefault(path.parent.name, set()).add(int(mel.mean(1).argmax()))
    ranges = sorted((min(found), max(found)) for found in pitches.values())
    assert len(ranges) == 4
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))
