"""Video from the command line: files in official layouts are prepared, trained on, tested and ranked.

The miniatures of `mini.py` use the readers of the data sets, with smaller frames and a network of 18 thousand
parameters, so that they train in seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pmbench_ntu.miniature import write_ntu
from pmbench_ucf.miniature import write_ucf

MINI = (Path(__file__).parent / "mini.py").read_text(encoding="utf-8")
CHANCE_LEVEL = 25.0
"""Accuracy of random guesses over four classes, in percent."""
NTU: dict[str, Any] = {
    "subjects": (1, 2, 4, 5, 3, 6),
    "replications": (1, 2),
    "frames": (14, 18),
    "scale": 0.12,
}
FOLDS = (1, 2, 8, 15, 22, 24, 25)
ALWAYS_SKIPPED = {
    "graph_distill": "weighs privileged modalities against each other",
    "pseudo_label": "needs training samples without label",
}
"""Methods that ask for more than one privileged modality, or for a few-K protocol."""


@pytest.fixture
def prepared(workspace: Any, tmp_path: Path) -> Any:
    """A workspace with the miniatures installed; `prepare(name, write)` writes and prepares one of them."""
    workspace.install("pmbench-mini", MINI)

    def prepare(name: str, write: Any, output: str = "") -> Any:
        done = workspace.run_cli("data", "prepare", name, "--source", write(tmp_path / "source"))
        assert done.code == 0, done.stderr
        assert output in done.stdout
        return workspace

    return prepare


def accuracies(workspace: Any, *args: str) -> dict[str, float]:
    """Method -> accuracy in percent of `pmbench run` with one seed; fails if a cell is not done."""
    done = workspace.run_cli("run", *args, "--seeds", "1", "--workers", "1", "--device", "cpu", "--json")
    records = done.json()["records"]
    assert {r["status"] for r in records} == {"done"}, [r["reason"] for r in records]
    return {r["cell"]["method"]: r["metrics"]["accuracy"] for r in records}


@pytest.mark.slow
def test_amid_on_an_incomplete_ucf51(workspace: Any, tmp_path: Path) -> None:
    missing = workspace.run_cli("run", "--method", "amid", "--dataset", "ucf51")
    assert missing.code == 2
    for text in ("UCF101.rar", "6.5 GB", "data prepare ucf51 --source", "run --method amid --dataset hapt"):
        assert text in missing.stderr
    source = write_ucf(tmp_path / "source", silent=(), groups=FOLDS, clips=1, frames=(6, 9))
    refused = workspace.run_cli("data", "prepare", "ucf51", "--source", source)
    assert refused.code == 1
    assert "expected 1944" in refused.error
    assert workspace.run_cli("data", "prepare", "ucf51", "--source", source, "--incomplete").code == 0
    args = ("-p", "clip-4", "-b", "rgb=cnn3d-8+audio=cnn2d-8", "--set", "recipe.epochs=1", "--workers", "1")
    done = workspace.run_cli(
        "run", "-m", "amid", "-d", "ucf51", "--seed", "0", *args, "--no-references", "--json"
    )
    (record,) = done.json()["records"]
    assert (record["status"], record["sealed"]) == ("done", True)
    assert record["metrics"].keys() >= {"accuracy", "r@1", "r@5"}
    assert record["cell"]["recipe_set"] == "amid/ucf51, epochs=1"
    assert record["cell"]["test_modalities"] == ["rgb"]
    assert any(d.startswith("incomplete data, part fold-1: ") for d in record["deviations"])
    assert "ucf51" in (workspace.out / "LEADERBOARD.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.science
def test_amid_learns_video_with_privileged_audio(prepared: Any) -> None:
    workspace = prepared(
        "ucf51-mini",
        lambda root: write_ucf(root, clips=4, features=True),
        "8 of 128 samples lack 'audio'\n8 of 128 samples lack 'cnn14'\n",
    )
    methods = "amid,target_only,privileged_only"
    found = accuracies(workspace, "--method", methods, "--dataset", "ucf51-mini", "--no-references")
    assert found["privileged_only"] > found["target_only"] > 2 * CHANCE_LEVEL
    assert found["amid"] > 2 * CHANCE_LEVEL
    args = ("--dataset", "ucf51-mini", "--protocol", "with-cnn14", "--no-references")
    assert accuracies(workspace, "--method", "privileged_only", *args)["privileged_only"] > 3 * CHANCE_LEVEL


@pytest.mark.slow
@pytest.mark.science
def test_mdms_learns_video_with_privileged_depth(prepared: Any) -> None:
    workspace = prepared("ntu60-mini", lambda root: write_ntu(root, **NTU))
    methods = "mdms,target_only,privileged_only"
    found = accuracies(workspace, "--method", methods, "--dataset", "ntu60-mini", "--no-references")
    assert found["privileged_only"] > found["target_only"] > 2 * CHANCE_LEVEL
    assert found["mdms"] > CHANCE_LEVEL


@pytest.mark.slow
@pytest.mark.science
def test_rad_learns_video_with_privileged_flow(prepared: Any) -> None:
    workspace = prepared("ucf101-mini", lambda root: write_ucf(root, groups=FOLDS, frames=(8, 12)))
    args = ("--method", "rad", "--dataset", "ucf101-mini", "--no-references", "--set", "recipe.epochs=10")
    found = accuracies(workspace, *args)
    assert found["rad"] > 100 / 6


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "write", "skipped"),
    [
        (
            "ucf51-mini",
            lambda root: write_ucf(root, clips=4, features=True),
            {
                **dict.fromkeys(("dad", "rad_dad", "rad_dad_joint"), "compares maps behind the fusion"),
                "impute_ae": "compares maps position by position",
                **ALWAYS_SKIPPED,
            },
        ),
        ("ntu60-mini", lambda root: write_ntu(root, **NTU), ALWAYS_SKIPPED),
    ],
)
def test_every_method_trains_on_video_or_says_why_not(
    prepared: Any, name: str, write: Any, skipped: dict[str, str]
) -> None:
    """With one epoch: what methods learn from so little is no question here."""
    workspace = prepared(name, write)
    every = ("--method", "all", "--dataset", name, "--seeds", "1", "--set", "recipe.epochs=1")
    done = workspace.run_cli("run", *every, "--workers", "2", "--device", "cpu", "--json", timeout_s=900)
    records = [r for r in done.json()["records"] if r["cell"]["role"] == "method"]
    without = {r["cell"]["method"]: f"{r['status']}: {r['reason']}" for r in records if r["status"] != "done"}
    assert without.keys() == skipped.keys(), without
    assert all(without[m].startswith(f"skipped: {reason}") for m, reason in skipped.items()), without
    trained = [r for r in records if r["status"] == "done"]
    assert len(trained) > 30
    assert all(r["sealed"] for r in trained)
