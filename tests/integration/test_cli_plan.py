"""`pmbench plan`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest


def test_json_of_a_fresh_store(run_cli: Any) -> None:
    found = run_cli("plan", "-m", "hoffman", "-d", "planted", "--seeds", "2", "--json").json()
    summary, stages = found["summary"], {s["key"]: s for s in found["stages"]}
    assert summary["stages_unique"] == len(stages) == summary["stages_to_train"]
    assert summary["saved_by_sharing"] == summary["stages_total"] - len(stages) > 0
    assert summary["seconds"] is None
    assert summary["bytes"] is None
    assert {s["seed"] for s in stages.values()} == {0, 1}
    methods = {c["method"] for c in found["cells"]}
    assert {"hoffman", "target_only", "early_fusion", "self_distill", "target_ensemble"} <= methods
    for cell in found["cells"]:
        assert set(cell["stages"]) <= set(stages)
    seen: set[str] = set()
    for key, stage in stages.items():
        assert set(stage["parents"]) <= seen, "parents come first"
        seen.add(key)


def test_how_much_all_methods_share(run_cli: Any) -> None:
    args = ("plan", "--method", "all", "--dataset", "hapt", "--seeds", "1", "--json")
    summary = run_cli(*args).json()["summary"]
    assert (summary["stages_total"], summary["stages_unique"]) == (118, 60), (
        "stages of all methods on hapt, in all and different ones. A new method, or another plan of one, "
        "changes both on purpose: see in `pmbench plan --method all` that no stage is there twice, then "
        "write the new numbers here. More different stages without a new method mean that two plans no "
        "longer share a stage: a field, a default or the code of one differs"
    )


def test_ablations(run_cli: Any) -> None:
    args = (
        "plan",
        "-m",
        "rad,kd[teacher=privileged,temperature=2]",
        "-d",
        "planted",
        "--seeds",
        "1",
        "--ablate",
    )
    found = run_cli(*args, "--json").json()
    rows = {c["ablation"]: c for c in found["cells"] if c["method"] == "rad"}
    assert rows.keys() == {None, "-IW", "-IW-MKTP"}
    assert rows["-IW"]["options"] == {"weighting": "uniform"}
    assert all(c["ablation"] is None for c in found["cells"] if c["method"] != "rad")
    (kd,) = (c for c in found["cells"] if c["method"] == "kd")
    assert kd["options"] == {"teacher": "privileged", "temperature": 2.0}
    teachers = [row["stages"][0] for row in rows.values()]
    assert len(set(teachers)) == 1, "one teacher for all rows"
    assert "rad[weighting=uniform] (-IW)" in run_cli(*args).stdout


def test_small_values(run_cli: Any) -> None:
    args = ("plan", "-m", "missing_fill,self_train", "-d", "planted", "--seeds", "1", "--values", "small")
    cells = {c["method"]: c for c in run_cli(*args, "--json").json()["cells"]}
    assert {c["value_set"] for c in cells.values()} == {"small"}
    assert cells["target_only"]["values"] == "paper"
    refused = run_cli("plan", "-m", "kd", "-d", "planted", "--values", "tiny")
    assert refused.code == 2
    assert "expected paper or small" in refused.error


def test_text(run_cli: Any) -> None:
    done = run_cli("plan", "-m", "hoffman", "-d", "planted", "--seeds", "2")
    assert done.code == 0
    for expected in (
        "Hallucinate(target_view, privileged_view)",
        "saved by sharing",
        "0, 1",
        "Time: unknown",
    ):
        assert expected in done.stdout
    assert done.stderr == "Preparing data set planted, once\n"
    assert "\x1b" not in done.stdout


def test_what_is_stored_is_not_trained(finished: Any, small_run: tuple[str, ...]) -> None:
    found = finished.run_cli("plan", *small_run, "--json").json()
    assert {s["state"] for s in found["stages"]} == {"stored"}
    assert found["summary"]["stages_to_train"] == 0
    assert found["summary"]["seconds"] == 0
    assert "Nothing to train." in finished.run_cli("plan", *small_run).stdout


def test_keys_are_those_of_the_run(finished: Any, small_run: tuple[str, ...]) -> None:
    planned = {s["key"] for s in finished.run_cli("plan", *small_run, "--json").json()["stages"]}
    assert planned == {s["key"] for s in finished.run_cli("store", "list", "--json").json()}


def test_estimates_come_from_what_is_stored(finished: Any) -> None:
    args = ("plan", "-m", "target_only", "-d", "planted", "--seeds", "2", "--set", "recipe.epochs=3")
    found = finished.run_cli(*args, "--json").json()
    assert all(s["seconds"] > 0 for s in found["stages"]), "a process starts for one that trains nothing, too"
    summary = found["summary"]
    assert summary["stages_without_estimate"] == 0
    assert 0 < summary["seconds"] <= summary["seconds_of_work"]
    assert summary["bytes"] > 1000
    text = finished.run_cli(*args).stdout
    assert "Time: about" in text
    assert "Disk: about" in text


def test_a_proposal_needs_records_of_several_seeds(finished: Any, small_run: tuple[str, ...]) -> None:
    done = finished.run_cli("plan", *small_run, "--lite", finished.out)
    assert "Lite: the records rank the methods of none of these tables" in done.stdout


@pytest.mark.slow
def test_a_few_steps_are_timed_and_kept(workspace: Any) -> None:
    args = ("-m", "kd", "-d", "planted", "--seeds", "1", "--set", "recipe.epochs=3", "--no-references")
    own = {**workspace.environment, "XDG_CACHE_HOME": str(workspace.root / "cache")}
    place = dataclasses.replace(workspace, environment=own)
    assert place.run_cli("plan", *args, "--json").json()["summary"]["seconds"] is None
    timed = place.run_cli("plan", *args, "--json", "--time")
    assert timed.stderr.count("Timing ") == 2
    assert place.run_cli("store", "list", "--json").json() == [], "what was timed is not stored"
    found, again = timed.json(), place.run_cli("plan", *args, "--json")
    assert again.json() == found, "timings are kept"
    assert "Timing" not in again.stderr
    summary = found["summary"]
    assert summary["stages_without_estimate"] == 0
    low, high = summary["seconds_range"]
    assert 0 < low <= summary["seconds"] <= high
    assert place.run_cli("run", *args, "--workers", "1", "--device", "cpu", "-q").code == 0
    stored = {s["key"]: s for s in place.run_cli("store", "list", "--json").json()}
    assert stored.keys() == {s["key"] for s in found["stages"]}
    sizes = sum(s["size"] for s in stored.values())
    assert 0.5 < summary["bytes"] / sizes < 2


def test_a_skip_has_its_reason_and_the_others_go_on(run_cli: Any) -> None:
    args = ("plan", "-m", "hoffman", "-d", "planted", "--set", "layer=map", "--seeds", "1")
    cells = {c["method"]: c for c in run_cli(*args, "--json").json()["cells"]}
    assert cells["hoffman"]["status"] == "skip"
    assert "maps" in cells["hoffman"]["reason"]
    assert cells["target_only"]["status"] == "run"
    assert "skip: needs" in run_cli(*args).stdout


def test_repeated_and_comma_separated_names_and_a_matrix(workspace: Any, tmp_path: Path) -> None:
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        'methods = ["self_train"]\ndatasets = ["planted"]\nseeds = 1\n[set]\n"recipe.epochs" = 1\n'
    )
    found = workspace.run_cli(
        "plan", "--matrix", matrix, "--method", "self_train,target_only", "--method", "target_only",
        "--no-references", "--protocol", "shared-0,shared-20", "--json",
    ).json()  # fmt: skip
    cells = [(c["method"], c["protocol"]) for c in found["cells"]]
    assert cells == [(m, p) for p in ("shared-0", "shared-20") for m in ("self_train", "target_only")]
    assert len(found["stages"]) == 6


def test_matrix_file(workspace: Any) -> None:
    (workspace.root / "m.toml").write_text('methods = ["kd"]\ndatasets = ["planted"]\nseeds = [4]\n')
    found = workspace.run_cli("plan", "--matrix", "m.toml", "--json").json()
    assert {c["seed"] for c in found["cells"]} == {4}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {("planted", "shared-0", "kd"), ("planted", "shared-5", "kd"), ("mfeat", "few-10", "hoffman")}),
        (("-d", "planted", "-p", "shared-5"), {("planted", "shared-5", "kd")}),
        (("-p", "few-10"), {("mfeat", "few-10", "hoffman")}),
        (("-d", "mfeat", "-m", "kd"), {("mfeat", "few-10", "kd")}),
        (("-p", "shared-40", "-d", "planted"), {("planted", "shared-40", "kd")}),
    ],
)
def test_data_sets_and_protocols_select_the_runs_of_a_matrix(
    options: tuple[str, ...], expected: set[tuple[str, str, str]], workspace: Any
) -> None:
    (workspace.root / "m.toml").write_text(
        'methods = ["kd"]\nseeds = 1\n'
        '[[runs]]\ndatasets = ["planted"]\nprotocols = ["shared-0", "shared-5"]\n'
        '[[runs]]\ndatasets = ["mfeat"]\nprotocols = ["few-10"]\nmethods = ["hoffman"]\n'
    )
    found = workspace.run_cli("plan", "--matrix", "m.toml", "--no-references", "--json", *options).json()
    cells = {(c["dataset"], c["protocol"], c["method"]) for c in found["cells"]}
    assert {cell for cell in cells if cell[2] != "target_only"} == expected


def test_recipes_by_name(run_cli: Any) -> None:
    args = ("plan", "-m", "kd", "-d", "planted", "--seeds", "1")
    recipes = {c["recipe"] for c in run_cli(*args, "--recipe", "standard", "--json").json()["cells"]}
    assert recipes == {"standard"}
    changed = run_cli(*args, "--set", "recipe.epochs=3")
    assert "standard, epochs=3" in changed.stdout
    refused = run_cli(*args, "--recipe", "amid/ucf51")
    assert refused.code == 2
    assert "unknown recipe 'amid/ucf51' of data set 'planted'; known: standard" in refused.error
