"""Checks of programs: archive, inputs, tensors, and predictions when they run again. Level: reinfer."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.prepared import Prepared
from ...errors import DataError, PmbenchError, SealError
from ...evaluation.evaluator import EvaluationRequest, Evaluator, Passes
from ...evaluation.program import check_archive
from ...evaluation.scoring import needs_features
from ...isolation import landlock
from ...report.rows import FLOOR
from ...report.submission import LARGEST, PROGRAMS, Entry
from ...store.keys import Context
from .case import Case, Unknown, Wrong
from .outcome import Problem
from .outcomes import read_logits
from .seeds import table_of

TOLERANCE = 1e-3
"""Largest difference of a logit to the stored one, relative to the largest logit, at least 1."""


@dataclass(frozen=True)
class Contents:
    """What the archive of a program says of itself.

    `inputs`: shape of a sample of each input, () for what is no tensor. `tensors`: name -> shape, and whether
    it is a parameter.
    """

    inputs: tuple[tuple[int, ...], ...]
    tensors: Mapping[str, tuple[tuple[int, ...], bool]]

    @property
    def buffers(self) -> int:
        """Numbers in tensors that are no parameters."""
        return sum(math.prod(shape) for shape, is_parameter in self.tensors.values() if not is_parameter)


def programs_hold_tensors_and_operations_alone(case: Case) -> Iterator[Problem]:
    """Entries and operations are on the list of those that sealed programs may have; no archive is a bomb."""
    for entry in case.submission.done:
        try:
            _check_size(entry.program)
            check_archive(entry.program)
        except (OSError, zipfile.BadZipFile, SealError) as error:
            reason = error.message if isinstance(error, SealError) else f"no archive: {error}"
            yield Problem(entry.file, reason.replace(str(entry.program), "its program"))


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST[PROGRAMS]:
        raise SealError(f"{path} has {size:,} bytes unpacked; at most {LARGEST[PROGRAMS]:,} are allowed")


def inputs_are_the_target_modalities(case: Case) -> Iterator[Problem]:
    """The program's inputs are the modalities that the planned method is tested on, one each, in order."""
    for entry, contents, context, _ in _readable(case):
        names = entry.record.cell.test_modalities
        expected = tuple(tuple(context.modality(name).shape) for name in names)
        if contents.inputs != expected:
            yield Problem(
                entry.file,
                f"its program takes {_shapes(contents.inputs)}; expected {_shapes(expected)}: "
                f"{', '.join(names)}",
            )


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(" x ".join(map(str, shape)) or "a number" for shape in shapes) or "nothing"


def programs_hold_no_table_of_answers(case: Case) -> Iterator[Problem]:
    """No tensor has a number for each test sample; buffers exceed those of the floor by less than that."""
    readable = list(_readable(case))
    floors: dict[tuple[str, int], int] = {}
    for entry, contents, _, _ in readable:
        if entry.record.cell.method == FLOOR:
            floors.setdefault((table_of(entry.record), entry.record.cell.seed), contents.buffers)
    for entry, contents, context, prepared in readable:
        count, classes = prepared.count(context.protocol.split.test), len(prepared.dataset.classes)
        answers = ((count, classes), (classes, count), (count * classes,))
        for name, (shape, is_parameter) in contents.tensors.items():
            if shape in answers or (not is_parameter and count in shape):
                reason = f"its program holds {name!r} of shape {shape}, a table for {count} test samples"
                yield Problem(entry.file, reason)
                break
        else:
            floor = floors.get((table_of(entry.record), entry.record.cell.seed))
            networks = entry.record.cost.networks if entry.record.cost else 1
            inputs = len(entry.record.cell.test_modalities)
            if floor is not None and contents.buffers > floor * networks * inputs + count:
                yield Problem(
                    entry.file,
                    f"its program holds {contents.buffers:,} numbers in buffers and constants, the floor's "
                    f"{floor:,}: enough for answers to {count} test samples",
                )


def programs_give_their_predictions(case: Case) -> Iterator[Problem]:
    """Run again, isolated, in random order at two batch sizes, a program gives the stored predictions.

    Its parameters, buffers and multiply-accumulates are counted again.
    """
    if landlock.version() is None:
        case.notes.append(
            "no Landlock: programs ran in processes of their own, which the kernel does not limit"
        )
    passes = passes_of(case.nonce)
    case.notes.append(f"orders and batch sizes of the passes: {', '.join(f'{s}/{b}' for s, b in passes)}")
    for entry in case.submission.done:
        try:
            context, _, _ = case.resolved(entry.record.cell)
            prepared = case.prepared(entry.record.cell.dataset)
        except Unknown as reason:
            yield Problem(entry.file, str(reason), checked=False)
            continue
        except Wrong as reason:
            yield Problem(entry.file, str(reason))
            continue
        for found in _again(entry, context, prepared, case.evaluator, passes, case.device):
            yield Problem(entry.file, found)


def passes_of(nonce: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two passes in orders that the nonce draws: one in small batches, one in large ones."""
    drawn = np.random.default_rng(list(hashlib.sha256(f"passes {nonce}".encode()).digest()))
    seeds = drawn.integers(1, 2**31, 2)
    return (int(seeds[0]), int(drawn.integers(5, 30))), (int(seeds[1]), int(drawn.integers(100, 250)))


def _again(
    entry: Entry,
    context: Context,
    prepared: Prepared,
    evaluator: Evaluator,
    passes: Passes,
    device: str,
) -> Iterator[str]:
    record, features = entry.record, needs_features(context)
    assert record.digests is not None
    assert record.digests.program is not None
    assert record.cost is not None
    with tempfile.TemporaryDirectory(prefix="pmbench-") as scratch:
        out = Path(scratch, "predictions.parquet")
        request = EvaluationRequest(
            entry.program,
            record.digests.program,
            prepared,
            context.protocol,
            tuple(record.cell.test_modalities),
            out,
            features=features,
            gallery=context.protocol.split.train if features else None,
            device=device,
            again=passes,
        )
        try:
            measured = evaluator(request)
            again, stored = read_logits(out), read_logits(entry.predictions)
        except PmbenchError as error:
            yield error.message.replace(str(entry.program), "its program")
            return
        scale = max(1.0, float(np.abs(stored).max(initial=0.0)))
        change = float(np.abs(again - stored).max(initial=0.0)) if again.shape == stored.shape else math.inf
        if not change <= TOLERANCE * scale:
            wrong = int((again.argmax(1) != stored.argmax(1)).sum()) if again.shape == stored.shape else -1
            classes = f"; {wrong} predicted classes differ" if wrong >= 0 else ""
            yield f"its program gives other logits than its predictions, by up to {change:.3g}{classes}"
        if features:
            yield from _features(out, entry.predictions)
    for name in ("parameters", "buffers", "macs"):
        stated = getattr(record.cost, name)
        if stated != measured[name] and not (name == "buffers" and stated is None):
            yield f"{stated} {name} are stated; its program has {measured[name]}"


def _features(again: Path, stored: Path) -> Iterator[str]:
    """Pooled features, of test samples and of the gallery, are those of the program, too."""
    for ending in (".parquet", ".gallery.parquet"):
        try:
            mine, theirs = (_column(path.with_name(path.stem + ending)) for path in (again, stored))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            yield f"its predictions have no readable features: {error}"
            return
        scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
        if mine.shape != theirs.shape or not np.abs(mine - theirs).max(initial=0.0) <= TOLERANCE * scale:
            yield "its program gives other features than its predictions"


def _column(path: Path) -> np.ndarray:
    import pyarrow.parquet as pq

    from ... import arrow

    column = pq.ParquetFile(path).read(["features"])["features"].combine_chunks()
    return arrow.to_numpy(column.flatten()).reshape(len(column), -1)


# --- reading an archive -------------------------------------------------------------------------------------


def _readable(case: Case) -> Iterator[tuple[Entry, Contents, Context, Prepared]]:
    """Entries with programs that can be read, on data that the referee has; other checks report the rest."""
    for entry in case.submission.done:
        try:
            contents = contents_of(entry.program)
            context, _, _ = case.resolved(entry.record.cell)
            yield entry, contents, context, case.prepared(entry.record.cell.dataset)
        except (Unknown, Wrong, DataError):
            continue


def contents_of(path: Path) -> Contents:
    """Inputs and tensors of a program, without loading it; raises DataError if it does not describe them."""
    try:
        _check_size(path)
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            graph = json.loads(archive.read(names["models/model.json"]))["graph_module"]
            tensors: dict[str, tuple[tuple[int, ...], bool]] = {}
            for kind in ("weights/model_weights", "constants/model_constants"):
                config = json.loads(archive.read(names[f"data/{kind}_config.json"]))["config"]
                for name, item in config.items():
                    sizes = (item.get("tensor_meta") or {}).get("sizes", [])
                    tensors[name] = _sizes(sizes), bool(item.get("is_param"))
        values = graph["graph"]["tensor_values"]
        user = [
            spec["user_input"]["arg"] for spec in graph["signature"]["input_specs"] if "user_input" in spec
        ]
        inputs = tuple(
            _sizes(values[arg["as_tensor"]["name"]]["sizes"][1:]) if "as_tensor" in arg else ()
            for arg in user
        )
        return Contents(inputs, tensors)
    except (OSError, zipfile.BadZipFile, SealError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path.name} does not describe a program: {type(error).__name__}: {error}"
        ) from error


def _sizes(sizes: list[dict[str, Any]]) -> tuple[int, ...]:
    return tuple(int(size["as_int"]) for size in sizes)


CHECKS = (
    programs_hold_tensors_and_operations_alone,
    inputs_are_the_target_modalities,
    programs_hold_no_table_of_answers,
    programs_give_their_predictions,
)
