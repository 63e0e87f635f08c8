"""The sealed evaluator: a process of its own that runs programs over the test modalities and writes
predictions.

Started as `python -m pmbench.engine.evaluator`; one JSON request a line on standard input, one JSON answer a
line on standard output. It loads the plugin of the data set and no other, and can open the files it was
handed and no others: not the privileged modality, not the labels.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BATCH = 256


@dataclass(frozen=True)
class Request:
    """What to evaluate. `features` asks for pooled features too, `gallery` names the part to embed for
    retrieval.
    """

    program: str
    distribution: str
    dataset: str
    data: str
    part: str
    inputs: tuple[str, ...]
    out: str
    features: bool = False
    gallery: str | None = None


def main() -> None:
    import torch

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints from here on must not mix with the answers
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"ok": evaluate(Request(**json.loads(line)))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def evaluate(request: Request) -> dict[str, Any]:
    """Writes `out` (Parquet: id, logits[, features]) and returns what was measured on the way."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from .guard import only
    from .identity import file_digest
    from .plugins import load_plugins
    from .prepared import open_prepared
    from .seal import check_archive

    dataset = load_plugins(only=request.distribution, kinds=("dataset",)).dataset(request.dataset)
    prepared = open_prepared(dataset, Path(request.data))
    parts = [request.part] + ([request.gallery] if request.gallery else [])
    allowed = [path for part in parts for path in prepared.files(part, (*request.inputs, "index"))]
    program_file = Path(request.program)
    with only(f"the evaluation of {program_file}", [prepared.folder], allowed), torch.no_grad():
        check_archive(program_file)
        program = torch.export.load(program_file)
        module = program.module()
        out = Path(request.out)
        digest = _predict(module, prepared, request.part, request.inputs, out, request.features)
        if request.gallery:
            gallery = out.with_name(out.stem + ".gallery.parquet")
            _predict(module, prepared, request.gallery, request.inputs, gallery, True)
        one = [torch.zeros(1, *dataset.modality(m).shape) for m in request.inputs]
        with FlopCounterMode(display=False) as counter:
            module(*one)
        times = []
        for _ in range(15):
            started = time.perf_counter()
            module(*one)
            times.append(time.perf_counter() - started)
    return {
        "predictions": digest,
        "program": file_digest(program_file),
        "parameters": sum(p.numel() for p in program.parameters()),
        "macs": counter.get_total_flops() // 2,
        "latency_ms": round(sorted(times)[len(times) // 2] * 1e3, 4),
        "modules": sorted(m for m in sys.modules if m.startswith("pmbench_")),
    }


def _predict(
    module: Any, prepared: Any, part: str, inputs: tuple[str, ...], out: Path, features: bool
) -> str:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    from ..files import write_atomic
    from .identity import file_digest
    from .view import read_rows

    ids, _ = prepared.index(part)
    columns = [prepared.column(part, m) for m in inputs]
    logits, pooled = [], []
    for start in range(0, len(ids), BATCH):
        rows = np.arange(start, min(start + BATCH, len(ids)))
        x = [torch.from_numpy(np.asarray(read_rows(c, rows), np.float32)) for c in columns]
        output = module(*x)
        logits.append(output[0].numpy())
        if features:
            pooled.append(output[1].numpy())
    table: dict[str, Any] = {"id": pa.array(ids), "logits": _lists(pa, np.concatenate(logits))}
    if features:
        table["features"] = _lists(pa, np.concatenate(pooled))
    write_atomic(out, lambda temporary: pq.write_table(pa.table(table), temporary, compression="zstd"))
    return file_digest(out)


def _lists(pa: Any, array: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


class Evaluator:
    """The caller's end: starts the process on first use, asks, and stops it."""

    def __init__(self) -> None:
        self._process: Any = None

    def __call__(self, request: Request) -> dict[str, Any]:
        """The answer; raises PluginError with what the evaluator said where it failed."""
        import subprocess

        from ..errors import PluginError

        if self._process is None:
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "MKL_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
            }
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pmbench.engine.evaluator"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=environment,
            )
        try:
            self._process.stdin.write(json.dumps(asdict(request)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError) as error:
            line = ""
            reason = str(error)
        else:
            reason = f"exit code {self._process.poll()}"
        if not line:
            self.close()
            raise PluginError(f"the evaluator process ended while it ran {request.program} ({reason})")
        answer = json.loads(line)
        if "error" in answer:
            raise PluginError(f"evaluation failed: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                pipe.close()


if __name__ == "__main__":
    main()
