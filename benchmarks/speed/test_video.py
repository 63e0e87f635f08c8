"""Clips per second: read from the prepared form, and decoded from video files on demand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import pmbench as pm
from pmbench.data.prepare import prepare
from pmbench.data.prepared import Prepared
from pmbench.testing.media import write_video
from pmbench.training.batches import stream

STORED, CROP, FRAMES = (128, 171), (112, 112), 16
VIDEOS, LENGTH, CLIPS, BATCH, ROUNDS = 8, 180, 64, 8, 3


class Videos(pm.Dataset):
    """AVI files in one folder, 320 x 240 like those of UCF101."""

    name = "videos"
    summary = "generated"
    classes = ("a", "b")
    modalities = (pm.Modality("rgb", "clip", (3, FRAMES, *CROP), "8 bit"),)
    target, privileged = ("rgb",), ()
    splits: ClassVar = {"all": pm.Split("all", "one")}
    default_protocol = "all"
    backbones: ClassVar = {"rgb": "cnn2d-8"}
    licence, source, citation = "Apache-2.0", "generated", "none"

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        files = sorted(source.glob("*.avi"))
        load = partial(pm.media.video_frames, size=STORED)
        for part, paths in (("all", files[1:]), ("one", files[:1])):
            labels = np.arange(len(paths)) % 2
            yield part, pm.Part([f.stem for f in paths], labels, {"rgb": pm.Files(paths, load)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of moving gratings with noise."""
    root, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    for number in range(VIDEOS):
        fx, fy, speed = rng.uniform(0.02, 0.2, 3)
        waves = np.stack([127 + 90 * np.sin(fx * x + fy * y + speed * t) for t in range(LENGTH)])
        noisy = waves[..., None] + rng.normal(0, 3, (LENGTH, 240, 320, 3))
        write_video(root / f"{number}.avi", noisy.clip(0, 255).astype(np.uint8))
    return root


def random_clips(count: int = CLIPS) -> list[tuple[int, float, float, float]]:
    """(video, t, y, x) of each clip."""
    rng = np.random.default_rng(1)
    return [(int(rng.integers(VIDEOS - 1)), *rng.random(3).tolist()) for _ in range(count)]


def decode_clip(path: Path, moment: float, top: float, left: float) -> np.ndarray:
    """A clip decoded from its file: seeks to the preceding key frame, then decodes up to the clip's end."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        video.thread_type = "NONE"
        start = round(moment * (LENGTH - FRAMES))
        assert video.average_rate is not None
        assert video.time_base is not None
        step = int(1 / (video.average_rate * video.time_base))
        container.seek(start * step, stream=video)
        found = []
        for frame in container.decode(video):
            if frame.pts is not None and frame.pts // step >= start:
                found.append(frame.reformat(STORED[1], STORED[0], "rgb24").to_ndarray())
            if len(found) == FRAMES:
                break
    y, x = round(top * (STORED[0] - CROP[0])), round(left * (STORED[1] - CROP[1]))
    clip = np.stack(found)[:, y : y + CROP[0], x : x + CROP[1]]
    return np.ascontiguousarray(clip.transpose(3, 0, 1, 2))


class DecodedClips(TorchDataset[torch.Tensor]):
    def __init__(self, folder: Path) -> None:
        self.files, self.clips = sorted(folder.glob("*.avi"))[1:], random_clips()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> torch.Tensor:
        video, *crop = self.clips[index]
        return torch.from_numpy(decode_clip(self.files[video], *crop))


def read_prepared(prepared: Prepared, threads: int) -> int:
    column = prepared.column("all", "rgb")
    clips = random_clips()
    batches = (
        (
            np.array([c[0] for c in clips[i : i + BATCH]]),
            {"rgb": [pm.CropParams(*c[1:]) for c in clips[i : i + BATCH]]},
        )
        for i in range(0, CLIPS, BATCH)
    )
    return sum(len(arrays["rgb"]) for arrays in stream({"rgb": column}, batches, threads))


def read_loader(loader: DataLoader[torch.Tensor]) -> int:
    return sum(len(batch) for batch in loader)


def test_clips_per_second(folder: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    root = {codec: tmp_path / codec for codec in ("jpeg", "raw")}
    prepared = {codec: prepare(Videos(), folder, root[codec], workers=2, codec=codec) for codec in root}
    readers: dict[str, Callable[[], Any]] = {}
    for threads in (0, 1, 2):
        for codec in root:
            readers[f"prepared, {codec}, {threads} threads"] = partial(
                read_prepared, prepared[codec], threads
            )
    files = sorted(folder.glob("*.avi"))[1:]
    readers["PyAV, seek and decode"] = lambda: [decode_clip(files[v], *crop) for v, *crop in random_clips()]
    for workers in (1, 2):
        loader = DataLoader(DecodedClips(folder), BATCH, num_workers=workers, persistent_workers=True)
        read_loader(loader)  # starts the processes
        readers[f"PyAV in DataLoader, {workers} workers"] = partial(read_loader, loader)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            started = time.perf_counter()
            reader()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    baseline = medians["PyAV, seek and decode"]
    size = {codec: p.path("all", "rgb").stat().st_size / len(files) / 1e6 for codec, p in prepared.items()}
    size["avi"] = sum(f.stat().st_size for f in files) / len(files) / 1e6
    for name, median in medians.items():
        print(f"{name:32} {CLIPS / median:8.0f} clips/s {baseline / median:7.1f} x")
        benchmark.extra_info[name] = round(baseline / median, 2)
    print({name: f"{mb:.2f} MB per video of {LENGTH} frames" for name, mb in size.items()})
    benchmark.extra_info |= {f"{name}, MB": round(mb, 3) for name, mb in size.items()}
    benchmark.pedantic(readers["prepared, jpeg, 0 threads"], rounds=1)
    assert baseline / medians["prepared, jpeg, 0 threads"] >= 4
    assert baseline / medians["prepared, raw, 0 threads"] >= 50
