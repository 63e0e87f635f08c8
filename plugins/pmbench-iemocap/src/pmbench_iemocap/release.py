"""The official release: where its sessions lie, and the labels of its utterances."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pmbench as pm

SESSIONS = range(1, 6)
FOLDER = "IEMOCAP_full_release"
CLASS_OF: Mapping[str, str] = {
    "ang": "angry", "hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral"
}  # fmt: skip
"""Official label -> class, for the labels that are used."""
OTHERS = ("fru", "sur", "fea", "dis", "oth", "xxx")
"""Official labels that are not used; `xxx`: the raters do not agree."""
LINE = re.compile(
    r"\[(?P<start>[\d.]+) - (?P<end>[\d.]+)\]\s+(?P<dialog>Ses0[1-5][FM]_\w+)_(?P<turn>[FM][^\W_]+)"
    r"\s+(?P<label>\w+)\s+\[[^\]]*\]\s*"
)


@dataclass(frozen=True)
class Utterance:
    """One turn of a dialog, from `start` to `end` in seconds. `label` is the official one.

    `dialog` is called after session and the actor who wears the markers, such as Ses01F_impro01; `speaker` is
    the letter of the actor who speaks.
    """

    name: str
    dialog: str
    speaker: str
    start: float
    end: float
    label: str

    @property
    def session(self) -> int:
        return int(self.name[4])

    @property
    def actor(self) -> str:
        """Session and speaker: `Ses01F` is one of ten people."""
        return f"{self.name[:5]}{self.speaker}"


def release(source: Path) -> Path:
    """The folder with Session1 to Session5: `source`, or IEMOCAP_full_release in it. Raises DataError."""
    for folder in (source, source / FOLDER):
        there = [k for k in SESSIONS if (folder / f"Session{k}").is_dir()]
        if len(there) == len(SESSIONS):
            return folder
        if there:
            absent = ", ".join(f"Session{k}" for k in SESSIONS if k not in there)
            raise pm.DataError(
                f"{folder} has no {absent}; expected Session1 to Session5",
                "each session is the test part of one fold: all five of the official release are needed",
            )
    packs = [
        path.name
        for path in sorted(source.glob("*"))
        if path.suffix in (".pkl", ".pickle", ".pt", ".csv", ".json", ".h5", ".hdf5", ".mat")
    ]
    found = f"; it holds {packs[0]}, as packs made from it do" if packs else ""
    raise pm.DataError(
        f"{source} has neither Session1 to Session5 nor {FOLDER}{found}",
        "the labels of the official release are needed: packs have other classes (six) or other utterances",
    )


def utterances(source: Path) -> list[Utterance]:
    """All labelled utterances of the release at `source`, by session and dialog; raises DataError."""
    folder = release(source)
    found: list[Utterance] = []
    for k in SESSIONS:
        labels = folder / f"Session{k}" / "dialog" / "EmoEvaluation"
        files = sorted(labels.glob("Ses*.txt"))  # not `._Ses*.txt`, which macOS writes, and no subfolders
        if not files:
            raise pm.DataError(
                f"{labels} has no file Ses0{k}F_impro01.txt or the like",
                "these files hold the labels; the release was not unpacked whole",
            )
        for file in files:
            found += labelled(file.read_text(encoding="utf-8", errors="replace").splitlines(), file)
    _check_labels(found, folder)
    return found


def labelled(lines: Iterable[str], file: Path) -> list[Utterance]:
    """The utterances of one file of labels, of its lines `[start - end] name label [three numbers]`.

    Others are a heading and the votes of single raters. Raises DataError for another line with a bracket.
    """
    found = []
    for number, line in enumerate(lines, 1):
        if not line.startswith("["):
            continue
        match = LINE.fullmatch(line)
        if match is None or match["label"] not in (*CLASS_OF, *OTHERS):
            raise pm.DataError(
                f"{file}, line {number}: {line[:80]!r}; expected `[start - end] {file.stem}_F000 label "
                f"[...]`, of the labels {', '.join((*CLASS_OF, *OTHERS))}",
                "the files of EmoEvaluation are needed as they are",
            )
        name, start, end = f"{match['dialog']}_{match['turn']}", float(match["start"]), float(match["end"])
        found.append(Utterance(name, match["dialog"], match["turn"][0], start, end, match["label"]))
    return found


def transcripts(folder: Path, dialog: str) -> dict[str, str]:
    """Utterance -> its words, of a dialog of a release; lines `name [start-end]: words`, or without times."""
    path = folder / f"Session{dialog[4]}" / "dialog" / "transcriptions" / f"{dialog}.txt"
    if not path.is_file():
        raise pm.DataError(f"{path} is missing", "the release was not unpacked whole")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [re.fullmatch(r"(Ses0\d[FM]_\w+)\s*(?:\[[^\]]*\])?\s*:\s*(.*)", line.strip()) for line in lines]
    return {match[1]: match[2] for match in pairs if match}


def _check_labels(found: Sequence[Utterance], folder: Path) -> None:
    """Raises DataError where the labels are those of a selection that somebody else has made."""
    counts = Counter(utterance.label for utterance in found)
    if "xxx" not in counts:
        text = ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items()))
        raise pm.DataError(
            f"{folder} has utterances of {len(counts)} labels only: {text}; the official release has eleven, "
            "among them 2,507 times xxx, on which raters did not agree",
            f"this is a pack of {len(counts)} classes; get the official release",
        )
