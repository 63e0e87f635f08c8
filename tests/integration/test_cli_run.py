"""`pmbench run`: its files, and its errors for invalid requests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("pmbench")
QUICK = ("--workers", "1", "--set", "recipe.epochs=1")
REFERENCES = ("target_only", "privileged_only", "late_fusion", "early_fusion", "self_distill")
SOURCE = """
from dataclasses import dataclass
import torch
import pmbench as pm

@dataclass(frozen=True)
class Bad(pm.Stage):
    modality: str
    fault: str

    @property
    def reads(self):
        return (self.modality,)

    def build(self, bench):
        return pm.Nets(student=bench.classifier(self.modality))

    def losses(self, nets, batch):
        ce = pm.cross_entropy(nets.student(batch).logits, batch.labels)
        return TERMS[self.fault](ce)

TERMS = {FAULTS}

def bad(fault):
    return pm.method("bad_" + fault, paper="none")(lambda setting: Bad(setting.target[0], fault))

@pm.hookimpl
def pmbench_methods():
    return [bad(fault) for fault in TERMS]
"""


def test_a_run_leaves_records_predictions_and_a_board(finished: Any) -> None:
    records = sorted(p.name for p in (finished.out / "records").rglob("*.json"))
    assert [r.partition("-")[0] for r in records] == sorted(REFERENCES)
    predictions = sorted(p.name for p in (finished.out / "predictions").rglob("*.parquet"))
    assert [p.removesuffix(".parquet") for p in predictions] == [r.removesuffix(".json") for r in records]
    front = (finished.out / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert "(tables/planted-shared-10.md)" in front or "]: tables/planted-shared-10.md" in front
    board = (finished.out / "tables" / "planted-shared-10.md").read_text(encoding="utf-8")
    assert "[`target_only`][target_only] (floor" in board
    assert "given privileged_view at test" in board
    record = json.loads(
        next((finished.out / "records").rglob("target_only*.json")).read_text(encoding="utf-8")
    )
    assert record["sealed"] is True
    assert record["samples"]["count"] == 1000
    assert record["provenance"]["distributions"]["pmbench"]
    assert record["cell"]["test_modalities"] == ["target_view"]


def test_the_same_command_again_trains_nothing(copied: Any, small_run: tuple[str, ...]) -> None:
    result = copied.run_cli("run", *small_run, "--workers", "1", "--device", "cpu", "--json").json()
    assert (result["trained"], result["reused"]) == (0, 5)


@pytest.mark.slow
def test_a_lost_record_is_written_again_without_training(copied: Any, small_run: tuple[str, ...]) -> None:
    lost = next((copied.out / "records").rglob("target_only*.json"))
    before = json.loads(lost.read_text(encoding="utf-8"))
    lost.unlink()
    result = copied.run_cli("run", *small_run, "--workers", "1", "--device", "cpu", "--json").json()
    assert (result["trained"], result["reused"]) == (0, 4)
    after = json.loads(lost.read_text(encoding="utf-8"))
    for field in ("metrics", "samples", "digests", "cell_key", "cost"):
        if field == "cost":
            before[field].pop("latency_ms"), after[field].pop("latency_ms")
            before[field].pop("train_seconds_spent"), after[field].pop("train_seconds_spent")
        assert after[field] == before[field]


@pytest.mark.slow
def test_damaged_weights_are_trained_anew(copied: Any, small_run: tuple[str, ...]) -> None:
    for path in copied.store.rglob("weights.safetensors"):
        path.write_bytes(path.read_bytes()[:-8])
    for path in (copied.out / "records").rglob("*.json"):
        path.unlink()
    args = ("--no-references", "--workers", "1", "--device", "cpu")
    result = copied.run_cli("run", *small_run, *args, "--json").json()
    assert result["trained"] == 1
    assert {r["status"] for r in result["records"]} == {"done"}


def test_only_skips_is_nothing_to_run(run_cli: Any) -> None:
    done = run_cli("run", "--method", "pseudo_label", "-d", "mfeat", "-p", "fixed", "--no-references",
                   "--seed", "0", *QUICK)  # fmt: skip
    assert done.code == 3
    assert "every sample has one" in done.error
    assert "skipped: pseudo_label" in done.stdout


@pytest.mark.slow
def test_a_damaged_data_file_is_named(copied: Any, small_run: tuple[str, ...]) -> None:
    path = next(copied.data.rglob("shared-10-train/target_view.npy"))
    path.write_bytes(path.read_bytes()[:-100])
    done = copied.run_cli(
        "run", *[a for a in small_run if a not in ("--seeds", "1")], "--seed", "7", "--workers", "1"
    )
    assert done.code == 1
    assert "target_view.npy is damaged" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_record_of_another_schema_is_named_and_left_alone(copied: Any, small_run: tuple[str, ...]) -> None:
    path = next((copied.out / "records").rglob("self_distill*.json"))
    foreign = path.with_name("foreign.json")
    foreign.write_text(
        path.read_text(encoding="utf-8").replace('"schema_version": 3', '"schema_version": 99')
    )
    done = copied.run_cli("run", *small_run, "--workers", "1", "--device", "cpu")
    assert done.code == 0
    assert "foreign.json: schema_version is 99" in done.stderr
    assert foreign.exists()


LINE = "pmbench_bad.py, line 22, in <lambda>"
HOOK = "import pmbench as pm\n\n@pm.hookimpl\ndef pmbench_run_finished(record):\n    {body}\n"
HEARD = """print(record.cell.method, file=open('heard.txt', 'a'))

@pm.hookimpl
def pmbench_epoch_finished(event):
    print(event.stage, *event.methods, event.epoch, event.epochs, *event.terms, file=open('epochs.txt', 'a'))
"""
FAULTS = {
    "nan": ("{'ce': ce, 'wild': ce * float('nan')}", "stage Bad: term 'wild' is nan in epoch 1 of 1"),
    "inf": ("{'ce': ce / 0}", "stage Bad: term 'ce' is inf in epoch 1 of 1"),
    "raises": ("lost", f"Bad.losses (module pmbench_bad) raised NameError ({LINE}): name 'lost'"),
    "constant": ("{'ce': ce.detach()}", "do not depend on any trainable parameter"),
    "vector": ("{'ce': ce.repeat(2)}", "loss term 'ce' is a tensor of shape (2,); expected a dict of named"),
    "bare": ("ce", "the loss terms of stage Bad are a tensor of shape (); expected a dict of named scalar"),
    "inside": ("torch.ones(2) @ ce", f"RuntimeError ({LINE}): both arguments"),
}


@pytest.fixture(scope="module")
def beside_others(new_workspace: Any) -> tuple[Any, Any]:
    """A run of methods with bad losses, beside hooks that work or raise and files named like libraries."""
    workspace = new_workspace("beside")
    terms = ", ".join(f"{name!r}: lambda ce: {terms}" for name, (terms, _) in FAULTS.items())
    workspace.install("pmbench-bad", SOURCE.replace("FAULTS", terms))
    workspace.install("pmbench-heard", HOOK.format(body=HEARD))
    workspace.install("pmbench-broken", HOOK.format(body="raise RuntimeError('no ears')"))
    for name in ("numpy.py", "torch.py", "pmbench.py"):
        (workspace.root / name).write_text("raise SystemExit('not this one')\n")
    methods = ",".join((*(f"bad_{name}" for name in FAULTS), "target_only"))
    args = ("--dataset", "planted", "--seed", "0", "--no-references")
    return workspace, workspace.run_cli("run", "--method", methods, *args, *QUICK, program=(str(PROGRAM),))


@pytest.mark.slow
def test_bad_losses_fail_their_own_cells_alone(beside_others: tuple[Any, Any]) -> None:
    workspace, done = beside_others
    assert done.code == 1
    assert "Traceback" not in done.stderr
    records = [json.loads(p.read_text()) for p in (workspace.out / "records").rglob("*.json")]
    found = {r["cell"]["method"]: r for r in records}
    assert found.pop("target_only")["status"] == "done"
    assert {r["status"] for r in found.values()} == {"failed"}
    for name, (_, reason) in FAULTS.items():
        assert reason in found[f"bad_{name}"]["reason"]
        assert done.stdout.count(reason) == 1  # not in the table and below it
    assert "failed" in (workspace.out / "LEADERBOARD.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_record_hook_is_called_and_a_broken_one_harms_nothing(beside_others: tuple[Any, Any]) -> None:
    workspace, done = beside_others
    heard = (workspace.out / "listeners/pmbench-heard/heard.txt").read_text().split()
    assert sorted(heard) == sorted([*(f"bad_{name}" for name in FAULTS), "target_only"])
    assert done.stderr.count("no ears") == 1
    epochs = (workspace.out / "listeners/pmbench-heard/epochs.txt").read_text()
    assert epochs == "Stream target_only 1 1 ce\n", "of stages that finished an epoch"


def test_debug_shows_the_traceback(run_cli: Any) -> None:
    done = run_cli("run", "--method", "hofman", "--debug")
    assert done.code != 0
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_debug_shows_tracebacks_of_child_processes(workspace: Any) -> None:
    """One of an import, a plan, a training and a preparation, each in a process of its own."""
    plans = "{'raises': lambda ce: lost}\n\ndef no_plan(setting):\n    return [][7]\n"
    source = SOURCE.replace("{FAULTS}", plans).replace(
        "return [bad(fault) for fault in TERMS]",
        "return [*map(bad, TERMS), pm.method('unplanned', paper='none')(no_plan)]",
    )
    workspace.install("pmbench-bad", source + DATASET)
    workspace.install("pmbench-gone", "import pmbench_no_such_module\n")
    args = ("--method", "bad_raises,unplanned", "--dataset", "planted", "--seed", "0", "--no-references")
    done = workspace.run_cli("--debug", "run", *args, "--set", "recipe.epochs=1", "--device", "cpu")
    assert done.code == 1
    for line in ("return [][7]", "{'raises': lambda ce: lost}", "import pmbench_no_such_module"):
        assert done.stderr.count(line) == 1, line
    assert "plan of unplanned raised IndexError (pmbench_bad.py, line 25, in no_plan): list" in done.stdout
    prepare = ("data", "prepare", "holes", "--source", str(workspace.root))
    assert "int('x')" not in workspace.run_cli(*prepare).stderr
    prepared = workspace.run_cli("--debug", *prepare)
    assert "ValueError (pmbench_bad.py, line 47, in read): invalid literal" in prepared.stderr
    assert "int('x')" in prepared.stderr


DATASET = """

class Holes(pm.Dataset):
    name, version, classes = "holes", 1, ("x", "y")
    modalities = (pm.Modality("a", "vector", (2,), "m"), pm.Modality("b", "vector", (2,), "m"))
    target, privileged = ("a",), ("b",)
    splits = {"official": pm.Split("train", "test")}
    backbones = {"a": "mlp-8", "b": "mlp-8"}
    recipes = {"holes": pm.Recipe()}
    licence = source = citation = summary = "none"
    default_protocol = "official"

    def read(self, source):
        int('x')
        yield

@pm.hookimpl
def pmbench_datasets():
    return [Holes()]
"""


@pytest.mark.slow
def test_faults_of_the_privileged_modality_hold_at_test_too(workspace: Any) -> None:
    """The ceiling is tested on noisy data; the floor, which does not read them, is one stage for both."""
    found = {}
    for protocol in ("shared-10", "noise-3"):
        args = ("-m", "target_only,privileged_only", "-d", "planted", "-p", protocol, "--seed", "0")
        done = workspace.run_cli("run", *args, "--no-references", "--set", "recipe.epochs=4", "--json")
        found[protocol] = {r["cell"]["method"]: r for r in done.json()["records"]}
    clean, noisy = found["shared-10"], found["noise-3"]
    floors = [[stage["key"] for stage in r["target_only"]["stages"]] for r in (clean, noisy)]
    assert floors[0] == floors[1]
    accuracy = [r["privileged_only"]["metrics"]["accuracy"] for r in (clean, noisy)]
    assert accuracy[0] > accuracy[1] + 5


FOLDS = """
import numpy as np
import pmbench as pm

class Folded(pm.Dataset):
    '''Two halves, each tested by what is trained on the other.'''
    name, summary = "folded", "made up"
    classes = ("a", "b")
    modalities = (pm.Modality("seen", "vector", (4,), "1"), pm.Modality("hidden", "vector", (4,), "1"))
    target, privileged = ("seen",), ("hidden",)
    splits = {"fold-1": pm.Split("two", "one"), "fold-2": pm.Split("one", "two")}
    averages = {"2-fold": ("fold-1", "fold-2")}
    default_protocol = "fold-1"
    backbones = {"seen": "mlp-64", "hidden": "mlp-64"}
    licence, source, citation, access = "Apache-2.0", "made up", "none", "made up"

    def find_source(self):
        from pathlib import Path
        return Path(__file__)

    def read(self, source):
        rng = np.random.default_rng(0)
        for part in ("one", "two"):
            labels = np.arange(120) % 2
            drawn = {m.name: labels[:, None] + rng.normal(size=(120, 4)) for m in self.modalities}
            yield part, pm.Part([f"{part}-{i}" for i in range(120)], labels, drawn)

@pm.hookimpl
def pmbench_datasets():
    return [Folded()]
"""


@pytest.mark.slow
def test_a_mean_over_folds_runs_all_of_them(workspace: Any) -> None:
    workspace.install("pmbench-folded", FOLDS)
    args = ("run", "-m", "kd,target_only", "-d", "folded", "-p", "2-fold", "--seeds", "2", "--no-references")
    args += ("--set", "recipe.epochs=2")
    done = workspace.run_cli(*args)
    assert done.code == 0, done.stderr
    assert "folded, 2-fold: mean over fold-1, fold-2, on the seeds of all of them" in done.stdout
    records = workspace.run_cli(*args, "--json").json()["records"]
    assert {r["cell"]["protocol"] for r in records} == {"fold-1", "fold-2"}
    assert {r["averages"][0]["protocol"] for r in records} == {"2-fold"}
    found = [r["metrics"]["accuracy"] for r in records if r["cell"]["method"] == "kd"]
    assert len(found) == 4
    page = next((workspace.out / "tables").glob("folded*1.md")).read_text(encoding="utf-8")
    assert f"{sum(found) / 4:.2f}" in page.partition("## Folded, 2-fold")[2].partition("##")[0]
