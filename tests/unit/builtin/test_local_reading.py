"""Files of a user's folder keep their numbers, and what reading changes is said."""

from __future__ import annotations

import csv
from fractions import Fraction

import numpy as np
import pytest

from pmbench.builtin.local import Local
from pmbench.builtin.local.reading import numbers
from pmbench.data.prepare import prepare
from pmbench.errors import DataError
from pmbench.testing.media import write_image


def folder_of(tmp_path, write, toml="", count=8):
    """A folder whose modalities `vector` and `other` the function `write(path, n)` fills."""
    source = tmp_path / "source"
    source.mkdir()
    rows = []
    for n in range(count):
        np.save(source / f"v{n}.npy", np.arange(4, dtype=np.float32) + n)
        file = write(source, n)
        split = "test" if n >= count - 2 else "train"
        rows.append([f"s{n}", "xy"[n % 2], split, f"g{n // 2}", f"v{n}.npy", file])
    with (source / "manifest.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["id", "label", "split", "group", "vector", "other"], *rows])
    if toml:
        (source / "dataset.toml").write_text(toml)
    return source


def prepared_of(tmp_path, write, toml="", **options):
    return prepare(Local().named("set"), folder_of(tmp_path, write, toml), tmp_path / "data", **options)


def depth(n):
    """(240, 320) millimetres: all from 500 to 4,500 in 320 steps."""
    return np.tile(np.linspace(500, 4500, 320).astype(np.uint16) + n, (240, 1))


def save_16_bit(path, array):
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "gray16le")
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = array.shape[1], array.shape[0], "gray16be"
    codec.time_base = Fraction(1, 1)
    packets = [*codec.encode(frame.reformat(format="gray16be")), *codec.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))


def test_depth_in_millimetres_keeps_its_differences(tmp_path):
    def write(source, n):
        save_16_bit(source / f"depth{n}.png", depth(n))
        return f"depth{n}.png"

    source = folder_of(tmp_path, write)
    text = (source / "manifest.csv").read_text()
    (source / "manifest.csv").write_text(text.replace(",other", ",depth", 1))
    prepared = prepare(Local().named("set"), source, tmp_path / "data")
    modality = prepared.dataset.modality("depth")
    assert (modality.kind, modality.shape, modality.unit) == ("image", (1, 112, 112), "mm")
    image = prepared.column("train", "depth").read(0)
    assert image.dtype == np.uint16
    assert len(np.unique(image)) == 112
    assert set(np.unique(image).tolist()) <= set(depth(0)[0].tolist())
    assert any("millimetres" in note for note in prepared.notes)
    assert any("resized to 128 x 171 by nearest neighbor" in note for note in prepared.notes)


def test_a_size_of_the_files_changes_no_number(tmp_path):
    def write(source, n):
        save_16_bit(source / f"{n}.png", depth(n))
        return f"{n}.png"

    toml = '[modalities.other]\nsize = [240, 320]\nstored_size = [240, 320]\nflip = ""\nunit = "mm"\n'
    prepared = prepared_of(tmp_path, write, toml)
    for row in range(6):
        np.testing.assert_array_equal(prepared.column("train", "other").read(row)[0], depth(row))


@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 1), ("uint16", 5), ("float32", 1), ("float32", 6)])
def test_tiff_of_several_bands_and_floats(tmp_path, dtype, bands):
    tifffile = pytest.importorskip("tifffile")
    arrays = {}

    def write(source, n):
        rng = np.random.default_rng(n)
        arrays[n] = (rng.random((40, 50, bands)) * 200).astype(dtype)
        tifffile.imwrite(source / f"{n}.tif", arrays[n].squeeze())
        return f"{n}.tif"

    toml = f'[modalities.other]\nstored = "raw"\nchannels = {bands}\n' if dtype == "uint8" else ""
    prepared = prepared_of(tmp_path, write, toml)
    found = prepared.column("train", "other").read(3)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, arrays[3].transpose(2, 0, 1))


def test_files_of_other_numbers_are_named(tmp_path):
    def write(source, n):
        if n == 3:
            write_image(source / f"{n}.png", np.zeros((240, 320, 3), np.uint8))
        else:
            save_16_bit(source / f"{n}.png", depth(n))
        return f"{n}.png"

    with pytest.raises(DataError, match=r"1 file .*3\.png holds uint8 of 3 channels; expected uint16 of 1"):
        prepared_of(tmp_path, write)


def test_numbers_outside_the_range_are_errors(tmp_path):
    def write(source, n):
        save_16_bit(source / f"{n}.png", depth(n))
        return f"{n}.png"

    toml = '[modalities.other]\nunit = "mm"\nrange = [0, 4504]\n'
    with pytest.raises(DataError, match=r"3 files .*5\.png holds 505 to 4505 mm; `range` says 0 to 4504"):
        prepared_of(tmp_path, write, toml)


def test_small_images_are_not_enlarged_and_wide_ones_not_squashed(tmp_path):
    def write(source, n):
        image = np.random.default_rng(n).integers(0, 255, (48, 96, 3), dtype=np.uint8)
        write_image(source / f"{n}.png", image)
        return f"{n}.png"

    prepared = prepared_of(tmp_path, write)
    assert prepared.dataset.modality("other").shape == (3, 48, 96)
    (note,) = [note for note in prepared.notes if note.startswith("other")]
    assert note == "other: half of the training samples are mirrored (`flip`); stored as JPEG of quality 90"


def test_what_squashes_images_is_said(tmp_path):
    def write(source, n):
        size = (300, 400) if n else (400, 300)
        write_image(
            source / f"{n}.png", np.random.default_rng(n).integers(0, 255, (*size, 3), dtype=np.uint8)
        )
        return f"{n}.png"

    (note,) = [n for n in prepared_of(tmp_path, write).notes if n.startswith("other")]
    assert "images of 300 x 400 to 400 x 300 pixels are resized to 128 x 171 by bilinear filtering" in note
    assert "changes their aspect ratio by up to 44 %" in note


def signal(n, steps=30):
    return np.random.default_rng(n).normal(0, 1, (steps, 3)).astype(np.float32)


WAYS = {
    "T x C": ("npy", lambda path, x: np.save(path, x)),
    "C x T": ("npy", lambda path, x: np.save(path, x.T)),
    "comma": ("csv", lambda path, x: np.savetxt(path, x, delimiter=",", header="a,b,c", comments="")),
    "semicolon and decimal comma": (
        "csv",
        lambda path, x: path.write_text(
            "a;b;c\n" + "\n".join(";".join(f"{v:.9g}".replace(".", ",") for v in row) for row in x)
        ),
    ),
    "blanks": ("txt", lambda path, x: np.savetxt(path, x)),
    "time and text": (
        "csv",
        lambda path, x: path.write_text(
            "time [s],a,b,c,state\n"
            + "\n".join(f"{t / 50},{','.join(f'{v:.9g}' for v in row)},on" for t, row in enumerate(x))
        ),
    ),
    "npz": ("npz", lambda path, x: np.savez(path, data=x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_sequences_of_all_layouts_are_channels_by_time(tmp_path, way):
    ending, save = WAYS[way]

    def write(source, n):
        save(source / f"{n}.{ending}", signal(n))
        return f"{n}.{ending}"

    prepared = prepared_of(tmp_path, write)
    assert prepared.dataset.modality("other").shape == (3, 30)
    np.testing.assert_allclose(prepared.column("train", "other").read(4), signal(4).T, rtol=1e-6)


def test_mat_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from scipy.io import savemat

    savemat(tmp_path / "a.mat", {"acc": signal(0), "gyro": signal(1), "rate": "fast"})
    np.testing.assert_array_equal(numbers(tmp_path / "a.mat", variable="gyro"), signal(1))
    with pytest.raises(DataError, match=r"holds the arrays acc, gyro; name one with `variable`"):
        numbers(tmp_path / "a.mat")
    x = signal(2)
    table = pa.table({"timestamp": list(range(30)), "a": x[:, 0], "b": x[:, 1], "c": x[:, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    np.testing.assert_array_equal(numbers(tmp_path / "a.parquet"), x)
    np.testing.assert_array_equal(numbers(tmp_path / "a.parquet", columns=("c", "a")), x[:, [2, 0]])
    with pytest.raises(DataError, match="no column 'd'; its columns: timestamp, a, b, c"):
        numbers(tmp_path / "a.parquet", columns=("d",))


def test_integers_that_floats_do_not_hold_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1, 2**24 + 1]))
    with pytest.raises(DataError, match="integers up to 16777217, which 32-bit floats do not hold exactly"):
        numbers(tmp_path / "a.npy")


def test_lengths_that_differ_show_the_time_axis_and_are_padded_aloud(tmp_path):
    def write(source, n):
        np.save(source / f"{n}.npy", signal(n, 2 if n == 0 else 1 + n))
        return f"{n}.npy"

    prepared = prepared_of(tmp_path, write)
    assert prepared.dataset.modality("other").shape == (3, 8)
    assert prepared.notes[:2] == [
        "other: axis 0 is taken for time and axis 1 for 3 channels (`time_axis`); recordings of 2 to 8 time "
        "steps become 8; shorter ones are padded with zeros (`length`)",
        "samples of one group stay together when validation data is set aside",
    ]
    found = prepared.column("train", "other").read(1)
    np.testing.assert_array_equal(found, np.pad(signal(1, 2).T, ((0, 0), (0, 6))))


def test_the_sound_and_the_frames_of_one_file(tmp_path):
    from pmbench.testing.media import write_video

    def write(source, n):
        frames = np.random.default_rng(n).integers(0, 255, (12, 64, 80, 3), dtype=np.uint8)
        tone = np.sin(np.arange(20_000) * (0.02 + 0.003 * n)).astype(np.float32)
        write_video(source / f"{n}.avi", frames, sound=tone)
        return f"{n}.avi"

    toml = '[modalities.other]\n[modalities.audio]\ncolumn = "other"\nkind = "sound"\nseconds = 0.3\n'
    prepared = prepared_of(tmp_path, write, toml)
    shapes = {m.name: (m.kind, m.shape) for m in prepared.dataset.modalities}
    assert shapes["other"] == ("clip", (3, 16, 64, 80))
    assert shapes["audio"] == ("sequence", (64, 31))
    assert any(
        note.startswith("audio: recordings of") and "longer ones are cut" in note for note in prepared.notes
    )
