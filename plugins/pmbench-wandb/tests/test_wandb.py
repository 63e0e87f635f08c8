"""What is in the offline files that Weights & Biases wrote.

It has no public reader of them: they are parsed here as blocks of 32 KiB of LevelDB's log format, whose
records are messages of wandb's own classes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="wandb is not installed (extra `wandb`)")

import pmbench_wandb
from listening import epochs_of, record_of
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, FULL, LAST = 1 << 15, 1, 4


def messages(path: Path) -> list[Record]:
    content, found, parts, at = path.read_bytes(), [], b"", 7
    assert content[:4] == b":W&B"
    while at < len(content):
        if BLOCK - at % BLOCK < 7:  # a block ends with zeros that are too short for a header
            at += BLOCK - at % BLOCK
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts, at = parts + content[at + 7 : at + 7 + length], at + 7 + length
        if kind in (FULL, LAST):
            found.append(Record.FromString(parts))
            parts = b""
    return found


def items(entries) -> dict:
    return {"/".join(e.nested_key) or e.key: json.loads(e.value_json) for e in entries}


@pytest.fixture(scope="module")
def record():
    return record_of("mers")


@pytest.fixture(scope="module")
def written(tmp_path_factory, record):
    """The messages of the run of a cell, of which a stage before the last one was trained too."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("wandb")
        patch.chdir(folder)
        for name in ("WANDB_MODE", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        for stage in (0, -1):
            for event in epochs_of(record, stage):
                pmbench_wandb.pmbench_epoch_finished(event)
        pmbench_wandb.pmbench_run_finished(record.model_copy(update={"status": "skipped"}))
        pmbench_wandb.pmbench_run_finished(record)
    (file,) = folder.rglob("run-*.wandb")
    assert file.parent.name.startswith("offline-run-")
    return messages(file)


def test_the_run_has_the_parameters_of_the_cell(written, record):
    (run,) = [m.run for m in written if m.HasField("run")]
    assert run.display_name == "mers mfeat few-10 seed 0"
    assert run.project == "pmbench"
    config = items(run.config.update)
    assert {n: v for n, v in config.items() if n != "_wandb"} == {
        **record.cell.parameters,
        "cell_key": record.cell_key,
    }


def test_the_run_has_the_curves_of_all_its_stages(written, record):
    rows = [items(m.history.item) for m in written if m.HasField("history")]
    numbered = list(enumerate(record.validation.curve, 1))
    assert [(r["epoch"], r["validation/accuracy"]) for r in rows if "validation/accuracy" in r] == numbered
    for name, values in record.validation.terms.items():
        assert [r[f"terms/{name}"] for r in rows if f"terms/{name}" in r] == values
    first = record.stages[0]
    label = f"{first.stage}({', '.join(first.reads)})/validation accuracy"
    assert [(r["epoch"], r[label]) for r in rows if label in r] == numbered


def test_the_run_has_the_results(written, record):
    summary: dict = {}
    for message in written:
        if message.HasField("summary"):
            summary |= items(message.summary.update)
    assert summary["test/accuracy"] == record.metrics["accuracy"]
    assert summary["status"] == "done"
    assert [m.exit.exit_code for m in written if m.HasField("exit")] == [0]


def test_a_failed_cell_takes_the_stages_of_its_method_and_seed(record):
    closed = {"reason": "term 'ce' is nan", "metrics": {}, "validation": None, "stages": []}
    failed = record.model_copy(update={**closed, "status": "failed"})
    events = epochs_of(record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pmbench_wandb, "_epochs", {})
        pmbench_wandb.pmbench_epoch_finished(events[0])
        (row,) = pmbench_wandb._rows(failed)
        other = failed.model_copy(update={"cell": record.cell.model_copy(update={"seed": 9})})
        assert pmbench_wandb._rows(other) == []
    assert row["epoch"] == 1
    assert set(events[0].terms) == {name.partition("/")[2] for name in row} - {"", "validation accuracy"}
