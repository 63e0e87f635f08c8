"""Logs of Every Eval Ever: one file for each record, in the layout of its data store."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...contracts.dataset import Dataset
from ...files import write_json
from ...metrics.builtin import METRICS
from ...report.attestations import digest_of
from ...report.record import Record, metric_of
from ...report.text import options_text
from ..model import wilson

SCHEMA = "0.3.0"
"""Version of the schema that the logs are written for."""


def write_logs(records: Iterable[Record], dataset: Dataset, owner: str, to: Path) -> list[Path]:
    """Writes `to/data/<collection>/<owner>/<model>/<uuid>.json` for each record; returns the files.

    `owner`: organization that has trained and evaluated the models. Equal records give equal files.
    """
    written = []
    for record in records:
        collection = f"pmbench-{record.cell.dataset}".replace("/", "-")
        path = to / "data" / collection / owner / model_name(record) / f"{_identity(record)}.json"
        write_json(path, log(record, dataset, owner))
        written.append(path)
    return written


def model_name(record: Record) -> str:
    """`kd-mfeat-few-10-s3`, with options between, in characters of file names."""
    cell = record.cell
    parts = [cell.method, options_text(cell.options), cell.dataset, cell.protocol, f"s{cell.seed}"]
    text = "-".join(filter(None, parts))
    return "".join(c if c.isalnum() or c in "-_.=+,@" else "-" for c in text)


def _identity(record: Record) -> uuid.UUID:
    """Made from the digest of the record."""
    return uuid.UUID(bytes=bytes.fromhex(digest_of(record))[:16], version=4)


def log(record: Record, dataset: Dataset, owner: str) -> dict[str, Any]:
    """The log of one record: model, data and all metrics, with the interval of the primary one."""
    cell, cost, where = record.cell, record.cost, record.provenance
    name = model_name(record)
    date = datetime.datetime.fromisoformat(where.date)
    details = {
        "deployment_type": "self_deployed",
        "model_availability": "unknown",
        "method": cell.method,
        "options": options_text(cell.options) or "none",
        "backbones": ", ".join(f"{m}: {label}" for m, label in sorted(cell.backbones.items())),
        "privileged_in_training": ", ".join(cell.privileged) or "none",
        "tested_on": ", ".join(cell.test_modalities),
        "seed": str(cell.seed),
        "parameters": str(cost.parameters if cost else "unknown"),
    }
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"pmbench-{cell.dataset}/{owner}/{name}/{int(date.timestamp())}",
        "evaluation_timestamp": where.date,
        "retrieved_timestamp": str(int(date.timestamp())),
        "source_metadata": {
            "source_name": "pmbench",
            "source_type": "evaluation_run",
            "source_organization_name": owner,
            "evaluator_relationship": "first_party",
        },
        "eval_library": {
            "name": "pmbench",
            "version": where.pmbench,
            "additional_details": {"torch": where.torch, "isolation": where.isolation},
        },
        "model_info": {
            "name": name,
            "id": f"{owner}/{name}",
            "developer": owner,
            "inference_engine": {"name": "torch", "version": where.torch},
            "additional_details": details,
        },
        "evaluation_results": [_result(record, metric, dataset) for metric in record.metrics],
    }


def _result(record: Record, name: str, dataset: Dataset) -> dict[str, Any]:
    cell, metric = record.cell, metric_of(record, name)
    source: dict[str, Any] = {"dataset_name": cell.dataset, "source_type": "other"}
    if dataset.source.startswith(("http://", "https://")):
        source |= {"source_type": "url", "url": [dataset.source]}
    source["additional_details"] = {
        "version": str(cell.dataset_version),
        "protocol": cell.protocol,
        "part": "test",
        "licence": dataset.licence,
    }
    config: dict[str, Any] = {
        "evaluation_description": f"{metric.title if metric else name} on the test part of {cell.protocol}",
        "lower_is_better": metric is not None and not metric.higher_is_better,
    }
    if name in METRICS:  # in percent; the range of a plugin's metric is not known
        config |= {"score_type": "continuous", "min_score": 0, "max_score": 100}
    score: dict[str, Any] = {"score": record.metrics[name]}
    interval = wilson(record) if name == record.primary else None
    if interval and record.samples is not None:
        bounds = {"lower": interval[0], "upper": interval[1], "confidence_level": 0.95, "method": "Wilson"}
        score["uncertainty"] = {"confidence_interval": bounds, "num_samples": record.samples.count}
    return {
        "evaluation_name": f"{cell.dataset} {cell.protocol}, {name}",
        "source_data": source,
        "evaluation_timestamp": record.provenance.date,
        "metric_config": config,
        "score_details": score,
    }
