"""Stores of many small stages in the real layout, made quickly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pmbench.store.integrity import with_digest
from pmbench.store.keys import digest

WEIGHTS, CURVE = b"weights" * 10, b"epoch,ce\n1,0.5\n"


def inputs(number: int) -> dict[str, Any]:
    """The inputs of a stage, as far as they are listed."""
    return {
        "backbones": {"fou": {"code": "", "name": "mlp-64", "size": 64, "weights": None}},
        "dataset": {"name": "mfeat", "version": 1},
        "protocol": {"labels_per_class": 10, "split": {"train": "train"}},
        "recipe": {"epochs": 20},
        "seed": number,
        "stage": "pmbench:Stream",
    }


def write(root: Path, count: int, start: int = 0) -> list[str]:
    """Writes stages of the seeds from `start` on, in the order in which they were finished; returns keys."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in (("w", WEIGHTS), ("c", CURVE))}
    keys = []
    for number in range(start, start + count):
        key = digest(inputs(number))
        folder = root / key[:2] / key
        (folder / "methods").mkdir(parents=True)
        (folder / "methods" / "kd").touch()
        (folder / "weights.safetensors").write_bytes(WEIGHTS)
        (folder / "curve.csv").write_bytes(CURVE)
        stage = {
            "stage": "Stream",
            "key": key,
            "inputs": inputs(number),
            "parents": [],
            "lineage": {key: {}},
            "cost": {"seconds": 1.5, "steps": 200},
            "finished": 1.7e9 + number,
            "weights_sha256": sums["w"],
            "curve_sha256": sums["c"],
        }
        (folder / "stage.json").write_text(json.dumps(with_digest(stage)), encoding="utf-8")
        keys.append(key)
    return keys
