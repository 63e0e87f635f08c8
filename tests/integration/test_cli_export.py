"""`pmbench export --as`: predictions, metadata and logs; models are in test_own_recordings.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest


@pytest.mark.slow  # evaluates five programs again
def test_packed_predictions_give_the_classes_of_their_records(finished: Any, tmp_path: Path) -> None:
    done = finished.run_cli("export", "results", "--as", "predictions", "--to", tmp_path, "--json")
    files = done.json()["files"]
    assert len(files) == 5
    for file in map(Path, files):
        name = file.relative_to(tmp_path)
        record = json.loads((finished.out / "records" / name.with_name(f"{name.stem}-s0.json")).read_text())
        table = pq.read_table(file)
        assert table.column_names == ["id", "label", "s0"]
        logits = np.array(table["s0"].to_pylist(), np.float32)
        right = logits.argmax(1) == np.array(table["label"])
        assert 100 * right.mean() == pytest.approx(record["metrics"]["accuracy"])


@pytest.mark.slow
def test_croissant_and_logs_are_written(finished: Any, tmp_path: Path) -> None:
    done = finished.run_cli("export", "planted", "--as", "croissant", "--to", tmp_path)
    assert done.code == 0, done.stderr
    metadata = json.loads((tmp_path / "croissant.json").read_text())
    assert all((finished.data / "planted-v1" / f["contentUrl"]).is_file() for f in metadata["distribution"])
    done = finished.run_cli("export", "target_only", "--as", "eee", "--owner", "jane", "--to", tmp_path)
    assert done.code == 0, done.stderr
    assert len(list(tmp_path.glob("data/pmbench-planted/jane/target_only-*/*.json"))) == 1


@pytest.mark.slow
def test_a_model_for_the_hub_has_its_metadata_above_its_readme(finished: Any, tmp_path: Path) -> None:
    model = tmp_path / "model"
    done = finished.run_cli("export", "target_only", "--as", "hf", "--owner", "jane", "--to", model)
    assert done.code == 0, done.stderr
    assert (model / "README.md").read_text().startswith('---\nlibrary_name: "pytorch"\n')
    assert "# target_only on planted" in (model / "README.md").read_text()
    assert (model / ".eval_results" / "pmbench.yaml").is_file()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("kd", "--as", "paper"), "unknown form 'paper'"),
        (("kd", "--as", "croissant", "--owner", "a"), "--owner a with --as croissant"),
        (("kd", "--as", "hf", "--owner", "a/b"), "--owner a/b with --as hf"),
        (("target_only", "--as", "eee"), "--as eee needs --owner"),
        (("nothing", "--as", "predictions"), "nothing has no finished results"),
    ],
)
def test_usage(finished: Any, tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    done = finished.run_cli("export", *args, "--to", tmp_path)
    assert done.code == 2
    assert words in done.error
