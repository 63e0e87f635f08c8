"""Files of many containers and codecs: whole ones are read whole, truncated ones are refused."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import av
import encoded
import numpy as np
import pytest

from pmbench import media
from pmbench.errors import DataError
from pmbench.media import endings

pytestmark = pytest.mark.slow  # a hundred encoded files
FRAMES = 50
SHARES = (0.25, 0.5, 0.75)


def frames_of(path: Path) -> list[np.ndarray]:
    return list(media.video_frames(path, (48, 64)))


def seconds_of(path: Path) -> float:
    return len(media.sound(path)) / 32_000


def refused(read, path: Path, match: str = "is truncated|cannot be read|can be decoded") -> None:
    with pytest.raises(DataError, match=match) as caught:
        read(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("kind", encoded.VIDEOS)
def test_whole_videos_are_read_whole(tmp_path, kind):
    written = encoded.pictures(FRAMES)
    path = encoded.video(tmp_path, kind, written, encoded.tone(2.0))
    frames = np.stack(frames_of(path))
    assert len(frames) == FRAMES
    assert np.abs(frames.astype(int) - written).mean() < 20
    assert seconds_of(path) == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize("kind", encoded.VIDEOS)
def test_truncated_videos_are_refused(tmp_path, kind):
    whole = encoded.video(tmp_path, kind, encoded.pictures(FRAMES), encoded.tone(2.0)).read_bytes()
    path = tmp_path / encoded.VIDEOS[kind][0]
    for share in SHARES:
        end = int(share * len(whole)) // 188 * 188 + 100  # within a packet of 188 bytes
        path.write_bytes(whole[:end])
        refused(frames_of, path)
        refused(seconds_of, path)


@pytest.mark.parametrize("kind", encoded.VIDEOS)
def test_videos_of_a_few_frames_are_whole(tmp_path, kind):
    for length in (1, 2, 5):
        path = encoded.video(tmp_path, kind, encoded.pictures(length), encoded.tone(length / 25))
        assert len(frames_of(path)) == length


@pytest.mark.parametrize("kind", encoded.SOUNDS)
def test_whole_sounds_are_read_whole(tmp_path, kind):
    for seconds in (0.1, 2.0):
        path = encoded.sound(tmp_path, kind, encoded.tone(seconds))
        assert seconds_of(path) == pytest.approx(seconds, abs=0.06)
    samples = media.sound(path)
    assert np.abs(np.fft.rfft(samples)).argmax() * 32_000 / len(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("kind", encoded.SOUNDS)
def test_truncated_sounds_are_refused(tmp_path, kind):
    whole = encoded.sound(tmp_path, kind, encoded.tone(2.0)).read_bytes()
    path = tmp_path / encoded.SOUNDS[kind][0]
    for share in SHARES:
        path.write_bytes(whole[: int(share * len(whole))])
        refused(seconds_of, path)


# --- what looks like a truncation ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_a_clip_cut_without_encoding_it_again(tmp_path, ending):
    """The header counts packets before the first frame that is shown."""
    written = encoded.pictures(60)
    options = {"options": {"g": "60", "bf": "2"}}
    path = encoded.trimmed(
        encoded.encode(tmp_path / "long.mp4", written, **options), tmp_path / f"clip.{ending}", 38
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 60
    frames = np.stack(frames_of(path))
    assert len(frames) in (22, 24)  # with two that are hidden only from B frames
    assert np.abs(frames[-22:].astype(int) - written[38:]).mean() < 20
    encoded.cut(path, 0.5)
    refused(frames_of, path)


def test_an_edit_list_hides_the_end(tmp_path):
    path = encoded.encode(tmp_path / "v.mp4", encoded.pictures(60), options={"bf": "0", "g": "10"})
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12  # the duration of the first edit, in milliseconds
    content[at : at + 4] = (1200).to_bytes(4, "big")
    path.write_bytes(content)
    assert 30 <= len(frames_of(path)) <= 32


SPARSE = [*range(20), *range(20, 60, 4), 74]
"""Frames of a recording that repeats none while nothing moves: 31 of 75."""


@pytest.mark.parametrize("kind", ["mp4", "mp4, fragments", "mov", "mkv", "ts", "avi", "flv", "webm"])
def test_a_variable_frame_rate_is_no_truncation(tmp_path, kind):
    name, options = encoded.VIDEOS[kind]
    path = encoded.encode(
        tmp_path / name, encoded.pictures(len(SPARSE)), encoded.tone(3.0), times=SPARSE, **options
    )
    assert len(frames_of(path)) == len(SPARSE)
    assert seconds_of(path) == pytest.approx(3.0, abs=0.12)
    encoded.cut(path, 0.51)
    refused(frames_of, path)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mp4, fragments", "flv", "avi"])
@pytest.mark.parametrize(("frames", "seconds"), [(20, 3.0), (75, 0.5)])
def test_one_stream_may_be_shorter_than_the_other(tmp_path, kind, frames, seconds):
    path = encoded.video(tmp_path, kind, encoded.pictures(frames), encoded.tone(seconds))
    assert len(frames_of(path)) == frames
    assert seconds_of(path) == pytest.approx(seconds, abs=0.12)


@pytest.mark.parametrize("kind", ["mkv", "webm", "flv", "ts"])
def test_a_video_without_a_duration_in_its_header(tmp_path, kind):
    name, options = encoded.VIDEOS[kind]
    format = {"mkv": "matroska", "ts": "mpegts"}.get(kind, kind)
    path = encoded.encode(
        tmp_path / name, encoded.pictures(50), encoded.tone(2.0), unseekable=True, format=format, **options
    )
    assert len(frames_of(path)) == 50
    assert seconds_of(path) == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_a_sound_without_a_duration_in_its_header(tmp_path, kind):
    name, options = encoded.SOUNDS[kind]
    path = encoded.encode(tmp_path / name, None, encoded.tone(2.0), unseekable=True, format=kind, **options)
    assert seconds_of(path) == pytest.approx(2.0, abs=0.08)


NO_DURATION = {
    "mp3": ("s.mp3", "mp3", {"audio": "libmp3lame", "muxer": {"write_xing": "0"}}, "ends within a frame"),
    "mp3, with tags": ("s.mp3", "mp3", {"audio": "libmp3lame", "unseekable": True}, "ends within a frame"),
    "aac": ("s.aac", "adts", {}, "ends within a frame"),
    "w64": ("s.w64", "w64", {"audio": "pcm_s16le"}, "ends within its samples, of which [0-9,]+ bytes are"),
    "mka": ("s.mka", "matroska", {"unseekable": True}, "ends within an element"),
    "mka, sizes": ("s.mka", "matroska", {}, "is truncated"),
}
"""Name -> file, FFmpeg's format, arguments of `encode`, and what is said of a truncated one."""


@pytest.mark.parametrize("kind", NO_DURATION)
def test_files_that_do_not_tell_their_duration_are_whole_to_the_last_frame(tmp_path, kind):
    name, format, options, match = NO_DURATION[kind]
    path = encoded.encode(tmp_path / name, None, encoded.tone(2.0), format=format, **options)
    assert seconds_of(path) == pytest.approx(2.0, abs=0.08)
    whole = path.read_bytes()
    for end in (len(whole) // 3 + 1, len(whole) // 2 + 11, len(whole) - 100):
        path.write_bytes(whole[:end])
        refused(seconds_of, path, match)


def test_files_that_tell_their_length(tmp_path):
    """Others may end between two packets, which nothing shows."""
    for kind in ("mp4", "mkv", "avi", "flv", "ts", "mpg"):
        path = encoded.video(tmp_path, kind, encoded.pictures(5), encoded.tone(0.2))
        assert media.tells_length(path) == (kind not in ("ts", "mpg")), kind
    for kind, (name, format, options, _) in NO_DURATION.items():
        path = encoded.encode(tmp_path / name, None, encoded.tone(0.5), format=format, **options)
        assert media.tells_length(path) == (kind in ("w64", "mka, sizes")), kind
    for kind in ("wav", "flac", "mp3"):
        assert media.tells_length(encoded.sound(tmp_path, kind, encoded.tone(0.5))), kind


def test_frames_of_an_mp3_of_every_version_are_measured_right(tmp_path):
    """MPEG 1, 2 and 2.5: a wrong length would lose the frames, or take a whole file for a part of one."""
    for rate, bits in ((44_100, 128), (48_000, 320), (32_000, 64), (22_050, 64), (16_000, 24), (8_000, 16)):
        path = tmp_path / f"{rate}.mp3"
        with av.open(str(path), "w", options={"write_xing": "0", "id3v2_version": "0"}) as out:
            stream = out.add_stream("libmp3lame", rate=rate, layout="mono")
            stream.bit_rate = 1000 * bits
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * rate), np.int16), "s16p", "mono")
            frame.sample_rate, frame.pts = rate, 0
            out.mux([*stream.encode(frame), *stream.encode(None)])
        whole = path.read_bytes()
        assert endings.truncation(path, "mp3") == ""
        path.write_bytes(whole[:-1])
        assert endings.truncation(path, "mp3") == "a frame"


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFF0000, 36])
def test_a_wav_with_a_placeholder_for_its_size(tmp_path, size):
    path = encoded.sound(tmp_path, "wav", encoded.tone(0.5))
    content = path.read_bytes()
    at = content.index(b"data") + 4
    size = size if size > 1000 else len(content) - at - 4 + 36  # the head counted among the samples
    path.write_bytes(content[:at] + size.to_bytes(4, "little") + content[at + 4 :])
    assert seconds_of(path) == pytest.approx(0.5)


def test_tags_before_and_after_an_mp3(tmp_path):
    path = encoded.sound(tmp_path, "mp3", encoded.tone(2.0))
    whole = path.read_bytes()
    picture = b"ID3\x04\0\0\0\0\x40\0" + bytes(8192)  # 64 * 128 bytes
    path.write_bytes(picture + whole[whole.index(b"\xff\xfb") :] + b"TAG" + bytes(125))
    assert seconds_of(path) == pytest.approx(2.0, abs=0.06)
    path.write_bytes(path.read_bytes()[: len(whole) // 2 + 8192])
    refused(seconds_of, path, "it ends after")


def test_a_wav_may_be_followed_by_other_chunks(tmp_path):
    path = encoded.sound(tmp_path, "wav", encoded.tone(0.5))
    path.write_bytes(path.read_bytes() + b"LIST\x04\0\0\0INFO")
    assert seconds_of(path) == pytest.approx(0.5)


def test_animations(tmp_path):
    path = encoded.encode(tmp_path / "v.gif", encoded.pictures(20), video="gif")
    assert len(frames_of(path)) == 20
    content = path.read_bytes()
    for share in SHARES:
        path.write_bytes(content[: int(share * len(content))])
        refused(frames_of, path)
        refused(lambda path: media.image(path, 24), path)


def test_most_packets_are_damaged(tmp_path):
    path = encoded.encode(tmp_path / "v.mp4", encoded.pictures(50), options={"g": "1"}, video="mpeg4")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat")
    third = (content.index(b"moov") - start) // 3
    content[start + third : start + 2 * third] = bytes(third)
    path.write_bytes(content)
    refused(frames_of, path, r"is damaged: \d+ of 50 packets cannot be decoded")


def test_a_fragment_without_its_samples(tmp_path):
    path = encoded.video(tmp_path, "mp4, fragments", encoded.pictures(50), None)
    content = path.read_bytes()
    last = [found.start() for found in re.finditer(b"moof", content)][-1] - 4
    path.write_bytes(content[: last + int.from_bytes(content[last : last + 4], "big")])
    refused(frames_of, path, "a fragment, whose samples are missing")


def test_a_transport_stream_cut_between_two_packets(tmp_path):
    """Files that end between two frames cannot be told from whole ones; all others are refused."""
    path = encoded.encode(tmp_path / "v.ts", encoded.pictures(50), encoded.tone(2.0), audio="mp2")
    whole = path.read_bytes()
    assert seconds_of(path) == pytest.approx(2.0, abs=0.12)
    sound = [at for at in range(0, len(whole), 188) if whole[at + 1] & 0x5F == 0x41 and whole[at + 2] == 1]
    for start in sound[1::9]:  # a frame of sound has several packets
        path.write_bytes(whole[: start + 188])
        refused(frames_of, path, "ends within a frame")
        refused(seconds_of, path, "ends within a frame")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_numbers_that_are_no_sound(tmp_path, value):
    path = encoded.sound(tmp_path, "wav, float", encoded.tone(0.5))
    content = bytearray(path.read_bytes())
    content[8000:8004] = np.float32(value).tobytes()
    path.write_bytes(content)
    refused(seconds_of, path, "a sample of its audio is .*; expected -1 to 1")


@pytest.mark.parametrize("channels", [2, 8, 9, 17])
def test_many_channels(tmp_path, channels):
    """Decoders may crash for more than eight channels."""
    samples = np.rint(20_000 * encoded.tone(0.5)).astype("<i2")
    with wave.open(str(tmp_path / "s.wav"), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(encoded.RATE)
        out.writeframes(np.stack([samples] + [samples // 2] * (channels - 1), 1).tobytes())
    found = media.sound(tmp_path / "s.wav")
    assert len(found) == 16_000
    loudness = (1 + 0.5 * (channels - 1)) / channels * np.std(samples / 32_768)
    assert found.std() == pytest.approx(loudness, rel=0.02)


def test_the_rate_changes_midway(tmp_path):
    pieces = []
    for rate in (48_000, 24_000):
        path = tmp_path / f"{rate}.mp2"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mp2", rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
            frame.sample_rate = rate
            packets = [packet for _ in range(20) for packet in stream.encode(frame)]
            for packet in packets:
                packet.pts = packet.dts = None
                out.mux(packet)
        pieces.append(path.read_bytes())
    (tmp_path / "s.mp2").write_bytes(b"".join(pieces))
    refused(seconds_of, tmp_path / "s.mp2", "changes its rate or channels midway")


def test_short_sounds_of_a_low_rate(tmp_path):
    """A coded frame has 1024 samples, 0.13 seconds, and the last one is filled up."""
    path = tmp_path / "s.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2400), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 8000, 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    assert 0.25 < seconds_of(path) < 0.5


def test_an_unknown_codec_is_refused(tmp_path):
    path = encoded.video(tmp_path, "mkv", encoded.pictures(5), encoded.tone(0.2))
    content = path.read_bytes()
    assert content.count(b"V_MPEG4/ISO/AVC") == content.count(b"A_AAC") == 1
    path.write_bytes(content.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ").replace(b"A_AAC", b"A_XYZ"))
    refused(frames_of, path, "has video of a codec that FFmpeg cannot decode")
    refused(media.frame_rate, path, "has video of a codec that FFmpeg cannot decode")
    refused(seconds_of, path, "has audio of a codec that FFmpeg cannot decode")
