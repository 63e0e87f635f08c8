"""A user's own folder: what the manifest and the files say, and what is wrong with them."""

from __future__ import annotations

import csv

import encoded
import numpy as np
import pytest

import pmbench as pm
from pmbench.builtin.local import Local
from pmbench.builtin.local.dataset import _in_order
from pmbench.builtin.local.description import Described
from pmbench.builtin.local.guess import reading_of
from pmbench.builtin.local.reading import load, numbers
from pmbench.data.prepare import prepare
from pmbench.data.prepared import open_prepared
from pmbench.errors import DataError, UnknownName, UsageError
from pmbench.plugins import load_plugins
from pmbench.testing.media import write_image, write_video


def manifest(folder, rows):
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Every kind of file: video, folder of images, image, audio, vector, sequence."""
    source, rng, rows = tmp_path / "source", np.random.default_rng(0), []
    for number in range(8):
        where = source / str(number)
        where.mkdir(parents=True)
        frames = rng.integers(0, 255, (4, 64, 80, 3), dtype=np.uint8)
        tone = np.sin(np.arange(44_100) * (0.02 + 0.01 * (number % 2))).astype(np.float32)
        write_video(where / "video.avi", frames, sound=tone)
        for n in (9, 10):
            write_image(where / "ir" / f"f{n}.png", frames[n - 9])
        write_image(where / "face.jpg", frames[0])
        np.save(where / "imu.npy", rng.normal(0, 1, (3, 20)).astype(np.float32))
        np.save(where / "state.npy", np.full(4, number, np.float32))
        rows.append(
            {
                "id": f"s{number}",
                "label": "10" if number % 2 else "9",
                "split": "test" if number >= 6 else "train",
                "group": f"p{number // 2}",
                "video": f"{number}/video.avi",
                "ir": f"{number}/ir",
                "face": f"{number}/face.jpg",
                "imu": f"{number}/imu.npy",
                "state": "" if number == 2 else f"{number}/state.npy",
            }
        )
    return manifest(source, rows)


def test_kinds_are_told_from_files(folder, tmp_path):
    named = load_plugins().dataset("local/kitchen")
    prepared = prepare(named, folder, tmp_path / "data")
    assert prepared.folder.name == "local-kitchen-v2"
    dataset = prepared.dataset
    assert (dataset.name, dataset.classes) == ("local/kitchen", ("9", "10"))
    assert (dataset.target, dataset.privileged) == (("video",), ("ir", "face", "imu", "state"))
    assert {m.name: (m.kind, m.shape) for m in dataset.modalities} == {
        "video": ("clip", (3, 16, 64, 80)),
        "ir": ("clip", (3, 16, 64, 80)),
        "face": ("image", (3, 64, 80)),
        "imu": ("sequence", (3, 20)),
        "state": ("vector", (4,)),
    }
    again = open_prepared(load_plugins().dataset("local/kitchen"), tmp_path / "data")
    assert again.dataset.modalities == dataset.modalities
    assert again.index("train") == ([f"s{i}" for i in range(6)], ["p0", "p0", "p1", "p1", "p2", "p2"])
    assert again.labels("test").tolist() == [0, 1]
    for m in dataset.modalities:
        column = again.column("train", m.name)
        assert column.read(0).shape == m.shape
        assert column.present is None if m.name != "state" else not column.present[2]
    np.testing.assert_array_equal(again.column("train", "state").read(5), [5, 5, 5, 5])


def test_a_sound_is_a_sequence(folder, tmp_path):
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    for row in rows:
        for name in ("video", "ir", "face"):
            del row[name]
        wav = folder / row["id"] / "sound.wav"
        wav.parent.mkdir()
        import wave

        with wave.open(str(wav), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(32_000)
            out.writeframes(
                (np.sin(np.arange(3200) * (1 + int(row["id"][1:]) / 9)) * 9999).astype("<i2").tobytes()
            )
        row["sound"] = f"{row['id']}/sound.wav"
    prepared = prepare(Local().named("heard"), manifest(folder, rows), tmp_path / "data")
    sound = prepared.dataset.modality("sound")
    assert (sound.kind, sound.shape, sound.unit) == ("sequence", (64, 11), "dB")
    assert prepared.dataset.target == ("imu",)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("v.m4v", {}),
        ("v.3gp", {}),
        ("v.gif", {"video": "gif"}),
        ("v.webm", {"video": "libvpx"}),
        ("V.MKV", {}),
    ],
)
def test_kinds_of_videos(tmp_path, name, options):
    path = encoded.encode(tmp_path / name.lower(), encoded.pictures(20), **options).rename(tmp_path / name)
    reading, _ = reading_of("v", [path], Described())
    assert (reading.form, reading.kind) == ("video", "clip")
    assert {frame.shape for frame in load(path, reading)} == {(*reading.stored, 3)}


@pytest.mark.parametrize("kind", ["opus", "ogg", "flac", "mp3", "m4a", "wav"])
def test_kinds_of_sounds(tmp_path, kind):
    path = encoded.sound(tmp_path, kind, encoded.tone(2.0))
    reading, notes = reading_of("a", [path], Described(seconds=10))
    untold = f"a: files such as {path.name} do not tell their length"
    assert any(note.startswith(untold) for note in notes) == (path.suffix in (".ogg", ".opus", ".aac"))
    assert (reading.form, reading.kind) == ("sound", "sequence")
    found = load(path, reading)
    assert found.shape == (64, 1001)
    assert found[:, :180].max() > -20 > found[:, 220:].max()  # the tone, then silence


def test_damaged_arrays(tmp_path):
    """NumPy raises exceptions of many kinds for a damaged head."""
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(5))
    content = path.read_bytes()
    for damage in (
        content.replace(b"}", b" "),
        content.replace(b"'<f8'", b"'<f9'"),
        content[:9],
        b"",
        b"PK\3\4",
    ):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"is not a \.npy file of numbers"):
            numbers(path)
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(5))
    with pytest.raises(DataError, match="but an archive of several"):
        numbers(path)


WRONG = {
    "no manifest": (None, r"manifest\.csv cannot be read"),
    "no split": ({"split": None}, "has no column 'split'; its columns: id, label, group"),
    "one modality": (dict.fromkeys(("ir", "face", "imu", "state")), "at least two"),
    "unknown split": ({"split": "dev"}, r"line 2: split 'dev'; expected train, validation, test"),
    "no file": ({"video": "gone.avi"}, r"1 file does not exist .*line 2: video 'gone\.avi'"),
    "another kind": ({"video": "manifest.csv"}, "1 file .* cannot be read: .*manifest.csv is an array"),
    "unknown kind": ({"video": "notes.doc"}, "unknown kind of file"),
    "long name": ({"video": "x/" + "x" * 5000}, r"line 2: video 'x/x{98}'"),
    "no id": ({"id": ""}, "line 2: a sample needs an id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_manifest_is_named(folder, tmp_path, case):
    change, message = WRONG[case]
    (folder / "notes.doc").touch()
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    if change is None:
        (folder / "manifest.csv").unlink()
    else:
        removed = [name for name, value in change.items() if value is None]
        rows = [{k: v for k, v in row.items() if k not in removed} for row in rows]
        rows[0] |= {name: value for name, value in change.items() if value is not None}
        manifest(folder, rows)
    with pytest.raises(DataError, match=message):
        prepare(Local().named("kitchen"), folder, tmp_path / "data")


def test_a_manifest_as_a_spreadsheet_writes_it(folder, tmp_path):
    """Blanks behind commas, a column without a name, a byte order mark."""
    lines = (folder / "manifest.csv").read_text().splitlines()
    (folder / "manifest.csv").write_text("\ufeff" + "\n".join(", ".join(f"{x},".split(",")) for x in lines))
    prepared = prepare(Local().named("kitchen"), folder, tmp_path / "data")
    assert [m.name for m in prepared.dataset.modalities] == ["video", "ir", "face", "imu", "state"]
    assert prepared.labels("test").tolist() == [0, 1]


@pytest.mark.parametrize("name", ["labels", "index", "imu/left", "imu.left", "imu left"])
def test_columns_that_cannot_be_modalities(folder, tmp_path, name):
    """Core's own files lie beside those of the modalities: a column `labels` would be them."""
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace(",state", f",{name}", 1))
    with pytest.raises(DataError, match=f"no modality can be called '{name}'"):
        prepare(Local().named("kitchen"), folder, tmp_path / "data")
    path.write_text(path.read_text().replace(f",{name}", ",imu", 1))
    with pytest.raises(DataError, match="more than one column 'imu'"):
        prepare(Local().named("kitchen"), folder, tmp_path / "data")


def test_frames_in_two_kinds_of_files_are_not_half_a_clip(folder, tmp_path):
    (folder / "3" / "ir" / "f11.jpg").write_bytes((folder / "3" / "face.jpg").read_bytes())
    (folder / "4" / "ir" / "._f9.png").write_bytes(b"what macOS leaves on other disks")
    with pytest.raises(DataError, match=r"1 file .* cannot be read: .*f11\.jpg is not named like f\*\.png"):
        prepare(Local().named("kitchen"), folder, tmp_path / "data")


def test_classes_are_in_one_order_in_every_process():
    for labels in (["07", "7", "b", "a", "10"], ["a", "7", "10", "b", "07"]):
        assert sorted(labels, key=_in_order) == ["07", "7", "10", "a", "b"]
    assert sorted(["a", "1" * 5000, "2"], key=_in_order) == ["2", "1" * 5000, "a"]


def test_other_kinds_further_down_are_files_that_cannot_be_read(folder, tmp_path):
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    rows[3]["imu"] = rows[3]["state"]
    rows[4]["state"] = rows[4]["face"]
    manifest(folder, rows)
    with pytest.raises(DataError, match="2 files of 'local/kitchen' cannot be read"):
        prepare(Local().named("kitchen"), folder, tmp_path / "data")


def test_a_truncated_picture_is_a_file_that_cannot_be_read(folder, tmp_path):
    face = folder / "3" / "face.jpg"
    face.write_bytes(face.read_bytes()[: face.stat().st_size // 2])
    with pytest.raises(DataError, match=r"1 file of 'local/kitchen' cannot be read: .*3.face\.jpg"):
        prepare(Local().named("kitchen"), folder, tmp_path / "data")


def test_a_name_is_needed(folder, tmp_path):
    with pytest.raises(UsageError, match="needs a name") as caught:
        prepare(Local(), folder, tmp_path / "data")
    assert "pmbench data prepare local/<name>" in caught.value.hint
    with pytest.raises(UnknownName, match="planted/kitchen"):
        load_plugins().dataset("planted/kitchen")
    with pytest.raises(pm.UsageError, match="'local/other' is not prepared"):
        open_prepared(load_plugins().dataset("local/other"), tmp_path)
