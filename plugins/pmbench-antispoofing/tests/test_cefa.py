"""CeFA: the published counts from the grammar of names, a miniature, and wrong copies."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path
from typing import ClassVar

import pytest
from pmbench_antispoofing import CasiaCefa
from pmbench_antispoofing.cefa import IMAGES, SPLITS, Clip, check_lists, clip, clips_in, images
from pmbench_antispoofing.miniature import write_cefa

import pmbench as pm
from pmbench.data.prepare import prepare

CLIPS = {  # clips to train, validate and test on, as published
    "1.1": (800, 400, 2_723), "1.3": (800, 400, 2_723), "1.5": (800, 400, 2_723),
    "2.1": (1_800, 900, 2_323), "2.2": (1_200, 600, 2_923),
    "4.1": (400, 200, 2_323), "4.3": (400, 200, 2_323), "4.5": (400, 200, 2_323),
}  # fmt: skip
MASKS = 1_123  # clips


def official() -> list[Clip]:
    """Names of all kinds that the archive has, and 1,123 of masks as in the official lists."""
    names = [
        f"{race}_{person:03d}_{device}_{session}_{kind}"
        for race, person in product((1, 2, 3), range(500))
        for device, session, kind in (
            *((1, 1, 1), (3, 1, 2), (3, 2, 2), (3, 1, 4)),  # of the protocols
            *((2, 1, 1), (4, 2, 4), (1, 3, 1), (3, 1, 3)),  # phones, other sessions, photographs
        )
    ]
    combined = product((1,), range(2, 101), ((0, 0), (1, 0), (1, 1)), ((1, 2), (1, 3), (1, 4), (2, 3)))
    masks = [f"{m}_{p:03d}_{d}_{g}_2_{s}_{light}" for m, p, (d, g), (s, light) in combined]
    masks = (
        masks[: MASKS - 44]
        + [f"2_{p:03d}_1_{g}_2_1_{light}" for p, g, light in product(range(1, 9), (0, 1), (2, 3, 4))][:44]
    )
    masks += ["1_002_1_1_2_1_1", "1_002_1_1_1_1_2"]  # a light and a camera that no protocol uses
    return [c for name in [*names, *masks] if (c := clip(name))]


def test_published_counts_of_clips_come_out():
    sizes: dict[str, int] = {}
    for c in official():
        sizes[c.part] = sizes.get(c.part, 0) + 1
    assert sizes["mask"] == MASKS
    for name, counts in CLIPS.items():
        split = SPLITS[name]
        parts = (split.train, split.validation, split.test)
        assert tuple(sum(sizes[p] for p in part.split("+")) for part in parts) == counts, name
    mmh = SPLITS["mmh-4.5"]
    assert (mmh.train, mmh.validation) == (SPLITS["4.5"].train, SPLITS["4.5"].validation)
    assert mmh.test == "af-test-live+af-test-cloth"
    fake = sum(
        count for part, count in sizes.items() if part in SPLITS["4.1"].test.split("+") and "live" not in part
    )
    assert fake == 1_923


def test_published_counts_of_images_agree_with_each_other():
    """The counts of all protocols follow from the unions that they share."""
    train, dev, test = ({name: counts[k] for name, counts in IMAGES.items()} for k in range(3))
    for counts, everything in ((train, 216_923), (dev, 110_346)):  # those of protocol 3
        assert counts["1.1"] + counts["1.3"] + counts["1.5"] == everything
        assert counts["4.1"] + counts["4.3"] + counts["4.5"] == counts["2.2"]
    masks = (test["4.1"] + test["4.3"] + test["4.5"]) - 2 * test["2.2"]
    everything = (test["1.1"] + test["1.3"] + test["1.5"] - 3 * masks) // 2
    assert masks == 42_110
    assert 2 * everything == 438_764  # protocol 3 tests on two modalities, without masks
    assert CasiaCefa.expected[SPLITS["4.1"].test] == 155_967
    assert len(CasiaCefa.expected) == 3 * len(IMAGES)


def test_each_split_keeps_apart_what_it_says():
    clips = official()
    for name, split in SPLITS.items():
        sides = [
            [c for c in clips if c.part in part.split("+")]
            for part in (split.train, split.validation, split.test)
        ]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert {c.group for c in sides[one]}.isdisjoint(c.group for c in sides[other])
        races = [{c.group[:2] for c in side if "Mask" not in c.kind} for side in sides]
        kinds = [{c.kind for c in side} - {"live"} for side in sides]
        assert races[0] == races[1]
        assert kinds[0] == kinds[1]
        if name[0] in "14m":
            assert races[0].isdisjoint(races[2])
        if name[0] in "24m":
            assert kinds[0].isdisjoint(kinds[2])
        assert ({"3D-Mask", "Silicone-Mask"} <= kinds[2]) == (name != "mmh-4.5")


def test_names():
    assert clip("1_120_3_1_4") == Clip("1_120_3_1_4", "AF-120", "screen", "af-train-screen")
    assert clip("3_499_1_1_1") == Clip("3_499_1_1_1", "EA-499", "live", "ea-test-live")
    assert clip("2_006_1_0_2_1_2") == Clip("2_006_1_0_2_1_2", "Silicone-Mask-006", "Silicone-Mask", "mask")
    for name in (
        "4_000_1_1_1",
        "1_500_1_1_1",
        "1_000_2_1_1",
        "1_000_3_1_3",
        "1_000_1_1",
        "x",
        "3_001_1_0_2_1_2",
    ):
        assert clip(name) is None


# --- a miniature ------------------------------------------------------------------------------------------


class Small(CasiaCefa):
    """One protocol, images of 16 x 16."""

    name = "small-cefa"
    splits: ClassVar = {"4.1": SPLITS["4.1"]}
    modalities = tuple(
        pm.Modality(m.name, "image", (3, 16, 16), "8 bit", grid="face", flip="mirror")
        for m in CasiaCefa.modalities
    )
    stored = (20, 20)
    expected: ClassVar = {SPLITS["4.1"].train: 16, SPLITS["4.1"].test: 2 * 3 * 3 * 2 + 16}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_cefa(tmp_path_factory.mktemp("cefa"))


def test_the_parts_of_a_miniature(source, tmp_path):
    found = prepare(Small(), source, tmp_path)
    assert found.count("mask") == 2 * 2 * 2 * 2  # kinds, masks, clips that are used, frames
    assert set(found.attack_types("mask")) == {"3D-Mask", "Silicone-Mask"}
    assert found.labels("mask").tolist() == [0] * 16
    ids, groups = found.index("af-train-live")
    assert ids[:3] == ["1_000_1_1_1/0001", "1_000_1_1_1/0002", "1_001_1_1_1/0001"]
    assert groups[0] == "AF-000"
    assert found.labels("af-train-live").min() == 1
    assert found.column("af-train-live", "ir").present.tolist() == [True, False] + [True] * 6
    assert found.column("af-train-live", "depth").present is None
    test = Small().protocol("4.1").split.test
    types = found.attack_types(test)
    assert set(types) == {"", "cloth", "3D-Mask", "Silicone-Mask"}


def test_the_older_release_says_profile(tmp_path):
    root = write_cefa(tmp_path, older=True, people=(0, 300), masks=0, frames=1)
    parts = dict(CasiaCefa().read(root))
    assert len(parts["ca-test-cloth"].ids) == 2
    assert len(parts) == 28
    assert parts["ca-test-cloth"].arrays["rgb"].items[0].parent.name == "profile"
    assert len(parts["mask"].ids) == 0


def listed(source: Path, name: str = "4.1", subset: str = "train") -> list[str]:
    """Lines of the official list of clips of a miniature, in no order."""
    part = {"train": SPLITS[name].train, "test": SPLITS[name].test}[subset]
    clips = [c for c in clips_in(source) if c.part in part.split("+")]
    return [f"CASIA_CeFA/Ethnicity/AF/{c.group}/{c.name}/color {int(c.kind != 'live')}" for c in clips][::-1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines, ""),
        (
            lambda lines: [f"{line[:-1]}{1 - int(line[-1])}" for line in lines],
            "8 of 8 labels say another thing",
        ),
        (lambda lines: [*lines, lines[0].replace("_00", "_09")], "1 of 9 clips of .* are missing"),
        (lambda lines: lines[1:], "1 clips are not in"),
        (lambda lines: [lines[0].replace("color", "depth")], "expected the folder of a clip"),
    ],
)
def test_official_lists_are_compared(change, reason, source, tmp_path):
    lists = tmp_path / "CASIA_CeFA" / "protocol"
    lists.mkdir(parents=True)
    (lists / "CASIA_CeFA@p4.1_video_train.txt").write_text("\n".join(change(listed(source))) + "\n")
    if not reason:
        return check_lists(tmp_path, clips_in(source))
    with pytest.raises(pm.DataError, match=reason):
        check_lists(tmp_path, clips_in(source))
    return None


def test_wrong_copies_are_named(source, tmp_path):
    (tmp_path / "4@1" / "train").mkdir(parents=True)
    with pytest.raises(pm.DataError, match="no folder Ethnicity or CeFA-Race") as raised:
        clips_in(tmp_path)
    assert "the release of the challenge of CVPR 2020" in raised.value.hint
    (tmp_path / "CASIA_CeFA.7z").write_bytes(b"7z")
    with pytest.raises(pm.DataError, match=r"CASIA_CeFA\.7z is not unpacked"):
        clips_in(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    person = copy / "Ethnicity" / "CA" / "CA-000"
    shutil.copytree(person / "2_000_1_1_1", person / "1_002_1_1_1")
    with pytest.raises(pm.DataError, match="lies in CA, but its name is one of AF-002"):
        clips_in(copy)
    shutil.rmtree(copy / "Ethnicity" / "CA")
    with pytest.raises(pm.DataError, match="has no folder CA") as raised:
        clips_in(copy)
    assert "incomplete" in raised.value.hint
    for folder in (copy / "Ethnicity").iterdir():
        shutil.rmtree(folder)
    for race in ("AF", "CA", "EA"):
        (copy / "Ethnicity" / race / "train").mkdir(parents=True)
    shutil.rmtree(copy / "Mask")
    with pytest.raises(pm.DataError, match="has no clip named R_ID_A_S_P"):
        clips_in(copy)


def test_a_clip_without_colour_is_named(source, tmp_path):
    with pytest.raises(pm.DataError, match="has no image in color or profile"):
        images(tmp_path)
    folder = next(path for c, path in clips_in(source).items() if c.name == "1_000_1_1_1")
    assert [(f.name, f.depth, f.ir) for f in images(folder)] == [
        ("0001.jpg", True, True),
        ("0002.jpg", True, False),
    ]


def test_without_data_it_says_where_from_and_what_to_type(tmp_path):
    hint = CasiaCefa().not_prepared(tmp_path).hint
    for text in ("sign", "770 GB", "casia-surf-cefacvpr2020", "pmbench data prepare casia-cefa --source"):
        assert text in hint
