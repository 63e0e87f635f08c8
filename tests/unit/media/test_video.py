"""Readers of videos, sound, flow, images and depth, against files written for the test."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import av
import numpy as np
import pytest

from pmbench import media
from pmbench.errors import DataError, UsageError
from pmbench.testing.media import write_image, write_video

SECOND = 44_100


def moving_square(length: int = 30) -> np.ndarray:
    """(T, 48, 64, 3): a red square that goes two pixels right with every frame."""
    frames = np.full((length, 48, 64, 3), 20, np.uint8)
    for t in range(length):
        frames[t, 16:32, 2 * (t % 24) : 2 * (t % 24) + 16] = (230, 30, 30)
    return frames


def tone(hertz: float, seconds: float = 1.2) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(SECOND * seconds)) / SECOND)).astype(np.float32)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_video(tmp_path / "clip.avi", moving_square(), sound=tone(1000))
    return tmp_path / "clip.avi"


# --- video -----------------------------------------------------------------------------------------------


def test_frames_come_in_order_and_red_first(clip):
    frames = list(media.video_frames(clip, (48, 64)))
    assert len(frames) == 30
    assert frames[0].shape == (48, 64, 3)
    assert frames[0].dtype == np.uint8
    np.testing.assert_allclose(frames[5], moving_square()[5], atol=60)
    left = [int((frame[24, :, 0].astype(int) - frame[24, :, 2] > 100).argmax()) for frame in frames[:20]]
    assert left == pytest.approx([2 * t for t in range(20)], abs=1.5)


@pytest.mark.parametrize(("size", "shape"), [((24, 40), (24, 40, 3)), (24, (24, 32, 3)), (96, (96, 128, 3))])
def test_frames_are_resized(clip, size, shape):
    assert {frame.shape for frame in media.video_frames(clip, size)} == {shape}


def test_a_part_of_the_frames_is_cut_out(clip):
    whole = np.stack(list(media.video_frames(clip, (48, 64))))
    part = np.stack(list(media.video_frames(clip, (24, 16), crop=(0.25, 0.5, 0.75, 0.75))))
    np.testing.assert_array_equal(part, whole[:, 12:36, 32:48])
    assert {f.shape for f in media.video_frames(clip, 10, crop=(0.5, 0, 1, 1))} == {(10, 27, 3)}


@pytest.mark.parametrize("ending", ["avi", "mp4", "mkv", "flv"])
def test_written_videos_are_read_back(tmp_path, ending):
    write_video(tmp_path / f"x.{ending}", moving_square(), sound=tone(1000))
    frames = np.stack(list(media.video_frames(tmp_path / f"x.{ending}", (48, 64))))
    assert np.abs(frames.astype(int) - moving_square()).mean() < 8
    assert len(media.sound(tmp_path / f"x.{ending}")) / 32_000 == pytest.approx(1.2, abs=0.08)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("fps", [2.0, 5.0, 10.0, 40.0])
def test_frames_are_taken_by_time(tmp_path, ending, fps):
    """From 20 frames a second, of which some are missing, so that others are shown longer."""
    times = [t for t in range(24) if t % 5 not in (1, 2)]  # 0, 3, 4, 5, 8, ...
    write_video(tmp_path / f"x.{ending}", moving_square(24)[times], fps=20, times=times)
    left = [
        int((frame[24, :, 0].astype(int) - frame[24, :, 2] > 100).argmax()) / 2
        for frame in media.video_frames(tmp_path / f"x.{ending}", (48, 64), fps=fps)
    ]
    moments = np.arange(len(left)) * 20 / fps  # in frames
    shown = [max(t for t in times if t <= moment + 1e-6) for moment in moments]
    assert left == pytest.approx(shown, abs=1)
    assert len(left) == int(23 * fps / 20 + 1e-6) + 1


def test_the_header_of_a_video_counts_its_frames(tmp_path):
    write_video(tmp_path / "x.avi", moving_square(10))
    write_video(tmp_path / "more.avi", moving_square(10), reported=11)
    assert [media.frame_count(tmp_path / f"{name}.avi") for name in ("x", "more")] == [10, 11]
    write_video(tmp_path / "x.mkv", moving_square(10))
    assert media.frame_count(tmp_path / "x.mkv") is None


def test_equal_files_give_equal_bits(clip):
    first, second = (np.stack(list(media.video_frames(clip, 32))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("turned", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_what_was_filmed_lying_is_turned_as_the_file_says(tmp_path, turned):
    """The matrix maps a point (x, y) of the stored frame to (a x + c y, b x + d y) of the one shown."""
    path, frames = tmp_path / "phone.mp4", np.full((3, 48, 64, 3), 20, np.uint8)
    frames[:, :24, :32] = (230, 30, 30)  # above, on the left
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        for frame in (*(av.VideoFrame.from_ndarray(f, "rgb24") for f in frames), None):
            for packet in video.encode(frame):
                container.mux(packet)
    a, b, c, d = turned
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # the matrix in the header of the track
    content[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    size = (48, 64) if a else (64, 48)
    shown = next(media.video_frames(path, size))
    assert shown.shape == (*size, 3)
    right, below = a * -1 + c * -1 > 0, b * -1 + d * -1 > 0  # where the corner (-1, -1) comes to lie
    red = shown[size[0] * 3 // 4 if below else size[0] // 4, size[1] * 3 // 4 if right else size[1] // 4]
    assert red[0] > 150
    assert (shown[..., 0] > 150).mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("length", [2, 8, 30])
def test_a_frame_more_in_the_header_than_in_the_file(tmp_path, length):
    write_video(tmp_path / "clip.avi", moving_square(length), sound=tone(1000), reported=length + 1)
    assert len(list(media.video_frames(tmp_path / "clip.avi", 24))) == length


@pytest.mark.parametrize("fps", [25, 30])
def test_frame_rate(tmp_path, fps):
    write_video(tmp_path / "clip.avi", moving_square(), fps=fps)
    assert media.frame_rate(tmp_path / "clip.avi") == fps


def test_what_is_damaged_on_the_way_is_passed_over(clip):
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    clip.write_bytes(content)
    assert 27 <= len(list(media.video_frames(clip, 24))) <= 30


@pytest.mark.parametrize(
    ("share", "reason"),
    [(0.0, "is empty"), (0.02, "cannot be read"), (0.5, "is truncated"), (0.8, "of 30 frames")],
)
def test_a_file_cut_short(clip, share, reason):
    content = clip.read_bytes()
    clip.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=reason) as raised:
        list(media.video_frames(clip, 24))
    assert str(clip) in raised.value.message


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.avi").write_text("no video" * 100)
    for path in (tmp_path / "text.avi", tmp_path / "missing.avi", tmp_path):
        for read in (media.has_audio, media.frame_rate, media.sound):
            with pytest.raises(DataError, match="cannot be read"):
                read(path)
        with pytest.raises(DataError, match="cannot be read"):
            list(media.video_frames(path, 24))


def test_a_file_of_sound_alone_has_no_frames(tmp_path):
    import av

    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ones((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(DataError, match="no video stream"):
        list(media.video_frames(tmp_path / "sound.wav", 24))


def test_a_missing_package_is_named_with_its_extra(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="'av'") as raised:
        list(media.video_frames(clip, 24))
    assert raised.value.hint == "pip install 'pmbench[video]'"


# --- sound -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mp3", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_keeps_pitch_length_and_loudness(tmp_path, mp3, channels):
    both = np.stack([tone(1000)] * channels, 1)
    write_video(tmp_path / "clip.avi", moving_square(), sound=both, mp3=mp3)
    assert media.has_audio(tmp_path / "clip.avi")
    samples = media.sound(tmp_path / "clip.avi")
    assert samples.dtype == np.float32
    assert len(samples) / 32_000 == pytest.approx(1.2, abs=0.06)
    assert samples[3200:-6400].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.06)  # LAME scales by 0.95
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * 32_000 / len(samples) == pytest.approx(1000, abs=2)


def test_sound_is_the_mean_of_its_channels(tmp_path):
    opposite = np.stack([tone(1000), -tone(1000)], 1)
    write_video(tmp_path / "clip.avi", moving_square(), sound=opposite)
    assert np.abs(media.sound(tmp_path / "clip.avi")).max() < 1e-3


def test_a_clip_without_sound(tmp_path):
    write_video(tmp_path / "clip.avi", moving_square())
    assert not media.has_audio(tmp_path / "clip.avi")
    with pytest.raises(DataError, match="has no audio stream"):
        media.sound(tmp_path / "clip.avi")


def slow_mel_bands() -> np.ndarray:
    """Slaney's scale, band by band and bin by bin: linear below 1 kHz, 27 mels for a factor of 6.4 above."""

    def mel(hertz: float) -> float:
        return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)

    def hertz(mel: float) -> float:
        return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    corners = [hertz(mel(50) + k * (mel(14_000) - mel(50)) / 65) for k in range(66)]
    bands = np.zeros((64, 513))
    for band, (low, top, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        for number in range(513):
            at = number * 32_000 / 1024
            slope = (at - low) / (top - low) if at < top else (high - at) / (high - top)
            bands[band, number] = max(0.0, slope) * 2 / (high - low)
    return bands


def slow_log_mel(samples: np.ndarray) -> np.ndarray:
    """The definition, frame by frame: reflected edges, Hann window, power, triangles, decibels."""
    bands = slow_mel_bands()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    padded = np.pad(samples, 512, mode="reflect")
    columns = []
    for start in range(0, len(samples) + 1, 320):
        power = np.abs(np.fft.rfft(padded[start : start + 1024] * window)) ** 2
        columns.append(10 * np.log10(np.maximum(bands @ power, 1e-10)))
    return np.stack(columns, 1)


def test_log_mel_is_what_its_definition_gives():
    rng = np.random.default_rng(0)
    samples = (rng.normal(size=16_000) * 0.1).astype(np.float32)
    found = media.log_mel(samples)
    assert found.shape == (64, 51)
    np.testing.assert_allclose(found, slow_log_mel(samples), atol=1e-2)


@pytest.mark.slow
@pytest.mark.science
@pytest.mark.parametrize("length", [1, 833])
def test_log_mel_has_the_bits_of_librosa(length):
    """Data that was prepared with librosa keeps its digest."""
    import librosa

    rng = np.random.default_rng(length)
    for scale in (0, 1e-6, 0.1, 1):
        samples = (scale * rng.normal(size=length)).astype(np.float32)
        with warnings.catch_warnings(action="ignore"):  # of signals shorter than a window
            spectrum = np.abs(librosa.stft(samples, n_fft=1024, hop_length=320, pad_mode="reflect")) ** 2
        bands = librosa.filters.mel(sr=32_000, n_fft=1024, n_mels=64, fmin=50, fmax=14_000)
        power = np.einsum("mf,ft->mt", bands, spectrum)
        expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
        found = media.log_mel(samples)
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_log_mel_cuts_and_fills_up_with_silence():
    samples = np.random.default_rng(0).normal(size=32_000).astype(np.float32)
    short, long = media.log_mel(samples, seconds=0.5), media.log_mel(samples, seconds=2.0)
    assert (short.shape, long.shape) == ((64, 51), (64, 201))
    np.testing.assert_allclose(long[:, 105:], -100, atol=1e-3)
    np.testing.assert_array_equal(long[:, :90], media.log_mel(samples)[:, :90])


def test_log_mel_does_not_depend_on_the_number_of_threads():
    """Prepared sound has a digest, which is part of keys: machines with other cores must give the same.

    The process does without libraries that take seconds to import.
    """
    code = (
        "import hashlib, sys, numpy as np; from pmbench import media; "
        "x = np.random.default_rng(0).normal(size=64_000).astype(np.float32); "
        "print(hashlib.sha256(media.log_mel(x).tobytes()).hexdigest()); "
        "assert not {'librosa', 'numba', 'scipy.signal', 'torch'} & sys.modules.keys()"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
        ).stdout
        for threads in "12"
    }  # fmt: skip
    assert len(found) == 1


# --- flow ------------------------------------------------------------------------------------------------


def texture() -> np.ndarray:
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_flow_tells_direction_and_speed():
    frames = [np.roll(texture(), (3 * t, -2 * t), (0, 1)) for t in range(4)]
    flows = np.stack(list(media.tvl1(frames)))
    assert flows.shape == (4, 64, 64, 2)
    assert flows.dtype == np.uint8
    pixels = (np.median(flows, (0, 1, 2)) / 255 - 0.5) * 40
    np.testing.assert_allclose(pixels, (-2, 3), atol=0.2)
    np.testing.assert_array_equal(flows[3], flows[2])


def test_flow_is_solved_with_default_parameters_and_clipped():
    import cv2

    frames = [texture(), np.roll(texture(), 2, 0)]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = cv2.optflow.DualTVL1OpticalFlow_create().calc(*grey, None)
    expected = np.rint((np.clip(flow, -20, 20) + 20) * 255 / 40)
    np.testing.assert_array_equal(next(iter(media.tvl1(frames))), expected)


@pytest.mark.parametrize(("frames", "flows"), [(0, 0), (1, 1)])
def test_flow_of_hardly_anything(frames, flows):
    found = list(media.tvl1([texture()] * frames))
    assert len(found) == flows
    assert all((flow == 128).all() for flow in found)


# --- images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_images_are_sorted_as_numbers(tmp_path, base, suffix):
    for t in range(11):
        image = np.full((20, 30, 3), (20 * t, 100, 50), np.uint8)
        write_image(tmp_path / f"img[{base + t}].{suffix}", image)
        write_image(tmp_path / f"other_{base + t}.{suffix}", image[::-1])
    frames = list(media.image_frames(tmp_path, (10, 12), f"img[*].{suffix}"))
    assert {frame.shape for frame in frames} == {(10, 12, 3)}
    assert [int(frame[5, 6, 0]) for frame in frames] == pytest.approx([20 * t for t in range(11)], abs=4)


def test_a_further_star_stands_for_anything(tmp_path):
    for number, stamp in ((9, 90_467_319), (10, 12)):
        write_image(tmp_path / f"frame_{number}_tc_{stamp}_rgb.jpg", np.zeros((8, 8, 3), np.uint8))
    assert [*media.image_files(tmp_path, "frame_*_tc_*_rgb.jpg")] == [9, 10]


def test_gaps_are_reported(tmp_path):
    for number in (1, 2, 5, 9):
        write_image(tmp_path / f"{number:03d}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"5 of \*\.png from 1 to 9 are missing: 3, 4, 6, 7, 8"):
        list(media.image_frames(tmp_path, (8, 8), "*.png"))
    (tmp_path / "99999999999999.png").touch()  # not one by one
    with pytest.raises(DataError, match=r"99999999999994 of .* are missing: 3, 4, 6, 7, 8, \.\.\."):
        media.image_files(tmp_path, "*.png")
    (tmp_path / "99999999999999.png").unlink()
    write_image(tmp_path / "05.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="have the same number"):
        media.image_files(tmp_path, "*.png")


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match=r"has no file named like \*\.jpg"):
        media.image_files(tmp_path, "*.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        media.image_files(tmp_path / "missing", "*.jpg")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_half_an_image_is_no_image(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    path = tmp_path / f"1.{suffix}"
    write_image(path, noise)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"1\.(png|jpg)"):
        list(media.image_frames(tmp_path, (8, 8), f"*.{suffix}"))
    with pytest.raises(DataError, match=r"1\.(png|jpg)"):
        media.image(path, (8, 8))


# --- depth -----------------------------------------------------------------------------------------------


def test_depth_keeps_its_unit_in_every_frame(tmp_path):
    near, far = (np.full((424, 512), millimetres, np.uint16) for millimetres in (1000, 4000))
    near[:, :256] = 0
    far[:, :256] = 8000
    for number, frame in enumerate((near, far), 1):
        write_image(tmp_path / f"MDepth-{number:08d}.png", frame)
    frames = list(media.depth_frames(tmp_path, (10, 20), "MDepth-*.png"))
    assert {frame.shape for frame in frames} == {(10, 20, 1)}
    assert [sorted(set(frame.ravel().tolist())) for frame in frames] == [[0, 51], [204, 255]]
    right = media.depth_frames(tmp_path, (4, 4), "MDepth-*.png", crop=(0, 0.5, 1, 1))
    assert [set(frame.ravel().tolist()) for frame in right] == [{51}, {204}]


def test_depth_in_colours(tmp_path):
    for number, millimetres in enumerate((1, 1875, 2500, 3125, 5000)):
        write_image(tmp_path / f"d{number}.png", np.full((8, 8), millimetres, np.uint16))
    frames = media.depth_frames(tmp_path, (8, 8), "d*.png", jet=True)
    colours = [(frame[0, 0] / 64).round().astype(int).tolist() for frame in frames]
    assert colours == [[0, 0, 2], [0, 4, 4], [2, 4, 2], [4, 4, 0], [2, 0, 0]]


def test_depth_of_eight_bits_is_refused(tmp_path):
    write_image(tmp_path / "d1.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="expected one 16-bit channel"):
        list(media.depth_frames(tmp_path, (8, 8), "d*.png"))
