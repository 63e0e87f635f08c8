"""The audio stream of a file, and its log-mel spectrogram."""

from __future__ import annotations

import functools
from os import PathLike

import numpy as np

from ..errors import DataError
from .extras import extra
from .video import decoded, find_stream, opened

RATE = 32_000  # hertz
LOUDEST = 1e6
"""Files of floating-point numbers may exceed 1; only damaged ones have samples like this."""
MELS, WINDOW, HOP, LOWEST, HIGHEST = 64, 1024, 320, 50, 14_000  # bands, samples, samples, hertz, hertz


def sound(path: str | PathLike[str]) -> np.ndarray:
    """The first audio stream at 32 kHz, float32 (n,): the mean of its channels, 1 is full scale.

    Raises DataError if there is none (see `has_audio`), or if it is truncated or damaged.
    """
    av = extra("av", "video")
    with opened(path) as container:
        stream = find_stream(container, "audio", path)
        stream.thread_type = "NONE"
        channels = stream.codec_context.channels
        planar = channels < 8  # PyAV reads beyond the last of eight planes or more
        resampler = av.AudioResampler(format="fltp" if planar else "flt", rate=RATE)
        pieces = []
        for frame in (*decoded(container, stream, path), None):  # None flushes the resampler
            try:
                resampled = resampler.resample(frame)
            except ValueError as error:
                raise DataError(f"{path}: its audio changes its rate or channels midway") from error
            for piece in resampled:
                samples = piece.to_ndarray()
                pieces.append(samples.mean(0) if planar else samples.reshape(-1, channels).mean(1))
    if not sum(map(len, pieces)):
        raise DataError(f"{path}: its audio cannot be decoded")
    samples = np.concatenate(pieces).astype(np.float32)
    loudest = np.abs(samples).max()
    if not loudest < LOUDEST:  # or not a number
        raise DataError(f"{path}: a sample of its audio is {loudest}; expected -1 to 1", "get it again")
    return samples


def log_mel(samples: np.ndarray, *, seconds: float | None = None) -> np.ndarray:
    """Log-mel spectrogram in decibels of `samples` (n,) at 32 kHz, float32 (64, 1 + n // 320).

    The front end of the PANNs networks (CNN14): Hann window of 1024 samples, hop of 320, power, 64 bands from
    50 to 14,000 hertz, at least -100 dB. With `seconds`, samples are truncated or zero-padded to that
    duration.

    Its bits are those of `librosa.stft`, `filters.mel` and `power_to_db`, which take 15 s to import.
    """
    import scipy.fft

    if seconds is not None:
        length = round(seconds * RATE)
        samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    window = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, WINDOW + 1)[:-1])
    padded = np.pad(samples, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]  # (T, 1024)
    spectrum = np.abs(scipy.fft.rfft(window * frames).astype(np.complex64)) ** 2  # (T, F)
    power = np.einsum("mf,tf->mt", _bands(), spectrum)  # not `@`, whose bits change with the number of cores
    return 10 * np.log10(np.maximum(np.float32(1e-10), power))


@functools.cache
def _bands() -> np.ndarray:
    """Triangular filters of equal area on the mel scale of Slaney's Auditory Toolbox, float32 (64, F).

    That scale is linear up to 1000 hertz, three mels for 200 hertz, and logarithmic above, 27 mels for a
    factor of 6.4.
    """
    linear, bend, step = 200 / 3, 1000.0, np.log(6.4) / 27
    highest = bend / linear + np.log(HIGHEST / bend) / step
    mels = np.linspace(LOWEST / linear, highest, MELS + 2)
    above = mels >= bend / linear
    hertz = np.where(above, bend * np.exp(step * (mels - bend / linear)), linear * mels)
    ramps = np.subtract.outer(hertz, np.fft.rfftfreq(WINDOW, 1 / RATE))  # (66, F)
    widths = np.diff(hertz)[:, None]
    bands = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:])).astype(np.float32)
    bands *= (2.0 / (hertz[2:] - hertz[:-2]))[:, None]
    return bands
