"""AMID on generated clips of UCF51's size: clips per second, share of time waiting for data, memory.

    uv run python benchmarks/speed/video_training.py --device cuda --precision bf16

Prepares `--videos` generated videos as `ucf51` stores them (128 x 171, 180 frames, and 10 s of log-mel), runs
`pmbench run --method amid` on them with the backbones and batch size of `ucf51`, and prints the cost of its
stages. The user's store and data are not read; with `--raw` no JPEG library is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

GENERATED = '''
from functools import partial

import numpy as np
import pmbench as pm
import pmbench_ucf

FRAMES = 180


def frames(number, size):
    """Moving gratings with noise."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: size[0], : size[1]]
    fx, fy, speed = rng.uniform(0.02, 0.2, 3)
    noise = rng.normal(0, 3, (*size, 3))
    for t in range(FRAMES):
        grey = 127 + 90 * np.sin(fx * x + fy * y + speed * t)
        yield (grey[..., None] + np.roll(noise, 7 * t, 0)).clip(0, 255).astype(np.uint8)


def sound(number, shape):
    return np.random.default_rng(number).normal(-40, 10, shape).astype(np.float32)


class Generated(pmbench_ucf.Ucf51):
    name = "ucf51-generated"
    modalities = pmbench_ucf.Ucf51.modalities[:2]
    expected = {}
    unpack = False

    def read(self, source):
        videos = int((source / "videos").read_text())
        parts = ("fold-1", "fold-2", "fold-3", "rest")
        for i, part in enumerate(parts):
            numbers = list(range(i, videos, len(parts)))
            yield part, pm.Part(
                [f"v{n}" for n in numbers],
                np.array([n // len(parts) % len(self.classes) for n in numbers]),
                {
                    "rgb": pm.Files(numbers, partial(frames, size=self.stored)),
                    "audio": pm.Files(numbers, partial(sound, shape=self.modality("audio").shape), rows=True),
                },
                [f"g{24 + n // len(parts) % 2 if part == 'rest' else n}" for n in numbers],
            )


@pm.hookimpl
def pmbench_datasets():
    return (Generated(),)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16", choices=("32", "bf16"))
    parser.add_argument("--videos", type=int, default=512, metavar="N")
    parser.add_argument("--epochs", type=int, default=2, metavar="N")
    parser.add_argument("--batch", type=int, default=16, metavar="N")
    parser.add_argument("--data-workers", type=int, default=4, metavar="N", help="threads that read ahead")
    parser.add_argument("--raw", action="store_true", help="store raw frames instead of JPEG")
    parser.add_argument("--backbone", metavar="NAMES", help="in place of ucf51's, for a trial on a CPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pmbench-video-") as scratch:
        measure(options, Path(scratch))


def measure(options: argparse.Namespace, root: Path) -> None:
    """Prepares the data, runs the method, and prints a row per stage."""
    installed = root / "site" / "pmbench_generated-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: pmbench-generated\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pmbench]\npmbench_generated = pmbench_generated\n")
    (root / "site" / "pmbench_generated.py").write_text(GENERATED, encoding="utf-8")
    (root / "videos").write_text(str(options.videos))
    environment = os.environ | {
        "PYTHONPATH": str(root / "site"),
        "PMBENCH_STORE": str(root / "store"),
        "PMBENCH_DATA": str(root / "data"),
    }

    def pmbench(*args: str) -> None:
        subprocess.run([sys.executable, "-m", "pmbench", *args], cwd=root, env=environment, check=True)

    pmbench("data", "prepare", "ucf51-generated", "--source", str(root), *(["--raw"] if options.raw else []))
    sets = {"epochs": options.epochs, "batch_size": options.batch, "precision": options.precision}
    pmbench(
        *("run", "--method", "amid", "--dataset", "ucf51-generated", "--seeds", "1", "--no-references"),
        *("--device", options.device, "--data-workers", str(options.data_workers), "--workers", "0"),
        *(["--backbone", options.backbone] if options.backbone else []),
        *(part for name, value in sets.items() for part in ("--set", f"recipe.{name}={value}")),
    )
    print(f"{'stage':16} {'clips/s':>8} {'waiting':>8} {'memory':>10}")
    for path in sorted((root / "store").rglob("stage.json")):
        stage = json.loads(path.read_text(encoding="utf-8"))
        cost, recipe = stage["cost"], stage["inputs"]["recipe"]
        name = f"{stage['stage']}({', '.join(stage['inputs']['modalities'])})"
        clips = cost["steps"] * recipe["batch_size"] / cost["seconds"]
        memory = f"{cost['memory'] / 2**30:.2f} GiB" if cost["memory"] else "-"
        print(f"{name:16} {clips:8.1f} {100 * cost['waited'] / cost['seconds']:6.1f} % {memory:>10}")


if __name__ == "__main__":
    main()
