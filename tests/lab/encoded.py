"""Small files of many containers and codecs, written by FFmpeg's encoders, and their truncations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48_000  # hertz
FPS = 25


def pictures(length: int, height: int = 48, width: int = 64) -> np.ndarray:
    """(T, H, W, 3) uint8: a gradient with a square that moves two pixels with every frame."""
    y, x = np.mgrid[:height, :width]
    frames = np.repeat(np.stack([4 * y, 3 * x, 2 * (x + y)], -1)[None].astype(np.uint8), length, 0)
    for t in range(length):
        left = 2 * (t % ((width - 16) // 2))
        frames[t, 16:32, left : left + 16] = (230, 30, 30)
    return frames


def tone(seconds: float, hertz: float = 440) -> np.ndarray:
    """(n,) in [-1, 1] at 48 kHz, with weak noise so that it does not compress to nothing."""
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.5 * np.sin(2 * np.pi * hertz * t) + np.random.default_rng(0).normal(0, 0.01, len(t))


def encode(
    path: Path,
    frames: np.ndarray | None = None,
    sound: np.ndarray | None = None,
    *,
    video: str = "libx264",
    audio: str = "aac",
    options: Mapping[str, str] = {},
    muxer: Mapping[str, str] = {},
    times: Iterable[int] | None = None,
    sound_first: bool = False,
    format: str | None = None,
    unseekable: bool = False,
) -> Path:
    """A file of `frames` (T, H, W, 3) uint8 at 25 frames per second and of `sound` (n,) at 48 kHz.

    `times` are the frames' numbers in a recording in which others are missing. `options` are those of the
    video encoder, `muxer` those of the container. An `unseekable` file is written in one pass.
    """
    target = open(path, "wb") if unseekable else None  # noqa: SIM115
    with av.open(_Pipe(target) if target else str(path), "w", format=format, options=dict(muxer)) as out:
        streams = {}
        for kind in ("audio", "video") if sound_first else ("video", "audio"):
            if kind == "video" and frames is not None:
                streams[kind] = out.add_stream(video, rate=FPS, options=dict(options))
                streams[kind].height, streams[kind].width = frames.shape[1:3]
                pixels = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(video, "yuv420p")
                streams[kind].pix_fmt = pixels
                streams[kind].codec_context.thread_count = 1
            elif kind == "audio" and sound is not None:
                streams[kind] = out.add_stream(audio, rate=RATE, layout="mono")
        packets = []
        if frames is not None:
            for number, pixels in zip(times or range(len(frames)), frames, strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                packets += streams["video"].encode(frame)
            packets += streams["video"].encode(None)
        if sound is not None:
            stream = streams["audio"]
            samples = np.rint(sound * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(stream.format.name, stream.layout, RATE, frame_size=size)
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                packets += stream.encode(part)
            packets += stream.encode(None)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            out.mux(packet)
    if target:
        target.close()
    return path


class _Pipe:
    """A file that can be written but not sought."""

    def __init__(self, file) -> None:
        self.write = file.write


def trimmed(source: Path, path: Path, first: int) -> Path:
    """The video of `source` from frame `first` on, without encoding it again: an edit list hides the packets
    before it that the first frame needs.
    """
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        offset = round(first / FPS / stream.time_base)
        for packet in container.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                packet.stream = copy
                out.mux(packet)
    return path


def cut(path: Path, share: float) -> Path:
    """Truncates a file in place."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
INTRA: Mapping[str, str] = {"g": "5", "bf": "0"}

VIDEOS: Mapping[str, tuple[str, Mapping]] = {
    "mp4": ("v.mp4", {}),
    "mp4, sound first": ("v.mp4", {"sound_first": True}),
    "mp4, header first": ("v.mp4", {"muxer": {"movflags": "faststart"}}),
    "mp4, B frames": ("v.mp4", {"options": {"bf": "3", "g": "20"}}),
    "mp4, fragments": ("v.mp4", {"muxer": FRAGMENTS, "options": INTRA}),
    "mp4, mpeg4": ("v.mp4", {"video": "mpeg4"}),
    "m4v": ("v.m4v", {}),
    "3gp": ("v.3gp", {}),
    "mov": ("v.mov", {}),
    "mkv": ("v.mkv", {}),
    "mkv, B frames, sound first": ("v.mkv", {"options": {"bf": "3"}, "sound_first": True}),
    "webm": ("v.webm", {"video": "libvpx", "audio": "libopus"}),
    "ts": ("v.ts", {"options": {"bf": "2"}}),
    "mpg": ("v.mpg", {"video": "mpeg2video", "audio": "mp2"}),
    "avi": ("v.avi", {"video": "mpeg4", "audio": "libmp3lame"}),
    "avi, mjpeg": ("v.avi", {"video": "mjpeg", "audio": "pcm_s16le"}),
    "flv": ("v.flv", {"video": "flv", "audio": "aac"}),
}
"""Name -> file name, and arguments of `encode`, of kinds of videos with sound."""

SOUNDS: Mapping[str, tuple[str, Mapping]] = {
    "wav": ("s.wav", {"audio": "pcm_s16le"}),
    "wav, float": ("s.wav", {"audio": "pcm_f32le"}),
    "wav, 64 bit": ("s.wav", {"audio": "pcm_s16le", "muxer": {"rf64": "always"}}),
    "flac": ("s.flac", {"audio": "flac"}),
    "mp3": ("s.mp3", {"audio": "libmp3lame"}),
    "opus": ("s.opus", {"audio": "libopus"}),
    "ogg": ("s.ogg", {"audio": "libopus"}),
    "m4a": ("s.m4a", {"audio": "aac", "format": "ipod"}),
}


def video(folder: Path, kind: str, frames: Sequence | np.ndarray, sound: np.ndarray | None) -> Path:
    name, options = VIDEOS[kind]
    return encode(folder / name, frames, sound, **options)


def sound(folder: Path, kind: str, samples: np.ndarray) -> Path:
    name, options = SOUNDS[kind]
    return encode(folder / name, None, samples, **options)
