"""Forged records, and what the board does with each.

A record holds no secret, so one that contradicts nothing is shown. `KNOWN` lists those kinds with what finds
them: the labels of the test part, a plan of the cell, the sealed program, or training again.
"""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import render

from pmbench.errors import RecordError
from pmbench.metrics.builtin import METRICS, evidence_of
from pmbench.report.packing import pack, unpack
from pmbench.report.record_files import LARGEST_FILE, read_record, read_records

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records" / "hapt" / "few-10" / "cnn1d-8"
Content = dict[str, Any]
Change = Callable[[Content], None]


def genuine(name: str = "kd", seed: int = 0) -> Content:
    return json.loads((RECORDS / f"{name}-s{seed}.json").read_text(encoding="utf-8"))


def put(path: str, value: Any) -> Change:
    """Sets one field, by its path with dots."""

    def change(content: Content) -> None:
        *above, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        for step in above:
            content = content[step]
        content[last] = value

    return change


def drop(*fields: str) -> Change:
    def change(content: Content) -> None:
        for field in fields:
            content[field] = {"stages": [], "metrics": {}}.get(field)

    return change


def alike(content: Content, predicted: np.ndarray) -> None:
    """Sets the predictions and the metrics that follow from them."""
    count, classes = content["samples"]["count"], content["cell"]["num_classes"]
    labels = unpack(content["samples"]["labels"], count)
    content["samples"]["predicted"] = pack(predicted)
    evidence = evidence_of(labels, np.eye(classes)[predicted], classes)
    content["metrics"] = {name: float(METRICS[name].function(evidence)) for name in content["metrics"]}


def all_right(content: Content) -> None:
    alike(content, unpack(content["samples"]["labels"], content["samples"]["count"]))


def other_labels(content: Content) -> None:
    count = content["samples"]["count"]
    content["samples"]["labels"] = content["samples"]["predicted"]
    alike(content, unpack(content["samples"]["predicted"], count))


def bomb(content: Content) -> None:
    content["samples"]["predicted"] = b64encode(zlib.compress(bytes(1 << 26), 9)).decode()


def cycle(content: Content) -> None:
    first, second = content["stages"][:2]
    first["parents"], second["parents"] = [second["key"]], [first["key"]]


def second_last_stage(content: Content) -> None:
    content["stages"].append({**content["stages"][0], "key": "0" * 64, "parents": []})


def twice(content: Content) -> None:
    content["stages"].append(content["stages"][0])


REFUSED: dict[str, tuple[Change, str]] = {
    # identity
    "says that it was verified": (put("verification", "retrained"), "verification: Extra inputs"),
    "a field more": (put("cell.weight", 2), "cell.weight: Extra inputs"),
    "another schema": (put("schema_version", 99), "schema_version is 99"),
    "key of other length": (put("cell_key", "ab" * 8), "cell_key: String should match"),
    "negative seed": (put("cell.seed", -1), "cell.seed"),
    "seed that is no seed": (put("cell.seed", 10**12), "cell.seed"),
    "unknown role": (put("cell.role", "winner"), "cell.role"),
    "no classes": (put("cell.num_classes", 0), "cell.num_classes"),
    "a billion classes": (put("cell.num_classes", 10**9), "cell.num_classes"),
    "classes as text": (put("cell.num_classes", "12"), "cell.num_classes"),
    "tested on other modalities than it says": (put("cell.test_modalities", ["nothing"]), "test_modalities"),
    "tested on all, said to be the target": (put("cell.test_modalities", ["acc", "gyro"]), "test_modalities"),
    "a method with privilege at test": (put("cell.tests_on", "all"), "test_modalities should be"),
    # outcome
    "no metrics": (drop("metrics"), "needs metrics"),
    "no samples": (drop("samples"), "needs samples"),
    "no digests": (drop("digests"), "needs digests"),
    "no stages": (drop("stages"), "needs stages"),
    "another primary metric": (put("primary", "luck"), "not among the metrics"),
    "a metric of its own": (put("metrics.luck", 100.0), "neither built in nor described"),
    "accuracy that is not finite": (put("metrics.accuracy", float("inf")), "metrics.accuracy"),
    "huge accuracy": (put("metrics.accuracy", 1e9), "metrics.accuracy"),
    "digest that is none": (put("digests.predictions", "forged"), "digests.predictions"),
    "a failure without reason": (put("status", "failed"), "needs a reason"),
    "no sample": (put("samples.count", 0), "samples.count"),
    "a billion samples": (put("samples.count", 10**9), "samples.count"),
    # stages and costs
    "the same stage twice": (twice, "listed twice"),
    "a stage that nothing needs": (second_last_stage, "expected one, the last"),
    "a parent that is missing": (put("stages.0.parents", ["f" * 64]), "is not listed"),
    "stages in a circle": (cycle, "its own ancestor"),
    "a stage key that is none": (put("stages.0.key", "best"), "stages.0.key"),
    "reads a modality that the cell lacks": (put("stages.0.reads", ["labels"]), "which the cell does not"),
    "an epoch after the last": (put("stages.0.selected_epoch", 21), "is selected of 20"),
    "more validation than epochs": (put("validation.curve", [50.0] * 99), "99 epochs"),
    "negative time": (put("stages.0.seconds", -5.0), "stages.0.seconds"),
    "time that does not add up": (put("cost.train_seconds", 0.1), "add up to"),
    "time spent that does not add up": (put("cost.train_seconds_spent", 0.1), "add up to"),
    "steps that do not add up": (put("cost.steps", 1), "add up to"),
    "an eternity": (put("stages.0.seconds", 1e12), "stages.0.seconds"),
    "negative parameters": (put("cost.parameters", -1), "cost.parameters"),
    "endless parameters": (put("cost.parameters", 10**30), "cost.parameters"),
    "negative latency": (put("cost.latency_ms", -1.0), "cost.latency_ms"),
    "countless networks": (put("cost.networks", 10**9), "cost.networks"),
    # provenance and text
    "no date": (put("provenance.date", "yesterday"), "provenance.date"),
    "text for a date": (put("provenance.date", "2025-01-01 | best"), "provenance.date"),
    "unknown isolation": (put("provenance.isolation", "perfect"), "provenance.isolation"),
    "no threads": (put("provenance.threads", 0), "provenance.threads"),
    "a very long name": (put("cell.method", "m" * 10_000), "cell.method"),
    "a very long reason": (put("reason", "r" * 10**6), "reason"),
    "countless deviations": (put("deviations", ["d"] * 10**5), "deviations"),
}
INVALID: dict[str, tuple[Change, str]] = {
    "accuracy alone edited": (put("metrics.accuracy", 99.0), "but its predictions give"),
    "predictions alone edited": (
        lambda c: c["samples"].update(predicted=c["samples"]["labels"]),
        "but its predictions give",
    ),
    "a bomb for predictions": (bomb, "packed class indices hold more samples"),
    "text for predictions": (put("samples.predicted", "####"), "cannot be read"),
    "fewer predictions than samples": (put("samples.count", 10**6), "samples where 1000000 are declared"),
}
KNOWN: dict[str, tuple[Change, str]] = {
    "predictions edited with their metrics": (all_right, "the program, run again, gives others"),
    "another later date": (put("provenance.date", "2999-01-01"), "an attestation has its own date"),
    "an earlier version of the code": (put("provenance.git_commit", "0" * 40), "training again"),
    "a made-up validation curve": (put("validation.curve", [1.0] * 20), "training again"),
    "a made-up selection": (put("stages.0.selected_epoch", 1), "training again"),
    "a made-up stage key": (put("cell_key", "0" * 64), "a plan of the cell"),
    "fewer parameters": (put("cost.parameters", 1), "counting those of the program"),
    "isolated, it says": (put("provenance.isolation", "landlock"), "running the program again"),
}


def written(content: Content, folder: Path) -> Path:
    path = folder / "forged.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_no_record(kind: str, tmp_path: Path) -> None:
    content = genuine()
    change, words = REFUSED[kind]
    change(content)
    with pytest.raises(RecordError) as caught:
        read_record(written(content, tmp_path))
    assert words in caught.value.message


@pytest.mark.parametrize("kind", INVALID)
def test_the_board_says_why_it_does_not_count(kind: str, tmp_path: Path) -> None:
    content = genuine()
    change, words = INVALID[kind]
    change(content)
    text = render([read_record(written(content, tmp_path)), *(reference())])
    cells = text.partition("Cells without a result:")[2].partition("=== methods")[0]
    assert "- kd: invalid (seed 0)" in cells
    assert words in " ".join(cells.split())


def reference() -> list[Any]:
    return [read_record(RECORDS / "target_only-s0.json")]


@pytest.mark.parametrize("kind", KNOWN)
def test_it_is_shown_since_a_record_alone_does_not_tell(kind: str, tmp_path: Path) -> None:
    content = genuine()
    change, found_by = KNOWN[kind]
    change(content)
    text = render([read_record(written(content, tmp_path)), *reference()])
    assert any(line.startswith("| ") and "[`kd`]" in line for line in text.splitlines())
    assert "invalid" not in text
    assert found_by


# --- several records ----------------------------------------------------------------------------------------


def board_of(*contents: Content, folder: Path) -> str:
    for number, content in enumerate(contents):
        (folder / f"{number}.json").write_text(json.dumps(content), encoding="utf-8")
    records, problems = read_records(folder)
    assert not problems
    return render(records)


def test_a_seed_renamed_to_others_counts_once(tmp_path: Path) -> None:
    copies = [genuine() for _ in range(3)]
    for seed, copy in enumerate(copies):
        copy["cell"]["seed"] = seed
    text = board_of(*copies, genuine("target_only"), folder=tmp_path)
    assert "kd: seed 1 has the predictions of seed 0; it does not count" in text
    assert "kd: seed 2 has the predictions of seed 0; it does not count" in text


def test_other_test_labels_are_not_compared(tmp_path: Path) -> None:
    forged = genuine()
    other_labels(forged)
    text = board_of(forged, genuine("target_only"), genuine("early_fusion"), folder=tmp_path)
    assert "kd" in text
    assert "not compared" in text or "other test" in text


def test_a_relabelled_ceiling_reads_privileged_data_and_needs_them(tmp_path: Path) -> None:
    forged = genuine("early_fusion")
    forged["cell"]["role"] = "method"
    with pytest.raises(RecordError, match="a method is tested on the target modalities"):
        read_record(written(forged, tmp_path))
    forged["cell"]["tests_on"] = "target"
    with pytest.raises(RecordError, match="test_modalities should be"):
        read_record(written(forged, tmp_path))


def test_a_second_floor_does_not_replace_the_floor(tmp_path: Path) -> None:
    weak = genuine()
    weak["cell"]["role"], weak["cell"]["method"] = "floor", "a_weak_floor"
    alike(weak, np.zeros(weak["samples"]["count"], np.int64))
    text = board_of(weak, genuine("target_only"), genuine("cgan"), folder=tmp_path)
    assert "gain over `target_only`" in text
    assert "a_weak_floor is a second floor" in text


# --- text and files -----------------------------------------------------------------------------------------


def test_text_has_no_control_and_no_direction_characters(tmp_path: Path) -> None:
    content = genuine()
    content["cell"]["method"] = "k\x1b[31md\u202e\u2066\x00\u200b"
    content["deviations"] = ["\x1b]0;title\x07hello\r\nworld"]
    record = read_record(written(content, tmp_path))
    assert record.cell.method == "k[31md"
    assert record.deviations == ["]0;titlehello\nworld"]
    assert not set(render([record])) & set("\x1b\x00\x07\r\u202e\u2066\u200b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.json").write_text(json.dumps(genuine()), encoding="utf-8")
    return tmp_path


def problem(folder: Path) -> str:
    records, problems = read_records(folder)
    assert len(records) == 1, "the genuine one"
    return "; ".join(p.message for p in problems)


def test_a_pipe_is_no_record(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")
    assert "pipe.json: not a regular file" in problem(folder)


def test_a_folder_is_no_record(folder: Path) -> None:
    (folder / "folder.json").mkdir()
    assert "folder.json: not a regular file" in problem(folder)


def test_a_loop_of_links_is_no_record(folder: Path) -> None:
    (folder / "a.json").symlink_to("b.json")
    (folder / "b.json").symlink_to("a.json")
    (folder / "around").symlink_to(folder)
    assert problem(folder).count("cannot be read: Too many levels of symbolic links") == 2


def test_a_large_file_is_not_read(folder: Path) -> None:
    with (folder / "large.json").open("wb") as file:
        file.truncate(100 << 20)
    assert f"104,857,600 bytes; a record has at most {LARGEST_FILE:,}" in problem(folder)


def test_deep_json_is_no_record(folder: Path) -> None:
    (folder / "deep.json").write_text("[" * 100_000)
    assert "deep.json: not JSON" in problem(folder)


def test_names_of_files_cannot_leave_the_table(folder: Path) -> None:
    (folder / "a\x1b[2J.json").write_text("{}")
    assert "not a record" in problem(folder)
