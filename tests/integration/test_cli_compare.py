"""`pmbench compare`, `show` of a cell, and the formats of `leaderboard`, on the committed records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pmbench.report.boards import boards
from pmbench.report.record_files import read_records

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"
HAPT = RECORDS / "hapt" / "few-10" / "cnn1d-8"
MFEAT = ("compare", "kd", "hoffman", "--records", RECORDS, "-d", "mfeat", "-p", "few-10")


def test_two_methods(run_cli: Any) -> None:
    (found,) = run_cli(*MFEAT, "--json").json()
    assert found["table"] == "mfeat, few-10"
    assert len(found["classes"]) == 10
    text = run_cli(*MFEAT).stdout
    assert "over seeds 0, 1, 2" in text
    assert "Recall by class" in text


def test_records_that_cannot_be_read_are_named(run_cli: Any, workspace: Any) -> None:
    shutil.copytree(HAPT, workspace.out / "records")
    (workspace.out / "records" / "kd-s2.json").write_text("{")
    done = run_cli("compare", "kd", "hoffman")
    assert "over seeds 0, 1," in done.stdout
    assert done.stderr.count("Warning: ") == 1
    assert "kd-s2.json" in done.stderr


def test_two_records(run_cli: Any) -> None:
    files = [HAPT / f"kd-s{seed}.json" for seed in (0, 1)]
    text = run_cli("compare", *files).stdout
    assert "these two networks" in text
    values = [json.loads(file.read_text())["metrics"]["accuracy"] for file in files]
    assert f"{values[0]:.2f} accuracy" in text
    assert f"{values[0] - values[1]:+.2f} points" in text


def test_a_cell_on_a_screen(run_cli: Any) -> None:
    text = run_cli("show", "hapt/few-10/cnn1d-8/kd-s0", "--records", RECORDS).stdout
    record = json.loads((HAPT / "kd-s0.json").read_text())
    assert len(text.splitlines()) <= 30
    assert f"accuracy {record['metrics']['accuracy']:.2f}" in text
    assert "recall by class" in text
    by_key = run_cli("show", record["cell_key"][:12], "--records", RECORDS, "--json").json()
    assert by_key["metrics"] == record["metrics"]
    several = run_cli("show", "kd-s0", "--records", RECORDS)
    assert several.code == 2
    assert f"is the name of {len(list(RECORDS.rglob('kd-s0.json')))} cells" in several.error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("kd", "hofman"), "unknown row 'hofman'; did you mean 'hoffman'?"),
        (("kd", "hoffman", "-d", "hatp"), "unknown data set 'hatp'; did you mean 'hapt'?"),
        (("kd", "hoffman", "-p", "few-1O"), "unknown protocol 'few-1O'; did you mean 'few-10'?"),
        (("kd", "rad_dad"), "'rad_dad' has no result in the table of mfeat, few-10: skipped: needs feature"),
        (("kd", "mers", "-d", "hapt"), "'mers' has no record of this data set and protocol; it has some of "),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(run_cli: Any, workspace: Any, arguments: tuple[str, ...], said: str) -> None:
    records = workspace.out / "records"
    for data, names in (("hapt", ("kd", "hoffman")), ("mfeat", ("kd", "hoffman", "mers", "rad_dad"))):
        (records / data).mkdir(parents=True)
        for file in (f for name in names for f in (RECORDS / data / "few-10").rglob(f"{name}-s0.json")):
            shutil.copyfile(file, records / data / file.name)
    done = run_cli("compare", *arguments)
    assert done.code == 2
    assert said in done.error
    assert "Hint: " in done.stderr


def test_classes_have_their_names_where_the_data_set_is_installed(run_cli: Any, workspace: Any) -> None:
    named = run_cli("compare", HAPT / "kd-s0.json", HAPT / "hoffman-s0.json").stdout
    assert [x for x in named.splitlines() if x.startswith("walking_upstairs ")]
    assert "recall by class  walking: " in run_cli("show", HAPT / "kd-s0.json").stdout
    text = (HAPT / "kd-s0.json").read_text()
    workspace.out.mkdir(parents=True, exist_ok=True)
    for before, after in (('"dataset": "hapt"', '"dataset": "gone"'), ('set_version": 1', 'set_version": 9')):
        other = workspace.out / "other.json"
        assert before in text
        other.write_text(text.replace(before, after))
        assert "recall by class  0: " in run_cli("show", other).stdout


def test_formats(run_cli: Any, workspace: Any) -> None:
    text = run_cli("leaderboard", "--records", RECORDS, "--format", "latex").stdout
    assert text.count(r"\toprule") == len({file.parent for file in RECORDS.rglob("*.json")})
    for board in boards(read_records(RECORDS)[0]):
        best = max(row.interval.mean for row in board.rows if row.rank)
        assert rf"\textbf{{{best:.2f} $\pm$ " in text
    assert not workspace.out.exists()
    wrong = run_cli("leaderboard", "--records", RECORDS, "--format", "latx")
    assert (wrong.code, "did you mean 'latex'" in wrong.error) == (2, True)
