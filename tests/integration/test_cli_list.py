"""`pmbench list`."""

from __future__ import annotations

from typing import Any

KINDS = ("methods", "datasets", "backbones", "protocols")


def test_names_by_default_on_one_screen(run_cli: Any) -> None:
    done = run_cli("list")
    assert done.code == 0
    assert done.stderr == ""
    for expected in (*KINDS, "hoffman", "planted", "mlp-64", "casia-surf-challenge"):
        assert expected in done.stdout
    assert len(done.stdout.splitlines()) < 40
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_line_of_each_with_a_kind(run_cli: Any) -> None:
    assert "shared-10 (default)" in run_cli("list", "protocols").stdout
    assert "pmbench-hapt" in run_cli("list", "datasets").stdout


def test_json_has_every_kind(run_cli: Any) -> None:
    found = run_cli("list", "--json").json()
    assert set(found) == set(KINDS)
    method = next(m for m in found["methods"] if m["name"] == "hoffman")
    assert method["distribution"] == "pmbench-hallucination"
    assert method["options"]["temperature"] == {
        "type": "float",
        "default": 10.0,
        "within": "(0, inf)",
        "search": "",
        "help": "temperature of the teacher's logits",
    }
    dataset = next(d for d in found["datasets"] if d["name"] == "planted")
    assert dataset["modalities"][0] == {
        "name": "target_view", "kind": "vector", "shape": [50], "unit": "standard deviations", "grid": ""
    }  # fmt: skip


def test_a_row_of_a_pipe_is_one_uncut_line_without_colour(run_cli: Any) -> None:
    methods = run_cli("list", "methods", "--json").json()
    lines = run_cli("list", "methods").stdout.splitlines()
    assert len(lines) == len(methods) + 2
    assert all(any(m["summary"] in line for line in lines) for m in methods)
    assert "\x1b" not in "".join(lines)


def test_backbones_are_in_natural_order(run_cli: Any) -> None:
    names = [b["name"] for b in run_cli("list", "backbones", "--json").json()]
    assert names.index("cnn1d-8") < names.index("cnn1d-16")


def test_protocols_of_one_data_set(run_cli: Any) -> None:
    found = run_cli("list", "protocols", "--dataset", "hapt", "--json").json()
    assert {p["dataset"] for p in found} == {"hapt"}
    assert [p["name"] for p in found if p["default"]] == ["few-10"]
    assert found == run_cli("list", "--dataset", "hapt", "--json").json()


def test_a_data_set_that_cannot_be_described_is_left_out_and_named(workspace: Any) -> None:
    workspace.install(
        "pmbench-hollow",
        "import pmbench as pm\n"
        "class Hollow(pm.Dataset):\n    name = 'hollow'\n"
        "@pm.hookimpl\ndef pmbench_datasets():\n    return [Hollow()]\n",
    )
    done = workspace.run_cli("list", "datasets")
    assert done.code == 0
    assert "planted" in done.stdout
    assert "pmbench-hollow 1.0: pmbench_datasets: data set 'hollow' does not declare" in done.stderr
    shown = workspace.run_cli("show", "hollow")
    assert shown.code == 2
    assert "not loaded: pmbench-hollow" in shown.stderr
