"""The sealed evaluator: a process that runs programs over the test modalities and writes predictions.

Started as `python -m pmbench.evaluation.evaluator`: one JSON request per line on standard input, one JSON
answer per line on standard output. It loads the plugin of the data set and no other, and can open the target
modalities and the ids of the test part, but neither the privileged modality nor the labels.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EvaluationRequest:
    """One evaluation: the program, the data set's part and modalities, the output file and the device.

    With `features` pooled features are written too; `gallery` is a part to embed for retrieval.
    """

    program: str
    distribution: str
    dataset: str
    protocol: str
    data: str
    part: str
    inputs: tuple[str, ...]
    out: str
    features: bool = False
    gallery: str | None = None
    device: str = "cpu"
    threads: int = 1
    data_workers: int = 0


def main() -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of print must not mix with the answers
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"ok": evaluate(EvaluationRequest(**json.loads(line)))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def evaluate(request: EvaluationRequest) -> dict[str, Any]:
    """Writes `out` (Parquet: id, logits[, features]); returns digests, parameters, MACs and latency.

    Raises SealError for an invalid program, DataError for missing test samples.
    """
    import numpy as np
    import torch
    from torch.export.passes import move_to_device_pass
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(request.threads)

    from ..data.access import only
    from ..data.prepared import open_prepared
    from ..files import file_digest
    from ..plugins import load_plugins
    from ..training.device import make_exact
    from .program import check_archive

    dataset = load_plugins(only=request.distribution, kinds=("dataset",)).dataset(request.dataset)
    prepared = open_prepared(dataset, Path(request.data))
    dataset = prepared.dataset
    parts = [request.part] + ([request.gallery] if request.gallery else [])
    allowed = [path for part in parts for path in prepared.files(part, (*request.inputs, "index"))]
    program_file = Path(request.program)
    with only(f"the evaluation of {program_file}", [prepared.folder], allowed), torch.no_grad():
        check_archive(program_file)
        program = torch.export.load(program_file)
        if request.device != "cpu":
            make_exact()
            program = move_to_device_pass(program, request.device)
        module = program.module()
        out = Path(request.out)
        rows = np.arange(prepared.count(request.part))
        digest = _predict(module, prepared, request, request.part, rows, out, request.features)
        if request.gallery:
            gallery = out.with_name(out.stem + ".gallery.parquet")
            complete = prepared.complete(request.gallery, request.inputs)
            _predict(module, prepared, request, request.gallery, complete, gallery, True)
        protocol = dataset.protocol(request.protocol)
        shapes = [protocol.seen(dataset.modality(m)).shape for m in request.inputs]
        sample = [torch.zeros(1, *shape, device=request.device) for shape in shapes]
        with FlopCounterMode(display=False) as counter:
            module(*sample)
        times = []
        for _ in range(15 if counter.get_total_flops() < 1e9 else 3):
            started = time.perf_counter()
            module(*sample)
            if request.device != "cpu":
                torch.cuda.synchronize(request.device)
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
    module: Any, prepared: Any, request: EvaluationRequest, part: str, rows: Any, out: Path, features: bool
) -> str:
    """Writes predictions for the samples `rows` (n,) of a part; returns the digest of the file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..files import file_digest, write_atomic

    ids, _ = prepared.index(part)
    logits, pooled = zip(*_outputs(module, prepared, request, part, rows), strict=True)
    table = {"id": pa.array([ids[row] for row in rows]), "logits": _lists(pa, np.concatenate(logits))}
    if features:
        table["features"] = _lists(pa, np.concatenate(pooled))
    write_atomic(out, lambda temporary: pq.write_table(pa.table(table), temporary, compression="zstd"))
    return file_digest(out)


def _outputs(
    module: Any, prepared: Any, request: EvaluationRequest, part: str, rows: Any
) -> Iterator[tuple[Any, Any]]:
    """Logits (n, K) and pooled features (n, D) of each batch of samples `rows`.

    If the protocol samples several clips, the logits are the logarithm of the clips' mean probabilities, and
    the features are their mean. Raises DataError if a sample lacks an input.
    """
    import numpy as np
    import torch

    from ..contracts.samples import CropParams
    from ..errors import DataError
    from ..training.batches import evaluation_batches, stream

    protocol = prepared.dataset.protocol(request.protocol)
    columns = {m: prepared.column(part, m, protocol) for m in request.inputs}
    for name, column in columns.items():
        if column.present is not None and not column.present[rows].all():
            missing = int((~column.present[rows]).sum())
            raise DataError(f"{missing} samples of part {part!r} lack {name!r}, on which they are tested")
    moments = protocol.sampling.moments() if protocol.sampling else [0.5]
    largest = max(4 * int(np.prod(column.shape)) for column in columns.values())
    batches = [rows[batch] for batch in evaluation_batches(len(rows), largest)]
    reads = (
        (batch, {name: [CropParams(t)] * len(batch) for name in columns})
        for batch in batches
        for t in moments
    )
    clips: list[tuple[Any, Any]] = []
    for arrays in stream(columns, reads, request.data_workers):
        x = [torch.from_numpy(np.asarray(arrays[m], np.float32)).to(request.device) for m in request.inputs]
        clips.append(module(*x))
        if len(clips) == len(moments):
            if len(clips) == 1:
                logits, pooled = clips[0]
            else:
                logits = torch.stack([c[0].log_softmax(1) for c in clips]).logsumexp(0) - math.log(len(clips))
                pooled = torch.stack([c[1] for c in clips]).mean(0)
            clips = []
            yield logits.cpu().numpy(), pooled.cpu().numpy()


def _lists(pa: Any, array: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


class Evaluator:
    """Client of the evaluator process, which is started on first use."""

    def __init__(self) -> None:
        self._process: Any = None

    def __call__(self, request: EvaluationRequest) -> dict[str, Any]:
        """The answer of `evaluate`; raises PluginError with its error, or if the process ended."""
        import subprocess

        from ..errors import PluginError

        if self._process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            if request.device == "cpu":
                environment["CUDA_VISIBLE_DEVICES"] = ""
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pmbench.evaluation.evaluator"],
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
            raise PluginError(f"the evaluator process ended while running {request.program} ({reason})")
        answer = json.loads(line)
        if "error" in answer:
            raise PluginError(f"evaluation failed: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdout.close()
            with contextlib.suppress(OSError):  # a request that the process did not read is lost
                process.stdin.close()


if __name__ == "__main__":
    main()
