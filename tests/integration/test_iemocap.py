"""IEMOCAP from files to records: two privileged modalities, five folds, and their mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pmbench_iemocap import Iemocap
from pmbench_iemocap.miniature import write_features, write_release


@pytest.mark.slow
@pytest.mark.science
def test_amid_on_five_folds(workspace: Any, tmp_path: Path) -> None:
    source = write_release(tmp_path / "source")
    write_features(source, {m.name: m.shape[0] for m in Iemocap.modalities})
    done = workspace.run_cli("data", "prepare", "iemocap", "--source", source, "--incomplete")
    assert done.code == 0, done.stderr
    assert "text: 11 of 100 utterances have more than 64 steps and are cut, the longest has 70" in done.stdout
    run = ("run", "-m", "amid", "-d", "iemocap", "--protocol", "5-fold", "--seed", "0", "--no-references")
    settings = ("--set", "recipe.epochs=1", "--workers", "1", "--device", "cpu", "--json")
    records = workspace.run_cli(*run, *settings).json()["records"]
    assert {record["status"] for record in records} == {"done"}, [record["reason"] for record in records]
    assert [record["cell"]["protocol"] for record in records] == [f"fold-{k}" for k in range(1, 6)]
    for record in records:
        assert record["sealed"]
        assert record["primary"] == "wa"
        assert {"wa", "ua"} <= record["metrics"].keys()
        cell = record["cell"]
        assert (cell["test_modalities"], cell["privileged"]) == (["visual"], ["audio", "text"])
        (average,) = record["averages"]
        numbers = {number["variant"]: number for number in average["published"]}
        assert (average["protocol"], numbers.keys()) == ("5-fold", {"AL-V"})
        differs = numbers["AL-V"]["differs"]
        assert differs[0] == "epochs 1 instead of 60"
        assert not any(text.startswith(("tau", "dim", "batch_size")) for text in differs)
    board = (workspace.out / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert "iemocap, 5-fold" in board
