"""Records: the request, the outcome per test sample, the cost and the provenance of one cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.types import FiniteFloat, NonNegativeInt

from ..contracts.metric import Evidence, Metric
from ..errors import RecordError, UsageError
from ..files import write_text
from ..metrics.builtin import METRICS
from .packing import pack, unpack

SCHEMA_VERSION = 2
TOLERANCE = 1e-6
"""Percentage points by which a recomputed metric may differ, since machines sum in different orders."""
Role = Literal["method", "floor", "ceiling", "control", "reference"]
TestsOn = Literal["target", "privileged", "all"]
Verification = Literal["self-reported", "recomputed", "re-inferred", "retrained"]
"""Levels of verification of a record, weakest first."""
LEVELS: tuple[str, ...] = get_args(Verification)


def _lists(value: Any) -> Any:
    """The value with lists for tuples, so that a record equals the one read back from its JSON."""
    if isinstance(value, dict):
        return {key: _lists(v) for key, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, (list, tuple)) else value


Option = Annotated[bool | int | float | str | list[Any] | None, BeforeValidator(_lists)]
Names = Annotated[list[str], BeforeValidator(_lists)]
Floats = Annotated[list[FiniteFloat], BeforeValidator(_lists)]
Departure = Annotated[list[Any], BeforeValidator(_lists), Field(min_length=2, max_length=2)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class AblationRow(_Model):
    """A cell's row in the ablation tables of a paper.

    `of`: options of the method that the row is compared with. `printed`: (paper, table, variant) of the
    paper's numbers for the row, or empty.
    """

    row: str
    of: dict[str, Option] = {}
    printed: Names = []


class CellInfo(_Model):
    """Identity of a cell. `options`: those set by the user; `backbones`: modality -> backbone, with name and
    digest of pretrained weights, if any.

    `value_set`: the set of hyper-parameter values that the run selected for all methods; `values`: the set
    that this method used, "paper" if it does not declare that one.
    """

    method: str
    options: dict[str, Option] = {}
    dataset: str
    dataset_version: int
    protocol: str
    backbones: dict[str, str]
    seed: int
    role: Role
    tests_on: TestsOn
    test_modalities: Names
    target: Names
    privileged: Names
    num_classes: Annotated[int, Field(ge=1)]
    positive_class: NonNegativeInt = 1
    recipe_set: str = "standard"
    value_set: str = "paper"
    values: str = "paper"
    ablation: AblationRow | None = None


class StageRun(_Model):
    """One stage of the plan. `departures`: recipe field -> [standard, own]; `seconds` of its training."""

    key: str
    stage: str
    parents: Names
    reads: Names
    reused: bool
    seconds: FiniteFloat
    steps: NonNegativeInt
    epochs: NonNegativeInt
    selected_epoch: int | None
    samples: NonNegativeInt
    departures: dict[str, Departure] = {}


class Validation(_Model):
    """Selection of the checkpoint. `curve`: the last stage's validation metric by epoch."""

    rule: str
    metric: str
    selected: FiniteFloat | None
    curve: Floats
    flat: bool | None


class Cost(_Model):
    """Cost of training and evaluation.

    `train_seconds` and `steps` count all stages, `train_seconds_spent` only those not reused. The fields from
    `parameters` on describe the evaluated program.
    """

    train_seconds: FiniteFloat
    train_seconds_spent: FiniteFloat
    steps: NonNegativeInt
    parameters: NonNegativeInt
    macs: NonNegativeInt | None
    latency_ms: FiniteFloat | None
    networks: NonNegativeInt


class Digests(_Model):
    """SHA-256 of the sealed program, of the predictions, of the labels and of the prepared data."""

    program: str | None
    predictions: str
    labels: str
    data: str


class SampleOutcomes(_Model):
    """Labels and predicted classes of the test samples, packed, in the order of the data set."""

    count: Annotated[int, Field(ge=1)]
    labels: str
    predicted: str

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray) -> SampleOutcomes:
        """From labels and predicted classes, each (N,); raises UsageError if their lengths differ."""
        if len(labels) != len(predicted):
            raise UsageError(f"{len(labels)} labels for {len(predicted)} predictions")
        return cls(count=len(labels), labels=pack(labels), predicted=pack(predicted))

    def unpack(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predicted classes, each (N,); raises RecordError if they are damaged."""
        return unpack(self.labels, self.count), unpack(self.predicted, self.count)


class PublishedNumber(_Model):
    """A number that a paper prints for a cell, or for its row of an ablation; fields as in pm.Published."""

    paper: str
    table: str
    variant: str
    test_modalities: Names
    dataset: str
    protocol: str
    metric: str
    value: FiniteFloat
    higher_is_better: bool


class Provenance(_Model):
    """Software, hardware and command of a run. `date` is ISO 8601; `distributions` maps names to versions."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}([T ].*)?$")]
    command: Names
    pmbench: str
    distributions: dict[str, str]
    python: str
    torch: str
    platform: str
    device: str
    threads: int
    precision: str
    git_commit: str | None
    git_dirty: bool | None


class MetricInfo(_Model):
    """Description of a plugin's metric, for the board."""

    title: str
    higher_is_better: bool


class Record(_Model):
    """The outcome of one cell. `cell_key` identifies cell, last stage and data.

    A finished cell has metrics (in percent), samples, cost and digests; another one has a `reason`.
    `published` are the numbers of papers for it at the time of writing. `metric_info` describes metrics that
    are not built in.
    """

    schema_version: Literal[2] = 2
    cell: CellInfo
    cell_key: Sha256
    status: Literal["done", "skipped", "failed"]
    reason: str | None = None
    stages: list[StageRun] = []
    metrics: dict[str, FiniteFloat] = {}
    primary: str | None = None
    metric_info: dict[str, MetricInfo] = {}
    validation: Validation | None = None
    cost: Cost | None = None
    digests: Digests | None = None
    samples: SampleOutcomes | None = None
    sealed: bool = False
    deviations: Names = []
    published: list[PublishedNumber] = []
    provenance: Provenance
    verification: Verification = "self-reported"

    @model_validator(mode="after")
    def _complete(self) -> Record:
        if self.status != "done":
            if not self.reason:
                raise ValueError(f"a cell that is {self.status} needs a reason")
            return self
        needed = ("metrics", "primary", "samples", "cost", "digests")
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"a cell that is done needs {', '.join(missing)}")
        if self.primary not in self.metrics:
            raise ValueError(f"the primary metric {self.primary!r} is not among the metrics")
        return self


def metric_of(record: Record, name: str) -> Metric | None:
    """A built-in metric, or a plugin's as described by the record, without function; None if unknown."""
    if name in METRICS or name not in record.metric_info:
        return METRICS.get(name)
    info = record.metric_info[name]
    return Metric(name, info.title, "logits", _unavailable, higher_is_better=info.higher_is_better)


def _unavailable(evidence: Evidence) -> float:
    raise RecordError("a plugin's metric cannot be computed from a record")


def to_json(record: Record) -> str:
    """JSON text of a record; equal for equal records."""
    content = record.model_dump(mode="json")
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_record(path: Path) -> Record:
    """The record in a file; raises RecordError naming the file and its fault."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be read: {error.strerror or error}", "check path and permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{path}: not JSON: {error}; expected one record",
            "the file is damaged: restore it, or run the cell again",
        ) from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise RecordError(
            f"{path}: not a record: it has no schema_version; expected {SCHEMA_VERSION}",
            "a folder of records may hold only JSON files written by `pmbench run`",
        )
    if content["schema_version"] == 1:  # has no published numbers
        text = json.dumps({**content, "schema_version": SCHEMA_VERSION})
    elif content["schema_version"] != SCHEMA_VERSION:
        raise RecordError(
            f"{path}: schema_version is {content['schema_version']!r}, "
            f"this pmbench reads 1 to {SCHEMA_VERSION}",
            "read it with the pmbench that wrote it, or run the cell again",
        )
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise RecordError(
            f"{path}: not a valid record: {_summary(error)}",
            "records are never edited by hand: run the cell again",
        ) from error


def _summary(error: ValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False, include_context=False)[:3]:
        field = ".".join(map(str, problem["loc"])) or "record"
        found = repr(problem["input"])
        parts.append(f"{field}: {problem['msg']}" + (f", found {found}" if len(found) <= 60 else ""))
    more = error.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


def write_record(record: Record, path: Path) -> None:
    """Writes a record atomically; raises StoreError."""
    write_text(Path(path), to_json(record))


def read_records(folder: Path) -> tuple[list[Record], list[RecordError]]:
    """The records in all `*.json` files below a folder, by path, and the errors of invalid files."""
    records, problems = [], []
    for path in sorted(Path(folder).rglob("*.json")):
        try:
            records.append(read_record(path))
        except RecordError as problem:
            problems.append(problem)
    return records, problems


def recompute(record: Record) -> dict[str, float]:
    """The metrics that are functions of labels and predicted classes, computed from the record's samples.

    Raises RecordError if a value differs from the record's, or the samples are damaged.
    """
    if record.samples is None:
        return {}
    cell = record.cell
    who = f"record {record.cell_key[:12]} ({cell.method} on {cell.dataset}, seed {cell.seed})"
    again = "records are never edited by hand: run the cell again"
    values: dict[str, float] = {}
    try:
        labels, predicted = record.samples.unpack()
        evidence = Evidence(labels, predicted, cell.num_classes, positive=cell.positive_class)
        for name in record.metrics:
            if name in METRICS and METRICS[name].recomputable:
                values[name] = METRICS[name].function(evidence)
    except (RecordError, UsageError) as error:
        raise RecordError(f"{who}: {error.message}", again) from error
    for name, value in values.items():
        if abs(value - record.metrics[name]) > TOLERANCE:
            raise RecordError(
                f"{who} has {name} = {record.metrics[name]:.6f}, but its predictions give {value:.6f}", again
            )
    return values
