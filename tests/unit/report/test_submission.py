"""Submissions as folders: statement, places, sizes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pmbench.errors import RecordError
from pmbench.report.record_files import read_record, to_json
from pmbench.report.submission import (
    DataSet,
    Plugin,
    Statement,
    read_statement,
    read_submission,
    write_statement,
)

RECORD = Path(__file__).parents[3] / "leaderboard" / "records" / "hapt" / "few-10" / "cnn1d-8" / "kd-s0.json"
STATED = Statement(
    schema_version=1,
    handle="jane",
    date="2026-01-31",
    contact='Jane "the" Doe, ümläut \\ back',
    licence="CC-BY-4.0",
    data_terms="two\nlines",
    seeds=1,
    plugins=[Plugin(distribution="pmbench-kd", version="1", source_sha256="0" * 64, where="there")],
    data=[DataSet(dataset="hapt", version=1, licence="CC BY 4.0")],
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A submission of one record, whose predictions and program are empty files."""
    folder = tmp_path / STATED.folder
    record = read_record(RECORD)
    for name in ("records/hapt", "predictions", "programs"):
        (folder / name).mkdir(parents=True)
    (folder / "records" / "hapt" / "kd-s0.json").write_text(to_json(record), encoding="utf-8")
    (folder / "predictions" / f"{record.digests.predictions}.parquet").touch()
    (folder / "programs" / f"{record.digests.program}.pt2").touch()
    write_statement(STATED, folder)
    return folder


def problems(folder: Path) -> list[str]:
    return [f"{file}: {reason}" for file, reason in read_submission(folder).problems]


def test_a_statement_is_read_as_it_was_written(folder):
    assert read_statement(folder / "submission.toml") == STATED
    assert problems(folder) == []
    (entry,) = read_submission(folder).done
    assert entry.file == "records/hapt/kd-s0.json"
    assert entry.predictions.is_file()
    assert entry.program.is_file()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('handle = "jane"', 'handle = "../jane"', "handle: String should match"),
        ('handle = "jane"', 'handle = "joe"', "name the folder 2026-01-31-joe"),
        ("seeds = 1", "seeds = 0", "seeds: Input should be greater"),
        ("seeds = 1", 'seeds = "1"', "seeds: Input should be a valid integer"),
        ("seeds = 1", "seeds = 1\nlevel = 3", "level: Extra inputs"),
        ('licence = "CC-BY-4.0"', 'licence = ""', "licence: Value should have at least 1"),
        ("schema_version = 1", "schema_version = 2", "schema_version: Input should be 1"),
        ('source_sha256 = "0', 'source_sha256 = "z', "source_sha256: String should match"),
        ("[[data]]", "[[data", "not TOML"),
    ],
)
def test_a_statement_is_strict(folder, old, new, words):
    path = folder / "submission.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(words in problem for problem in problems(folder)), problems(folder)


def test_other_files_have_no_place(folder):
    (folder / "records" / "run.py").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    (folder / "predictions" / "kd.parquet").touch()
    found = problems(folder)
    assert [p.partition(":")[0] for p in found] == [".git/config", "predictions/kd.parquet", "records/run.py"]
    assert all("has no place" in problem for problem in found)


def test_links_and_pipes_are_refused(folder):
    os.mkfifo(folder / "records" / "pipe.json")
    (folder / "records" / "out.json").symlink_to(RECORD)
    (folder / "more").symlink_to(RECORD.parent)
    found = problems(folder)
    assert len(found) == 3
    assert all("not a regular file" in problem for problem in found)


def test_missing_files_are_named(folder):
    shutil.rmtree(folder / "programs")
    (folder / "submission.toml").unlink()
    found = problems(folder)
    assert found[0] == "submission.toml: is missing; `pmbench publish` writes it"
    assert found[1].startswith("records/hapt/kd-s0.json: programs/")
    assert found[1].endswith("is missing")


def test_a_folder_without_records_is_no_submission(folder):
    shutil.rmtree(folder / "records")
    assert "records: holds no record of a finished cell" in problems(folder)


def test_large_files_are_not_opened(folder):
    os.truncate(folder / "submission.toml", 1 << 20)
    assert problems(folder)[0] == "submission.toml: 1,048,576 bytes; at most 65,536 are allowed"


def test_a_statement_that_is_no_file(tmp_path):
    with pytest.raises(RecordError, match="not TOML"):
        read_statement(tmp_path)
