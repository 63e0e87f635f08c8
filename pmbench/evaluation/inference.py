"""Runs a sealed program over test samples, in a process that can open the program and these samples alone.

No plugin is imported here: modalities, sampling and corruptions are values of the request.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib.util
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._export.serde.serialize
import torch.export.passes
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from ..contracts.modality import Modality
from ..contracts.samples import Column, Corruption, CropParams, Sampling
from ..data import corruption, frames
from ..data.prepared import concat_columns, open_column
from ..errors import DataError, PmbenchError, SealError, plural
from ..files import file_digest
from ..isolation.forkserver import Answer
from ..isolation.landlock import Rights
from ..seeding import generator
from ..training.batches import EVALUATION_BATCH, evaluation_batches, stream
from ..training.device import make_exact
from .evaluator import AGAIN, Passes
from .program import check_archive

TOLERANCE = 1e-3
"""Largest change of a logit with the samples beside it, relative to the largest logit, at least 1."""


@dataclass(frozen=True)
class Part:
    """The columns of N samples by modality. `gallery`: samples that lack a modality are left out."""

    name: str
    columns: Mapping[str, Column]
    gallery: bool = False

    @property
    def rows(self) -> np.ndarray:
        """(n,) positions of the samples to run on; raises DataError if one to be tested lacks a modality."""
        count = next(iter(self.columns.values())).length
        whole = np.ones(count, bool)
        for name, column in self.columns.items():
            if column.present is None:
                continue
            if not self.gallery and not column.present.all():
                missing = int((~column.present).sum())
                raise DataError(
                    f"{plural(missing, 'test sample lacks', 'test samples lack')} {name!r} in {self.name!r}"
                )
            whole &= column.present
        return np.flatnonzero(whole)


@dataclass(frozen=True)
class Runner:
    """A loaded program, and how it is given samples."""

    module: Any
    moments: Sequence[float]
    device: str = "cpu"
    data_workers: int = 0

    def outputs(self, part: Part, rows: np.ndarray, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Logits (n, K) and pooled features (n, D) of the samples `rows`, in batches of at most `limit`.

        Of several clips, the logits are the logarithm of the clips' mean probabilities, and the features
        their mean.
        """
        largest = max(4 * math.prod(column.shape) for column in part.columns.values())
        batches = [
            piece
            for batch in evaluation_batches(len(rows), largest)
            for piece in np.array_split(rows[batch], math.ceil(len(batch) / limit))
        ]
        reads = (
            (batch, {name: [CropParams(t)] * len(batch) for name in part.columns})
            for batch in batches
            for t in self.moments
        )
        clips: list[tuple[Any, Any]] = []
        for arrays in stream(part.columns, reads, self.data_workers):
            inputs = [torch.from_numpy(np.asarray(arrays[m], np.float32)) for m in part.columns]
            clips.append(self.module(*(x.to(self.device) for x in inputs)))
            if len(clips) < len(self.moments):
                continue
            logits, pooled = clips[0]
            if len(clips) > 1:
                logits = torch.stack([c[0].log_softmax(1) for c in clips]).logsumexp(0) - math.log(len(clips))
                pooled = torch.stack([c[1] for c in clips]).mean(0)
            clips = []
            yield logits.cpu().numpy(), pooled.cpu().numpy()

    def run(self, part: Part, again: Passes = AGAIN) -> tuple[np.ndarray, np.ndarray]:
        """Logits (n, K) and pooled features (n, D) of a part.

        Raises SealError unless all samples have the same logits in the passes `again`.
        """
        rows = part.rows
        logits, pooled = self.joined(part, rows, EVALUATION_BATCH)
        scale = max(1.0, float(np.abs(logits).max(initial=0.0)))
        for seed, batch in again:
            order = generator(seed, "order of evaluation").permutation(len(rows))
            other, _ = self.joined(part, rows[order], batch)
            change = float(np.abs(logits[order] - other).max(initial=0.0))
            if not change <= TOLERANCE * scale:
                raise SealError(
                    f"a sample's logits change by {change:.3g} with the samples beside it in a batch",
                    "at test every sample must be classified independently",
                )
        return logits, pooled

    def joined(self, part: Part, rows: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits (n, K) and pooled features (n, D) of the samples `rows`."""
        logits, pooled = zip(*self.outputs(part, rows, limit), strict=True)
        return np.concatenate(logits), np.concatenate(pooled)


def evaluate(arguments: Mapping[str, Any], answer: Answer) -> None:
    """Runs a request, the fields of `evaluator.EvaluationRequest`; answers {"ok": ...} or {"error": ...}.

    Writes `<part>.<epoch>.logits.npy`, and with `features` `<part>.<epoch>.features.npy`, to the folder
    `out`; epoch 0 are the program's own weights.
    """
    files = [file for part in arguments["parts"] for paths in part["files"].values() for file in paths]
    rights = Rights(
        read=(
            arguments["program"],
            *filter(None, [arguments["epochs"]]),
            *files,
            *(_DEVICE_FILES if arguments["device"] != "cpu" else ()),
        ),
        write=(arguments["out"], *(("/dev",) if arguments["device"] != "cpu" else ())),
    )
    torch.set_num_threads(arguments["threads"])
    rights.apply()
    try:
        with torch.no_grad():
            answer({"ok": _evaluate(arguments)})
    except PmbenchError as error:
        answer({"error": f"{type(error).__name__}: {error.message}", "hint": error.hint})
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})


_DEVICE_FILES = (
    *("/dev", "/proc", "/sys", "/usr", "/lib", "/lib64", "/etc"),
    str(Path(torch.__file__).parents[1]),
)
"""Files that CUDA opens when a process first uses a GPU."""


class _Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = self.convolution(x).mean((2, 3))
        return self.head(pooled), pooled


def _write_frames(path: Path) -> None:
    """Writes a frames file of one frame, encoded as JPEG where that can be read."""
    codec = "jpeg" if importlib.util.find_spec("simplejpeg") else "raw"
    with path.open("wb") as file:
        writer = frames.Writer(file, codec)
        writer.add([np.zeros((8, 8, 3), np.uint8)], 1.0)
        writer.close()


def rehearse() -> None:
    """Exports, loads and runs a small program and reads a frame, so that all modules it takes are imported.

    A process that may open one program and its samples could not import them later.
    """
    torch.set_num_threads(1)
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    zeros = torch.zeros(2, 1, 3, 3)
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="pmbench-") as folder:
        file = Path(folder, "tiny.pt2")
        program = torch.export.export(_Tiny().eval(), (zeros,), dynamic_shapes=({0: batch},), strict=False)
        torch.export.save(program, file)
        with contextlib.suppress(SealError):  # it holds example inputs
            check_archive(file)
        codecs.lookup("cp437")  # names in the archives that `seal` writes
        module = torch.export.load(file).module()
        with FlopCounterMode(display=False):
            module(zeros)
        _write_frames(Path(folder, "tiny.arrow"))
        frames.Frames(Path(folder, "tiny.arrow")).read(0, [0])
        noisy = Column(2, np.zeros((2, 2, 3), np.float32))
        corruption.corrupted(noisy, Corruption(noise=1.0, delay=1), "warm-up")


def _evaluate(request: Mapping[str, Any]) -> dict[str, Any]:
    file, device = Path(request["program"]), request["device"]
    if file_digest(file) != request["sha256"]:
        raise SealError(f"{file} has changed since it was sealed", "run the same command to seal it again")
    check_archive(file)
    program = torch.export.load(file)
    if device != "cpu":
        make_exact()
        program = torch.export.passes.move_to_device_pass(program, device)
    modalities = {m["name"]: Modality(**{**m, "shape": tuple(m["shape"])}) for m in request["modalities"]}
    sampling = Sampling(**request["sampling"]) if request["sampling"] else None
    module = program.module()
    runner = Runner(module, sampling.moments() if sampling else [0.5], device, request["data_workers"])
    parts = {}
    corruptions = {name: Corruption(**values) for name, values in request["corruptions"].items()}
    for entry in request["parts"]:
        columns = {
            name: concat_columns(
                [
                    open_column(Path(file), modality, sampling, corruptions.get(name), part)
                    for part, file in zip(entry["name"].split("+"), entry["files"][name], strict=True)
                ]
            )
            for name, modality in modalities.items()
        }
        parts[entry["file"]] = Part(entry["name"], columns, entry["gallery"])

    def save(file: str, epoch: int, outputs: tuple[np.ndarray, np.ndarray]) -> None:
        for name, array in zip(("logits", "features"), outputs, strict=True):
            if name == "logits" or request["features"]:
                np.save(Path(request["out"], f"{file}.{epoch}.{name}.npy"), array.astype(np.float32))

    for file_name, part in parts.items():
        save(file_name, 0, runner.run(part, request["again"]))
    epochs = _epochs(request["epochs"], module)
    for epoch, weights in enumerate(epochs, 1):
        module.load_state_dict(weights, strict=False)
        for file_name, part in parts.items():
            save(file_name, epoch, runner.joined(part, part.rows, EVALUATION_BATCH))
    zeros = [torch.zeros(1, *modality.shape, device=device) for modality in modalities.values()]
    with FlopCounterMode(display=False) as counter:
        module(*zeros)
    return {
        "parameters": sum(p.numel() for p in program.parameters()),
        "buffers": sum(b.numel() for b in program.buffers()),
        "macs": counter.get_total_flops() // 2,
        "latency_ms": _latency(module, zeros, 15 if counter.get_total_flops() < 1e9 else 3),
        "epochs": len(epochs),
    }


def _epochs(file: str | None, module: torch.nn.Module) -> list[dict[str, torch.Tensor]]:
    """Weights of the program's network in each epoch, from a file as `Store.epochs` describes it.

    Raises SealError if a weight of the program is missing.
    """
    if file is None:
        return []
    epochs: dict[int, dict[str, torch.Tensor]] = {}
    for full, tensor in load_file(file).items():
        number, name = full.split("/", 1)
        epochs.setdefault(int(number), {})[f"network.{name}"] = tensor
    wanted = {name for name in module.state_dict() if name.startswith("network.")}
    for epoch, weights in epochs.items():
        if missing := wanted - weights.keys():
            raise SealError(f"{file} lacks {min(missing)!r} of epoch {epoch}")
    return [epochs[epoch] for epoch in sorted(epochs)]


def _latency(module: Any, sample: Sequence[torch.Tensor], repeats: int) -> float:
    """Median time in ms for one sample."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        module(*sample)
        if sample[0].device.type == "cuda":
            torch.cuda.synchronize(sample[0].device)
        times.append(time.perf_counter() - started)
    return round(sorted(times)[len(times) // 2] * 1e3, 4)
