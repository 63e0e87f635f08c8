"""`pmbench data`."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from typing import Any

import pytest

NEEDS_SOURCE = """
from pathlib import Path
import numpy as np
import pmbench as pm

class Far(pm.Dataset):
    name = "far"
    summary = "needs a download"
    classes = ("a", "b")
    modalities = (pm.Modality("x", "vector", (2,), "m"), pm.Modality("y", "vector", (2,), "m"))
    target, privileged = ("x",), ("y",)
    splits = {"only": pm.Split("train", "test")}
    default_protocol = "only"
    backbones = {"x": "mlp-8", "y": "mlp-8"}
    expected = {"train": 4, "test": 2}
    licence, source, citation = "none", "https://example.org/far", "none"
    access = "ask for it at https://example.org/far"

    def read(self, source):
        count = len(Path(source).read_text())
        for name, n in (("train", count), ("test", 2)):
            x = np.zeros((n, 2), np.float32)
            yield name, pm.Part([f"{name}{i}" for i in range(n)], np.arange(n) % 2, {"x": x, "y": x})
        if count == 13:
            raise KeyError("thirteen")

@pm.hookimpl
def pmbench_datasets():
    return [Far()]
"""


def test_list_before_and_after(run_cli: Any) -> None:
    before = {d["name"]: d for d in run_cli("data", "list", "--json").json()}
    assert before["planted"]["prepared"] is False
    prepared = run_cli("data", "prepare", "planted")
    assert prepared.code == 0
    assert "planted-v1 (" in prepared.stdout
    assert "Preparing planted" in prepared.stderr
    assert "writing shared-10-train: 400 of 400" in prepared.stderr
    after = {d["name"]: d for d in run_cli("data", "list", "--json").json()}
    assert after["planted"]["prepared"] is True
    assert after["planted"]["samples"]["shared-10-train"] == 400
    shown = run_cli("data", "list").stdout
    assert "MB" in shown
    lines = {words[0]: words for words in (line.split() for line in shown.splitlines()) if words}
    assert lines["planted"][1:5] == ["privileged_view", "->", "target_view", "package"]
    assert lines["ravdess"][1:5] == ["audio", "->", "rgb", "--download"]
    assert lines["ntu60"][1:6] == ["depth", "->", "rgb", "by", "hand"]
    left = Path(after["planted"]["folder"]).parent / ".planted-v1.partial"
    left.mkdir()  # as a preparation leaves it that is killed at its end
    again = run_cli("data", "prepare", "planted")
    assert again.code == 0
    assert "prepared already" in again.stdout
    assert not left.exists()


def test_verify(finished: Any) -> None:
    done = finished.run_cli("data", "verify", "planted")
    assert done.code == 0
    assert "DIFFERS" not in done.stdout
    found = finished.run_cli("data", "verify", "planted", "--json").json()
    assert found["ok"] is True
    assert any(r["what"] == "samples" and r["expected"] == 400 for r in found["rows"])


def test_verify_names_what_differs(copied: Any) -> None:
    folder = copied.data / "planted-v1" / "shared-10-test"
    with (folder / "labels.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    (folder / "target_view.npy").unlink()
    done = copied.run_cli("data", "verify", "planted")
    assert done.code == 1
    assert "shared-10-test labels SHA-256" in done.error
    assert "shared-10-test target_view SHA-256" in done.error
    assert done.stdout.count("DIFFERS") == 2
    assert "missing" in done.stdout


def test_verify_of_what_is_not_prepared(run_cli: Any) -> None:
    done = run_cli("data", "verify", "planted")
    assert done.code == 2
    assert "not prepared" in done.error
    assert "`pmbench data prepare planted` prepares it" in done.stderr


def test_a_download_is_asked_for(workspace: Any) -> None:
    workspace.install("pmbench-far", NEEDS_SOURCE)
    done = workspace.run_cli("data", "prepare", "far")
    assert done.code == 2
    assert "'far'" in done.error
    assert "https://example.org/far; then `pmbench data prepare far --source PATH`" in done.stderr
    assert "no, needs --source" in workspace.run_cli("data", "list").stdout
    planned = workspace.run_cli("plan", "-m", "kd", "-d", "far")
    assert planned.code == 2
    assert "not prepared" in planned.error


def test_source(workspace: Any) -> None:
    workspace.install("pmbench-far", NEEDS_SOURCE)
    absent = workspace.run_cli("data", "prepare", "far", "--source", "nowhere")
    assert absent.code == 1
    assert "nowhere does not exist" in absent.error
    (workspace.root / "wrong").write_text("12345")
    wrong = workspace.run_cli("data", "prepare", "far", "--source", "wrong")
    assert wrong.code == 1
    assert "found 5 samples, expected 4" in wrong.error
    (workspace.root / "thirteen").write_text("1" * 13)
    broken = workspace.run_cli("data", "prepare", "far", "--source", "thirteen")
    assert broken.code == 1
    assert "pmbench-far 1.0" in broken.error
    assert "KeyError (pmbench_far.py, line 25, in read): 'thirteen'" in broken.error
    (workspace.root / "right").write_text("1234")
    assert workspace.run_cli("data", "prepare", "far", "--source", "right").code == 0
    assert workspace.run_cli("data", "verify", "far").code == 0


def test_unknown_name(run_cli: Any) -> None:
    done = run_cli("data", "prepare", "plantd")
    assert done.code == 2
    assert "did you mean 'planted'" in done.error


def test_a_damaged_manifest_is_said_to_be(copied: Any) -> None:
    (copied.data / "planted-v1" / "manifest.json").write_text("{")
    assert "damaged" in copied.run_cli("data", "list").stdout
    done = copied.run_cli("data", "verify", "planted")
    assert done.code == 1
    assert "not a manifest" in done.error
    assert copied.run_cli("data", "prepare", "planted").code == 0
    assert copied.run_cli("data", "verify", "planted").code == 0


def test_a_place_that_cannot_be_written(workspace: Any) -> None:
    workspace.data.write_text("a file where the folder should be")
    done = workspace.run_cli("data", "prepare", "planted")
    assert done.code == 1
    assert str(workspace.data) in done.error
    assert "defect" not in done.stderr


@pytest.mark.slow
def test_a_run_fetches_what_is_open(workspace: Any, tmp_path: Path) -> None:
    """From a server on loopback, once; without --download it says what to do."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "far.txt").write_text("1234")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/far.txt"
        opened = f"    downloads = (pm.Download({address!r}, 'far.txt', 4),)\n\n    def read(self, source):\n"
        source = NEEDS_SOURCE.replace("    def read(self, source):\n", opened)
        source = source.replace("Path(source).read_text()", "(Path(source) / 'far.txt').read_text()")
        workspace.install("pmbench-far", source.replace("mlp-8", "mlp-64"))
        args = ("run", "-m", "target_only", "-d", "far", "--seed", "0", "--no-references")
        refused = workspace.run_cli(*args)
        assert refused.code == 2
        assert "not prepared" in refused.error
        done = workspace.run_cli(*args, "--set", "recipe.epochs=1", "--download", "--json")
        assert [r["status"] for r in done.json()["records"]] == ["done"]
        assert "far-v1 (6 samples" in done.stderr
        server.shutdown()
    again = workspace.run_cli(*args, "--set", "recipe.epochs=1", "--download", "--json")
    assert (again.json()["trained"], again.json()["reused"]) == (0, 1)
