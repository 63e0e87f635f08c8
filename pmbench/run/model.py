"""Models that leave pmbench: a folder with a sealed program, what it needs and what it reached."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.protocol import Protocol
from ..data.prepared import Prepared
from ..errors import DataError, SealError, UsageError, plural
from ..evaluation.evaluator import PRELOAD, EvaluationRequest, Evaluator
from ..evaluation.program import check_archive
from ..files import file_digest, folder_atomic, write_json, write_text
from ..isolation.forkserver import Forkserver
from ..media.extras import extra
from ..report.record import Record
from ..report.record_files import read_records
from ..report.statistics import t_interval
from ..store.store import Store

if TYPE_CHECKING:
    import numpy as np

CARD, FORMATS = "model.json", ("pt2", "onnx")
TOLERANCE = 1e-3
"""Largest difference of logits between a stored prediction and that of an exported model."""


def choose(records: Path, name: str, dataset: str, protocol: str, seed: int | None) -> list[Record]:
    """The records of a method below a folder: first the one to export, then those of its other seeds.

    Without a seed the one with the best validation result is taken; test results do not choose. Raises
    UsageError if there is none, or if several data sets, protocols or options match.
    """
    found = [r for r in read_records(records)[0] if r.status == "done" and r.cell.method == name]
    found = [r for r in found if dataset in ("", r.cell.dataset) and protocol in ("", r.cell.protocol)]
    if not found:
        raise UsageError(
            f"{records} has no finished result of {name!r}", "run it first, or name its --out folder"
        )
    rows = {_row(r) for r in found}
    if len(rows) > 1:
        raise UsageError(
            f"{records} has {len(rows)} rows of {name!r} (data sets, protocols, backbones or options differ)",
            "give --dataset and --protocol, or the file of one record",
        )
    chosen = [r for r in found if seed in (None, r.cell.seed)]
    if not chosen:
        raise UsageError(f"no result of seed {seed}; there are {sorted(r.cell.seed for r in found)}")
    best = max(chosen, key=_validated)
    return [best, *(r for r in found if r is not best)]


def other_seeds(records: Path, record: Record) -> list[Record]:
    """The finished records below a folder that differ from `record` in the seed alone."""
    found = [r for r in read_records(records)[0] if r.status == "done" and _row(r) == _row(record)]
    return [r for r in found if r.cell.seed != record.cell.seed]


def _row(record: Record) -> str:
    return record.cell.model_copy(update={"seed": 0}).model_dump_json()


def _validated(record: Record) -> tuple[float, int]:
    selected = record.validation.selected if record.validation else None
    return (-1.0 if selected is None else selected, -record.cell.seed)


def export_model(
    records: Sequence[Record], prepared: Prepared, store: Store, predictions: Path, to: Path, format_: str
) -> dict[str, Any]:
    """Writes the model of the first record to the folder `to`; returns its card.

    The exported file is run on the test part: it must repeat the stored predictions. Raises SealError
    otherwise, and StoreError or DataError if program or data have gone.
    """
    record = records[0]
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"{to} is not empty", "give a new folder with --to")
    inputs, key = tuple(record.cell.test_modalities), record.stages[-1].key
    sha256 = store.program_digest(key, inputs)
    if sha256 is None or record.digests is None or sha256 != record.digests.program:
        raise SealError(
            f"the program of {record.cell.method} (seed {record.cell.seed}) is not in {store.root}, or is "
            "another one than that of the record",
            "run the same command again, or name its --store",
        )
    dataset = prepared.dataset
    protocol = dataset.protocol(record.cell.protocol)
    program = store.program(key, inputs)
    with folder_atomic(to) as folder:
        file = folder / f"model.{format_}"
        if format_ == "pt2":
            shutil.copyfile(program, file)
            found = logits_of(file, sha256, prepared, protocol, inputs)
        else:
            _to_onnx(program, file, [protocol.seen(dataset.modality(m)).shape for m in inputs])
            found = _onnx_logits(file, prepared, protocol, inputs)
        difference = _difference(found, predictions)
        if not difference <= TOLERANCE:
            raise SealError(
                f"the {format_} file gives other predictions than were stored: logits differ by up to "
                f"{difference:.3g}",
                "another version of torch or another machine than that of the run may compute otherwise",
            )
        card = _card(records, prepared, protocol, inputs, file, difference)
        write_json(folder / CARD, card)
        write_text(folder / "README.md", _readme(card))
        write_text(folder / "infer.py", INFER[format_])
    return card


def _card(
    records: Sequence[Record],
    prepared: Prepared,
    protocol: Protocol,
    inputs: Sequence[str],
    file: Path,
    difference: float,
) -> dict[str, Any]:
    record, dataset = records[0], prepared.dataset
    assert record.primary is not None
    values = [r.metrics[record.primary] for r in records]
    over_seeds = t_interval(values)
    modalities = [protocol.seen(dataset.modality(name)) for name in inputs]
    return {
        "file": file.name,
        "sha256": file_digest(file),
        "method": record.cell.method,
        "options": record.cell.options,
        "dataset": record.cell.dataset,
        "dataset_version": record.cell.dataset_version,
        "protocol": record.cell.protocol,
        "seed": record.cell.seed,
        "trained_with": [*record.cell.target, *record.cell.privileged],
        "backbones": record.cell.backbones,
        "inputs": [asdict(modality) for modality in modalities],
        "codecs": {name: prepared.codec(protocol.split.test, name) for name in inputs},
        "declaration": dataset.declaration,
        "sampling": asdict(protocol.sampling) if protocol.sampling else None,
        "classes": list(dataset.classes),
        "metric": record.primary,
        "value": record.metrics[record.primary],
        "interval_over_test_samples": wilson(record),
        "mean_over_seeds": over_seeds.mean,
        "half_interval_over_seeds": over_seeds.half,
        "seeds": sorted(r.cell.seed for r in records),
        "parameters": record.cost.parameters if record.cost else None,
        "macs": record.cost.macs if record.cost else None,
        "largest_difference_of_logits": round(difference, 9),
        "isolation": record.provenance.isolation,
        "torch": record.provenance.torch,
        "pmbench": record.provenance.pmbench,
        "licence_of_the_data": dataset.licence,
        "citation": dataset.citation,
    }


def wilson(record: Record) -> list[float] | None:
    """95 % interval (Wilson) of an accuracy over the test samples, in percent; None for other metrics."""
    if record.samples is None or record.primary not in ("accuracy", "wa"):
        return None
    from scipy.stats import binomtest

    labels, predicted = record.samples.unpack()
    found = binomtest(int((labels == predicted).sum()), len(labels)).proportion_ci(method="wilson")
    return [100 * found.low, 100 * found.high]


def _readme(card: Mapping[str, Any]) -> str:
    inputs, given = card["inputs"], [m["name"] for m in card["inputs"]]
    only = [m for m in card["trained_with"] if m not in given]
    interval, half = card["interval_over_test_samples"], card["half_interval_over_seeds"]
    result = f"{card['metric']} {card['value']:.2f} with seed {card['seed']}"
    if interval:
        result += f" (95 % interval over test samples {interval[0]:.2f} to {interval[1]:.2f})"
    if half is not None:
        result += f"; {card['mean_over_seeds']:.2f} ± {half:.2f} over {plural(len(card['seeds']), 'seed')}"
    lines = [
        f"# {card['method']} on {card['dataset']}",
        "",
        f"A network for {', '.join(given)}; privileged in training: {', '.join(only) or 'nothing'}.",
        "",
        *(f"- `{m['name']}`: {m['kind']}, {' x '.join(map(str, m['shape']))}, {m['unit']}" for m in inputs),
        "",
        "Inputs are numbers as recorded: the program normalizes them. It gives logits of the classes "
        f"{', '.join(card['classes'])}, and pooled features.",
        "",
        f"- {result}. Test part of `{card['protocol']}`; isolation: {card['isolation']}.",
        f"- {card['parameters']} parameters, {card['macs']} multiply-adds.",
        f"- Licence of the data: {card['licence_of_the_data']}. Cite: {card['citation']}.",
        f"- Made with pmbench {card['pmbench']} and torch {card['torch']}. `{CARD}` holds all facts.",
        "",
        "`python infer.py INPUT.npy` prints class probabilities of arrays; `pmbench predict FOLDER FILES...` "
        "reads recordings as in training.",
    ]
    return "\n".join(lines) + "\n"


_INFER = '''"""Class probabilities: python infer.py INPUT.npy [...], an array for each input in model.json."""

import json
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).parent
card = json.loads((here / "model.json").read_text())
inputs, files = card["inputs"], sys.argv[1:]


def stop(reason):
    print(f"infer.py: {{reason}}", file=sys.stderr)
    sys.exit(2)


def read(file, name, shape):
    """Samples (N, ...) of an input; one sample is a batch of one."""
    try:
        array = np.load(file).astype(np.float32)
    except Exception as error:  # a damaged file can raise almost any
        stop(f"{{file}}: {{getattr(error, 'strerror', None) or 'not an array of numbers in an .npy file'}}")
    array = array[None] if array.ndim == len(shape) else array
    if list(array.shape[1:]) != shape:
        stop(f"{{file}}: shape {{list(array.shape)}}; {{name}} takes {{shape}}, or several of these")
    return array


if len(files) != len(inputs):
    wanted = " ".join(f"{{one['name']}}.npy" for one in inputs)
    stop(f"{{len(files)}} files given; expected {{len(inputs)}}: python infer.py {{wanted}}")
arrays = [read(file, one["name"], one["shape"]) for file, one in zip(files, inputs, strict=True)]
if len({{*map(len, arrays)}}) > 1:
    stop(f"the files have {{', '.join(str(len(x)) for x in arrays)}} samples; expected equally many")

import {library}  # takes seconds

{run}
shares = np.exp(logits - logits.max(1, keepdims=True))
for row in shares / shares.sum(1, keepdims=True):
    ranked = sorted(zip(row, card["classes"], strict=True), reverse=True)
    print(", ".join(f"{{name}} {{share:.4f}}" for share, name in ranked))
'''
INFER = {
    "pt2": _INFER.format(
        library="torch",
        run="""program = torch.export.load(here / card["file"]).module()
logits = program(*map(torch.from_numpy, arrays))[0].detach().numpy()""",
    ),
    "onnx": _INFER.format(
        library="onnxruntime",
        run="""session = onnxruntime.InferenceSession(here / card["file"])
names = [one.name for one in session.get_inputs()]
logits = session.run(None, dict(zip(names, arrays, strict=True)))[0]""",
    ),
}


# --- running a model ----------------------------------------------------------------------------------------


def logits_of(
    file: Path, sha256: str, prepared: Prepared, protocol: Protocol, inputs: tuple[str, ...]
) -> np.ndarray:
    """Logits (N, K) of a program on the test part, in a process of its own that can open nothing else."""
    server = Forkserver(PRELOAD, {})
    try:
        with tempfile.TemporaryDirectory(prefix="pmbench-") as scratch:
            out = Path(scratch, "predictions.parquet")
            Evaluator(server)(EvaluationRequest(file, sha256, prepared, protocol, inputs, out))
            return read_logits(out)
    finally:
        server.close()


def read_logits(predictions: Path) -> np.ndarray:
    """Logits (N, K) of a file of predictions; raises DataError if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .. import arrow

    try:
        column = pq.ParquetFile(predictions).read(["logits"])["logits"].combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{predictions} cannot be read: {error}", "run the same command again") from error
    return arrow.to_numpy(column.flatten()).reshape(len(column), -1)


def _difference(found: np.ndarray, predictions: Path) -> float:
    import numpy as np

    stored = read_logits(predictions)
    if stored.shape != found.shape:
        return float("inf")
    return float(np.abs(stored - found).max(initial=0.0) / max(1.0, np.abs(stored).max(initial=0.0)))


def _to_onnx(program: Path, file: Path, shapes: Sequence[tuple[int, ...]]) -> None:
    import torch

    extra("onnxscript", "onnx")
    extra("onnxruntime", "onnx")
    check_archive(program)  # a plugin has made it, and loading it runs in this process
    loaded = torch.export.load(program)
    zeros = tuple(torch.zeros(2, *shape) for shape in shapes)
    torch.onnx.export(loaded, zeros, file, dynamo=True, external_data=False, verbose=False)


def _onnx_logits(file: Path, prepared: Prepared, protocol: Protocol, inputs: tuple[str, ...]) -> np.ndarray:
    """Logits (N, K) that onnxruntime gives on the test part."""
    import numpy as np
    import torch

    from ..evaluation.inference import Part, Runner

    session = extra("onnxruntime", "onnx").InferenceSession(str(file))
    names = [one.name for one in session.get_inputs()]

    def module(*tensors: torch.Tensor) -> list[torch.Tensor]:
        arrays = dict(zip(names, (t.numpy() for t in tensors), strict=True))
        return [torch.from_numpy(x) for x in session.run(None, arrays)]

    moments = protocol.sampling.moments() if protocol.sampling else [0.5]
    test = protocol.split.test
    part = Part(test, {m: prepared.column(test, m, protocol) for m in inputs})
    return np.concatenate([logits for logits, _ in Runner(module, moments).outputs(part, part.rows, 256)])
