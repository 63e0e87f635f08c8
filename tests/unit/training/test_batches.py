"""Batches: their order, their contents, and equality from memory and streamed."""

from __future__ import annotations

import dataclasses
import itertools
import threading

import engine_lab as toys
import numpy as np
import pytest
import torch

from pmbench.contracts.samples import Column
from pmbench.errors import ContractError, DataError
from pmbench.training import batches
from pmbench.training.batches import Order, TrainingBatches, fits_in_memory

CPU = torch.device("cpu")


def order_of(labelled=60, unlabelled=0, batch_size=8, steps=8, seed=0):
    rows = np.random.Generator(np.random.PCG64(0)).permutation(labelled + unlabelled)
    return Order(np.sort(rows[:labelled]), np.sort(rows[labelled:]), batch_size, steps, seed)


def test_every_pass_is_a_permutation():
    order = order_of(labelled=20, batch_size=8, steps=5)
    for steps, epochs in ((5, 4), (7, 5)):  # an epoch is two passes; and 2.8
        order = dataclasses.replace(order, steps=steps)
        stream = np.concatenate([order.epoch(e).ravel() for e in range(epochs)])
        assert len(stream) == 8 * steps * epochs
        passes = [stream[i : i + 20] for i in range(0, len(stream) - 19, 20)]
        for one in passes:
            np.testing.assert_array_equal(np.sort(one), order.labelled)
        assert len({tuple(one) for one in passes}) == len(passes)
    np.testing.assert_array_equal(order.epoch(3), order.epoch(3))
    assert (dataclasses.replace(order, seed=1).epoch(0) != order.epoch(0)).any()


@pytest.mark.parametrize("size", [8, 9])
def test_half_of_each_batch_is_labelled(size):
    order = order_of(labelled=12, unlabelled=48, batch_size=size, steps=6)
    for epoch in range(3):
        found = order.epoch(epoch)
        assert found.shape == (6, size)
        assert (np.isin(found, order.labelled).sum(1) == size - size // 2).all()
    alone = order_of(labelled=0, unlabelled=30, steps=3).epoch(0)
    assert alone.shape == (3, 8)


def balanced(labels, per_class, batch_size=8, steps=5, unlabelled=0, seed=0):
    labels = np.asarray(labels)
    rows = np.random.Generator(np.random.PCG64(1)).permutation(len(labels) + unlabelled)
    known, unknown = rows[: len(labels)], rows[len(labels) :]
    return Order(known, unknown, batch_size, steps, seed, labels, per_class)


@pytest.mark.parametrize("unlabelled", [0, 40])
@pytest.mark.parametrize("per_class", [1, 2, 3, 4])
def test_balanced_batches_have_so_many_of_each_class(per_class, unlabelled):
    order = balanced(np.repeat(np.arange(5), [4, 7, 9, 12, 31]), per_class, 16, 7, unlabelled)
    labels = dict(zip(order.labelled.tolist(), order.labels.tolist(), strict=True))
    width = 8 if unlabelled else 16
    counts = np.zeros(5, int)
    for epoch in range(3):
        for batch in order.epoch(epoch):
            assert np.isin(batch, order.labelled).sum() == width
            classes = [labels[row] for row in batch[:width].tolist()]
            runs = [len(list(run)) for _, run in itertools.groupby(classes)]
            assert sum(runs) == width
            assert all(run % per_class == 0 for run in runs[:-1]), "whole classes, and a rest"
            counts += np.bincount(classes, minlength=5)
    assert counts.max() - counts.min() <= 2 * per_class + len(counts), "classes take turns"
    np.testing.assert_array_equal(order.epoch(2), order.epoch(2))
    assert (dataclasses.replace(order, seed=1).epoch(0) != order.epoch(0)).any()


def test_balanced_batches_show_every_sample_of_a_class_before_one_again():
    """4 classes with 4, 6, 8 and 12 samples, two of each class in a batch of eight."""
    sizes = (4, 6, 8, 12)
    order = balanced(np.repeat(np.arange(4), sizes), 2, steps=3)
    stream = np.concatenate([order.epoch(epoch).ravel() for epoch in range(16)])
    for label, size in enumerate(sizes):
        own = order.labelled[order.labels == label]
        drawn = stream[np.isin(stream, own)]
        assert len(drawn) == 16 * 3 * 2
        for start in range(0, len(drawn) - size + 1, size):
            np.testing.assert_array_equal(np.sort(drawn[start : start + size]), np.sort(own))


def test_a_class_with_too_few_samples_repeats_them():
    order = balanced([0, 0, 1, 1, 1, 1], 4)
    for batch in order.epoch(0):
        assert (np.unique(batch[np.isin(batch, order.labelled[:2])], return_counts=True)[1] == 2).all()


def batches_of(lab, stage, workers=0, shard=(0, 1)):
    training = lab.training(stage)
    return TrainingBatches(lab.view, stage, training.order, training.stats, CPU, workers, shard)


def epoch_of(lab, stage, epoch=0, **options):
    return list(batches_of(lab, stage, **options).epoch(epoch, 3))


def ids_of(lab, stage, epoch=0):
    ids = lab.prepared.index("train")[0]
    found = batches_of(lab, stage)
    return [[ids[found.rows[i]] for i in batch.index] for batch in found.epoch(epoch, 3)]


def test_all_methods_see_the_same_batches(lab):
    first = ids_of(lab, toys.Plain("near"))
    for stage in (
        toys.Plain("far", dropout=0.5),
        toys.Imitator(toys.Plain("far")),
        toys.Adversarial(),
        toys.Everything(),
    ):
        assert ids_of(lab, stage) == first
    assert ids_of(lab, toys.Plain("near"), epoch=1) != first
    assert ids_of(lab, toys.Plain("near", replica=1)) != first
    assert ids_of(lab.but(seed=1), toys.Plain("near")) != first


def test_every_stage_takes_the_same_number_of_steps(lab):
    lab = lab.but(protocol="few-4+privileged-50")
    stages = (toys.Everything(), toys.Unlabelled(), toys.Supervised(), toys.Plain())
    found = {type(stage).__name__: epoch_of(lab, stage) for stage in stages}
    assert {len(each) for each in found.values()} == {8}  # 60 samples in batches of 8
    assert all(len(batch.labels) == 8 for each in found.values() for batch in each)
    assert all((batch.labels >= 0).all() for name in ("Supervised", "Plain") for batch in found[name])
    assert all(batch.labelled.sum() == 4 for name in ("Everything", "Unlabelled") for batch in found[name])
    assert all(batch.present("far").all() for name in ("Unlabelled", "Supervised") for batch in found[name])
    # labelled samples come in the same order with and without unlabelled ones
    alone = [i for batch in ids_of(lab, toys.Plain()) for i in batch]
    ids, labelled = ids_of(lab, toys.Everything(("near",))), found["Everything"]
    mixed = [
        i
        for row, b in zip(ids, labelled, strict=True)
        for i, known in zip(row, b.labelled, strict=True)
        if known
    ]
    assert mixed == alone[: len(mixed)]
    assert len(mixed) == 32


def test_contents_of_a_batch(lab):
    lab = lab.but(protocol="few-4+privileged-50")
    found = batches_of(lab, toys.Everything())
    train, stats = toys.toy_parts()["train"], found.stats
    seen = []
    for number, batch in enumerate(found.epoch(1, 3)):
        rows = found.rows[batch.index]
        for name in ("near", "far"):
            expected = (train.arrays[name][rows] - stats[name].mean) / stats[name].std
            present = batch.present(name).numpy()
            np.testing.assert_allclose(batch[name].numpy()[present], expected[present], rtol=1e-6)
            assert (batch[name].numpy()[~present] == 0).all()
        np.testing.assert_array_equal(
            batch.present("far"), lab.view.thinned["far"][found.indices[batch.index]]
        )
        np.testing.assert_array_equal(batch.present("near", "far"), batch.present("far"))
        known = batch.labelled.numpy()
        np.testing.assert_array_equal(batch.labels.numpy()[known], train.labels[rows][known])
        assert batch.epoch == 1
        assert batch.progress == pytest.approx((1 + number / 8) / 3)
        assert batch["near"].dtype == torch.float32
        assert batch.labels.dtype == torch.int64
        assert set(batch) == {"near", "far"}
        seen += batch.index.tolist()
    assert max(seen) < len(found.rows)


def test_a_modality_outside_reads_is_refused(lab):
    batch = epoch_of(lab, toys.Plain("near"))[0]
    for touch in (lambda: batch["far"], lambda: batch.present("far")):
        with pytest.raises(ContractError, match=r"'Plain'.*'far'.*near") as caught:
            touch()
        assert "reads" in caught.value.hint
    assert "far" not in batch
    assert batch.get("near") is not None


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert toys.same(dict(a), dict(b))
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.present(*a), b.present(*b))


@pytest.mark.parametrize("dataset", [toys.Toy, toys.Jittered])
def test_batches_from_memory_and_streamed_are_bit_identical(lab, monkeypatch, dataset):
    lab = toys.Lab(lab.root / "x", dataset(), protocol="few-4+privileged-50")
    stage = toys.Everything(("wave", "near", "far"))
    held = epoch_of(lab, stage, 2)
    monkeypatch.setattr(batches, "MEMORY_LIMIT", 0)
    assert batches_of(lab, stage).held is None
    assert_equal(epoch_of(lab, stage, 2), held)


def test_batches_read_by_threads_are_bit_identical(lab, monkeypatch):
    lab = lab.but(protocol="privileged-50")
    stage = toys.Everything(("wave", "far"))
    held = epoch_of(lab, stage)
    monkeypatch.setattr(batches, "MEMORY_LIMIT", 0)
    for threads in (1, 3, 50):
        assert_equal(epoch_of(lab, stage, workers=threads), held)


def test_reading_ahead_stops_when_the_generator_is_closed(lab):
    read = []

    class Slow(Column):
        def read(self, index, crop=None):
            read.append(index)
            return np.zeros(2, np.float32)

    endless = ((np.array([n]), {}) for n in itertools.count())
    batch = batches.stream({"a": Slow(10**6)}, endless, 2)
    next(batch)
    batch.close()
    assert len(read) <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith("pmbench-read")]


def test_an_error_in_a_thread_is_raised(lab):
    class Broken(Column):
        def read(self, index, crop=None):
            raise DataError("sample 3 is damaged")

    with pytest.raises(DataError, match="sample 3"):
        list(batches.stream({"a": Broken(9)}, [(np.arange(2), {})], 2))


@dataclasses.dataclass(frozen=True)
class Decoded(Column):
    """A column without an array, which decodes each sample."""

    source: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0), hash=False)

    @property
    def shape(self):
        return self.source.shape[1:]

    def read(self, index, crop=None):
        return self.source[index]


def test_columns_without_an_array_are_streamed(lab, monkeypatch):
    stage = toys.Plain("wave")
    held = epoch_of(lab, stage)
    weights = lab.training(stage).run().state_dict()
    lab.store.remove(lab.context.key(stage))
    column = type(lab.prepared).column

    def decoded(self, part, modality, protocol=None):
        found = column(self, part, modality, protocol)
        return Decoded(found.length, None, None, found.array)

    monkeypatch.setattr(type(lab.prepared), "column", decoded)
    assert batches_of(lab, stage).held is None
    assert_equal(epoch_of(lab, stage), held)
    assert toys.same(lab.training(stage).run().state_dict(), weights)


def test_fits_in_memory(monkeypatch):
    column = Column(100, np.zeros((100, 10), np.uint8))
    monkeypatch.setattr(batches, "MEMORY_LIMIT", 4 * 100 * 10)  # as float32
    assert fits_in_memory({"a": column}, 100)
    assert not fits_in_memory({"a": column, "b": column}, 100)
    assert fits_in_memory({"a": column, "b": column}, 50)
    assert not fits_in_memory({"a": Column(100)}, 1)


def test_augmentation_is_shared_by_modalities_and_independent_of_reads(lab):
    plain, jittered = lab, toys.Lab(lab.root / "jittered", toys.Jittered())

    def shifts(reads, epoch=0, lab=jittered):
        stage = toys.Everything(reads)
        before, after = epoch_of(plain.but(seed=lab.seed), stage, epoch), epoch_of(lab, stage, epoch)
        pairs = zip(before, after, strict=True)
        return [{m: (b[m] - a[m]).flatten(1) for m in reads} for a, b in pairs]

    both = shifts(("near", "far", "wave"))
    for found in both:
        torch.testing.assert_close(found["near"][:, 0], found["far"][:, 0], atol=1e-5, rtol=0)
        torch.testing.assert_close(found["near"].std(1), torch.zeros(8), atol=1e-5, rtol=0)
        assert (found["near"][:, 0] - found["wave"][:, 0]).abs().max() > 0.01
        assert len(found["near"][:, 0].unique()) == 8
    for alone, found in zip(shifts(("near",)), both, strict=True):
        torch.testing.assert_close(alone["near"], found["near"], atol=1e-5, rtol=0)
    assert (shifts(("near",), 1)[0]["near"] - both[0]["near"]).abs().max() > 0.01
    assert (shifts(("near",), lab=jittered.but(seed=1))[0]["near"] - both[0]["near"]).abs().max() > 0.01


def test_shards_partition_the_batch(lab):
    lab = toys.Lab(lab.root / "jittered", toys.Jittered(), protocol="few-4")
    stage = toys.Everything()
    whole = epoch_of(lab, stage)
    parts = [epoch_of(lab, stage, shard=(rank, 2)) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        for rank in (0, 1):
            part = parts[rank][number]
            assert torch.equal(part.index, batch.index[rank::2])
            assert torch.equal(part["near"], batch["near"][rank::2])  # augmented alike
            assert part.labelled.sum() == 2
