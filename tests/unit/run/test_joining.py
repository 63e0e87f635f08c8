"""Identical commands: one of them writes, each starts at another place. Their runs: `test_recording`."""

from __future__ import annotations

from pathlib import Path

from pmbench.run.joining import Writer, place


def test_of_commands_with_the_same_cells_one_writes(tmp_path: Path) -> None:
    first, second = Writer(tmp_path, ["a", "b"]), Writer(tmp_path, ["b", "a"])
    assert first.claim()
    assert first.claim(), "it keeps the lock"
    assert not second.claim(now=True)
    assert Writer(tmp_path, ["a"]).claim(), "other cells have a lock of their own"
    second.release()  # it does not hold the lock
    assert not Writer(tmp_path, ["a", "b"]).claim()
    first.release()
    assert not second.claim(), "it looks again after a while"
    assert second.claim(now=True)


def test_each_command_starts_at_another_place() -> None:
    places = {place() for _ in range(100)}
    assert len(places) == 100
    assert min(places) >= 0
    assert max(places) < 1
