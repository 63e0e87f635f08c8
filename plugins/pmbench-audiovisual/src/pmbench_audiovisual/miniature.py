"""Writes small CREMA-D, RAVDESS and AVE in their official layouts, for tests and demos."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from pmbench.testing.media import RATE, clip, tone, write_video

from .ave import FEW, HEAD, LISTS
from .cremad import EMOTIONS
from .ravdess import BOTH, VIDEO

CREMAD_RATE = 16_000  # hertz, of the official files


def write_cremad(
    root: Path,
    *,
    actors: Sequence[int] = (1001, 1002, 1003, 1004, 1005, 1010, 1076),
    sentences: Sequence[str] = ("IEO", "MTI"),
    frames: tuple[int, int] = (14, 20),
    size: tuple[int, int] = (60, 80),
    seed: int = 0,
) -> Path:
    """Writes the folders VideoFlash and AudioWAV into `root` and returns it.

    Each actor says each of `sentences` in six emotions, "IEO" in two levels of anger. The pitfalls of the
    official data are included: Flash videos; sound in files of its own, one of which is empty of sound.
    """
    for actor, sentence in product(actors, sentences):
        for label, emotion in enumerate(EMOTIONS):
            for level in ("LO", "HI") if (sentence, emotion) == ("IEO", "ANG") else ("XX",):
                name = f"{actor}_{sentence}_{emotion}_{level}"
                rng = np.random.default_rng((seed, *name.encode()))
                length = int(rng.integers(frames[0], frames[1] + 1))
                sound = tone(label, len(EMOTIONS), length / 30, CREMAD_RATE, rng)
                if name == "1076_MTI_SAD_XX":
                    sound = np.zeros(160)
                shown = clip(label, length, size, rng, np.random.default_rng((seed, actor)))
                write_video(
                    root / "VideoFlash" / f"{name}.flv", shown, fps=30, sound=np.zeros(length * RATE // 30)
                )
                _write_wav(root / "AudioWAV" / f"{name}.wav", sound)
    return root


def write_ravdess(
    root: Path,
    *,
    actors: Sequence[int] = (1, 2, 3, 8, 10, 16),
    emotions: Sequence[int] = (1, 3, 5),
    frames: tuple[int, int] = (14, 20),
    size: tuple[int, int] = (54, 96),
    seed: int = 0,
) -> Path:
    """Writes a folder Actor_NN for each of `actors` into `root` and returns it.

    Each actor says two sentences in each of `emotions`. The pitfalls of the official data are included: each
    clip is there a second time without sound; a song is among them; frames are 16 : 9.
    """
    for actor, emotion, sentence in product(actors, emotions, (1, 2)):
        rest = f"0{emotion}-01-0{sentence}-01-{actor:02d}"
        rng = np.random.default_rng((seed, actor, emotion, sentence))
        length = int(rng.integers(frames[0], frames[1] + 1))
        sound = tone(emotion, 9, length / 30, RATE, rng)
        shown = clip(emotion, length, size, rng, np.random.default_rng((seed, actor)))
        folder = root / f"Actor_{actor:02d}"
        write_video(folder / f"{BOTH}-01-{rest}.mp4", shown, fps=30, sound=sound)
        write_video(folder / f"{VIDEO}-01-{rest}.mp4", shown[:2], fps=30)
        if (emotion, sentence) == (emotions[0], 1):
            write_video(folder / f"{BOTH}-02-{rest}.mp4", shown[:2], fps=30, sound=sound)
    return root


def write_ave(
    root: Path,
    *,
    classes: Sequence[str] = FEW,
    counts: Mapping[str, int] = {"train": 6, "validation": 2, "test": 3},
    seconds: float = 1.2,
    size: tuple[int, int] = (60, 80),
    seed: int = 0,
) -> Path:
    """Writes the folder AVE_Dataset into `root` and returns `root`.

    Each class has `counts` videos in the lists. The pitfalls of the official data are included: ids start
    with `-`; a training video is of two classes; an event lasts 0 seconds; the list of all has a head.
    """
    folder = root / "AVE_Dataset"
    lines: dict[str, list[str]] = {part: [] for part in LISTS}
    for label, name in enumerate(classes):
        for part, count in counts.items():
            for number in range(count):
                rng = np.random.default_rng((seed, label, number, len(part)))
                key = f"{'-_a'[number % 3]}{part[:2]}{label:02d}_-{number:04d}"
                sound = tone(label, len(classes), seconds, RATE, rng)
                shown = clip(label, round(10 * seconds), size, rng, np.random.default_rng((seed, label)))
                write_video(folder / "AVE" / f"{key}.mp4", shown, fps=10, sound=sound)
                lines[part].append(f"{name}&{key}&good&0&{10 if number else 0}")
                if (part, label, number) == ("train", 1, 1):
                    lines[part].append(f"{classes[0]}&{key}&good&2&5")
    for part, file in LISTS.items():
        (folder / file).write_text("\n".join(lines[part]) + "\n", encoding="utf-8")
    every = [HEAD, *(line for part in lines.values() for line in part)]
    (folder / "Annotations.txt").write_text("\n".join(every) + "\n", encoding="utf-8")
    return root


def _write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(CREMAD_RATE)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
