"""A small UCF101 in the layout of the official one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...media import has_audio
from .files import RATE, write_video
from .scenes import clip, tone

SOUNDING = ("BabyCrawling", "BasketballDunk", "HandstandPushups", "PlayingCello")
SILENT = ("Basketball", "JumpRope")
MUTE: Mapping[str, int] = {"BasketballDunk": 15, "HandstandPushups": 16}


def write_ucf(
    root: Path,
    *,
    sounding: Sequence[str] = SOUNDING,
    silent: Sequence[str] = SILENT,
    groups: Sequence[int] = (1, 2, 8, 9, 15, 16, 24, 25),
    clips: int = 2,
    frames: tuple[int, int] = (18, 30),
    size: tuple[int, int] = (60, 80),
    features: bool = False,
    seed: int = 0,
) -> Path:
    """Writes `UCF-101/` and `ucfTrainTestlist/` into `root` and returns it.

    Of each class in `sounding` (with sound) and `silent` (without), `clips` clips of each of `groups`, of
    `frames` frames (from, to) and `size` (H, W) pixels. Split k tests the groups 7k - 6 to 7k, as officially.
    It has what the official one has to stumble over: the files of HandstandPushups say HandStandPushups; of
    two sounding classes one group has no sound (`MUTE`); headers report a frame too many.
    The class is in the motion, in noise and among others, and clearly in the pitch of the sound. `features`
    adds `audiocnn14embed512_features.tar.gz`, as published: vectors of 512 in which the class shows, and what
    the archiver of macOS leaves beside them.
    """
    names = sorted([*sounding, *silent])
    listed: dict[str, list[tuple[int, int, str]]] = {name: [] for name in names}
    for label, name in enumerate(names):
        for group in groups:
            scene = (seed, label, group)
            for number in range(1, clips + 1):
                rng = np.random.default_rng((seed, label, group, number))
                spelt = name.replace("HandstandP", "HandStandP")
                file = f"v_{spelt}_g{group:02d}_c{number:02d}.avi"
                length = int(rng.integers(frames[0], frames[1] + 1))
                sound = None
                if name in sounding and MUTE.get(name) != group:
                    sound = tone(sorted(sounding).index(name), len(sounding), length / 25, RATE, rng)
                write_video(
                    root / "UCF-101" / name / file,
                    clip(label, length, size, rng, np.random.default_rng(scene)),
                    sound=sound,
                    mp3=number % 2 == 0,
                    reported=length + 1 if number == 1 else None,
                )
                listed[name].append((group, label + 1, f"{name}/{file}"))
    if features:
        _write_features(root, seed)
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "classInd.txt").write_text("".join(f"{n} {name}\r\n" for n, name in enumerate(names, 1)))
    for split in (1, 2, 3):
        tested = range(7 * split - 6, 7 * split + 1)
        every = [entry for entries in listed.values() for entry in entries]
        (lists / f"trainlist{split:02d}.txt").write_text(
            "".join(f"{file} {n}\n" for group, n, file in every if group not in tested)
        )
        (lists / f"testlist{split:02d}.txt").write_text(
            "".join(f"{file}\n" for group, _, file in every if group in tested)
        )
    return root


def _write_features(root: Path, seed: int) -> None:
    """A vector for every clip with sound: the direction of its class, and noise."""
    folder = "audiocnn14embed512_features"
    with tarfile.open(root / f"{folder}.tar.gz", "w:gz") as archive:
        for video in sorted((root / "UCF-101").glob("*/*.avi")):
            if not has_audio(video):
                continue
            rng, shared = (
                np.random.default_rng((seed, *name.encode())) for name in (video.stem, video.parent.name)
            )
            for prefix, content in (
                ("", _array(shared.normal(size=512) + rng.normal(size=512))),
                ("._", b"Mac"),
            ):
                member = tarfile.TarInfo(f"{folder}/{video.parent.name}/{prefix}{video.stem}.npy")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _array(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values.astype(np.float32), allow_pickle=False)
    return content.getvalue()
