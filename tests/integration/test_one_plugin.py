"""One plugin adds a metric, a kind of modality, a backbone, a data set and published numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # real runs

SOURCE = '''
from pathlib import Path
import numpy as np
import pmbench as pm


def top2(evidence):
    """Share of samples whose class is among the two largest logits, in percent."""
    best = np.argsort(-evidence.logits, axis=1)[:, :2]
    return 100 * float((best == evidence.labels[:, None]).any(1).mean())


@pm.hookimpl
def pmbench_metrics():
    return [pm.Metric("top2", "top-2 accuracy", "logits", top2)]


@pm.hookimpl
def pmbench_modality_kinds():
    return [pm.ModalityKind("points", "(3, N): a point cloud", ((3, 20), (3, 7)))]


@pm.backbone("pointnet", kinds=("points",), provides=("pooled",), sizes={"16": 16})
def pointnet(modality, size):
    """A layer for every point, and the maximum over points"""
    from torch import nn

    class Max(nn.Module):
        def forward(self, x):
            return x.amax(2)

    return pm.Encoder(nn.Conv1d(3, size, 1), [nn.ReLU()], Max(), (), size)


@pm.hookimpl
def pmbench_backbones():
    return pointnet


class Clouds(pm.Dataset):
    name = "clouds"
    summary = "generated"
    classes = ("flat", "round", "long")
    modalities = (pm.Modality("sparse", "points", (3, 8), "m"), pm.Modality("dense", "points", (3, 32), "m"))
    target, privileged = ("sparse",), ("dense",)
    splits = {"official": pm.Split("train", "test", "validation")}
    default_protocol = "official"
    metrics = ("top2", "accuracy")
    backbones = {"sparse": "pointnet-16", "dense": "pointnet-16"}
    recipes = {"short": pm.Recipe(epochs=2, batch_size=16)}
    expected = {"train": 60, "validation": 30, "test": 30}
    licence, source, citation, access = "Apache-2.0", "generated", "none", "generated"

    def find_source(self):
        return Path(__file__)

    def read(self, source):
        rng = np.random.default_rng(0)
        for part, count in self.expected.items():
            labels = np.arange(count) % 3
            scale = np.array([[1, 1, 0.1], [1, 1, 1], [3, 0.3, 0.3]])[labels][:, :, None]
            arrays = {
                m.name: (scale * rng.standard_normal((count, *m.shape))).astype(np.float32)
                for m in self.modalities
            }
            yield part, pm.Part([f"{part}-{i}" for i in range(count)], labels, arrays)


@pm.hookimpl
def pmbench_datasets():
    return [Clouds()]


@pm.hookimpl
def pmbench_published():
    return [
        pm.Published(
            "Doe, 2026", "Table 1", "target_only", "", ("sparse",), ("sparse",),
            "clouds", "official", "top2", 71.5, True,
        )
    ]
'''  # fmt: skip


def test_one_plugin_adds_a_metric_a_kind_a_data_set_and_published_numbers(workspace: Any) -> None:
    workspace.install("clouds-plugin", SOURCE)
    run = ("run", "-m", "target_only", "-d", "clouds", "--seeds", "2", "--no-references", "--workers", "1")
    records = workspace.run_cli(*run, "--json").json()["records"]
    assert [r["status"] for r in records] == ["done", "done"], records
    for record in records:
        assert record["primary"] == "top2"
        assert record["metrics"]["top2"] >= record["metrics"]["accuracy"]
        assert record["metric_info"] == {"top2": {"title": "top-2 accuracy", "higher_is_better": True}}
        assert [p["value"] for p in record["published"]] == [71.5]
    (board,) = (workspace.out / "tables").iterdir()
    assert "top-2 accuracy" in board.read_text(encoding="utf-8")
    assert "71.5" in (workspace.out / "methods" / "target_only.md").read_text(encoding="utf-8")
    # the board is drawn from records alone, also where the plugin is not installed
    for path in workspace.site.iterdir():
        if path.suffix == ".dist-info":
            (path / "entry_points.txt").unlink()
    again = workspace.run_cli(
        "leaderboard", "--records", workspace.out / "records", "--out", workspace.root / "again.md"
    )
    assert again.code == 0, again.stderr
    assert (workspace.root / "again.md").exists()
    assert "top-2 accuracy" in (workspace.root / "tables" / board.name).read_text(encoding="utf-8")


def test_the_source_of_a_metric_that_selects_is_in_the_key(workspace: Any) -> None:
    workspace.install("clouds-plugin", SOURCE)
    plan = ("plan", "-m", "target_only", "-d", "clouds", "--seeds", "1", "--no-references", "--json")
    before = [stage["key"] for stage in workspace.run_cli(*plan).json()["stages"]]
    module = workspace.site / "clouds_plugin.py"
    module.write_text(SOURCE.replace("100 * float", "50 * float"), encoding="utf-8")
    assert [stage["key"] for stage in workspace.run_cli(*plan).json()["stages"]] != before


def test_the_checks_run_on_a_kind_of_a_plugin(workspace: Any) -> None:
    workspace.install("clouds-plugin", SOURCE)
    for name in ("clouds", "pointnet-16"):
        checked = workspace.run_cli("check", name, "--json").json()
        assert checked, name
        text = json.dumps(checked)
        assert '"failed"' not in text, text
    broken = SOURCE.replace('kinds=("points",)', 'kinds=("meshes",)')
    (workspace.site / "clouds_plugin.py").write_text(broken, encoding="utf-8")
    listed = workspace.run_cli("plugins", "--json").json()["broken"]
    assert [
        (b["where"], b["error"].partition(";")[0]) for b in listed if b["distribution"] == "clouds-plugin"
    ] == [("backbone pointnet-16", "accepts meshes")]
