"""The prepared form: faults of a source, damaged files, repeated and concurrent preparation."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from typing import ClassVar

import engine_lab as toys
import numpy as np
import pytest

import pmbench as pm
from pmbench.data.prepare import find_or_prepare, prepare
from pmbench.data.prepared import SCHEMA, data_folder, open_prepared, verify
from pmbench.errors import DataError, DataNotPrepared

SOURCE = toys.Path(toys.__file__)


def changed(part="train", **changes):
    """The toy data set with one part changed; `arrays` are merged."""
    parts = toys.toy_parts()
    if "arrays" in changes:
        changes["arrays"] = {**parts[part].arrays, **changes["arrays"]}
    parts[part] = dataclasses.replace(parts[part], **changes)
    return toys.Given(parts)


def near(part="train", **at):
    array = toys.toy_parts()[part].arrays["near"].copy()
    for row, value in at.items():
        array[int(row[1:]), 2] = value
    return array


TOY = toys.toy_parts()["train"]
FAULTS = {
    "nan": (changed(arrays={"near": near(_17=np.nan)}), ["'train'", "'near'", "'train-017'", "not finite"]),
    "infinite": (
        changed("test", arrays={"near": near("test", _3=-np.inf)}),
        ["'test'", "'near'", "'test-003'"],
    ),
    "shape": (
        changed(arrays={"wave": np.zeros((60, 2, 15))}),
        ["'train'", "'wave'", "(60, 2, 15)", "(60, 2, 16)"],
    ),
    "too few": (changed(arrays={"far": np.zeros((59, 5))}), ["'train'", "'far'", "(59, 5)"]),
    "objects": (changed(arrays={"far": np.full((60, 5), None)}), ["'train'", "'far'", "object"]),
    "labels too many": (changed(labels=np.zeros(61, int)), ["'train'", "60 ids", "(61,)"]),
    "label too large": (changed(labels=np.full(60, 3)), ["'train'", "3 to 3", "0 to 2"]),
    "label too small": (changed(labels=np.full(60, -2)), ["'train'", "-2"]),
    "label halves": (changed(labels=np.full(60, 0.5)), ["'train'", "float64", "whole numbers"]),
    "groups": (changed(groups=["a"]), ["'train'", "60 ids"]),
    "attack types": (changed(attack_types=["a"]), ["'train'", "1 attack types for 60 samples"]),
    "ids are numbers": (changed(ids=range(60)), ["'train'", "id 0 is int"]),
    "duplicate": (changed(ids=["x", "x", *TOY.ids[2:]]), ["'train'", "'x'", "more than once"]),
    "overlap": (
        changed("test", ids=[*TOY.ids[:1], *(f"t{i}" for i in range(29))]),
        ["'train'", "'test'", "'train-000'"],
    ),
    "duplicate in parts of different splits": (
        changed("loose", ids=[*TOY.ids[:1], *toys.toy_parts()["loose"].ids[1:]]),
        ["'train-000'", "'train'", "'loose'"],
    ),
    "missing modality": (changed(arrays={"near": None}), ["'train'", "'near'", "nothing"]),
    "missing part": (
        toys.Given({n: p for n, p in toys.toy_parts().items() if n != "test"}, expected={"test": 30}),
        ["'test'", "train"],
    ),
    "part without its split": (
        toys.Given({n: p for n, p in toys.toy_parts().items() if n != "loose"}),
        ["'loose'"],
    ),
    "count": (toys.Given(expected={"train": 61}), ["'train'", "found 60", "expected 61"]),
    "classes": (toys.Given(expected={"train": (21, 20, 19)}), ["'train'", "[20, 20, 20]", "[21, 20, 19]"]),
}


@pytest.mark.parametrize(("dataset", "words"), FAULTS.values(), ids=FAULTS)
def test_faults_of_a_source_are_named(tmp_path, dataset, words):
    with pytest.raises(DataError) as caught:
        prepare(dataset, SOURCE, tmp_path)
    assert "'toy'" in caught.value.message
    for word in words:
        assert word in caught.value.message
    with pytest.raises((DataNotPrepared, DataError)):
        open_prepared(dataset, tmp_path)
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_part_given_twice_is_refused(tmp_path):
    class Twice(toys.Toy):
        def read(self, source):
            yield from super().read(source)
            yield "train", TOY

    with pytest.raises(DataError, match="'train' twice"):
        prepare(Twice(), SOURCE, tmp_path)


def test_a_source_that_fails_midway_leaves_no_files(tmp_path):
    class Cut(toys.Toy):
        def read(self, source):
            yield "train", TOY
            raise DataError("the archive ends early")

    with pytest.raises(DataError, match="ends early"):
        prepare(Cut(), SOURCE, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] in ([], [".toy-v1.lock"])
    with pytest.raises(DataError, match="does not exist"):
        prepare(Cut(), tmp_path / "nowhere", tmp_path)


def test_a_missing_source_file_is_not_reported_as_a_write_error(tmp_path):
    class Labelled(toys.Toy):
        def read(self, source):
            yield (tmp_path / "labels.csv").read_text()

    with pytest.raises(
        DataError, match=r"data set 'toy': .*labels\.csv cannot be read: No such file"
    ) as caught:
        prepare(Labelled(), SOURCE, tmp_path / "data")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_prepared_arrays_roundtrip(tmp_path):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    for name, part in toys.toy_parts().items():
        assert prepared.index(name) == (part.ids, part.groups)
        np.testing.assert_array_equal(prepared.labels(name), part.labels)
        for modality, array in part.arrays.items():
            column = prepared.column(name, modality)
            np.testing.assert_array_equal(column.array, array)
            np.testing.assert_array_equal(column.read(3), array[3])
            assert len(array) == column.length
    assert open_prepared(toys.Toy(), tmp_path).fingerprint == prepared.fingerprint
    assert data_folder(toys.Toy(), tmp_path).name == "toy-v1"


def test_classes_without_samples_have_count_zero(tmp_path):
    parts = toys.toy_parts()
    parts["test"] = dataclasses.replace(parts["test"], labels=np.zeros(30, int))
    prepare(toys.Given(parts, expected={"test": (30, 0, 0)}), SOURCE, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "bit", "gone", "other"])
@pytest.mark.parametrize("name", ["near", "labels", "index"])
def test_damaged_files_are_named_and_prepared_again(tmp_path, damage, name):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    path = prepared.path("train", name)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        bit = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes({"cut": content[:-5], "bit": bit, "other": b"{}"}[damage])

    def read():
        fresh = open_prepared(toys.Toy(), tmp_path)
        return {
            "near": lambda: fresh.column("train", "near"),
            "labels": lambda: fresh.labels("train"),
            "index": lambda: fresh.index("train"),
        }[name]()

    with pytest.raises(DataError) as caught:
        read()
    assert str(path) in caught.value.message
    assert "pmbench data prepare toy" in caught.value.hint
    prepare(toys.Toy(), SOURCE, tmp_path)
    read()
    assert path.read_bytes() == content


def test_verify_has_a_row_per_file_and_count(tmp_path):
    dataset = toys.Given(expected={"train": (20, 20, 20), "test": 30})
    prepared = prepare(dataset, SOURCE, tmp_path)
    rows = verify(dataset, tmp_path)
    assert all(row["ok"] for row in rows)
    assert len(rows) == 4 * 7 + 2
    path = prepared.path("train", "far")
    path.write_bytes(path.read_bytes()[:-1])
    prepared.path("test", "labels").unlink()
    bad = {(row["part"], row["what"]): row["found"] for row in verify(dataset, tmp_path) if not row["ok"]}
    assert set(bad) == {("train", "far SHA-256"), ("test", "labels SHA-256")}
    assert bad["test", "labels SHA-256"] == "missing"
    with pytest.raises(DataNotPrepared):
        verify(dataset, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"schema": 2}',
        '{"schema": 2, "dataset": "other", "parts": {}}',
        '{"schema": 2, "dataset": "toy", "parts": {"train": {}}}',
        '{"schema": 2, "dataset": "toy", "parts": 3}',
    ],
)
def test_a_damaged_manifest_is_named_and_replaced(tmp_path, text):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    (prepared.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json is not a manifest of data set 'toy'"):
        open_prepared(toys.Toy(), tmp_path)
    assert prepare(toys.Toy(), SOURCE, tmp_path).fingerprint == prepared.fingerprint


def test_an_older_schema_is_prepared_again(tmp_path):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    path = prepared.folder / "manifest.json"
    current = path.read_text()
    path.write_text(json.dumps({**prepared.manifest, "schema": SCHEMA - 1}))
    with pytest.raises(DataNotPrepared, match="found schema 1, expected 2") as caught:
        open_prepared(toys.Toy(), tmp_path)
    assert "pmbench data prepare toy" in caught.value.hint
    assert find_or_prepare(toys.Toy(), tmp_path).fingerprint == prepared.fingerprint
    assert path.read_text() == current


def test_an_embedded_data_set_is_prepared_on_first_use(tmp_path):
    with pytest.raises(DataNotPrepared, match="'toy' is not prepared") as caught:
        open_prepared(toys.Toy(), tmp_path)
    assert "pmbench data prepare toy" in caught.value.hint
    first = find_or_prepare(toys.Toy(), tmp_path)
    stamp = first.path("train", "near").stat().st_mtime_ns
    assert find_or_prepare(toys.Toy(), tmp_path).path("train", "near").stat().st_mtime_ns == stamp

    class Bare(toys.Toy):
        find_source = pm.Dataset.find_source

    with pytest.raises(DataNotPrepared):
        find_or_prepare(Bare(), tmp_path / "bare")


def test_overlapping_parts_are_found_when_opening(tmp_path):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    index = json.loads(prepared.path("test", "index").read_text())
    index["ids"][0] = "validation-000"
    prepared.path("test", "index").write_text(json.dumps(index))
    with pytest.raises(DataError, match="'validation-000'"):
        open_prepared(toys.Toy(), tmp_path)


def test_a_part_that_the_plugin_offers_since_names_the_command(tmp_path):
    class Grown(toys.Toy):
        splits: ClassVar = toys.Toy.splits | {"more": pm.Split("more", "test")}

    prepare(toys.Toy(), SOURCE, tmp_path)
    with pytest.raises(DataError, match=r"no part 'more'; its parts: .*train") as caught:
        open_prepared(Grown(), tmp_path)
    assert f"`pmbench data prepare {toys.Toy.name} --force`" in str(caught.value.hint)


def _prepare(root, pipe):
    prepared = find_or_prepare(toys.Toy(), root)
    pipe.send((prepared.fingerprint, prepared.path("train", "near").stat().st_ino))


def test_concurrent_preparations_write_once(tmp_path):
    fork = multiprocessing.get_context("fork")
    pipes, workers = [], []
    for _ in range(3):
        ours, theirs = fork.Pipe()
        pipes.append(ours)
        workers.append(fork.Process(target=_prepare, args=(tmp_path, theirs)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    first, *others = [pipe.recv() for pipe in pipes]
    assert all(other == first for other in others)  # the same inodes: written once
    assert all(row["ok"] for row in verify(toys.Toy(), tmp_path))
    assert not list(tmp_path.glob(".*.tmp"))


def test_joined_parts_are_read_without_a_copy(tmp_path):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    parts = [np.load(prepared.path(part, "wave")) for part in ("train", "test", "validation")]
    column = prepared.column("train+test+validation", "wave")
    rows = np.array([113, 0, 59, 60, 89, 90, 60])
    np.testing.assert_array_equal(column.array[rows], np.concatenate(parts)[rows])
    assert column.array.shape == (114, *column.shape)
    assert column.array[rows[:0]].shape == (0, *column.shape)
    with pytest.raises(IndexError):
        column.array[np.array([114])]
    np.testing.assert_array_equal(column.read(89), parts[1][29])


def test_parts_with_and_without_groups_are_not_joined(tmp_path):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    with pytest.raises(DataError, match="some parts have groups and others none"):
        prepared.index("loose+train")


def test_arrays_of_another_shape_than_declared_are_refused(tmp_path):
    prepared = prepare(toys.Toy(), SOURCE, tmp_path)
    wave = dataclasses.replace(prepared.dataset.modality("wave"), shape=(2, 8))

    class Shorter(toys.Toy):
        modalities = tuple(wave if m.name == "wave" else m for m in toys.Toy.modalities)

    with pytest.raises(DataError, match=r"samples of shape \(2, 16\), 'wave' is of \(2, 8\)"):
        open_prepared(Shorter(), tmp_path).column("train", "wave")
