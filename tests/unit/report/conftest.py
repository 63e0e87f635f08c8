"""Generated records: a board with every kind of row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from pmbench.metrics.builtin import METRICS, evidence_of
from pmbench.report.cell import CellInfo
from pmbench.report.record import (
    Cost,
    Digests,
    Provenance,
    PublishedNumber,
    Record,
    SampleOutcomes,
    StageRun,
    Validation,
)

MakeRecord = Callable[..., Record]
PROVENANCE = Provenance(
    date="2025-01-31T12:00:00+00:00",
    command=["pmbench", "run"],
    pmbench="0.1.0",
    distributions={"pmbench": "0.1.0"},
    python="3.11.9",
    torch="2.8.0",
    platform="Linux-x86_64",
    device="cpu",
    threads=1,
    precision="32-true",
    git_commit=None,
    git_dirty=None,
)


def published(
    source: tuple[str, str, str], modalities: tuple[str, ...], dataset: str, metric: str, value: float
) -> PublishedNumber:
    """A number from `source` = (paper, table, variant), on split-1 of a data set."""
    return PublishedNumber(
        **dict(zip(("paper", "table", "variant"), source, strict=True)),
        test_modalities=list(modalities),
        dataset=dataset,
        protocol="split-1",
        metric=metric,
        value=value,
        higher_is_better=True,
    )


HOFFMAN = [
    published(("Hoffman 2016", "Table 1", ""), ("rgb",), "toy", "accuracy", 74.5),
    published(("Hoffman 2016", "Table 1", ""), ("rgb",), "toy", "macro_f1", 73.9),
    published(("Hoffman 2016", "Table 2", ""), ("rgb", "depth"), "toy", "accuracy", 88.0),
    published(("Later", "Table 9", ""), ("rgb",), "toy", "accuracy", 76.0),
]


def sha(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def predictions(labels: np.ndarray, right: float, seed: int, classes: int, name: str) -> np.ndarray:
    """Deterministic predictions of which a share of about `right` is correct."""
    rng = np.random.Generator(np.random.PCG64([seed, *name.encode()]))
    ease = np.random.Generator(np.random.PCG64(7)).random(len(labels))  # some samples are hard for all
    wrong = (labels + 1 + rng.integers(0, classes - 1, len(labels))) % classes
    return np.where(0.7 * ease + 0.3 * rng.random(len(labels)) < right, labels, wrong)


@pytest.fixture
def make_record() -> MakeRecord:
    return record


@pytest.fixture
def make_published() -> Callable[..., PublishedNumber]:
    return published


def record(
    method: str = "kd",
    seed: int = 0,
    right: float = 0.7,
    *,
    role: str = "method",
    tests_on: str = "target",
    options: dict[str, object] | None = None,
    dataset: str = "toy",
    protocol: str = "split-1",
    count: int = 400,
    classes: int = 4,
    networks: int = 1,
    seconds: float = 20.0,
    departures: dict[str, list[object]] | None = None,
    flat: bool | None = True,
    status: str = "done",
    reason: str | None = None,
    metric: str = "accuracy",
    **changes: object,
) -> Record:
    labels = np.random.Generator(np.random.PCG64(11)).integers(0, classes, count)
    predicted = predictions(labels, right, seed, classes, method + str(options))
    done = status == "done"
    modalities = {"target": ["gyro"], "privileged": ["accel"], "all": ["gyro", "accel"]}[tests_on]
    evidence = evidence_of(labels, np.eye(classes)[predicted], classes)
    values = {name: METRICS[name].function(evidence) for name in (metric, "accuracy", "macro_f1")}
    outcome = {
        "stages": [
            StageRun(
                key=sha(method, seed),
                stage="Imitate",
                parents=[],
                reads=["gyro"],
                reused=False,
                seconds=seconds,
                steps=100,
                epochs=20,
                selected_epoch=17,
                samples=1000,
                departures=departures or {},
            )
        ],
        "metrics": values,
        "primary": metric,
        "validation": Validation(
            rule="best epoch by accuracy on validation data",
            metric="accuracy",
            selected=71.0,
            curve=[60.0, 70.0, 71.0],
            flat=flat,
        ),
        "cost": Cost(
            train_seconds=seconds,
            train_seconds_spent=seconds,
            steps=100,
            parameters=11_172_042 * networks,
            macs=1_820_000_000,
            latency_ms=1.5,
            networks=networks,
        ),
        "digests": Digests(
            program=sha("p"),
            predictions=sha("q", method, options, seed),
            labels=sha("l"),
            data=sha("d", dataset),
        ),
        "samples": SampleOutcomes.of(labels, predicted),
        "sealed": True,
    }
    content: dict[str, object] = dict(
        cell=CellInfo(
            method=method,
            options=options or {},
            dataset=dataset,
            dataset_version=1,
            protocol=protocol,
            backbones={"gyro": "cnn1d-small", "accel": "cnn1d-small"},
            seed=seed,
            role=role,
            tests_on=tests_on,
            test_modalities=modalities,
            target=["gyro"],
            privileged=["accel"],
            num_classes=classes,
        ),
        cell_key=sha(method, options, dataset, protocol, seed),
        status=status,
        reason=reason,
        provenance=PROVENANCE,
        **(outcome if done else {}),
    )
    return Record(**{**content, **changes})


@pytest.fixture
def every_kind() -> list[Record]:
    """One board with every kind of row, and a second one."""
    found = []
    for seed in (0, 1, 2):
        found += [
            record("target_only", seed, 0.60, role="floor", seconds=10.0, flat=seed != 1),
            record("early_fusion", seed, 0.80, role="ceiling", tests_on="all", seconds=25.0),
            record("privileged_only", seed, 0.78, role="reference", tests_on="privileged", seconds=11.0),
            record("target_ensemble", seed, 0.62, role="reference", networks=2, seconds=20.0),
            record("self_distill", seed, 0.61, role="control", seconds=22.0),
            record("kd", seed, 0.605, seconds=33.0),
            record("kd", seed, 0.66, options={"temperature": 2.0}, seconds=33.0),
            record(
                "hoffman",
                seed,
                0.70,
                networks=2,
                seconds=5400.0,
                departures={"lr": [1e-3, 1e-4]},
                published=HOFFMAN,
            ),
            record("wishful", seed, 0.90, sealed=False),
            record("rad", seed, status="skipped", reason="needs maps of 'gyro' | none\n<b>here</b>"),
            record("target_only", seed, 0.55, role="floor", dataset="other", protocol="few-10"),
            record(
                "early_fusion", seed, 0.75, role="ceiling", tests_on="all", dataset="other", protocol="few-10"
            ),
            record("kd", seed, 0.68, dataset="other", protocol="few-10"),
        ]
    found += [record("amid", s, 0.65, deviations=["mean, not sum, over pixels"]) for s in (0, 2)]
    found.append(record("amid", 1, status="failed", reason="loss is not finite at step 12"))
    return found
