"""The notebook of the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def outputs(notebook: Any) -> list[str]:
    """The output of each cell with code, as JSON."""
    return [json.dumps(cell["outputs"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def labels(notebook: Any) -> list[str]:
    """The rows of the table that the last cell prints."""
    return sorted(set(re.findall(r"\\| `([^`]+)`", outputs(notebook)[-1])))


def test_it_is_committed_with_its_output() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    found = outputs(notebook)
    assert all(found)
    assert not [text for text in found if '"output_type": "error"' in text]
    assert sum("image/svg+xml" in text for text in found) == 1
    assert {"ccl", "kd[teacher=privileged]", "target_only"} <= set(labels(notebook))


@pytest.mark.slow
@pytest.mark.science
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="uv run --group docs brings what runs notebooks")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PMBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PMBENCH_DATA", str(tmp_path / "data"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = labels(notebook)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert labels(notebook) == before
