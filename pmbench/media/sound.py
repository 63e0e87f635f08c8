"""The sound track of a file, and its log-mel spectrogram."""

from __future__ import annotations

from os import PathLike

import numpy as np

from ..errors import DataError, UsageError
from .extras import extra
from .video import decoded, find_stream, opened

MELS, WINDOW, HOP, LOWEST, HIGHEST = 64, 1024, 320, 50, 14_000  # bands, samples, samples, hertz, hertz


def sound(path: str | PathLike[str], rate: int = 32_000) -> np.ndarray:
    """The first sound track at `rate` hertz, float32 (n,) within [-1, 1]: the mean of its channels.

    Raises DataError where there is none (`has_audio` tells), or nothing of it can be decoded.
    """
    av = extra("av", "video")
    with opened(path) as container:
        stream = find_stream(container, "audio", path)
        stream.thread_type = "NONE"
        resampler = av.AudioResampler(format="fltp", rate=rate)
        pieces = []
        for frame in (*decoded(container, stream), None):  # None empties the resampler
            pieces += [piece.to_ndarray().mean(0) for piece in resampler.resample(frame)]
    if not sum(map(len, pieces)):
        raise DataError(f"{path}: nothing of its sound can be decoded")
    return np.concatenate(pieces).astype(np.float32)


def log_mel(samples: np.ndarray, rate: int = 32_000, *, seconds: float | None = None) -> np.ndarray:
    """Log-mel spectrogram in decibels, float32 (64, T), a column every 320 samples.

    The front end of the PANNs networks (CNN14): Hann window of 1024, power, 64 bands from 50 to 14,000 hertz,
    never below -100 dB. With `seconds`, `samples` (n,) are cut, or filled up with silence, to that duration;
    T = 1 + duration // 320.
    """
    if rate < 2 * HIGHEST:
        raise UsageError(f"bands up to {HIGHEST} hertz need a rate of {2 * HIGHEST} hertz; got {rate}")
    librosa = extra("librosa", "audio")
    if seconds is not None:
        length = round(seconds * rate)
        samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    spectrum = np.abs(librosa.stft(samples, n_fft=WINDOW, hop_length=HOP, pad_mode="reflect")) ** 2  # (F, T)
    bands = librosa.filters.mel(sr=rate, n_fft=WINDOW, n_mels=MELS, fmin=LOWEST, fmax=HIGHEST)  # (64, F)
    power = np.einsum("mf,ft->mt", bands, spectrum)  # not `@`, whose bits change with the number of cores
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).astype(np.float32)
