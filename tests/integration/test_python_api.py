"""`pmbench.run`, `pmbench.plan` and `pmbench.records`: the engine of the command line, from Python."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import pmbench
from pmbench.errors import RecordError, UsageError

EXAMPLE = Path(__file__).parents[2] / "docs" / "example" / "from_python.py"
CALL = """
import pmbench
results = pmbench.run(
    "target_only", "planted", seeds=1, options={"recipe.epochs": 1}, references=False,
    workers=1, device="cpu", quiet=True,
)
print(results, results.trained, results.folder)
"""


def facts(value: Any) -> Any:
    """A record without what differs between two runs: dates, command, commit, seconds, latency, memory."""
    if isinstance(value, dict):
        apart = ("date", "command", "reused", "peak_bytes", "git_commit", "git_dirty")
        return {
            k: facts(v) for k, v in value.items() if k not in apart and "seconds" not in k and "_ms" not in k
        }
    return [facts(v) for v in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_run_from_python_has_the_bits_of_the_command(workspace: Any, finished: Any) -> None:
    done = workspace.run_cli(program=(sys.executable, "-c", CALL))
    assert done.code == 0, done.stderr
    assert done.stdout == "Results(1 record, 1 with a result, 1 table) 1 results\n"
    (mine,) = (workspace.out / "records").rglob("*.json")
    theirs = finished.out / "records" / mine.relative_to(workspace.out / "records")
    record, other = json.loads(mine.read_text()), json.loads(theirs.read_text())
    assert facts(record) == facts(other)
    assert record["digests"] == other["digests"]
    assert record["provenance"]["command"] == [
        *("pmbench", "run", "--method", "target_only", "--dataset", "planted", "--seed", "0"),
        *("--set", "recipe.epochs=1", "--no-references"),
    ]
    assert (workspace.out / "LEADERBOARD.md").is_file()


@pytest.fixture(scope="module")
def results(finished: Any) -> pmbench.report.results.Results:
    return pmbench.records(finished.out)


@pytest.mark.slow
def test_figures_are_those_of_the_leaderboard(results: Any) -> None:
    found = results.figures()
    assert {name.rpartition("-")[2] for name in found} == {"costs", "curves", "terms"}
    for figure in found.values():
        assert figure._repr_svg_().lstrip().startswith("<?xml")
        assert figure.alternative
    assert results.figures(dark=True)["planted-shared-10-costs"].svg != found["planted-shared-10-costs"].svg


def test_records_as_tables(results: Any, finished: Any) -> None:
    assert [r.cell.method for r in results] == [r.cell.method for r in results[:]]
    assert len(results) == 5
    printed = finished.run_cli("leaderboard", "--format", "md", "--records", finished.out / "records").stdout
    assert results.to_markdown() == printed
    html = results._repr_html_()
    assert html.count("<table>") == 1
    assert html.count('<td style="text-align:left">') == 5
    assert "target_only (floor)" in html
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(results)
    assert "target_only (floor)" in console.export_text()


def test_pandas_where_it_is_installed(results: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = results.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert set(frame["method"]) == {r.cell.method for r in results}
    assert frame["result"].between(0, 100).all()


def test_without_pandas_the_error_says_how_to_get_it(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError) as raised:
        results.to_pandas()
    assert raised.value.message.startswith("to_pandas needs pandas")
    assert "python -m pip install pandas" in str(raised.value.hint)


@pytest.mark.slow
def test_a_plan_from_python_is_that_of_the_command(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in finished.environment.items():  # one cache of measured times for both
        monkeypatch.setenv(name, value)
    places = {"store": finished.store, "data": finished.data}
    found = pmbench.plan("target_only,self_distill", "planted", seeds=[0, 3], **places)
    words = (
        "plan",
        "-m",
        "target_only,self_distill",
        "-d",
        "planted",
        "--seed",
        "0",
        "--seed",
        "3",
        "--json",
    )
    assert {"cells": found.cells, "stages": found.stages, "summary": found.summary} == finished.run_cli(
        *words
    ).json()
    assert (
        found.to_markdown().count("\n| self\\_distill | control |")
        + found.to_markdown().count("\n| self_distill | control |")
        == 2
    )
    assert f"{len(found)} cells, " in repr(found)
    assert found._repr_html_().count("<tr>") == len(found) + 1


def test_records_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no records"):
        pmbench.records(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.warns(UserWarning, match="not a record"), pytest.raises(RecordError):
        pmbench.records(tmp_path)


def test_the_arguments_are_those_of_the_command() -> None:
    """Every option of `pmbench run` is an argument, but for those that print or prepare data."""
    from pmbench.cli.run import RunOptions

    options = set(inspect.signature(RunOptions).parameters) - {"matrix", "json_", "download"}
    names = {"method": "methods", "dataset": "datasets", "protocol": "protocols", "backbone": "backbones"}
    names |= {"seed": "seeds", "set_": "options"}
    assert {names.get(o, o) for o in options} == set(inspect.signature(pmbench.run).parameters)


@pytest.mark.slow
def test_the_example_of_the_docs_runs(workspace: Any) -> None:
    done = workspace.run_cli(program=(sys.executable, EXAMPLE))
    assert done.code == 0, done.stderr
    assert "Results(10 records, 10 with a result, 1 table)\n**planted, shared-10**\n" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[-2:]] == ["0", "1"]
