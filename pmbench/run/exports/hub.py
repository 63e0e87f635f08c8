"""Metadata of model cards of Hugging Face: `model-index` in README.md, and `.eval_results/*.yaml`.

JSON values are values of YAML, so no library is needed to write them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import write_text
from ...report.record import Record, metric_of

TASKS = {"image": "image-classification", "clip": "video-classification", "vector": "tabular-classification"}
"""Kind of the first input -> task of the Hub; other kinds have none."""
LIBRARIES = {"pt2": "pytorch", "onnx": "onnx"}


def write_card(folder: Path, card: Mapping[str, Any], record: Record, owner: str) -> None:
    """Puts metadata above the README of an exported model; with an owner, `.eval_results/pmbench.yaml` too.

    `owner`: user or organization of the Hub that the data set belongs to. Without one, the data set has no
    name on the Hub, which results in `.eval_results` need.
    """
    lines = [f"{name}: {_yaml(value)}" for name, value in metadata(card, record, owner).items()]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    write_text(folder / "README.md", "\n".join(["---", *lines, "---", "", readme]))
    if owner:
        text = "".join(f"- {_yaml(entry)}\n" for entry in eval_results(card, record, owner))
        write_text(folder / ".eval_results" / "pmbench.yaml", text)


def metadata(card: Mapping[str, Any], record: Record, owner: str) -> dict[str, Any]:
    """Metadata of a model card: library, task, tags, and `model-index` with all metrics of the model."""
    kind = card["inputs"][0]["kind"]
    task = TASKS.get(kind, "other")
    result = {
        "task": {"type": task, "name": f"Classification of {', '.join(m['name'] for m in card['inputs'])}"},
        "dataset": {
            "type": hub_name(card["dataset"], owner),
            "name": card["dataset"],
            "config": card["protocol"],
            "split": "test",
            "args": {"version": card["dataset_version"]},
        },
        "metrics": [
            {"type": name, "name": metric.title if (metric := metric_of(record, name)) else name, "value": v}
            for name, v in record.metrics.items()
        ],
    }
    found: dict[str, Any] = {"library_name": LIBRARIES[card["file"].rpartition(".")[2]]}
    if task != "other":
        found["pipeline_tag"] = task
    if owner:
        found["datasets"] = [hub_name(card["dataset"], owner)]
    tags = ["pmbench", "privileged-information", card["method"], card["dataset"]]
    name = "-".join((card["method"], card["dataset"], card["protocol"])).replace("/", "-")
    return {**found, "tags": tags, "model-index": [{"name": name, "results": [result]}]}


def eval_results(card: Mapping[str, Any], record: Record, owner: str) -> list[dict[str, Any]]:
    """The primary metric as an entry of `.eval_results`; the task is the protocol."""
    only = [m for m in card["trained_with"] if m not in record.cell.test_modalities]
    notes = (
        f"{card['metric']} in percent, seed {card['seed']}; tested on "
        f"{', '.join(record.cell.test_modalities)}; privileged in training: {', '.join(only) or 'nothing'}"
    )
    dataset = {"id": hub_name(card["dataset"], owner), "task_id": card["protocol"]}
    date = record.provenance.date[:10]
    return [{"dataset": dataset, "value": card["value"], "date": date, "notes": notes}]


def hub_name(dataset: str, owner: str) -> str:
    """`owner/mfeat`; without an owner the name alone."""
    plain = dataset.replace("/", "-")
    return f"{owner}/{plain}" if owner else plain


def _yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
