"""CASIA-SURF: lists of both families at full size, a miniature of each, and wrong copies."""

from __future__ import annotations

import pickle
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_antispoofing import CasiaSurf, CasiaSurfChallenge
from pmbench_antispoofing.faces import face
from pmbench_antispoofing.miniature import ATTACKS, write_surf
from pmbench_antispoofing.surf import challenge_images, check_disjoint, fas_images

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.training.samples import training_view

FOLDERS = {"train": "Training", "dev": "Val", "test": "Testing"}
SIZES = {  # people, attacks in it, clips without an image, live images, images of attacks
    "train": (300, (4, 5, 6), 0, 8_942, 20_324),
    "dev": (100, (1, 2, 3), 0, 2_994, 6_614),
    "test": (600, (1, 2, 3), 9, 17_458, 40_252),
}


def spread(total: int, cells: int) -> list[int]:
    return [total // cells + (i < total % cells) for i in range(cells)]


def official(part: str) -> list[str]:
    """A list of CASIA-FAS-Dataset of the official size."""
    people, attacks, lost, live, fake = SIZES[part]
    start = {"train": 0, "dev": 300, "test": 400}[part]
    subjects = [f"CLKJ_BS{start + n:04d}" for n in range(people)]
    clips = [(f"fake_part/{s}/{ATTACKS[a]}", 1) for s in subjects for a in attacks]
    clips = clips[: len(clips) - lost]
    found = []
    for files, total in (([(f"real_part/{s}/real", 0) for s in subjects], live), (clips, fake)):
        for (file, label), count in zip(files, spread(total, len(files)), strict=True):
            base = f"CASIA_SURF/Data/{FOLDERS[part]}/{file}.rssdk/color"
            found += [f"{base}/{n:04d}.jpg {label}" for n in range(1, count + 1)]
    return found


def test_published_counts_come_out():
    parts = {part: fas_images(official(part), part, folder) for part, folder in FOLDERS.items()}
    check_disjoint(parts)
    clips = {}
    for part, images in parts.items():
        counted = (sum(not i.live for i in images), sum(i.live for i in images))
        expected = CasiaSurf.expected[part]
        assert expected == (counted if isinstance(expected, tuple) else sum(counted))
        clips[part] = Counter(image.live for image in {(i.subject, i.attack): i for i in images}.values())
        assert len({image.subject for image in images}) == SIZES[part][0]
    assert {part: (counted[True], counted[False]) for part, counted in clips.items()} == {
        "train": (300, 900), "dev": (100, 300), "test": (600, 1_791),
    }  # fmt: skip
    assert {i.attack[:2] for i in parts["train"]} == {"", "04", "05", "06"}
    assert {i.attack[:2] for part in ("dev", "test") for i in parts[part]} == {"", "01", "02", "03"}
    assert CasiaSurfChallenge.expected == CasiaSurf.expected == {
        "train": (20_324, 8_942), "dev": (6_614, 2_994), "test": 57_710,
    }  # fmt: skip


FAS = "CASIA_SURF/Data/Training/{0}_part/CLKJ_AS0005/{1}.rssdk/color/0001.jpg {2}"
LIVE, ATTACK = FAS.format("real", "real", 0), FAS.format("fake", "04_en_b", 1)
NAMED = " ".join(f"Training/real_part/CLKJ_AS0005/real.rssdk/{m}/51.jpg" for m in ("color", "depth", "ir"))
ANONYMOUS = " ".join(f"Val/0000/{{0:06d}}-{m}.jpg" for m in ("color", "depth", "ir"))


def test_lines_of_both_families():
    live, attack = fas_images([LIVE, ATTACK], "list", "Training")
    assert (live.live, live.subject, live.attack) == (True, "CLKJ_AS0005", "")
    assert (attack.live, attack.attack, attack.name) == (
        False, "04_en_b", "Training/fake_part/CLKJ_AS0005/04_en_b.rssdk/0001",
    )  # fmt: skip
    assert [path.split("/")[-2] for path in attack.paths] == ["color", "depth", "ir"]
    (named,) = challenge_images([f"{NAMED} 1"], "train_list.txt", "Training")
    assert (named.live, named.subject) == (True, "CLKJ_AS0005")
    lines = [f"{ANONYMOUS.format(n)} {int(n == 3)}" for n in range(4)]
    anonymous = challenge_images(lines, "val_private_list.txt", "Val")
    assert [image.live for image in anonymous] == [False, False, False, True]
    assert {image.subject for image in anonymous} == {""}


@pytest.mark.parametrize(
    ("parse", "lines", "reason", "hint"),
    [
        (fas_images, [LIVE[:-1] + "1", ATTACK[:-1] + "0"], "the other sign, 1 is live", "other family"),
        (fas_images, [LIVE, ATTACK[:-1] + "0"], "1 of 2 labels contradict the folder", None),
        (fas_images, [f"{NAMED} 1"], "names three files", "casia-surf-challenge"),
        (fas_images, [LIVE.replace("Training", "Val")], "expected a color image in Training", None),
        (fas_images, [LIVE.replace("color", "depth")], "expected a color image", None),
        (fas_images, [LIVE.split()[0]], "expected a color image", None),
        (fas_images, [], "is empty", None),
        (challenge_images, [f"{NAMED} 0"], "labels have the other sign, 1 is an attack", "other family"),
        (challenge_images, [NAMED], "expected color, depth, ir and a label", None),
        (challenge_images, [ATTACK.replace("CASIA_SURF/Data/", "")], "names one file", "prepare casia-surf"),
        (challenge_images, [" ".join([*reversed(NAMED.split()), "1"])], "in this order", None),
    ],
)  # fmt: skip
def test_lists_that_are_something_else_are_named(parse, lines, reason, hint):
    with pytest.raises(pm.DataError, match=reason) as raised:
        parse(lines, "list.txt", "Training")
    if hint:
        assert hint in raised.value.hint


def test_anonymous_labels_of_the_other_sign_are_found_by_the_majority():
    lines = [f"{ANONYMOUS.format(n)} {int(n != 3)}" for n in range(4)]
    with pytest.raises(pm.DataError, match="labels have the other sign"):
        challenge_images(lines, "val_private_list.txt", "Val")


def test_a_list_without_labels_is_the_public_one():
    with pytest.raises(pm.DataError, match="has no label") as raised:
        challenge_images([ANONYMOUS.format(0)], "val_public_list.txt", "Val")
    assert "get val_private_list.txt" in raised.value.hint


def test_persons_are_in_one_part():
    images = fas_images([LIVE, ATTACK], "list", "Training")
    with pytest.raises(pm.DataError, match="is listed twice, in train and dev"):
        check_disjoint({"train": images, "dev": images[:1]})
    with pytest.raises(pm.DataError, match="CLKJ_AS0005 is in train and in dev"):
        check_disjoint({"train": images[:1], "dev": images[1:]})


# --- miniatures -------------------------------------------------------------------------------------------


class Small(CasiaSurf):
    """Images of 16 x 16."""

    name = "small"
    modalities = tuple(
        pm.Modality(m.name, "image", (3, 16, 16), "8 bit", grid="face", flip="mirror")
        for m in CasiaSurf.modalities
    )
    stored = (20, 20)
    expected: ClassVar = {"train": (36, 12), "dev": (18, 6), "test": (27, 9)}


class SmallChallenge(CasiaSurfChallenge):
    name = "small-challenge"
    modalities, stored, expected = Small.modalities, Small.stored, Small.expected


@pytest.fixture(scope="module")
def fas(tmp_path_factory) -> Path:
    return write_surf(tmp_path_factory.mktemp("fas"))


@pytest.fixture(scope="module")
def challenge(tmp_path_factory) -> Path:
    return write_surf(tmp_path_factory.mktemp("challenge"), family="challenge")


@pytest.fixture(scope="module")
def prepared(fas, tmp_path_factory):
    return prepare(Small(), fas, tmp_path_factory.mktemp("data"))


def test_persons_and_attacks_are_kept(prepared):
    ids, groups = prepared.index("test")
    assert len(set(groups)) == 3
    assert all(group in i for i, group in zip(ids, groups, strict=True))
    types, labels = prepared.attack_types("test"), prepared.labels("test")
    assert {types[row] for row in np.flatnonzero(labels == 1)} == {""}
    assert {types[row] for row in np.flatnonzero(labels == 0)} == {"01_e_s", "02_e_b", "03_en_s"}
    view = training_view(prepared, Small().protocol("intra-testing"), 0)
    assert (view.train.part, view.validation.part) == ("train", "dev")


def test_each_modality_is_that_of_its_folder(prepared, fas):
    """A public reader hands depth out as infrared; here each is the file of its own name."""
    ids, _ = prepared.index("train")
    row = next(n for n, i in enumerate(ids) if "real.rssdk" in i)
    name, frame = ids[row].rsplit("/", 1)
    folder = fas / "CASIA_SURF" / "Data" / name
    for modality, files in (("rgb", "color"), ("depth", "depth"), ("ir", "ir")):
        (shown,) = face(folder / files / f"{frame}.jpg", (20, 20))
        stored = prepared.column("train", modality).read(row)
        assert stored.shape == (3, 16, 16)
        difference = np.abs(stored - shown[2:18, 2:18].transpose(2, 0, 1).astype(float)).mean()
        assert difference < 12  # JPEG of noise


def test_the_challenge_gives_the_same_labels_without_persons(challenge, tmp_path):
    found = prepare(SmallChallenge(), challenge, tmp_path)
    assert found.index("train")[1] is not None
    assert found.index("dev")[1] is found.index("test")[1] is found.attack_types("test") is None
    assert np.bincount(found.labels("test")).tolist() == [27, 9]
    assert "acer_worst" not in SmallChallenge.metrics
    depth, labels = found.column("test", "depth"), found.labels("test")
    middle = np.array([depth.read(n)[:, 6:10, 6:10].mean() for n in range(len(labels))])
    assert middle[labels == 1].min() > middle[labels == 0].max()  # live faces stand out of the plane


def test_what_reads_the_files_goes_to_other_processes(fas):
    for _, part in Small().read(fas):
        pickle.dumps([files.load for files in part.arrays.values()])


@pytest.mark.parametrize(
    ("dataset", "family", "damage", "reason", "hint"),
    [
        (Small, "fas", lambda root: shutil.rmtree(root / "CASIA_SURF/Data/Testing"),
         "no folder Testing, only Training, Val", "phase2"),
        (Small, "fas", lambda root: (root / "CASIA_SURF/protocol/CASIA_SURF@p1_image_test.txt").unlink(),
         r"has no list CASIA_SURF@p1_image_test\.txt", "come with the data"),
        (Small, "fas", lambda root: next((root / "CASIA_SURF/Data/Val").rglob("ir/0001.jpg")).unlink(),
         "1 of 72 images are missing", "unpacked whole"),
        (Small, "fas", lambda root: (root / "CASIA_SURF/protocol/CASIA_SURF@p1_image_dev.txt").write_text(
            "version https://git-lfs.github.com/spec/v1\n"), "is a pointer of Git LFS", "lfs pull"),
        (Small, "challenge", lambda root: None, "has no list CASIA_SURF@p1",
         "train_list.txt is of the other"),
        (SmallChallenge, "fas", lambda root: None, r"has no list train_list\.txt", "is of the other family"),
        (SmallChallenge, "challenge", lambda root: (root / "phase1/val_private_list.txt").rename(
            root / "phase1/val_public_list.txt"), "which has no labels", "published after the challenge"),
    ],
)  # fmt: skip
def test_wrong_copies_are_named(dataset, family, damage, reason, hint, fas, challenge, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree({"fas": fas, "challenge": challenge}[family], root)
    damage(root)
    with pytest.raises(pm.DataError, match=reason) as raised:
        list(dataset().read(root))
    assert re.search(hint, raised.value.hint)


def test_the_wrong_level_and_a_packed_archive_are_named(fas, tmp_path):
    with pytest.raises(pm.DataError, match="is one of the folders") as raised:
        list(Small().read(fas / "CASIA_SURF/Data/Training"))
    assert "the folder that holds all three" in raised.value.hint
    (tmp_path / "CASIA_SURF.7z").write_bytes(b"7z")
    with pytest.raises(pm.DataError, match="is not unpacked") as raised:
        list(Small().read(tmp_path))
    assert "7z x CASIA_SURF.7z" in raised.value.hint


@pytest.mark.parametrize("dataset", [CasiaSurf(), CasiaSurfChallenge()])
def test_without_data_it_says_where_from_and_what_to_type(dataset, tmp_path):
    error = dataset.not_prepared(tmp_path)
    assert "sign" in error.hint
    assert "casia-surfcvpr2019" in error.hint
    assert f"pmbench data prepare {dataset.name} --source" in error.hint
