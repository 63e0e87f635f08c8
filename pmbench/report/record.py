"""Records: the request, the outcome per test sample, the cost and the provenance of one cell.

Records of others are read, too, so every number and text has a bound, and what can be checked without data
and plugins is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.types import FiniteFloat

from ..contracts.metric import Evidence, Metric
from ..errors import RecordError, UsageError, plural
from ..metrics.builtin import METRICS
from .cell import CellInfo, StrictModel
from .fields import (
    Count,
    Departure,
    Floats,
    Name,
    Names,
    Percent,
    Seconds,
    Sha256,
    Text,
    Texts,
    lists,
)
from .packing import LARGEST, pack, unpack

SCHEMA_VERSION = 3
Isolation = Literal["landlock", "audit-hook", "none", "unknown"]


class StageRun(StrictModel):
    """One stage of the plan. `departures`: recipe field -> [standard, own].

    `seconds` and `cpu_seconds` are those of its process, with its start. `steps` are the batches of its
    training, `optimizer_steps` the most steps that one of its optimizers took. `validation`: the metric of
    the network that it delivers, on validation data, None for one that does not classify; `near_chance`:
    whether that is no better than the commonest class, within two standard errors. Both are None in older
    records.
    """

    key: Sha256
    stage: Name
    parents: Annotated[list[Sha256], BeforeValidator(lists), Field(max_length=1000)]
    reads: Names
    reused: bool
    seconds: Seconds
    cpu_seconds: Seconds | None = None
    steps: Count
    optimizer_steps: Count | None = None
    epochs: Annotated[int, Field(ge=0, le=10**6)]
    selected_epoch: Annotated[int, Field(ge=0, le=10**6)] | None
    validation: Percent | None = None
    near_chance: bool | None = None
    samples: Count
    departures: dict[Name, Departure] = {}

    @model_validator(mode="after")
    def _consistent(self) -> StageRun:
        if self.selected_epoch is not None and self.selected_epoch > self.epochs:
            raise ValueError(f"epoch {self.selected_epoch} is selected of {self.epochs}")
        return self


class Validation(StrictModel):
    """Selection of the checkpoint. `curve`: the last stage's validation metric by epoch.

    `terms`: its loss terms by name, each as the mean of every epoch (0 where it was left out);
    empty in older records.
    """

    rule: Name
    metric: Name
    selected: Percent | None
    curve: Floats
    flat: bool | None
    terms: Annotated[dict[Name, Floats], Field(max_length=100)] = {}


class Audit(StrictModel):
    """Results, in the primary metric, of other epochs of the last stage than the selected one.

    `last`: last epoch. `validation`: the best on validation data, if there is any. `test`: the best on the
    test part, which no result comes from: it shows what choosing on test would have added.
    """

    last: Percent
    validation: Percent | None
    test: Percent
    test_epoch: Annotated[int, Field(ge=1, le=10**6)]


class Cost(StrictModel):
    """Cost of training and evaluation, measured by the process that started the others.

    `train_seconds`, `cpu_seconds` and `steps` count all stages, `train_seconds_spent` only those not reused;
    `peak_bytes` is the largest memory of a stage's process. The fields from `parameters` on describe the
    evaluated program.
    """

    train_seconds: Seconds
    train_seconds_spent: Seconds
    cpu_seconds: Seconds | None = None
    peak_bytes: Count | None = None
    steps: Count
    parameters: Count
    buffers: Count | None = None
    macs: Count | None
    latency_ms: Seconds | None
    networks: Annotated[int, Field(ge=0, le=1000)]


class Digests(StrictModel):
    """SHA-256 of the sealed program, of the predictions, of the labels and of the prepared data."""

    program: Sha256 | None
    predictions: Sha256
    labels: Sha256
    data: Sha256


class SampleOutcomes(StrictModel):
    """Labels and predicted classes of the test samples, packed, in the order of the data set.

    `groups`: number of the group of each sample (subject, speaker), packed; None if samples are independent,
    or in records from before this field.
    """

    count: Annotated[int, Field(ge=1, le=10**7)]
    labels: str
    predicted: str
    groups: str | None = None

    @classmethod
    def of(
        cls, labels: np.ndarray, predicted: np.ndarray, groups: Sequence[str] | None = None
    ) -> SampleOutcomes:
        """From labels, predicted classes and names of groups, each (N,).

        Groups are numbered in the order of their first samples; their names are not kept. Raises UsageError
        if the lengths differ.
        """
        if len(labels) != len(predicted):
            raise UsageError(f"{len(labels)} labels for {len(predicted)} predictions")
        if groups is not None and len(groups) != len(labels):
            raise UsageError(f"{len(groups)} groups for {len(labels)} labels")
        codes = None
        if groups is not None:
            numbers = {name: code for code, name in enumerate(dict.fromkeys(groups))}
            if len(numbers) <= LARGEST + 1:  # more are hardly fewer than the samples
                codes = pack(np.array([numbers[name] for name in groups]))
        return cls(count=len(labels), labels=pack(labels), predicted=pack(predicted), groups=codes)

    def unpack(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predicted classes, each (N,); raises RecordError if they are damaged."""
        return unpack(self.labels, self.count), unpack(self.predicted, self.count)

    def unpack_groups(self) -> np.ndarray | None:
        """Number of the group of each sample (N,), or None; raises RecordError if they are damaged."""
        return None if self.groups is None else unpack(self.groups, self.count)


class PublishedNumber(StrictModel):
    """A number that a paper prints for a cell, or for its row of an ablation; fields as in pm.Published.

    `differs`: how the cell departs from what the paper ran on this data set, a phrase each.
    """

    paper: Text
    table: Text
    variant: Text
    test_modalities: Names
    dataset: Name
    protocol: Name
    metric: Name
    value: FiniteFloat
    higher_is_better: bool
    differs: Texts = []


class Average(StrictModel):
    """The mean over several protocols, to which a cell's result belongs, and what papers print for it."""

    protocol: Name
    of: Names
    published: Annotated[list[PublishedNumber], Field(max_length=1000)] = []


class Provenance(StrictModel):
    """Software, hardware and command of a run. `date` is ISO 8601; `distributions` maps names to versions.

    `isolation` of plugins: "landlock", by the kernel, in processes of their own; "audit-hook", in such
    processes of a system without Landlock; "none", in the process of the command; "unknown" in records of
    schemas 1 and 2.
    """

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}([T ][0-9:.+Z-]*)?$", max_length=40)]
    command: Texts
    pmbench: Name
    distributions: dict[Name, Name]
    python: Name
    torch: Name
    platform: Name
    device: Name
    threads: Annotated[int, Field(ge=1, le=10**5)]
    precision: Name
    isolation: Isolation = "unknown"
    git_commit: Name | None
    git_dirty: bool | None


class MetricInfo(StrictModel):
    """Description of a plugin's metric, for the board."""

    title: Name
    higher_is_better: bool


class Record(StrictModel):
    """The outcome of one cell. `cell_key` identifies cell, last stage and data; `row_key` is that of the same
    cell with seed 0, equal for all seeds that the same code and data give, and None in older records.

    A finished cell has metrics (in percent), samples, cost and digests; another one has a `reason`.
    `published` are the numbers of papers for it at the time of writing. `averages`: the means over protocols
    that it is part of. `metric_info` describes metrics that are not built in.
    """

    schema_version: Literal[3] = 3
    cell: CellInfo
    cell_key: Sha256
    row_key: Sha256 | None = None
    status: Literal["done", "skipped", "failed"]
    reason: Text | None = None
    stages: Annotated[list[StageRun], Field(max_length=1000)] = []
    metrics: Annotated[dict[Name, Percent], Field(max_length=100)] = {}
    primary: Name | None = None
    metric_info: dict[Name, MetricInfo] = {}
    validation: Validation | None = None
    audit: Audit | None = None
    cost: Cost | None = None
    digests: Digests | None = None
    samples: SampleOutcomes | None = None
    sealed: bool = False
    deviations: Texts = []
    published: Annotated[list[PublishedNumber], Field(max_length=1000)] = []
    averages: Annotated[list[Average], Field(max_length=10)] = []
    provenance: Provenance

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields for JSON; an older record is written as it was read."""
        return {n: v for n, v in write(self).items() if n != "row_key" or v is not None}

    @model_validator(mode="after")
    def _complete(self) -> Record:
        if self.status != "done":
            if not self.reason:
                raise ValueError(f"a cell that is {self.status} needs a reason")
            return self
        needed = ("metrics", "primary", "samples", "cost", "digests", "stages")
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"a cell that is done needs {', '.join(missing)}")
        if self.primary not in self.metrics:
            raise ValueError(f"the primary metric {self.primary!r} is not among the metrics")
        if strange := [m for m in self.metrics if m not in METRICS and m not in self.metric_info]:
            raise ValueError(f"metric {strange[0]!r} is neither built in nor described")
        self._check_stages()
        self._check_cost()
        return self

    def _check_stages(self) -> None:
        """The stages are a graph without cycles, in which each is an ancestor of one last stage."""
        modalities = {*self.cell.target, *self.cell.privileged}
        by_key = {stage.key: stage for stage in self.stages}
        if len(by_key) < len(self.stages):
            raise ValueError("a stage is listed twice")
        for stage in self.stages:
            if lacking := [key for key in stage.parents if key not in by_key]:
                raise ValueError(f"parent {lacking[0][:12]} of stage {stage.key[:12]} is not listed")
            if not modalities.issuperset(stage.reads):
                raise ValueError(f"stage {stage.key[:12]} reads {stage.reads}, which the cell does not have")
        try:
            TopologicalSorter({key: stage.parents for key, stage in by_key.items()}).prepare()
        except CycleError as error:
            raise ValueError("a stage is its own ancestor") from error
        last = by_key.keys() - {parent for stage in self.stages for parent in stage.parents}
        if len(last) != 1:
            raise ValueError(f"{len(last)} stages are no ancestors of others; expected one, the last")
        epochs = by_key[last.pop()].epochs
        if self.validation is not None and len(self.validation.curve) > epochs:
            found = len(self.validation.curve)
            raise ValueError(f"the validation curve has {plural(found, 'epoch')}, the last stage {epochs}")

    def _check_cost(self) -> None:
        """The cost is the sum over the stages."""
        assert self.cost is not None
        spent = [stage.seconds for stage in self.stages if not stage.reused]
        for name, found, sum_ in (
            ("train_seconds", self.cost.train_seconds, sum(s.seconds for s in self.stages)),
            ("train_seconds_spent", self.cost.train_seconds_spent, sum(spent)),
            ("steps", self.cost.steps, sum(s.steps for s in self.stages)),
        ):
            if abs(found - sum_) > 1e-6 * max(1.0, sum_):
                raise ValueError(f"{name} is {found}, but its stages add up to {sum_}")


def metric_of(record: Record, name: str) -> Metric | None:
    """A built-in metric, or a plugin's as described by the record, without function; None if unknown."""
    if name in METRICS or name not in record.metric_info:
        return METRICS.get(name)
    info = record.metric_info[name]
    return Metric(name, info.title, "logits", _unavailable, higher_is_better=info.higher_is_better)


def _unavailable(evidence: Evidence) -> float:
    raise RecordError("a plugin's metric cannot be computed from a record")
