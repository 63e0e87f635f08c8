"""Which results of a folder become a submission."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmbench.errors import DataError, UnknownName, UsageError
from pmbench.plugins import survey
from pmbench.report.record_files import read_record, write_record
from pmbench.run.collecting import Choice, collect

RECORD = Path(__file__).parents[3] / "leaderboard/records/hapt/few-10/cnn1d-8/kd-s0.json"
Write = Callable[..., None]


@pytest.fixture(scope="module")
def registry() -> Any:
    return survey({"pmbench-hapt"})


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a record of `kd` with changed facts of its cell."""
    record = read_record(RECORD)

    def write(name: str, status: str = "done", **cell: Any) -> None:
        changed = record.model_copy(
            update={"status": status, "cell": record.cell.model_copy(update=cell)} | _outcome(status)
        )
        write_record(changed, tmp_path / "results" / "records" / f"{name}.json")

    return write


def _outcome(status: str) -> dict[str, Any]:
    names = ["samples", "metrics", "primary", "validation", "cost", "digests"]
    lacks = dict.fromkeys(names) | {"metrics": {}, "stages": [], "reason": "it failed"}
    return {} if status == "done" else lacks


def names(tmp_path: Path, registry: Any, *choice: tuple[str, ...]) -> set[str]:
    found, _ = collect([tmp_path / "results"], Choice(*choice), registry)
    return {name.removesuffix(".json") for name in found}


def test_methods_come_with_the_reference_rows_of_their_tables(
    write: Write, tmp_path: Path, registry: Any
) -> None:
    write("a")
    write("b", method="rkd")
    write("floor", method="target_only", role="floor")
    write("c", method="rkd", protocol="few-20")
    write("other floor", method="target_only", role="floor", protocol="few-20")
    assert names(tmp_path, registry) == {"a", "b", "floor", "c", "other floor"}
    assert names(tmp_path, registry, ("kd",)) == {"a", "floor"}
    assert names(tmp_path, registry, ("rkd",), ("hapt",), ("few-20",)) == {"c", "other floor"}
    with pytest.raises(UnknownName, match="unknown protocol 'few-30' of these results; did you mean 'few-"):
        names(tmp_path, registry, (), (), ("few-30",))


def test_data_that_nobody_else_has_is_left_out(write: Write, tmp_path: Path, registry: Any) -> None:
    write("mine", dataset="local/kitchen")
    write("made up", dataset="hapt:demo")
    with pytest.raises(UsageError, match=r"nothing to publish: hapt:demo \(made-up samples\); local/kitchen"):
        names(tmp_path, registry)
    write("theirs")
    found, left_out = collect([tmp_path / "results"], Choice(), registry)
    assert (list(found), left_out) == (
        ["theirs.json"],
        ["hapt:demo (made-up samples)", "local/kitchen (your own recordings)"],
    )
    with pytest.raises(UsageError, match="nothing to publish: local/kitchen"):
        names(tmp_path, registry, (), ("local/kitchen",))


def test_a_failure_is_refused_unless_it_is_not_chosen(write: Write, tmp_path: Path, registry: Any) -> None:
    write("a")
    write("b", status="failed", method="rkd")
    with pytest.raises(DataError, match="the cell of rkd, seed 0 failed"):
        names(tmp_path, registry)
    assert names(tmp_path, registry, ("kd",)) == {"a"}
