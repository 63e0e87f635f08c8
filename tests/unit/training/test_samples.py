"""Selection of training and validation samples, and channel statistics."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc
from types import SimpleNamespace

import engine_lab as toys
import numpy as np
import pytest

import pmbench as pm
from pmbench.contracts.samples import Column
from pmbench.data.carve import carve
from pmbench.errors import DataError, TrainingError, Unsupported
from pmbench.training.samples import TrainingSamples, TrainingView, training_view


def view(lab, protocol, seed=0):
    return training_view(lab.prepared, lab.dataset.protocol(protocol), seed)


def groups_of(lab, rows):
    groups = lab.prepared.index("train")[1]
    return {groups[row] for row in rows}


def test_validation_keeps_groups_together_whatever_the_seed(lab):
    views = [view(lab, "people", seed) for seed in (0, 1, 2)]
    first = views[0]
    assert not groups_of(lab, first.train.rows) & groups_of(lab, first.validation.rows)
    assert len(first.train.rows) + len(first.validation.rows) == 60
    assert 0.15 <= len(first.validation.rows) / 60 < 0.15 + 1 / 12
    assert first.train.part == first.validation.part == "train"
    for other in views[1:]:
        np.testing.assert_array_equal(other.train.rows, first.train.rows)
        np.testing.assert_array_equal(other.validation.rows, first.validation.rows)
    few = view(lab, "people+few-2", 5)
    np.testing.assert_array_equal(few.train.rows, first.train.rows)
    assert set(few.validation.rows) <= set(first.validation.rows)


def test_named_validation_groups(lab):
    found = view(lab, "named")
    assert groups_of(lab, found.validation.rows) == {"p3", "p7"}
    assert not groups_of(lab, found.train.rows) & {"p3", "p7"}
    splits = {
        **toys.Toy.splits,
        "named": dataclasses.replace(toys.Toy.splits["named"], validation_groups=("p99",)),
    }
    other = toys.Lab(lab.root / "other", toys.Given(splits=splits))
    with pytest.raises(DataError, match="'p99'"):
        view(other, "named")


def test_without_groups_validation_takes_a_share_of_each_class(lab):
    found = view(lab, "flat")
    assert np.bincount(found.validation.labels).tolist() == [3, 3, 3]
    assert np.bincount(found.train.labels).tolist() == [17, 17, 17]
    part = (*lab.prepared.index("loose"), lab.prepared.labels("loose"))
    held_out = carve("toy", lab.dataset.splits["flat"], part)
    np.testing.assert_array_equal(held_out, ~np.isin(np.arange(60), found.train.rows))


def test_one_group_cannot_be_split(lab):
    parts = toys.toy_parts()
    parts["train"] = dataclasses.replace(parts["train"], groups=["one"] * 60)
    with pytest.raises(DataError, match="one group only"):
        view(toys.Lab(lab.root / "other", toys.Given(parts)), "people")


def test_an_official_validation_part_is_used_entirely(lab):
    found = view(lab, "validated")
    assert found.validation.part == "validation"
    assert (found.count, len(found.validation.rows)) == (60, 24)


@pytest.mark.parametrize("protocol", ["few-4", "people+few-4", "flat+few-2"])
def test_few_keeps_exactly_k_labels_per_class(lab, protocol):
    k = int(protocol[-1])
    drawn = []
    for seed in (0, 1):
        found = view(lab, protocol, seed)
        labels = lab.prepared.labels(found.train.part)[found.train.rows]
        kept = found.train.labels >= 0
        assert np.bincount(found.train.labels[kept], minlength=3).tolist() == [k] * 3
        np.testing.assert_array_equal(found.train.labels[kept], labels[kept])
        assert len(found.train.labels) == found.count == len(labels)
        thinned = np.bincount(found.validation.labels, minlength=3)
        assert (thinned <= k).all()
        truth = lab.prepared.labels(found.validation.part)[found.validation.rows]
        np.testing.assert_array_equal(found.validation.labels, truth)
        drawn.append(np.flatnonzero(kept).tolist())
        again = view(lab, f"{protocol}@far", seed)  # the same for every method and in either direction
        np.testing.assert_array_equal(again.train.labels, found.train.labels)
    assert drawn[0] != drawn[1]
    assert np.bincount(view(lab, "few-4").validation.labels).tolist() == [4, 4, 4]


def test_indices_for_a_stage_depend_on_what_it_handles(lab):
    found = view(lab, "few-4+privileged-50")
    labelled, paired = found.train.labels >= 0, found.thinned["far"]
    assert paired.sum() == 30
    assert set(found.thinned) == {"far"}
    assert (labelled & paired).any()
    assert (labelled & ~paired).any()
    for stage, expected in (
        (toys.Everything(), np.ones(60, bool)),
        (toys.Unlabelled(), paired),
        (toys.Unlabelled(("near",)), np.ones(60, bool)),
        (toys.Supervised(), labelled & paired),
        (toys.Supervised(("near",)), labelled),
        (toys.Supervised(("near", "wave")), labelled),
    ):
        np.testing.assert_array_equal(found.indices_for(stage), np.flatnonzero(expected))
    drawn = [view(lab, "privileged-50", seed).thinned["far"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    turned = view(lab, "privileged-50@far")
    assert set(turned.thinned) == {"near"}
    assert view(lab, "privileged-10").thinned["far"].sum() == 6


def test_a_stage_without_samples_is_unsupported(lab):
    parts = toys.toy_parts()
    parts["loose"] = dataclasses.replace(parts["loose"], labels=np.full(60, -1))
    bare = toys.Lab(lab.root / "bare", toys.Given(parts))
    splits = dataclasses.replace(bare.dataset.protocol("flat").split, validation="validation")
    rule = dataclasses.replace(bare.dataset.protocol("flat"), split=splits)
    with pytest.raises(Unsupported, match="Supervised"):
        training_view(bare.prepared, rule, 0).indices_for(toys.Supervised())
    rare = view(lab, "privileged-1")  # 1 % of 60 is one sample; of 40 none
    assert rare.thinned["far"].sum() == 1
    rare.thinned["far"][:] = False
    with pytest.raises(Unsupported, match="'far'"):
        rare.channel_stats("far")


def test_channel_stats_are_those_of_the_training_samples(lab):
    found = view(lab, "people")
    for name in ("near", "wave"):
        x = lab.prepared.column("train", name).array[found.train.rows].astype(np.float64)
        axes = (0, *range(2, x.ndim))
        stats = found.channel_stats(name)
        np.testing.assert_allclose(stats.mean, x.mean(axes), rtol=1e-5)
        np.testing.assert_allclose(stats.std, x.std(axes), rtol=1e-5)
        shaped = stats.shaped(x.ndim - 1)[0].shape
        assert shaped == (x.shape[1],) + (1,) * (x.ndim - 2)
    thinned = view(lab, "privileged-50")
    rows = thinned.train.rows[thinned.thinned["far"]]
    np.testing.assert_allclose(
        thinned.channel_stats("far").mean, toys.toy_parts()["train"].arrays["far"][rows].mean(0), rtol=1e-5
    )
    few = view(lab, "few-4")  # unlabelled samples count
    np.testing.assert_allclose(
        few.channel_stats("near").mean, toys.toy_parts()["train"].arrays["near"].mean(0), rtol=1e-5
    )


def stats_of(lab, name, values):
    """Channel statistics of modality `near` with these values."""
    parts = toys.toy_parts()
    arrays = {**parts["train"].arrays, "near": np.broadcast_to(values, (60, 6)).copy()}
    parts["train"] = dataclasses.replace(parts["train"], arrays=arrays)
    return toys.Lab(lab.root / name, toys.Given(parts)).view.channel_stats("near")


def test_constant_small_and_large_inputs(lab):
    noise = np.random.Generator(np.random.PCG64(1)).standard_normal((60, 6))
    constant = stats_of(lab, "constant", np.array([0, 1, 1e6, 101325.0, -3, 0.1]))
    np.testing.assert_array_equal(constant.std, np.ones(6))
    small = stats_of(lab, "small", 1e-9 * noise)  # metres per second of a quiet seismometer
    np.testing.assert_allclose(small.std, 1e-9 * noise.std(0), rtol=1e-5)
    offset = stats_of(lab, "offset", 101325 + noise)
    np.testing.assert_allclose(offset.std, noise.std(0), rtol=1e-3)
    counts = stats_of(lab, "counts", (noise * 100).astype(np.int16))
    np.testing.assert_allclose(counts.std, (noise * 100).astype(np.int16).std(0), rtol=1e-5)


def test_inputs_that_overflow_are_refused(lab):
    with pytest.raises(TrainingError, match="'near' in part 'train'"):
        stats_of(lab, "large", np.full((60, 6), 1e200))


def test_validation_groups_against_a_plain_loop():
    rng = np.random.default_rng(0)
    for count in (20, 200):
        groups = [f"g{g}" for g in rng.integers(0, count // 4, count)]
        held_out = np.zeros(count, bool)
        for name in sorted(set(groups), key=lambda g: hashlib.sha256(g.encode()).digest()[:7]):
            if held_out.mean() >= 0.15:
                break
            held_out |= np.array(groups) == name
        part = (list(map(str, range(count))), groups, np.zeros(count, int))
        np.testing.assert_array_equal(carve("set", pm.Split("train", "test"), part), held_out)


def test_channel_stats_of_large_samples_need_little_memory():
    samples = np.random.default_rng(0).normal(3, 2, (300, 2, 50_000)).astype(np.float32)  # 120 MB
    sounds = SimpleNamespace(
        column=lambda part, modality: Column(300, samples),
        present_of=lambda modality: None,
        train=TrainingSamples("train", np.arange(300), np.zeros(300, int)),
        protocol=None,
    )
    tracemalloc.start()
    try:
        found = TrainingView.channel_stats(sounds, "sound")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    np.testing.assert_allclose(found.mean, samples.mean((0, 2)), rtol=1e-4)
    np.testing.assert_allclose(found.std, samples.std((0, 2)), rtol=1e-4)
