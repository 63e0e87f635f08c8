"""`pmbench run`: its files, and its errors for invalid requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--workers", "0", "--set", "recipe.epochs=1")
SOURCE = """
from dataclasses import dataclass
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
    assert [r.partition("-")[0] for r in records] == ["early_fusion", "self_distill", "target_only"]
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
    result = copied.run_cli("run", *small_run, "--workers", "0", "--device", "cpu", "--json").json()
    assert (result["trained"], result["reused"]) == (0, 3)


def test_a_lost_record_is_written_again_without_training(copied: Any, small_run: tuple[str, ...]) -> None:
    lost = next((copied.out / "records").rglob("target_only*.json"))
    before = json.loads(lost.read_text(encoding="utf-8"))
    lost.unlink()
    result = copied.run_cli("run", *small_run, "--workers", "0", "--device", "cpu", "--json").json()
    assert (result["trained"], result["reused"]) == (0, 2)
    after = json.loads(lost.read_text(encoding="utf-8"))
    for field in ("metrics", "samples", "digests", "cell_key", "cost"):
        if field == "cost":
            before[field].pop("latency_ms"), after[field].pop("latency_ms")
            before[field].pop("train_seconds_spent"), after[field].pop("train_seconds_spent")
        assert after[field] == before[field]


def test_damaged_weights_are_trained_anew(copied: Any, small_run: tuple[str, ...]) -> None:
    for path in copied.store.rglob("weights.safetensors"):
        path.write_bytes(path.read_bytes()[:-8])
    for path in (copied.out / "records").rglob("*.json"):
        path.unlink()
    result = copied.run_cli("run", *small_run, "--workers", "0", "--device", "cpu", "--json").json()
    assert result["trained"] == 4
    assert {r["status"] for r in result["records"]} == {"done"}


def test_repeated_and_comma_separated_names_and_a_matrix(workspace: Any, tmp_path: Path) -> None:
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        'methods = ["self_train"]\ndatasets = ["planted"]\nseeds = 1\n[set]\n"recipe.epochs" = 1\n'
    )
    result = workspace.run_cli(
        "run", "--matrix", matrix, "--method", "self_train,target_only", "--method", "target_only",
        "--workers", "0",
        "--no-references", "--protocol", "shared-0,shared-20", "--json",
    ).json()  # fmt: skip
    cells = [(r["cell"]["method"], r["cell"]["protocol"]) for r in result["records"]]
    assert cells == [(m, p) for p in ("shared-0", "shared-20") for m in ("self_train", "target_only")]
    assert result["trained"] == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "hofman"), "unknown method 'hofman'; did you mean 'hoffman'?"),
        (("--method", "kd", "--dataset", "hatp"), "unknown data set 'hatp'; did you mean 'hapt'"),
        (("--method", "kd", "--dataset", "planted", "--protocol", "shared-11"), "did you mean 'shared-10'"),
        (("--method", "kd", "--dataset", "planted", "--backbone", "mlp-63"), "did you mean 'mlp-64'"),
        (("--method", "kd", "--dataset", "planted", "--set", "temprature=2"), "did you mean 'temperature'?"),
        (("--method", "kd", "--dataset", "planted", "--set", "recipe.epoch=2"), "did you mean 'epochs'?"),
        (("--method", "kd", "--dataset", "planted", "--set", "temperature=hot"), "expected a number"),
        (("--method", "kd", "--dataset", "planted", "--set", "teacher=nobody"), "one of fused, privileged"),
        (("--method", "kd", "--dataset", "planted", "--set", "temperature=-1"), "temperature' is -1.0"),
        (("--method", "kd", "--dataset", "planted", "--backbone", "cnn2d-8"), "takes image"),
        (("--method", "kd", "--seeds", "2", "--seed", "1"), "both given"),
        (("--matrix", "nowhere.toml"), "nowhere.toml cannot be read"),
        ((), "no method to run"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_usage_error(run_cli: Any, arguments: tuple[str, ...], words: str) -> None:
    done = run_cli("run", *arguments)
    assert done.code == 2
    assert words in done.error


def test_only_skips_is_nothing_to_run(run_cli: Any) -> None:
    done = run_cli("run", "--method", "pseudo_label", "-d", "mfeat", "-p", "fixed", "--no-references",
                   "--seed", "0", *QUICK)  # fmt: skip
    assert done.code == 3
    assert "every sample has one" in done.error
    assert "skipped: pseudo_label" in done.stdout


def test_a_damaged_data_file_is_named(copied: Any, small_run: tuple[str, ...]) -> None:
    path = next(copied.data.rglob("shared-10-train/target_view.npy"))
    path.write_bytes(path.read_bytes()[:-100])
    done = copied.run_cli(
        "run", *[a for a in small_run if a not in ("--seeds", "1")], "--seed", "7", "--workers", "0"
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
    done = copied.run_cli("run", *small_run, "--workers", "0", "--device", "cpu")
    assert done.code == 0
    assert "foreign.json: schema_version is 99" in done.stderr
    assert foreign.exists()


FAULTS = {
    "nan": ("{'ce': ce, 'wild': ce * float('nan')}", "stage Bad: term 'wild' is nan in epoch 1 of 1"),
    "inf": ("{'ce': ce / 0}", "stage Bad: term 'ce' is inf in epoch 1 of 1"),
    "raises": ("lost", "Bad.losses (module pmbench_bad) raised NameError: name 'lost'"),
    "constant": ("{'ce': ce.detach()}", "do not depend on any trainable parameter"),
    "vector": ("{'ce': ce.repeat(2)}", "term 'ce' is (2,); expected a scalar tensor"),
}


def test_bad_losses_fail_their_own_cells_alone(workspace: Any) -> None:
    terms = ", ".join(f"{name!r}: lambda ce: {terms}" for name, (terms, _) in FAULTS.items())
    workspace.install("pmbench-bad", SOURCE.replace("FAULTS", terms))
    methods = ",".join((*(f"bad_{name}" for name in FAULTS), "target_only"))
    args = ("--dataset", "planted", "--seed", "0", "--no-references")
    done = workspace.run_cli("run", "--method", methods, *args, *QUICK)
    assert done.code == 1
    assert "Traceback" not in done.stderr
    records = [json.loads(p.read_text()) for p in (workspace.out / "records").rglob("*.json")]
    found = {r["cell"]["method"]: r for r in records}
    assert found.pop("target_only")["status"] == "done"
    assert {r["status"] for r in found.values()} == {"failed"}
    for name, (_, reason) in FAULTS.items():
        assert reason in found[f"bad_{name}"]["reason"]
        assert reason in done.stdout
    assert "failed" in (workspace.out / "LEADERBOARD.md").read_text(encoding="utf-8")


def test_debug_shows_the_traceback(run_cli: Any) -> None:
    done = run_cli("run", "--method", "hofman", "--debug")
    assert done.code != 0
    assert "Traceback" in done.stderr


def test_the_record_hook_is_called_and_a_broken_one_harms_nothing(workspace: Any) -> None:
    workspace.install(
        "pmbench-heard",
        (
            "import pathlib\nimport pmbench as pm\n\n@pm.hookimpl\ndef pmbench_run_finished(record):\n"
            "    with open('heard.txt', 'a') as file:\n        file.write(record.cell.method + '\\n')\n"
        ),
    )
    workspace.install(
        "pmbench-broken",
        (
            "import pmbench as pm\n\n@pm.hookimpl\ndef pmbench_run_finished(record):\n"
            "    raise RuntimeError('no ears')\n"
        ),
    )
    done = workspace.run_cli("run", "-m", "target_only", "-d", "planted", "--seed", "0", "--no-references",
                         *QUICK)  # fmt: skip
    assert done.code == 0
    assert (workspace.root / "heard.txt").read_text() == "target_only\n"
    assert "no ears" in done.stderr


def test_files_in_the_working_directory_are_never_imported(workspace: Any) -> None:
    for name in ("numpy.py", "torch.py", "pmbench.py"):
        (workspace.root / name).write_text("raise SystemExit('not this one')\n")
    done = workspace.run_cli(
        "run", "-m", "target_only", "-d", "planted", "--seed", "0", "--no-references", *QUICK
    )
    assert done.code == 0, done.stderr
