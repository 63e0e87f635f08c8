"""Prepared data follows its source: changes are found, and only what has changed is read again."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pmbench.builtin.local import Local
from pmbench.builtin.local import reading as local_reading
from pmbench.data.prepare import prepare, remove
from pmbench.data.prepared import open_prepared
from pmbench.data.sources import changes, check_unchanged
from pmbench.errors import DataError, DataNotPrepared
from pmbench.testing.media import write_image


def write(source: Path, count: int = 12) -> list[list[str]]:
    rng, rows = np.random.default_rng(0), []
    source.mkdir(exist_ok=True)
    for n in range(count):
        write_image(source / f"p{n}.png", rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
        np.save(source / f"v{n}.npy", rng.normal(0, 1, (3, 20)).astype(np.float32))
        split = "test" if n >= count - 4 else "train"
        rows.append([f"s{n}", "xy"[n % 2], split, f"g{n // 2}", f"p{n}.png", f"v{n}.npy"])
    save(source, rows)
    return rows


def save(source: Path, rows: list[list[str]]) -> None:
    with (source / "manifest.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["id", "label", "split", "group", "rgb", "imu"], *rows])


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read for samples from now on."""
    found: list[str] = []
    genuine = local_reading.load

    def load(path: Path, reading: object) -> object:
        found.append(path.name)
        return genuine(path, reading)

    load.__module__, load.__qualname__ = genuine.__module__, genuine.__qualname__
    monkeypatch.setattr(local_reading, "load", load)
    return found


@pytest.fixture
def made(tmp_path):
    source = tmp_path / "source"
    rows = write(source)
    data = tmp_path / "data"
    return source, rows, data, prepare(Local().named("set"), source, data)


def test_nothing_changed_reads_nothing(made, monkeypatch):
    source, _, data, prepared = made
    found = reads(monkeypatch)
    assert changes(prepared) == []
    assert prepare(Local().named("set"), source, data).fingerprint == prepared.fingerprint
    assert found == []


def test_a_changed_label_is_found_and_no_file_is_read_again(made, monkeypatch):
    source, rows, data, prepared = made
    rows[0][1] = "y"
    save(source, rows)
    assert changes(prepared) == ["1 sample changed"]
    with pytest.raises(DataError, match="has changed since 'local/set' was prepared: 1 sample changed"):
        check_unchanged(prepared)
    found = reads(monkeypatch)
    again = prepare(Local().named("set"), source, data)
    assert found == []
    assert again.labels("train").tolist()[:2] == [1, 1]
    for name in ("rgb", "imu"):
        assert again.digests("train", (name,)) == prepared.digests("train", (name,))
    check_unchanged(again)


def test_only_a_changed_file_is_read_again(made, monkeypatch, tmp_path):
    source, rows, data, _ = made
    write_image(source / "p3.png", np.full((40, 50, 3), 7, np.uint8) + np.arange(50, dtype=np.uint8)[:, None])
    rows[0][2] = "test"
    rows.append(["new", "x", "train", "g9", "p20.png", "v20.npy"])
    write_image(source / "p20.png", np.random.default_rng(9).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    np.save(source / "v20.npy", np.random.default_rng(9).normal(0, 1, (3, 20)))
    rows[1][3] = "g8"
    save(source, rows)
    found = changes(open_prepared(Local().named("set"), data))
    assert found[:2] == ["1 sample added", "2 samples changed"]
    assert found[2:] == ["1 file with other contents (p3.png)"]
    found = reads(monkeypatch)
    said: list[tuple[str, int, int]] = []
    again = prepare(Local().named("set"), source, data, lambda *what: said.append(what))
    assert sorted(found) == ["p20.png", "p3.png", "v20.npy"]
    assert said[0] == ("reading files", 0, 3)
    assert ("reading files", 3, 3) in said
    fresh = prepare(Local().named("set"), source, tmp_path / "other")
    assert again.fingerprint == fresh.fingerprint


def test_a_description_that_is_added_later(made):
    source, _, _, prepared = made
    (source / "dataset.toml").write_text('[modalities.rgb]\nflip = ""\n')
    assert changes(prepared) == ["other readings"]


def test_a_description_that_cannot_be_read_is_the_error(made):
    source, _, _, prepared = made
    (source / "dataset.toml").write_text("target = [")
    with pytest.raises(DataError, match=r"dataset\.toml cannot be read"):
        changes(prepared)
    with pytest.raises(DataError, match=r"dataset\.toml cannot be read"):
        check_unchanged(prepared)


def test_what_is_skipped_is_named_with_its_part(made):
    source, _, data, _ = made
    for name in ("v0.npy", "v1.npy"):  # the first ones, too, from which the reading is guessed
        (source / name).write_bytes(b"no array")
    with pytest.raises(DataError, match="2 files of 'local/set' cannot be read") as caught:
        prepare(Local().named("set"), source, data)
    assert "--skip-damaged" in caught.value.hint
    prepared = prepare(Local().named("set"), source, data, allow=("damaged",))
    listed = (prepared.folder / "problems.csv").read_text().splitlines()
    rows = [line.split(",")[:3] for line in listed[1:]]
    notes = [note for note in prepared.notes if note.startswith("skipped ")]
    for (part, modality, name), note in zip(rows, notes, strict=True):
        assert note.startswith(f"skipped {modality} of {name} in {part}: {source}")


def test_a_copy_of_the_folder_is_no_change(made, tmp_path):
    source, _, _, prepared = made
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    for path in copy.iterdir():
        os.utime(path, ns=(1, 1))
    assert changes(prepared, copy) == []
    (copy / "v1.npy").write_bytes((copy / "v2.npy").read_bytes())
    assert changes(prepared, copy) == ["1 file with other contents (v1.npy)"]


def test_times_are_noted_anew_so_that_files_are_read_once(made, monkeypatch):
    source, _, _, prepared = made
    for path in source.iterdir():
        os.utime(path, ns=(1, 1))
    assert changes(prepared) == []
    monkeypatch.setattr("pmbench.data.sources._digest", lambda file: pytest.fail(f"{file} is read again"))
    assert changes(prepared) == []


def test_a_file_that_changes_while_files_are_read_is_noticed_later(tmp_path, monkeypatch):
    source = tmp_path / "source"
    write(source)
    genuine = local_reading.load

    def load(path, reading):
        found = genuine(path, reading)
        if path.name == "v3.npy":
            np.save(path, np.ones((3, 20), np.float32) * np.arange(20))
        return found

    load.__module__, load.__qualname__ = genuine.__module__, genuine.__qualname__
    monkeypatch.setattr(local_reading, "load", load)
    prepared = prepare(Local().named("set"), source, tmp_path / "data")
    assert changes(prepared) == ["1 file with other contents (v3.npy)"]


def test_a_folder_that_is_gone_leaves_the_prepared_form(made):
    source, _, data, prepared = made
    shutil.rmtree(source)
    assert changes(prepared) == []
    with pytest.raises(DataError, match="does not exist"):
        prepare(Local().named("set"), source, data)


def test_force_reads_everything_again(made, monkeypatch):
    source, _, data, prepared = made
    found = reads(monkeypatch)
    again = prepare(Local().named("set"), source, data, force=True)
    assert len(found) == 24
    assert again.fingerprint == prepared.fingerprint


def test_remove(made):
    _, _, data, prepared = made
    dataset = Local().named("set")
    assert remove(dataset, data) == [prepared.folder]
    with pytest.raises(DataNotPrepared):
        open_prepared(dataset, data)
    assert remove(dataset, data) == []
    assert list(data.iterdir()) == []


# --- equal samples ------------------------------------------------------------------------------------------


def test_one_picture_in_train_and_test(tmp_path):
    source = tmp_path / "source"
    rows = write(source)
    rows[10][4] = rows[0][4]
    save(source, rows)
    message = (
        r"'local/set' has samples with equal contents: 2 in several parts "
        r"\(such as rgb of s0 \(train\) and rgb of s10 \(test\)\)"
    )
    with pytest.raises(DataError, match=message):
        prepare(Local().named("set"), source, tmp_path / "data")
    accepted = prepare(Local().named("set"), source, tmp_path / "data", allow=["duplicates"])
    assert "2 in several parts" in accepted.lacks[0]


def test_copies_under_other_names_and_in_other_groups(tmp_path):
    source = tmp_path / "source"
    rows = write(source)
    (source / "copy.npy").write_bytes((source / "v0.npy").read_bytes())
    rows[4][5] = "copy.npy"
    save(source, rows)
    with pytest.raises(DataError, match="2 in several groups"):
        prepare(Local().named("set"), source, tmp_path / "data")
    rows[4][3] = rows[0][3]
    save(source, rows)
    assert not prepare(Local().named("set"), source, tmp_path / "data").duplicates


def test_one_file_as_two_modalities(tmp_path):
    source = tmp_path / "source"
    rows = [[*row[:5], row[4]] for row in write(source)]
    save(source, rows)
    with pytest.raises(DataError, match="12 in several modalities"):
        prepare(Local().named("set"), source, tmp_path / "data")


def test_silence_and_blank_sensors_are_equal_by_chance(tmp_path):
    source = tmp_path / "source"
    write(source)
    for n in range(12):
        np.save(source / f"v{n}.npy", np.zeros((3, 20), np.float32))
    assert not prepare(Local().named("set"), source, tmp_path / "data").duplicates


def test_a_group_in_training_and_test_is_said(tmp_path):
    source = tmp_path / "source"
    rows = write(source)
    rows[10][3] = rows[0][3]
    save(source, rows)
    notes = prepare(Local().named("set"), source, tmp_path / "data").notes
    assert notes[-1].startswith("WARNING: 1 group is in training and in the test (g0)")


# --- classes ------------------------------------------------------------------------------------------------

CLASSES = {
    "no test": (lambda rows: [r for r in rows if r[2] != "test"], "no test sample has a label"),
    "only in the test": (
        lambda rows: [*rows[:-1], [*rows[-1][:1], "z", *rows[-1][2:]]],
        "z is in the test part only",
    ),
    "one class": (
        lambda rows: [[r[0], "x", *r[2:]] for r in rows],
        r"training samples are of one class only \(x\)",
    ),
    "one sample of a class": (
        lambda rows: [[r[0], "z" if n in (0, 11) else r[1], r[2], "", *r[4:]] for n, r in enumerate(rows)],
        r"all training samples of z are set aside for validation\nclass +training +validation +test",
    ),
    "one group": (
        lambda rows: [[*r[:3], "g0" if r[2] == "train" else "g1", *r[4:]] for r in rows],
        "one group only",
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_that_cannot_be_learnt_or_tested(tmp_path, case):
    change, message = CLASSES[case]
    source = tmp_path / "source"
    save(source, change(write(source)))
    with pytest.raises(DataError, match=message):
        prepare(Local().named("set"), source, tmp_path / "data")
