from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pmbench.errors import RecordError, StoreError, UsageError
from pmbench.report.packing import pack
from pmbench.report.pages.book import Book
from pmbench.report.recompute import recompute
from pmbench.report.record import Record, SampleOutcomes
from pmbench.report.record_files import read_record, read_records, to_json, write_record


def test_record_roundtrip(make_record: Any, make_published: Any, tmp_path: Path) -> None:
    record = make_record(
        published=[make_published(("A paper", "Table 5", ""), ("rgb", "depth"), "toy", "accuracy", 72.8)],
        options={"layers": (1, 2), "weight": 1, "soft": True, "rate": 0.5, "name": None},
        departures={"milestones": [(), (0.5, 0.75)]},
    )
    write_record(record, tmp_path / "new" / "a.json")
    assert read_record(tmp_path / "new" / "a.json") == record
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]


def test_a_record_of_version_1_has_no_published_numbers(make_record: Any, tmp_path: Path) -> None:
    content = json.loads(to_json(make_record()))
    assert content.pop("published") == []
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**content, "schema_version": 1}))
    assert read_record(path) == make_record()


def test_the_text_of_a_record_is_sorted_and_ends_in_a_newline(make_record: Any) -> None:
    text = to_json(make_record())
    assert text == to_json(make_record())
    assert text.endswith("}\n")
    keys = list(json.loads(text))
    assert keys == sorted(keys)


def test_a_failed_write_keeps_the_existing_file(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_record(make_record(), path)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left") as caught:
        write_record(make_record(seed=1), path)
    assert caught.value.hint
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_created_is_a_store_error(make_record: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_record(make_record(), tmp_path / "file" / "a.json")


# --- invalid records ----------------------------------------------------------------------------------------


def changed(record: Record, **changes: Any) -> str:
    return json.dumps({**json.loads(to_json(record)), **changes})


def test_a_truncated_file_is_named(make_record: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text(to_json(make_record())[:-40])
    with pytest.raises(RecordError, match=r"cut\.json: not JSON") as caught:
        read_record(path)
    assert "run the cell again" in str(caught.value.hint)


@pytest.mark.parametrize("version", [4, 0, "1", None])
def test_an_unknown_schema_version_is_refused(make_record: Any, tmp_path: Path, version: object) -> None:
    path = tmp_path / "a.json"
    path.write_text(changed(make_record(), schema_version=version))
    with pytest.raises(RecordError, match=f"schema_version is {version!r}, this pmbench reads 1 to 3"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"status": "fine"}, "status: Input should be 'done', 'skipped' or 'failed', found 'fine'"),
        ({"cell_key": "abc"}, "cell_key: String should match pattern"),
        ({"sealed": "yes"}, "sealed: Input should be a valid boolean"),
        ({"primary": "auc"}, "the primary metric 'auc' is not among the metrics"),
        ({"samples": None, "cost": None}, "a cell that is done needs samples, cost"),
        ({"status": "failed"}, "a cell that is failed needs a reason"),
        ({"metrics": {"accuracy": float("nan")}}, "metrics.accuracy: Input should be a finite number"),
        ({"verification": "retrained"}, "verification: Extra inputs are not permitted"),
    ],
)
def test_faults_of_a_record_are_named(
    make_record: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(changed(make_record(), **changes))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", ["[]", "{}", "3", "null"])
def test_other_json_is_not_a_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(RecordError, match="not a record"):
        read_record(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000])
def test_bytes_that_are_not_json_are_a_record_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="not JSON"):
        read_record(path)


def test_a_missing_file_is_a_record_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(tmp_path / "none.json")


def test_a_broken_file_does_not_hide_the_others(make_record: Any, tmp_path: Path) -> None:
    write_record(make_record(seed=1), tmp_path / "b.json")
    write_record(make_record(seed=0), tmp_path / "deeper" / "a.json")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "README.md").write_text("not a record")
    records, problems = read_records(tmp_path)
    assert [r.cell.seed for r in records] == [1, 0]
    assert ["broken.json" in p.message for p in problems] == [True]
    assert read_records(tmp_path / "none") == ([], [])


def test_records_are_frozen(make_record: Any) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_record().status = "failed"


# --- predictions against metrics ----------------------------------------------------------------------------


def test_metrics_are_recomputed_from_predictions(make_record: Any) -> None:
    record = make_record(metric="mean_class_accuracy")
    assert recompute(record) == pytest.approx(record.metrics)
    assert recompute(make_record(status="skipped", reason="no maps")) == {}


def test_metrics_that_need_more_than_predictions_are_left_out(make_record: Any) -> None:
    record = make_record()
    more = record.model_copy(
        update={"metrics": {**record.metrics, "r@1": 12.0, "acer_worst": 1.0, "mine": 5.0}}
    )
    assert set(recompute(more)) == set(record.metrics)


def test_a_tampered_metric_is_found(make_record: Any) -> None:
    record = make_record()
    better = record.model_copy(
        update={"metrics": {**record.metrics, "accuracy": record.metrics["accuracy"] + 0.5}}
    )
    with pytest.raises(RecordError, match=r"kd on toy, seed 0.* has accuracy = .* its predictions give"):
        recompute(better)


@pytest.mark.parametrize("packed", ["AAAA", pack(np.zeros(399, int)), pack(np.full(400, 4))])
def test_tampered_predictions_are_found(make_record: Any, packed: str) -> None:
    record = make_record()
    samples = record.samples.model_copy(update={"predicted": packed})
    with pytest.raises(RecordError, match="kd on toy, seed 0"):
        recompute(record.model_copy(update={"samples": samples}))


# --- groups of test samples ---------------------------------------------------------------------------------


def test_groups_of_samples_are_numbered_and_come_back(tmp_path: Path, make_record: Any) -> None:
    labels, groups = np.array([0, 1, 1, 0]), ["anna", "ben", "anna", "cleo"]
    samples = SampleOutcomes.of(labels, labels, groups)
    found = samples.unpack_groups()
    assert found is not None
    assert found.tolist() == [0, 1, 0, 2]
    assert "anna" not in samples.model_dump_json()
    assert SampleOutcomes.of(labels, labels).unpack_groups() is None
    with pytest.raises(UsageError, match="3 groups for 4 labels"):
        SampleOutcomes.of(labels, labels, groups[:3])
    record = make_record()
    held = record.samples.model_copy(update={"groups": pack(np.arange(400) % 9)})
    write_record(record.model_copy(update={"samples": held}), tmp_path / "a.json")
    again = read_record(tmp_path / "a.json").samples
    assert again is not None
    assert again.unpack_groups().tolist() == (np.arange(400) % 9).tolist()  # type: ignore[union-attr]


def test_a_record_without_the_field_of_groups_is_read(tmp_path: Path, make_record: Any) -> None:
    content = json.loads(to_json(make_record()))
    assert content["samples"].pop("groups") is None
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_record(tmp_path / "a.json") == make_record()


@pytest.mark.parametrize("packed", ["AAAA", pack(np.zeros(399, int))])
def test_damaged_groups_are_found(make_record: Any, packed: str) -> None:
    record = make_record()
    samples = record.samples.model_copy(update={"groups": packed})
    with pytest.raises(RecordError, match="kd on toy, seed 0"):
        recompute(record.model_copy(update={"samples": samples}))


def test_records_of_demos_are_on_no_board(make_record: Any) -> None:
    records = [make_record(), make_record(dataset="toy:demo"), make_record("hoffman", dataset="demo")]
    assert [record.cell.is_demo for record in records] == [False, True, False]
    assert [board.cell.dataset for board in Book.of(records).boards] == ["demo", "toy"]
