"""Writes video and image files with real encoders."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...media.extras import extra

RATE = 44_100  # hertz, of sound in videos
AAC = 1_024  # samples of a frame
CONTAINERS = {
    ".avi": ("avi", "mpeg4", "pcm_s16le"),
    ".mp4": ("mp4", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".flv": ("flv", "flv", "libmp3lame"),
}
"""Suffix -> format, encoder of frames, encoder of sound."""


def write_video(
    path: Path,
    frames: np.ndarray,
    *,
    fps: int = 25,
    sound: np.ndarray | None = None,
    mp3: bool = False,
    reported: int | None = None,
    times: Sequence[int] | None = None,
) -> None:
    """A video of frames (T, H, W, 3) uint8, H and W even, and of `sound` (n,) or (n, 2), see `CONTAINERS`.

    `sound` is in [-1, 1] at 44,100 hertz; with `mp3` it is kept as MP3. `reported` replaces the number of
    frames in the header of an AVI. `times` are the moments at which frames are shown, in units of 1 / `fps`
    seconds; by default each follows the one before it.
    """
    av = extra("av", "video")
    path.parent.mkdir(parents=True, exist_ok=True)
    format_, codec, codec_of_sound = CONTAINERS[path.suffix]
    with av.open(str(path), "w", format=format_) as container:
        video = container.add_stream(codec, rate=fps, options={"qmin": "2", "qmax": "6"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        packets = []
        audio = None
        if sound is not None:
            sound = sound.reshape(len(sound), -1)  # (n, channels)
            layout = "stereo" if sound.shape[1] == 2 else "mono"
            audio = container.add_stream("libmp3lame" if mp3 else codec_of_sound, rate=RATE, layout=layout)
        for pixels, time in zip(frames, times or range(len(frames)), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, fps)
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None and sound is not None:
            samples = np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)
            piece = 1152  # samples of an MP3 frame
            length = {"frame_size": AAC} if audio.codec_context.name == "aac" else {}
            resampler = av.AudioResampler(format=audio.format.name, layout=audio.layout, rate=RATE, **length)
            for start in range(0, len(samples), piece):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples[start : start + piece].reshape(1, -1)), "s16", layout
                )
                frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
                for part in resampler.resample(frame):
                    packets += audio.encode(part)
            for part in resampler.resample(None):
                packets += audio.encode(part)
            packets += audio.encode(None)
        for packet in packets:
            container.mux(packet)
    if reported is not None:
        content = bytearray(path.read_bytes())
        at = content.index(b"vids") + 32  # dwLength of the first stream's header
        content[at : at + 4] = reported.to_bytes(4, "little")
        path.write_bytes(content)


def write_image(path: Path, image: np.ndarray) -> None:
    """A PNG of uint16 (H, W), or a PNG or JPEG, by suffix, of uint8 (H, W) or (H, W, 3)."""
    av = extra("av", "video")
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = "gray16le" if image.dtype == np.uint16 else "rgb24" if image.ndim == 3 else "gray"
    jpeg = path.suffix in (".jpg", ".jpeg")
    wanted = "yuvj420p" if jpeg else {"gray16le": "gray16be"}.get(layout, layout)
    codec: Any = av.CodecContext.create("mjpeg" if jpeg else "png", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = wanted, Fraction(1, 25)
    if jpeg:
        codec.options = {"qmin": "2", "qmax": "2"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), layout).reformat(format=wanted)
    path.write_bytes(b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None))))
