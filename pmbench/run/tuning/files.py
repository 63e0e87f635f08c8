"""The files of a study.

`study.json` has what was asked, `journal.log` is that of optuna, `trials.jsonl` the ledger of all trials,
`tuned.json` the outcome, and `summary.md` has the tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import StoreError, UsageError
from ...files import file_digest, write_json, write_text
from .journal import Trial
from .request import Sampler, TuningRequest

STUDY, JOURNAL, LEDGER, TUNED, SUMMARY = (
    *("study.json", "journal.log", "trials.jsonl", "tuned.json"),
    "summary.md",
)
HINT = (
    "remove the folder of the study and give its command again: stages that are stored are not trained again"
)


@dataclass(frozen=True)
class Confirmation:
    """Scores of a trial under the seeds that chose nothing; empty if it failed, for the reason `failure`."""

    method: str
    number: int
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    stages: tuple[tuple[str, ...], ...]
    failure: str = ""


@dataclass(frozen=True)
class Chosen:
    """What the study chose for a method. `given` and `options` are texts, as `--set` takes them.

    `options` are all that are not the method's defaults. `best`: best score of the first 1, 2, ... trials.
    `confirmed`: mean scores of the default and of the best trial under seeds that chose nothing.
    """

    method: str
    given: dict[str, str]
    options: dict[str, str]
    trial: int
    best: tuple[float | None, ...]
    confirmed: tuple[float | None, float | None]


@dataclass(frozen=True)
class TunedFile:
    """The outcome of a study. `ledger`: SHA-256 of its `trials.jsonl`."""

    name: str
    dataset: str
    protocol: str
    backbone: str
    recipe: str
    weights: str
    metric: str
    trials: int
    sampler: Sampler
    seeds: tuple[int, ...]
    confirming: tuple[int, ...]
    ledger: str
    methods: dict[str, Chosen]
    skipped: dict[str, str]
    format: Literal[1] = 1


def open_study(out: Path, request: TuningRequest, more: Mapping[str, Any]) -> str:
    """Writes `study.json`, or compares it with that of a study to resume; returns the name of the study.

    `more` are facts beside the request that trials depend on. Raises UsageError if the folder has a study of
    another request, naming what differs.
    """
    asked = json.loads(json.dumps({**asdict(request), **more}))
    path = out / STUDY
    if not path.exists():
        name = out.resolve().name or "study"
        write_json(path, {"format": 1, "name": name, "asked": asked})
        return name
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        name, before = kept["name"], kept["asked"]
        if kept["format"] != 1 or not isinstance(name, str):
            raise ValueError("it has another format")
        differs = [n for n in {**asked, **before} if before.get(n) != asked.get(n)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged: {error}", HINT) from error
    if differs:
        what = "; ".join(_difference(n, before.get(n), asked.get(n)) for n in differs)
        raise UsageError(
            f"{out} holds the study of another command: {what}",
            "give another --out; stages that both need are not trained again",
        )
    return name


_OPTIONS = {"methods": "method", "sets": "set", "seeds": "seed", "confirming": "confirm-seed"}
_FACTS = {"spaces": "other search spaces", "data": "other data"}


def _difference(name: str, before: Any, now: Any) -> str:
    """`--trials 20, now 30`."""
    return _FACTS.get(name) or f"--{_OPTIONS.get(name, name)} {_brief(before)}, now {_brief(now)}"


def _brief(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return (text if len(text) <= 80 else f"{text[:77]}...") or "not given"


def write_ledger(
    out: Path, seeds: tuple[int, ...], trials: Iterable[Trial], again: Iterable[Confirmation]
) -> str:
    """Writes a line of JSON for each trial, and for each confirmation; returns the SHA-256 of the file."""
    lines: list[dict[str, Any]] = [
        {"kind": "search", "seeds": seeds, "score": trial.score, **asdict(trial)} for trial in trials
    ]
    lines += [{"kind": "confirmation", **asdict(one)} for one in again]
    write_text(out / LEDGER, "".join(f"{json.dumps(line, sort_keys=True)}\n" for line in lines))
    return file_digest(out / LEDGER)


def write_tuned(out: Path, found: TunedFile) -> None:
    write_json(out / TUNED, asdict(found))


def read_tuned(folder: Path) -> tuple[TunedFile, str]:
    """The outcome of a finished study, and the SHA-256 of its file.

    Raises UsageError if there is none, StoreError for a damaged one, or one that its ledger contradicts.
    """
    path = folder / TUNED
    if not path.is_file():
        begun = (folder / STUDY).is_file()
        raise UsageError(
            f"{folder} holds {'a study that has not finished' if begun else 'no study'}: there is no {TUNED}",
            "give the command of the study again" if begun else "give the --out of a `pmbench tune`",
        )
    try:
        found = msgspec.json.decode(path.read_bytes(), type=TunedFile)
        if file_digest(folder / LEDGER) != found.ledger:
            raise ValueError(f"{LEDGER} has another digest than {TUNED} says")
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise StoreError(f"the study in {folder} is damaged: {error}", HINT) from error
    return found, file_digest(path)
