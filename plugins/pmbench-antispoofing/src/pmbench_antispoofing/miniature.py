"""Writes a small CASIA-SURF and a small CeFA in the official layouts, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pmbench.testing.media import write_image

MODALITIES = ("color", "depth", "ir")
SUBSETS = {"Training": ("train", (4, 5, 6)), "Val": ("dev", (1, 2, 3)), "Testing": ("test", (1, 2, 3))}
"""Folder -> name in the lists, and the attacks in it."""
ATTACKS = {1: "01_e_s", 2: "02_e_b", 3: "03_en_s", 4: "04_en_b", 5: "05_enm_s", 6: "06_enm_b"}


def write_surf(
    root: Path,
    *,
    family: Literal["fas", "challenge"] = "fas",
    people: Sequence[int] = (4, 2, 3),
    frames: int = 3,
    size: int = 24,
    seed: int = 0,
) -> Path:
    """Writes `Training`, `Val`, `Testing` and the lists of one family into `root` and returns it.

    `people` train, validate and test; each has a live clip and three attacks of `frames` images of about
    `size` pixels, every one of another size. A live face is round in depth and bright in infrared, an attack
    flat and dark; in colour they differ little. In `fas` names are as in CASIA-FAS-Dataset, live is 0, and
    lists lie in `protocol`. In `challenge` numbers are not padded, Val and Testing are anonymous, in the
    folders `phase1` and `phase2`, and live is 1.
    """
    rng = np.random.default_rng(seed)
    count = 0
    for (folder, (subset, attacks)), persons in zip(SUBSETS.items(), people, strict=True):
        phase = {"fas": "CASIA_SURF/Data", "challenge": "phase2" if subset == "test" else "phase1"}[family]
        lines, number = [], 0
        for _ in range(persons):
            count += 1
            subject = f"CLKJ_{'ABC'[count % 3]}S{count:04d}"
            for attack in (0, *attacks):
                kind, clip = ("fake", ATTACKS[attack]) if attack else ("real", "real")
                for frame in range(1, frames + 1):
                    padded = f"{frame:04d}" if family == "fas" else str(10 * frame + 1)
                    base = f"{folder}/{kind}_part/{subject}/{clip}.rssdk"
                    files = [f"{base}/{modality}/{padded}.jpg" for modality in MODALITIES]
                    if family == "challenge" and folder != "Training":
                        files = [f"{folder}/{number // 20:04d}/{number:06d}-{m}.jpg" for m in MODALITIES]
                    number += 1
                    for file, image in zip(files, face(not attack, size, rng), strict=True):
                        write_image(root / phase / file, image)
                    if family == "fas":
                        lines.append(f"CASIA_SURF/Data/{files[0]} {int(attack > 0)}")
                    else:
                        lines.append(" ".join([*files, str(int(attack == 0))]))
        name = f"CASIA_SURF@p1_image_{subset}.txt"
        if family == "challenge":
            name = (
                "train_list.txt" if subset == "train" else f"{subset.replace('dev', 'val')}_private_list.txt"
            )
        _write_list(root / ("CASIA_SURF/protocol" if family == "fas" else phase) / name, lines)
    return root


def write_cefa(
    root: Path,
    *,
    races: Sequence[str] = ("AF", "CA", "EA"),
    people: Sequence[int] = (0, 1, 2, 3, 200, 201, 300, 301, 302),
    masks: int = 2,
    frames: int = 2,
    size: int = 24,
    older: bool = False,
    seed: int = 0,
) -> Path:
    """Writes `Ethnicity` (or `CeFA-Race` of the older release) and `Mask` into `root` and returns it.

    Each of `people` has the four clips of the protocols and one by a phone that none uses; the first has no
    infrared in its last frame. There are `masks` masks of each kind, with a clip in a light and one
    by a camera that are not used.
    """
    rng = np.random.default_rng(seed)
    top, colour = ("CeFA-Race", "profile") if older else ("Ethnicity", "color")
    for race in races:
        number = ("AF", "CA", "EA").index(race) + 1
        for person in people:
            for clip in ("1_1_1", "3_1_2", "3_2_2", "3_1_4", "2_1_1"):
                folder = root / top / race / f"{race}-{person:03d}" / f"{number}_{person:03d}_{clip}"
                _write_clip(folder, colour, clip.endswith("_1"), frames, size, rng)
    if people:
        first = root / top / races[0] / f"{races[0]}-{people[0]:03d}"
        lost = next(first.glob(f"*_{people[0]:03d}_1_1_1/ir/{frames:04d}.jpg"))
        lost.unlink()
    for number, kind in ((1, "3D-Mask"), (2, "Silicone-Mask")):
        for person in range(1, masks + 1):
            for clip in ("1_0_2_1_2", "1_1_2_2_3", "1_0_2_1_1", "1_0_1_1_2"):
                folder = root / "Mask" / kind / f"{person:03d}" / f"{number}_{person:03d}_{clip}"
                _write_clip(folder, colour, False, frames, size, rng)
    return root


def face(live: bool, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour, depth and infrared (H, W, 3) uint8 of one face, of a random size and place."""
    height, width = rng.integers(size, 2 * size, 2)
    y, x = np.mgrid[:height, :width]
    middle = rng.uniform(0.45, 0.55, 2) * (height, width)
    away = np.hypot((y - middle[0]) / (0.4 * height), (x - middle[1]) / (0.3 * width))
    inside = away < 1
    skin = rng.uniform((120, 90, 70), (200, 150, 120)) + (15 if live else -5)
    colour = np.where(inside[..., None], skin, 40.0) + rng.normal(0, 25, (height, width, 3))
    bump = np.sqrt(np.clip(1 - away**2, 0, 1)) if live else 0.5 * np.ones_like(away)
    depth = np.where(inside, 80 + 140 * bump, 0.0) + rng.normal(0, 6, (height, width))
    ir = np.where(inside, 190.0 if live else 90.0, 20.0) + rng.normal(0, 12, (height, width))
    grey = [np.repeat(image[..., None], 3, -1) for image in (depth, ir)]
    first, second, third = (np.clip(image, 0, 255).astype(np.uint8) for image in (colour, *grey))
    return first, second, third


def _write_clip(
    folder: Path, colour: str, live: bool, frames: int, size: int, rng: np.random.Generator
) -> None:
    for frame in range(1, frames + 1):
        for name, image in zip((colour, "depth", "ir"), face(live, size, rng), strict=True):
            write_image(folder / name / f"{frame:04d}.jpg", image)


def _write_list(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
