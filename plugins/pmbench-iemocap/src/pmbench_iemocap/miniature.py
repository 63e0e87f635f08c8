"""Writes a small IEMOCAP in the official layout, for tests and demos."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pmbench.testing.media import write_video

from .release import CLASS_OF, FOLDER, OTHERS, SESSIONS, Utterance, utterances

DIALOGS = ("F_impro01", "M_script01_1")
SPOKEN = (*CLASS_OF, OTHERS[-1], OTHERS[0])
"""Labels of the utterances of each actor in a dialog, in this order, `each` times."""
RATE = 16_000  # hertz, of the official sound
WORDS: Mapping[str, str] = {
    "ang": "No! Never.",
    "hap": "How nice!",
    "exc": "Great, great!",
    "sad": "She left.",
}
SECONDS = 0.8
"""Length of an utterance."""


def write_release(root: Path, *, each: int = 1, media: bool = False) -> Path:
    """Writes `IEMOCAP_full_release` with labels and transcripts into `root` and returns it.

    Two dialogs a session, one with markers on each actor; both actors speak in turn, each of `SPOKEN` `each`
    times. The pitfalls of the official data are included: votes of single raters, folders of their
    evaluations, files that macOS writes, a transcript without times. With `media` there are the sounds of
    utterances and videos of dialogs, in whose left half the actor with the markers is bright.
    """
    for session in SESSIONS:
        dialogs = root / FOLDER / f"Session{session}" / "dialog"
        labels = dialogs / "EmoEvaluation"
        for folder in (
            labels,
            dialogs / "transcriptions",
            labels / "Categorical",
            labels / "Self-evaluation",
        ):
            folder.mkdir(parents=True, exist_ok=True)
        for kind in DIALOGS:
            dialog = f"Ses0{session}{kind}"
            spoken = _spoken(dialog, each)
            text = label_text(spoken)
            (labels / f"{dialog}.txt").write_text(text, encoding="utf-8")
            (labels / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07")
            (labels / "Categorical" / f"{dialog}_e2_cat.txt").write_text(f"{spoken[0].name} :Anger; ()\n")
            (labels / "Self-evaluation" / f"{dialog}_f1_self.txt").write_text(text)
            (dialogs / "transcriptions" / f"{dialog}.txt").write_text(_transcript(spoken), encoding="utf-8")
            if media:
                _write_media(dialogs.parent, spoken)
    return root


def label_text(spoken: list[Utterance]) -> str:
    """A file of EmoEvaluation."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for one in spoken:
        lines += [
            f"[{one.start:.4f} - {one.end:.4f}]\t{one.name}\t{one.label}\t[2.5000, 3.0000, 2.0000]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
    return "\n".join(lines) + "\n"


def write_features(root: Path, widths: Mapping[str, int], *, seed: int = 0) -> Path:
    """Writes `features/<modality>/<utterance>.npy` for the release at `root`: the mean of a class and noise,
    strong in `visual`. Every ninth has 70 steps, others 4 to 12.
    """
    used = [one for one in utterances(root) if one.label in CLASS_OF]
    for modality, width in widths.items():
        folder = root / "features" / modality
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((seed, *modality.encode()))
        means = dict(zip(sorted(set(CLASS_OF.values())), rng.normal(0, 1, (4, width)), strict=True))
        for number, one in enumerate(used):
            steps = 70 if number % 9 == 8 else int(rng.integers(4, 13))
            noise = rng.normal(0, 6.0 if modality == "visual" else 0.7, (steps, width))
            values = means[CLASS_OF[one.label]] + noise
            np.save(folder / f"{one.name}.npy", values.astype(np.float32), allow_pickle=False)
    return root


def _spoken(dialog: str, each: int) -> list[Utterance]:
    turns = [(label, speaker) for label in SPOKEN for _ in range(each) for speaker in "FM"]
    return [
        Utterance(f"{dialog}_{speaker}{number // 2:03d}", dialog, speaker, number, number + SECONDS, label)
        for number, (label, speaker) in enumerate(turns)
    ]


def _transcript(spoken: list[Utterance]) -> str:
    lines = []
    for number, one in enumerate(spoken):
        times = "" if number == 1 else f" [{one.start:08.4f}-{one.end:08.4f}]"
        lines.append(f"{one.name}{times}: {WORDS.get(one.label, 'Well: I see.')}")
    return "\n".join(["M: [BREATHING]", *lines]) + "\n"


def _write_media(session: Path, spoken: list[Utterance]) -> None:
    dialog = spoken[0].dialog
    sounds = session / "sentences" / "wav" / dialog
    sounds.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(spoken))
    for one in spoken:
        samples = rng.normal(0, 3_000, round((one.end - one.start) * RATE)).astype("<i2")
        with wave.open(str(sounds / f"{one.name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.tobytes())
    frames = np.full((round(10 * spoken[-1].end), 48, 64, 3), 60, np.uint8)
    frames[:, :, :32] = 200
    write_video(session / "dialog" / "avi" / "DivX" / f"{dialog}.avi", frames, fps=10)
