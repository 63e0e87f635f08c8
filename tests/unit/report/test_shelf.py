"""Boards that are kept from one command to the next: always those of the records that are there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pmbench.report import boards as computing
from pmbench.report import shelf
from pmbench.report.boards import Board, boards
from pmbench.report.pages.book import Book
from pmbench.report.pages.formats import to_markdown
from pmbench.report.record import Record
from pmbench.report.record_files import read_records, write_record
from pmbench.report.shelf import read_shelf


@pytest.fixture
def folder(tmp_path: Path, every_kind: list[Record]) -> Path:
    """Records of some boards, in files that were written some time ago."""
    for place, record in enumerate(every_kind):
        put(tmp_path / "records", f"{place}.json", record)
    return tmp_path / "records"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the groups of records of which a board was computed."""
    sizes: list[int] = []
    really = computing.board_of

    def count(records: list[Record]) -> Board:
        sizes.append(len(records))
        return really(records)

    monkeypatch.setattr(computing, "board_of", count)
    return sizes


def put(folder: Path, name: str, record: Record) -> None:
    write_record(record, folder / name)
    aged(folder / name)


def aged(path: Path) -> None:
    os.utime(path, ns=(10**18 + path.stat().st_ino, 10**18 + path.stat().st_ino))


def text(records: list[Record], known: list[Board] | None = None) -> str:
    return to_markdown(Book.of(records, known=known))


def agrees(folder: Path, cache: Path | None) -> None:
    """Whether records, problems and boards are those that are read and computed anew."""
    found, (records, problems) = read_shelf(folder, cache), read_records(folder)
    assert list(found.records.values()) == records
    assert list(found.records) == sorted(found.records)
    assert [p.message for p in found.problems] == [p.message for p in problems]
    assert text(records, found.boards) == text(records)
    shown = boards(record for record in records if not record.cell.is_demo)
    assert [repr(board) for board in found.boards] == [repr(board) for board in shown]


def test_the_second_time_nothing_is_read_or_computed(
    folder: Path, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = read_shelf(folder, cache)
    assert len(counted) == len(first.boards) >= 2
    counted.clear()
    monkeypatch.setattr("pmbench.report.record_files.read_record", lambda path: pytest.fail("read again"))
    again = read_shelf(folder, cache)
    assert counted == []
    assert again.records == first.records
    assert repr(again.boards) == repr(first.boards)
    metric = again.boards[0].metric
    assert metric is not None
    assert metric is first.boards[0].metric, "built-in metrics hold functions, and stand by name"


def test_after_one_change_one_board_is_computed(folder: Path, tmp_path: Path, counted: list[int]) -> None:
    cache = tmp_path / "cache"
    agrees(folder, cache)
    one = read_records(folder)[0][0]
    more = one.model_copy(
        update={"cell": one.cell.model_copy(update={"seed": 77}), "cell_key": "77" * 32, "published": []}
    )
    for change in (
        lambda: put(folder, "more.json", more),
        lambda: put(folder, "more.json", more.model_copy(update={"deviations": ["another one"]})),
        lambda: (folder / "more.json").unlink(),
    ):
        change()
        counted.clear()
        read_shelf(folder, cache)
        assert len(counted) == 1
        agrees(folder, cache)


def test_other_files(folder: Path, tmp_path: Path, every_kind: list[Record]) -> None:
    """Damaged and copied records, demos, and the same record under two names."""
    cache = tmp_path / "cache"
    agrees(folder, cache)
    (folder / "damaged.json").write_text("{", encoding="utf-8")
    shutil.copy(folder / "0.json", folder / "zz.json")
    (folder / "deeper").mkdir()
    one = every_kind[0]
    demo = one.model_copy(update={"cell": one.cell.model_copy(update={"dataset": "toy:demo"})})
    put(folder / "deeper", "demo.json", demo)
    for _ in range(2):
        agrees(folder, cache)
    (folder / "damaged.json").unlink()
    (folder / "damaged.json").mkdir()
    agrees(folder, cache)


def test_a_file_written_just_now_is_looked_at_again(folder: Path, tmp_path: Path) -> None:
    """It may be written once more within the resolution of its time."""
    cache, path = tmp_path / "cache", folder / "0.json"
    before = path.stat()
    path.write_bytes(path.read_bytes())
    read_shelf(folder, cache)
    now = path.stat()
    changed = path.read_text(encoding="utf-8").replace("2025-01-31", "2025-02-01")
    assert len(changed.encode()) == before.st_size
    path.write_text(changed, encoding="utf-8")
    os.utime(path, ns=(now.st_mtime_ns, now.st_mtime_ns))
    agrees(folder, cache)


def test_a_damaged_cache_is_as_none(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read_shelf(folder, cache)
    kept = sorted(path for path in cache.rglob("*") if path.is_file())
    assert len(kept) >= 3
    for path in (kept[0], next(cache.rglob("index.json"))):
        whole = path.read_bytes()
        for damaged in (b"", whole[: len(whole) // 2], b"\x80\x05K\x01."):
            path.write_bytes(damaged)
            agrees(folder, cache)
        path.write_bytes(whole)
    cache.rename(tmp_path / "moved")
    cache.write_text("a file", encoding="utf-8")
    agrees(folder, cache)


def test_boards_are_kept_for_this_code_alone(
    folder: Path, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    read_shelf(folder, cache)
    monkeypatch.setattr(shelf, "version", lambda library: "another one")
    counted.clear()
    read_shelf(folder, cache)
    assert counted
    counted.clear()
    monkeypatch.setattr(shelf, "UNUSED_S", -1e9)
    put(folder, "0.json", read_records(folder)[0][0].model_copy(update={"deviations": ["changed"]}))
    read_shelf(folder, cache)
    assert sum(path.is_dir() for path in cache.iterdir()) == 0, "what was long not used is removed"


def test_without_a_cache_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    agrees(folder, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records"]
