"""`pmbench show`."""

from __future__ import annotations

import json
from typing import Any

import pytest

CLASH = """
import dataclasses
import pmbench as pm

@pm.method("planted", paper="none")
def planted(setting):
    \"\"\"A method with the name of a data set\"\"\"
    return pm.trained_on(*setting.target)

@pm.hookimpl
def pmbench_methods():
    return [planted]
"""


def test_method(run_cli: Any) -> None:
    text = run_cli("show", "hoffman").stdout
    for expected in ("Hoffman", "deviations", "eq3 or eq5 or eq7", "float or none", "pmbench-hallucination"):
        assert expected in text


def test_dataset(run_cli: Any) -> None:
    text = run_cli("show", "planted").stdout
    for expected in (
        "standard deviations",
        "mlp-64",
        "Apache-2.0",
        "shared-40-test",
        "on first use",
        "adamw",
    ):
        assert expected in text


def test_prepared_data_is_said_to_be(finished: Any) -> None:
    assert finished.run_cli("show", "planted", "--json").json()["prepared"].startswith("yes: ")


def test_backbone(run_cli: Any) -> None:
    found = run_cli("show", "cnn1d-8", "--json").json()
    assert (found["kind"], found["kinds"], found["provides"]) == (
        "backbone",
        ["sequence"],
        ["pooled", "mean", "maps"],
    )


def test_stage_by_the_first_digits_of_its_key(finished: Any) -> None:
    key = finished.run_cli("store", "list", "--json").json()[0]["key"]
    found = finished.run_cli("show", key[:10], "--json").json()
    assert (found["kind"], found["key"]) == ("stage", key)
    assert key in finished.run_cli("show", key[:10]).stdout


def test_record_file(finished: Any) -> None:
    path = next((finished.out / "records").rglob("target_only*.json"))
    found = finished.run_cli("show", path, "--json").json()
    record = json.loads(path.read_text())
    assert found["kind"] == "record"
    assert found["metrics"] == record["metrics"]
    text = finished.run_cli("show", path).stdout
    assert f"accuracy {record['metrics']['accuracy']:.2f}" in text
    assert record["stages"][0]["key"][:12] in text


@pytest.mark.parametrize(
    ("name", "near"), [("hofman", "'hoffman'"), ("plantd", "'planted'"), ("cnn1d-9", "'cnn1d-8'")]
)
def test_near_matches_over_all_kinds(run_cli: Any, name: str, near: str) -> None:
    done = run_cli("show", name)
    assert done.code == 2
    assert near in done.error
    assert "Hint: " in done.stderr


def test_near_matches_among_cells(finished: Any) -> None:
    path = next((finished.out / "records").rglob("*.json"))
    cell = path.relative_to(finished.out / "records").with_suffix("").as_posix()
    done = finished.run_cli("show", cell.replace("-s", "s"))
    assert done.code == 2
    assert repr(cell) in done.error


@pytest.mark.parametrize("args", [("zzzzzzz",), ("kd", "--kind", "backbone"), ("0000", "--kind", "stage")])
def test_unknown(run_cli: Any, args: tuple[str, ...]) -> None:
    done = run_cli("show", *args)
    assert done.code == 2
    assert repr(args[0]) in done.error


def test_a_name_of_two_things_asks_for_the_kind(workspace: Any) -> None:
    workspace.install("pmbench-clash", CLASH)
    done = workspace.run_cli("show", "planted")
    assert done.code == 2
    assert "'planted' is the name of a method and of a data set" in done.error
    assert "--kind dataset" in done.stderr
    assert workspace.run_cli("show", "planted", "--kind", "method", "--json").json()["paper"] == "none"


def test_damaged_record(workspace: Any) -> None:
    (workspace.root / "half.json").write_text('{"schema_version": 1')
    done = workspace.run_cli("show", "half.json")
    assert done.code == 1
    assert "half.json: not JSON" in done.error
