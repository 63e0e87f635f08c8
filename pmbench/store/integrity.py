"""Whether the files of a stage are those that were stored: each has a digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import file_digest
from .keys import digest

STAGE, WEIGHTS, EPOCHS, CURVE = "stage.json", "weights.safetensors", "epochs.safetensors", "curve.csv"
DIGESTS = {WEIGHTS: "weights_sha256", EPOCHS: "epochs_sha256", CURVE: "curve_sha256"}
"""File -> the field of `stage.json` with its SHA-256. Stages of early versions have none of their curve."""
LARGEST_JSON = 1 << 26
"""Bytes of a `stage.json` that are read at most."""
_OWN = "content_sha256"


@dataclass(frozen=True)
class Damage:
    """A damaged or missing file of a stage, and what is wrong with it."""

    key: str
    file: str
    reason: str


def with_digest(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a `stage.json`, with a digest of all the rest of it."""
    content = json.loads(json.dumps({name: stage[name] for name in stage if name != _OWN}))
    return {**content, _OWN: digest(content)}


def digest_file(program: Path) -> Path:
    """The file with the digest of a sealed program."""
    return program.with_suffix(".sha256")


def damages(folder: Path, key: str) -> list[Damage]:
    """Hashes all files of the stage `key` in `folder`; empty if it is intact.

    A program without a digest is no damage: its sealing was interrupted, and it is sealed again.
    """
    try:
        with (folder / STAGE).open("rb") as file:
            stage = json.loads(file.read(LARGEST_JSON))
        own = digest(stage["inputs"])
        stored = {name: stage.get(field) for name, field in DIGESTS.items()}
        content = _OWN not in stage or with_digest(stage) == stage
    except (OSError, ValueError, RecursionError) as error:
        return [Damage(key, STAGE, f"cannot be read: {error}")]
    except (KeyError, TypeError, AttributeError):
        return [Damage(key, STAGE, "describes no stage")]
    found = []
    if own != key or stage.get("key") != key:
        found.append(Damage(key, STAGE, f"describes stage {own[:12]}"))
    elif not content:
        found.append(Damage(key, STAGE, "has another digest than was stored"))
    for name, sha256 in stored.items():
        if sha256 is not None or name == WEIGHTS:
            found += _compare(folder / name, sha256, key)
        elif name == CURVE and not (folder / name).is_file():
            found.append(Damage(key, name, "is missing"))
    for path in sorted(folder.glob("sealed-*.pt2")):
        if digest_file(path).is_file():
            found += _compare(path, digest_file(path).read_text("ascii", "replace").strip(), key)
    return found


def _compare(path: Path, sha256: object, key: str) -> list[Damage]:
    try:
        same = file_digest(path) == sha256
    except FileNotFoundError:
        return [Damage(key, path.name, "is missing")]
    except OSError as error:
        return [Damage(key, path.name, f"cannot be read: {error.strerror or error}")]
    return [] if same else [Damage(key, path.name, "has another digest than was stored")]
