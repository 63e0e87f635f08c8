"""Clips of video: from the prepared form, against decoding them when they are asked for; taken in turns."""

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

STORED, SHOWN, FRAMES = (128, 171), (112, 112), 16
VIDEOS, LENGTH, CLIPS, BATCH, ROUNDS = 8, 180, 64, 8, 3


class Videos(pm.Dataset):
    """AVI files in one folder, 320 x 240 as those of UCF101."""

    name = "videos"
    summary = "generated"
    classes = ("a", "b")
    modalities = (pm.Modality("rgb", "clip", (3, FRAMES, *SHOWN), "8 bit"),)
    target, privileged = ("rgb",), ()
    splits: ClassVar = {"all": pm.Split("all", "one")}
    default_protocol = "all"
    backbones: ClassVar = {"rgb": "cnn2d-8"}
    licence, source, citation = "Apache-2.0", "generated", "none"

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        files = sorted(source.glob("*.avi"))
        load = partial(pm.media.video_frames, size=STORED)
        for part, chosen in (("all", files[1:]), ("one", files[:1])):
            labels = np.arange(len(chosen)) % 2
            yield part, pm.Part([f.stem for f in chosen], labels, {"rgb": pm.Files(chosen, load)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moving gratings with some noise: neither as easy nor as hard to encode as a camera's pictures."""
    root, chance = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    for number in range(VIDEOS):
        fx, fy, speed = chance.uniform(0.02, 0.2, 3)
        waves = np.stack([127 + 90 * np.sin(fx * x + fy * y + speed * t) for t in range(LENGTH)])
        noisy = waves[..., None] + chance.normal(0, 3, (LENGTH, 240, 320, 3))
        write_video(root / f"{number}.avi", noisy.clip(0, 255).astype(np.uint8))
    return root


def wanted(count: int = CLIPS) -> list[tuple[int, float, float, float]]:
    """(video, moment, top, left) of each clip."""
    chance = np.random.default_rng(1)
    return [(int(chance.integers(VIDEOS - 1)), *chance.random(3).tolist()) for _ in range(count)]


def sought(path: Path, moment: float, top: float, left: float) -> np.ndarray:
    """A clip decoded from its file: a seek to the key frame before it, then every frame up to its end."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        video.thread_type = "NONE"
        start = round(moment * (LENGTH - FRAMES))
        step = int(1 / (video.average_rate * video.time_base))
        container.seek(start * step, stream=video)
        found = []
        for frame in container.decode(video):
            if frame.pts // step >= start:
                found.append(frame.reformat(STORED[1], STORED[0], "rgb24").to_ndarray())
            if len(found) == FRAMES:
                break
    y, x = round(top * (STORED[0] - SHOWN[0])), round(left * (STORED[1] - SHOWN[1]))
    clip = np.stack(found)[:, y : y + SHOWN[0], x : x + SHOWN[1]]
    return np.ascontiguousarray(clip.transpose(3, 0, 1, 2))


class Sought(TorchDataset[torch.Tensor]):
    def __init__(self, folder: Path) -> None:
        self.files, self.wanted = sorted(folder.glob("*.avi"))[1:], wanted()

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, index: int) -> torch.Tensor:
        video, *where = self.wanted[index]
        return torch.from_numpy(sought(self.files[video], *where))


def ours(prepared: Prepared, threads: int) -> int:
    column = prepared.column("all", "rgb")
    clips = wanted()
    batches = (
        (
            np.array([c[0] for c in clips[i : i + BATCH]]),
            {"rgb": [pm.CropParams(*c[1:]) for c in clips[i : i + BATCH]]},
        )
        for i in range(0, CLIPS, BATCH)
    )
    return sum(len(arrays["rgb"]) for arrays in stream({"rgb": column}, batches, threads))


def by_loader(loader: DataLoader[torch.Tensor]) -> int:
    return sum(len(batch) for batch in loader)


def test_clips_a_second(folder: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    root = {codec: tmp_path / codec for codec in ("jpeg", "raw")}
    prepared = {codec: prepare(Videos(), folder, root[codec], workers=2, codec=codec) for codec in root}
    ways: dict[str, Callable[[], Any]] = {}
    for threads in (0, 1, 2):
        for codec in root:
            ways[f"prepared, {codec}, {threads} threads"] = partial(ours, prepared[codec], threads)
    files = sorted(folder.glob("*.avi"))[1:]
    ways["PyAV, seek and decode"] = lambda: [sought(files[v], *where) for v, *where in wanted()]
    for workers in (1, 2):
        loader = DataLoader(Sought(folder), BATCH, num_workers=workers, persistent_workers=True)
        by_loader(loader)  # processes are started once
        ways[f"DataLoader over it, {workers} workers"] = partial(by_loader, loader)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    best = {name: statistics.median(times) for name, times in seconds.items()}
    plain = best["PyAV, seek and decode"]
    size = {codec: p.path("all", "rgb").stat().st_size / len(files) / 1e6 for codec, p in prepared.items()}
    size["avi"] = sum(f.stat().st_size for f in files) / len(files) / 1e6
    for name, time_ in best.items():
        print(f"{name:32} {CLIPS / time_:8.0f} clips/s {plain / time_:7.1f} x")
        benchmark.extra_info[name] = round(plain / time_, 2)
    print({name: f"{mb:.2f} MB a video of {LENGTH} frames" for name, mb in size.items()})
    benchmark.extra_info |= {f"{name}, MB": round(mb, 3) for name, mb in size.items()}
    benchmark.pedantic(ways["prepared, jpeg, 0 threads"], rounds=1)
    assert plain / best["prepared, jpeg, 0 threads"] >= 4
    assert plain / best["prepared, raw, 0 threads"] >= 50
