"""Placebos: what takes the place of privileged data, and what does not change."""

from __future__ import annotations

import dataclasses

import engine_lab as toys
import numpy as np
import pytest

import pmbench as pm
from pmbench.training import placebo
from pmbench.training.samples import training_view


def view(lab, protocol, kind, seed=0):
    return training_view(lab.prepared, lab.dataset.protocol(protocol), seed, kind)


def values(view, role, modality):
    return view.seen(role, modality).array[getattr(view, role).rows]


@pytest.mark.parametrize("protocol", ["people", "validated"])
def test_shuffling_stays_within_training_and_within_validation_data(lab, protocol):
    real, found = view(lab, protocol, ""), view(lab, protocol, "shuffle")
    for name in ("train", "validation"):
        samples, before = getattr(found, name), getattr(real, name)
        np.testing.assert_array_equal(samples.rows, before.rows)
        np.testing.assert_array_equal(samples.labels, before.labels)
        was, now = values(real, name, "far"), values(found, name, "far")
        assert (was != now).any(axis=1).mean() > 0.8
        np.testing.assert_array_equal(np.sort(was[:, 0]), np.sort(now[:, 0]))
        np.testing.assert_array_equal(values(found, name, "near"), values(real, name, "near"))
    again, other = view(lab, protocol, "shuffle"), view(lab, protocol, "shuffle", 1)
    np.testing.assert_array_equal(values(again, "train", "far"), values(found, "train", "far"))
    assert (values(other, "train", "far") != values(found, "train", "far")).any()


def test_samples_that_lack_the_modality_take_no_part(lab):
    real, found = view(lab, "privileged-50", ""), view(lab, "privileged-50", "shuffle")
    has = real.thinned["far"]
    np.testing.assert_array_equal(found.present_of("far"), has)
    was, now = values(real, "train", "far"), values(found, "train", "far")
    np.testing.assert_array_equal(was[~has], now[~has])
    np.testing.assert_array_equal(np.sort(was[has][:, 0]), np.sort(now[has][:, 0]))
    assert (was[has] != now[has]).any()


def test_noise_has_the_mean_and_std_of_the_training_samples(lab):
    found = view(lab, "people", "noise")
    stats = found.channel_stats("far")
    np.testing.assert_array_equal(stats.mean, view(lab, "people", "").channel_stats("far").mean)
    for role in ("train", "validation"):
        drawn = (values(found, role, "far") - stats.mean) / stats.std
        assert abs(drawn.mean()) < 0.3
        assert 0.7 < drawn.std() < 1.4
        correlation = np.corrcoef(drawn[:, 0], getattr(found, role).labels)[0, 1]
        assert abs(correlation) < 0.5
    np.testing.assert_array_equal(
        values(found, "train", "near"), values(view(lab, "people", ""), "train", "near")
    )


@pytest.mark.parametrize("kind", ["shuffle", "noise"])
def test_a_large_placebo_is_made_sample_by_sample(lab, monkeypatch, kind):
    held = view(lab, "people", kind)
    expected = values(held, "train", "far")
    monkeypatch.setattr(placebo, "HELD", 0)
    column = view(lab, "people", kind).seen("train", "far")
    assert column.array is None
    assert column.shape == (5,)
    streamed = np.stack([column.read(int(row)) for row in held.train.rows])
    np.testing.assert_array_equal(streamed, expected)


def test_a_placebo_is_part_of_the_keys_of_what_reads_it_alone(lab):
    other = {kind: dataclasses.replace(lab.context, placebo=kind) for kind in ("shuffle", "noise")}
    for stage in (toys.Plain("far"), toys.Imitator(toys.Plain("far")), pm.EarlyFusion(("near", "far"))):
        keys = {lab.context.key(stage), *(context.key(stage) for context in other.values())}
        assert len(keys) == 3
        assert "placebo" not in lab.context.inputs_of(stage)
    assert {c.key(toys.Plain("near")) for c in other.values()} == {lab.context.key(toys.Plain("near"))}
