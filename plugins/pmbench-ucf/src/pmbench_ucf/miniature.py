"""Writes a small UCF101 in the official layout, for tests and demos."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import pmbench as pm
from pmbench.testing.media import RATE, clip, tone, write_video

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

    Each class of `sounding` (with sound) and `silent` (without) has `clips` clips in each of `groups`.
    `frames` is the range of the number of frames, `size` (H, W) in pixels. Split k tests groups 7k - 6 to
    7k, as the official one. The pitfalls of the official data are included: files of HandstandPushups are
    named HandStandPushups; two sounding classes have one group without sound (`MUTE`); headers report one
    frame too many. The class is the motion of a shape, in noise and beside others, and the pitch of the
    sound. `features` adds `audiocnn14embed512_features.tar.gz` as published: informative vectors (512,), and
    the extra files that the archiver of macOS adds.
    """
    names = sorted([*sounding, *silent])
    listed: dict[str, list[tuple[int, int, str]]] = {name: [] for name in names}
    for label, name in enumerate(names):
        for group in groups:
            scene = (seed, label, group)
            for number in range(1, clips + 1):
                rng = np.random.default_rng((seed, label, group, number))
                spelling = name.replace("HandstandP", "HandStandP")
                file = f"v_{spelling}_g{group:02d}_c{number:02d}.avi"
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
    """A vector for every clip with sound: a class mean plus noise."""
    folder = "audiocnn14embed512_features"
    with tarfile.open(root / f"{folder}.tar.gz", "w:gz") as archive:
        for video in sorted((root / "UCF-101").glob("*/*.avi")):
            if not pm.media.has_audio(video):
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
