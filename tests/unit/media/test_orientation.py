"""Images and videos that were filmed lying or mirrored are turned upright."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import encoded
import numpy as np
import pytest
from PIL import Image, ImageOps

from pmbench import media
from pmbench.errors import DataError

SQUARES = np.kron(
    np.array([[[230, 30, 30], [30, 200, 30]], [[30, 30, 230], [20, 20, 20]]], np.uint8),
    np.ones((24, 32, 1), np.uint8),
)
"""(48, 64, 3): red, green, blue and dark quarters, which differ in every orientation."""

ORIENTATION = 0x112


def image_with(path: Path, orientation: int | None, **options) -> np.ndarray:
    """Writes an image with an EXIF orientation; returns the upright one, by Pillow."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.fromarray(SQUARES).save(path, exif=exif, **options)
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_images_are_turned_and_mirrored(tmp_path, ending, orientation):
    path = tmp_path / f"1.{ending}"
    upright = image_with(path, orientation)
    assert upright.shape[0] == (64 if orientation in (5, 6, 7, 8) else 48)
    shown = media.image(path, upright.shape[:2])
    assert np.abs(shown.astype(int) - upright).mean() < 8
    (frame,) = media.image_frames(tmp_path, upright.shape[:2], f"*.{ending}")
    np.testing.assert_array_equal(frame, shown)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes(tmp_path, order):
    image_with(tmp_path / "1.jpg", None)
    entries = struct.pack(order + "HHHIHH", 1, ORIENTATION, 3, 1, 5, 0)
    exif = (
        b"Exif\0\0" + {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8) + entries + bytes(4)
    )
    content = (tmp_path / "1.jpg").read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "2.jpg").write_bytes(content[:2] + segment + content[2:])
    upright = SQUARES.transpose(1, 0, 2)
    assert np.abs(media.image(tmp_path / "2.jpg", (64, 48)).astype(int) - upright).mean() < 8


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_unknown_orientation_is_upright(tmp_path, value):
    image_with(tmp_path / "1.jpg", value)
    assert np.abs(media.image(tmp_path / "1.jpg", (48, 64)).astype(int) - SQUARES).mean() < 8


def test_damaged_exif_data_do_not_prevent_reading(tmp_path):
    image_with(tmp_path / "1.jpg", 6)
    content = bytearray((tmp_path / "1.jpg").read_bytes())
    start = content.index(b"Exif\0\0") + 6
    content[start + 4 : start + 8] = b"\xff" * 4  # the entries would lie behind the end
    (tmp_path / "1.jpg").write_bytes(content)
    assert media.image(tmp_path / "1.jpg", (48, 64)).shape == (48, 64, 3)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_rotated_video_shows_what_was_filmed(tmp_path, degrees):
    """A camera that is held `degrees` clockwise stores frames turned the other way, and a matrix."""
    turns = degrees // 90
    stored = np.ascontiguousarray(np.rot90(SQUARES, turns))
    path = encoded.encode(tmp_path / "v.mp4", np.stack([stored] * 5), options={"crf": "10"})
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]  # turns clockwise, as seen with y downwards
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    for frame in media.video_frames(path, (48, 64)):
        assert np.abs(frame.astype(int) - SQUARES).mean() < 8


MIRRORED = {
    "across": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "transposed and turned": ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
}
"""a, b, c, d of a display matrix of negative determinant, and the stored pixels that it makes upright."""


@pytest.mark.parametrize("name", MIRRORED)
def test_a_mirrored_video_shows_what_was_filmed(tmp_path, name):
    """As cameras on the front of phones write it; each of these matrices is its own inverse."""
    (a, b, c, d), store = MIRRORED[name]
    stored = np.ascontiguousarray(store(SQUARES))
    path = encoded.encode(tmp_path / "v.mp4", np.stack([stored] * 5), options={"crf": "10"})
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert media.video_size(path)[:2] == SQUARES.shape[:2]
    for frame in media.video_frames(path, (48, 64)):
        assert np.abs(frame.astype(int) - SQUARES).mean() < 8
        assert np.abs(frame[:, ::-1].astype(int) - SQUARES).mean() > 8


@pytest.mark.parametrize("kind", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_half_a_jpeg_passes_no_reader(tmp_path, kind, end):
    path = tmp_path / "1.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for pixels in (encoded.pictures(1)[0], noise):
        Image.fromarray(pixels).save(path, **kind)
        assert len(list(media.video_frames(path, (48, 64)))) == 1
        content = path.read_bytes()
        path.write_bytes(content[: 2 * len(content) // 3] + end)
        with pytest.raises(DataError):
            media.image(path, (48, 64))
        with pytest.raises(DataError):
            list(media.video_frames(path, (48, 64)))


def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path):
    path = tmp_path / "1.jpg"
    Image.fromarray(SQUARES).save(path, progressive=True)
    content = path.read_bytes()
    scans = [found.start() for found in re.finditer(b"\xff\xda", content)]
    path.write_bytes(content[: scans[-1]])
    with pytest.raises(DataError, match="ends within its scans"):
        media.image(path, (48, 64))
    path.write_bytes(content[:-2])  # everything but the mark of its end
    with pytest.raises(DataError, match="ends within its scans"):
        media.image(path, (48, 64))


def test_a_simple_jpeg_needs_no_mark_of_its_end(tmp_path):
    Image.fromarray(SQUARES).save(tmp_path / "1.jpg")
    whole = media.image(tmp_path / "1.jpg", (48, 64))
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:-2])
    np.testing.assert_array_equal(media.image(tmp_path / "1.jpg", (48, 64)), whole)
