"""Labels meet predictions: what is read from a prediction file, and what the metrics are computed from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import engine_lab as toys
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pmbench as pm
from pmbench.errors import DataError
from pmbench.evaluation.scoring import needs_features, read_predictions, score_predictions
from pmbench.metrics.builtin import METRICS
from pmbench.store.keys import Context


def write(path: Path, ids: list[str], **columns: np.ndarray) -> Path:
    """A prediction file as the evaluator writes it: (N, D) arrays as lists of D numbers."""
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
        for name, array in columns.items()
    }
    pq.write_table(pa.table({"id": ids, **lists}), path)
    return path


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[labels]


def retrieval(lab: toys.Lab) -> Context:
    return dataclasses.replace(lab.context, metrics=(METRICS["accuracy"], METRICS["r@1"]))


def test_columns_come_back_as_they_were_written(tmp_path):
    logits, features = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 8), np.float32)
    found = read_predictions(
        write(tmp_path / "p.parquet", ["a", "b"], logits=logits, features=features), ["a", "b"]
    )
    assert set(found) == {"logits", "features"}
    np.testing.assert_array_equal(found["logits"], logits)
    np.testing.assert_array_equal(found["features"], features)


@pytest.mark.parametrize("ids", [["b", "a"], ["a"], ["a", "b", "c"], ["a", "c"]])
def test_predictions_of_other_samples_are_refused(tmp_path, ids):
    path = write(tmp_path / "p.parquet", ids, logits=np.zeros((len(ids), 3), np.float32))
    with pytest.raises(DataError, match=rf"p\.parquet .*\({len(ids)} of 2\)"):
        read_predictions(path, ["a", "b"])


def test_metrics_are_those_of_the_test_labels(lab, tmp_path):
    ids, _ = lab.prepared.index("test")
    labels = lab.prepared.labels("test")
    predicted = labels.copy()
    predicted[:6] = (labels[:6] + 1) % 3
    path = write(tmp_path / "p.parquet", ids, logits=one_hot(predicted))
    metrics, found, classes = score_predictions(lab.context, ("near",), lab.prepared, path)
    assert metrics["accuracy"] == pytest.approx(100 * 24 / 30)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(classes, predicted)


def test_retrieval_compares_with_the_gallery_of_training_samples(lab, tmp_path):
    """Each test sample's features stand exactly on those of a training sample, half of them of its class."""
    context = retrieval(lab)
    assert needs_features(context)
    assert not needs_features(lab.context)
    (ids, _), labels = lab.prepared.index("test"), lab.prepared.labels("test")
    (gallery_ids, _), gallery_labels = lab.prepared.index("train"), lab.prepared.labels("train")
    nearest = labels.copy()
    nearest[:15] = (labels[:15] + 1) % 3
    path = write(tmp_path / "p.parquet", ids, logits=one_hot(labels), features=one_hot(nearest))
    write(tmp_path / "p.gallery.parquet", gallery_ids, features=one_hot(gallery_labels))
    metrics, *_ = score_predictions(context, ("near",), lab.prepared, path)
    assert metrics["accuracy"] == 100
    assert metrics["r@1"] == pytest.approx(50)


def test_a_gallery_of_other_samples_is_refused(lab, tmp_path):
    (ids, _), labels = lab.prepared.index("test"), lab.prepared.labels("test")
    path = write(tmp_path / "p.parquet", ids, logits=one_hot(labels), features=one_hot(labels))
    write(tmp_path / "p.gallery.parquet", ids, features=one_hot(labels))
    with pytest.raises(DataError, match="gallery"):
        score_predictions(retrieval(lab), ("near",), lab.prepared, path)


VALIDATED = {"validated": pm.Split("train", "test", "validation")}


def two_classes(part):
    keep = part.labels < 2
    return dataclasses.replace(
        part,
        ids=[i for i, kept in zip(part.ids, keep, strict=True) if kept],
        labels=part.labels[keep],
        arrays={m: array[keep] for m, array in part.arrays.items()},
        groups=None,
    )


def test_the_positive_class_is_that_of_the_data_set(tmp_path):
    """F1 of class 0 differs from that of class 1."""
    parts = {name: two_classes(part) for name, part in toys.toy_parts().items()}
    scores = []
    for positive in (0, 1):
        declared = {"classes": ("a", "b"), "positive_class": positive, "splits": VALIDATED, "few": ()}
        lab = toys.Lab(tmp_path / str(positive), toys.Given(parts, **declared))
        context = dataclasses.replace(lab.context, metrics=(METRICS["f1"],))
        (ids, _), labels = lab.prepared.index("test"), lab.prepared.labels("test")
        logits = np.zeros((len(labels), 2), np.float32)
        logits[:, 0] = (np.arange(len(labels)) % 4 > 0) - 0.5  # class 0 for three of four samples
        path = write(tmp_path / str(positive) / "p.parquet", ids, logits=logits)
        metrics, found, predicted = score_predictions(context, ("near",), lab.prepared, path)
        hits = ((found == positive) & (predicted == positive)).sum()
        expected = 200 * hits / ((found == positive).sum() + (predicted == positive).sum())
        assert metrics["f1"] == pytest.approx(expected)
        scores.append(metrics["f1"])
    assert scores[0] != pytest.approx(scores[1])


def test_attack_types_reach_the_metrics(tmp_path):
    """Of three attacks of type "print" one is accepted, of the others none: the worst type counts."""
    parts = {name: two_classes(part) for name, part in toys.toy_parts().items()}
    attacks = np.flatnonzero(parts["test"].labels == 0)
    types = np.full(len(parts["test"].ids), "mask", dtype=object)
    types[attacks[:3]] = "print"
    parts["test"] = dataclasses.replace(parts["test"], attack_types=types.tolist())
    declared = {"classes": ("attack", "live"), "splits": VALIDATED, "few": ()}
    lab = toys.Lab(tmp_path, toys.Given(parts, **declared))
    (ids, _), labels = lab.prepared.index("test"), lab.prepared.labels("test")
    assert lab.prepared.attack_types("test") == types.tolist()
    assert lab.prepared.attack_types("train") is lab.prepared.attack_types("train+test") is None
    predicted = labels.copy()
    predicted[attacks[0]] = 1
    path = write(tmp_path / "p.parquet", ids, logits=one_hot(predicted)[:, :2])
    context = dataclasses.replace(lab.context, metrics=(METRICS["acer"], METRICS["acer_worst"]))
    metrics, *_ = score_predictions(context, ("near",), lab.prepared, path)
    assert metrics["acer"] == pytest.approx(100 / len(attacks) / 2)
    assert metrics["acer_worst"] == pytest.approx(100 / 3 / 2)
