"""Packed predictions, cards of Hugging Face, Croissant metadata and logs of Every Eval Ever."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pmbench.data.prepare import prepare_named
from pmbench.plugins import load_plugins
from pmbench.report.record import Record
from pmbench.report.record_files import read_record
from pmbench.run.exports import eee
from pmbench.run.exports.croissant import croissant
from pmbench.run.exports.hub import write_card
from pmbench.run.exports.predictions import compact
from pmbench.run.model import INFER

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records" / "hapt" / "few-10" / "cnn1d-8"
CARD = {
    "inputs": [{"name": "gyro", "kind": "sequence"}],
    "dataset": "hapt",
    "dataset_version": 1,
    "protocol": "few-10",
    "method": "kd",
    "seed": 0,
    "file": "model.pt2",
    "metric": "accuracy",
    "value": 71.5,
    "trained_with": ["gyro", "acc"],
}


@pytest.fixture(scope="module")
def record() -> Record:
    return read_record(RECORDS / "kd-s0.json")


# --- predictions --------------------------------------------------------------------------------------------


def test_float16_is_taken_unless_it_changes_a_class():
    logits = np.random.default_rng(0).normal(0, 5, (200, 7)).astype(np.float32)
    small = compact(logits, logits.argmax(1))
    assert small.dtype == np.float16
    assert (small.max(1) == 0).all()
    shares = [np.exp(x - x.max(1, keepdims=True)) for x in (logits, small.astype(np.float32))]
    assert np.abs(shares[0] - shares[1]).max() < 2e-3
    logits[3] = [0, 0, 1000, np.nextafter(np.float32(1000), np.float32(2000)), 0, 0, 0]
    assert compact(logits, logits.argmax(1)).dtype == np.float16, "close ones are exact: they are differences"
    logits[3, 2:4] = 1e-10, 2e-10
    logits[3, [0, 1, 4, 5, 6]] = -1
    assert compact(logits, logits.argmax(1)).dtype == np.float32, "a difference that float16 has not"
    logits[3] = [0, -1e6, 1, 2, 3, 4, 5]
    assert compact(logits, logits.argmax(1)).dtype == np.float32, "a logit that float16 has not"


# --- Hugging Face -------------------------------------------------------------------------------------------


def test_a_card_has_a_model_index_and_results_that_the_hub_reads(record: Record, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    (tmp_path / "README.md").write_text("# kd on hapt\n")
    write_card(tmp_path, CARD, record, "jane")
    card = hub.ModelCard.load(tmp_path / "README.md")
    card.data.to_dict()
    results = {result.metric_type: result for result in card.data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == record.metrics
    assert results["accuracy"].dataset_type == "jane/hapt"
    assert results["accuracy"].dataset_config == "few-10"
    assert card.data.model_name == "kd-hapt-few-10"
    assert card.text.strip() == "# kd on hapt"
    entries = yaml.safe_load((tmp_path / ".eval_results" / "pmbench.yaml").read_text())
    (entry,) = hub.parse_eval_result_entries(entries)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("jane/hapt", "few-10", 71.5)
    assert "privileged in training: acc" in entry.notes


def test_without_an_owner_no_data_set_of_the_hub_is_named(record: Record, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# kd on hapt\n")
    write_card(tmp_path, CARD, record, "")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    data = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])
    assert "datasets" not in data
    assert data["model-index"][0]["results"][0]["dataset"]["type"] == "hapt"


# --- Croissant ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    registry = load_plugins({"pmbench"})
    source = registry.dataset("planted").find_source()
    assert source is not None
    return prepare_named(registry, "planted", source, tmp_path_factory.mktemp("data"))


def test_croissant_names_every_file_with_its_digest(prepared: Any) -> None:
    found = croissant(prepared)
    files = {one["@id"]: one for one in found["distribution"]}
    expected = {
        f"{part}-{name}": (file["file"], file["sha256"])
        for part, entry in prepared.manifest["parts"].items()
        for name, file in entry["files"].items()
    }
    assert {name: (one["contentUrl"], one["sha256"]) for name, one in files.items()} == expected
    sets = {one["@id"]: one for one in found["recordSet"]}
    assert [row["classes/name"] for row in sets["classes"]["data"]] == list(prepared.dataset.classes)
    for one in found["recordSet"]:
        for field in one["field"]:
            if "source" in field:
                assert field["source"]["fileObject"]["@id"] in files


@pytest.mark.slow
def test_croissant_is_valid(prepared: Any, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed; it is not light")
    (prepared.folder / "croissant.json").write_text(json.dumps(croissant(prepared)))
    dataset = mlc.Dataset(jsonld=prepared.folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    (warning,) = dataset.metadata.ctx.issues.warnings
    assert "datePublished" in warning, "data sets do not say when they were published"
    part = next(iter(prepared.manifest["parts"]))
    ids = [row[f"{part}-ids/id"].decode() for row in dataset.records(f"{part}-ids")]
    assert ids == prepared.index(part)[0]


# --- Every Eval Ever ----------------------------------------------------------------------------------------


def test_logs_are_in_the_layout_of_their_store(record: Record, tmp_path: Path) -> None:
    dataset = load_plugins({"pmbench", "pmbench-hapt"}).dataset("hapt")
    (path,) = eee.write_logs([record], dataset, "jane", tmp_path)
    place = path.relative_to(tmp_path).as_posix()
    assert re.fullmatch(r"data/pmbench-hapt/jane/kd-hapt-few-10-s0/[0-9a-f-]{14}4[0-9a-f-]{21}\.json", place)
    log = json.loads(path.read_text())
    assert {one["evaluation_name"].split(", ")[1] for one in log["evaluation_results"]} == set(record.metrics)
    first = log["evaluation_results"][0]
    bounds = first["score_details"]["uncertainty"]["confidence_interval"]
    assert bounds["lower"] < first["score_details"]["score"] < bounds["upper"]
    assert log["model_info"]["id"] == "jane/kd-hapt-few-10-s0"
    assert eee.write_logs([record], dataset, "jane", tmp_path) == [path], "equal records, equal files"


@pytest.mark.slow
def test_logs_are_valid(record: Record, tmp_path: Path) -> None:
    pytest.importorskip("every_eval_ever", reason="every-eval-ever is not installed; it needs Python 3.12")
    from every_eval_ever.validator.validation_core import validate_aggregate

    dataset = load_plugins({"pmbench", "pmbench-hapt"}).dataset("hapt")
    (path,) = eee.write_logs([record], dataset, "jane", tmp_path)
    place = path.relative_to(tmp_path).as_posix()
    report = validate_aggregate(path, repo_path=place, run_semantic_checks=True)
    assert (report.errors, report.warnings) == ([], [])


# --- the script beside a model ------------------------------------------------------------------------------

WRONG_INPUTS = {
    "no file": ((), "0 files given; expected 2: python infer.py gyro.npy acc.npy"),
    "a table": (("table.csv", "acc.npy"), "table.csv: not an array of numbers in an .npy file"),
    "missing": (("nothing.npy", "acc.npy"), "nothing.npy: No such file or directory"),
    "another shape": (
        ("acc.npy", "acc.npy"),
        "acc.npy: shape [5]; gyro takes [3, 8], or several of these",
    ),
    "another number": (("gyro.npy", "acc.npy"), "the files have 2, 1 samples; expected equally many"),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_the_script_refuses_other_inputs_in_one_line(tmp_path: Path, case: str) -> None:
    files, message = WRONG_INPUTS[case]
    inputs = [{"name": "gyro", "shape": [3, 8]}, {"name": "acc", "shape": [5]}]
    (tmp_path / "infer.py").write_text(INFER["pt2"])
    (tmp_path / "model.json").write_text(json.dumps({"inputs": inputs}))
    (tmp_path / "table.csv").write_text("1,2\n")
    np.save(tmp_path / "gyro.npy", np.zeros((2, 3, 8)))
    np.save(tmp_path / "acc.npy", np.zeros(5))
    command = [sys.executable, "infer.py", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"infer.py: {message}\n", "")
