"""Client of the processes that run sealed programs: sends requests, checks answers, writes predictions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.modality import Modality
from ..contracts.protocol import Protocol
from ..data.prepared import Prepared
from ..errors import PluginError, SealError, plural
from ..files import file_digest, write_atomic
from ..isolation.forkserver import ChildError, Forkserver

if TYPE_CHECKING:
    import numpy as np

_INFERENCE = "pmbench.evaluation.inference"
PRELOAD = ("numpy.ma", f"{_INFERENCE}:rehearse")
"""What the server of its processes has to import and call. `numpy.ma` is imported on first use otherwise."""
Passes = Sequence[tuple[int, int]]
"""Passes over the samples after the first: seed of the order of each, and batch size."""
AGAIN: Passes = ((0, 97),)


@dataclass(frozen=True)
class EvaluationRequest:
    """One evaluation of a sealed program with digest `sha256` on the test part of a protocol.

    `inputs` are the program's modalities. Predictions are written to `out`, with `features` also pooled
    features, and those of the samples of part `gallery` to `<out>.gallery.parquet`. `epochs` is a file with
    the network's weights "<epoch>/<name>" of each epoch, in place of the program's; what they predict is
    written to files of the same kind, `epoch_out(epoch)`. `again`: seed of the order and batch size of each
    pass that has to repeat the first.
    """

    program: Path
    sha256: str
    prepared: Prepared
    protocol: Protocol
    inputs: tuple[str, ...]
    out: Path
    features: bool = False
    gallery: str | None = None
    epochs: Path | None = None
    device: str = "cpu"
    threads: int = 1
    data_workers: int = 0
    again: Passes = AGAIN

    def epoch_out(self, epoch: int) -> Path:
        return self.out.with_name(f"{self.out.stem}.epoch-{epoch}.parquet")

    @property
    def modalities(self) -> list[Modality]:
        return [self.protocol.seen(self.prepared.dataset.modality(name)) for name in self.inputs]

    def outputs(self, out: Path) -> dict[str, Path]:
        """Part -> file of its predictions, if those of the test part are written to `out`."""
        gallery = out.with_name(out.stem + ".gallery.parquet")
        return {self.protocol.split.test: out} | ({self.gallery: gallery} if self.gallery else {})

    def arguments(self, scratch: str) -> dict[str, Any]:
        """The request as JSON; arrays are to be written to the folder `scratch`."""
        parts = [
            {
                "name": part,
                "file": str(number),
                "files": {
                    name: [str(self.prepared.checked(p, name)) for p in part.split("+")]
                    for name in self.inputs
                },
                "gallery": part == self.gallery,
            }
            for number, part in enumerate(self.outputs(self.out))
        ]
        return {
            "program": str(self.program),
            "sha256": self.sha256,
            "parts": parts,
            "modalities": [asdict(modality) for modality in self.modalities],
            "sampling": asdict(self.protocol.sampling) if self.protocol.sampling else None,
            "corruptions": {
                name: asdict(found) for name in self.inputs if (found := self.protocol.corruption_of(name))
            },
            "out": scratch,
            "epochs": str(self.epochs) if self.epochs else None,
            "features": self.features,
            "device": self.device,
            "threads": self.threads,
            "data_workers": self.data_workers,
            "again": [list(one) for one in self.again],
        }


@dataclass(frozen=True)
class Evaluator:
    """Runs each program in a process of its own, without environment and plugins."""

    server: Forkserver

    def __call__(self, request: EvaluationRequest) -> dict[str, Any]:
        """Writes predictions (Parquet: id, logits[, features]) and returns what was measured.

        {"predictions": SHA-256 of the file, "program": SHA-256, "parameters", "buffers", "macs": numbers,
        "latency_ms": median time of one sample, "epochs": number of epochs whose weights were run}.
        Raises SealError for an invalid program, DataError for missing test samples, PluginError if the
        process fails.
        """
        environment = {} if request.device == "cpu" else _gpu_environment()
        with tempfile.TemporaryDirectory(prefix="pmbench-") as scratch:
            try:
                arguments = request.arguments(scratch)
                child = self.server.start(f"{_INFERENCE}:evaluate", arguments, environment=environment)
                answer = next(child.answers(), {})
                usage = child.wait()
            except ChildError as error:
                raise PluginError(f"evaluation of {request.program} failed: {error}") from error
            if "error" in answer:
                raise PluginError(f"evaluation failed: {answer['error']}", answer.get("hint"))
            if "ok" not in answer:
                raise PluginError(
                    f"the evaluator process ended while running {request.program} (exit code {usage.code})"
                )
            measured = answer["ok"]
            for epoch in range(measured["epochs"] + 1):  # 0: the program itself
                out = request.epoch_out(epoch) if epoch else request.out
                for number, (part, file) in enumerate(request.outputs(out).items()):
                    _write(request, part, file, Path(scratch, f"{number}.{epoch}"))
        return {**measured, "program": request.sha256, "predictions": file_digest(request.out)}


def _gpu_environment() -> dict[str, str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})


def _write(request: EvaluationRequest, part: str, out: Path, arrays: Path) -> None:
    """Writes the predictions of a part, after a check of the arrays that the process has left."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .. import arrow

    ids: Sequence[str] = request.prepared.index(part)[0]
    if part == request.gallery:
        ids = [ids[row] for row in request.prepared.complete(part, request.inputs)]
    table = {"id": arrow.from_strings(ids)}
    for name in ("logits", "features") if request.features else ("logits",):
        array = _array(arrays.with_name(f"{arrays.name}.{name}.npy"), len(ids))
        table[name] = pa.FixedSizeListArray.from_arrays(arrow.from_numpy(array.reshape(-1)), array.shape[1])
    if table["logits"].type.list_size != len(request.prepared.dataset.classes):
        raise SealError(
            f"{request.program} gives {table['logits'].type.list_size} logits for "
            f"{len(request.prepared.dataset.classes)} classes"
        )
    write_atomic(out, lambda temporary: pq.write_table(pa.table(table), temporary, compression="zstd"))


def _array(path: Path, count: int) -> np.ndarray:
    """(count, D) float32 numbers of a file; raises SealError for anything else."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SealError(f"the program gave no usable output: {error}") from error
    if array.ndim != 2 or len(array) != count or array.dtype != np.float32 or not np.isfinite(array).all():
        raise SealError(
            f"the program gave an output of shape {array.shape} and type {array.dtype}; expected finite "
            f"float32 numbers for {plural(count, 'sample')}"
        )
    return array
