"""Protocols that make privileged modalities noisy or late, in training, validation and test data alike."""

from __future__ import annotations

import dataclasses

import engine_lab as toys
import numpy as np
import pytest

import pmbench as pm
from pmbench.contracts.samples import Column, Corruption
from pmbench.data import corruption, prepared


@pytest.fixture
def columns(lab):
    """The raw column, and that of a protocol: (part, modality, protocol) -> (before, after)."""

    def both(part, modality, protocol):
        rule = lab.dataset.protocol(protocol)
        return lab.prepared.column(part, modality), lab.prepared.column(part, modality, rule)

    return both


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_noise_of_so_many_stds_of_each_channel(columns, part):
    before, after = columns(part, "far", "noise-0.5")
    added = after.array - before.array
    expected = 0.5 * np.asarray(before.array, np.float64).std(0)
    np.testing.assert_allclose(added.std(0), expected, rtol=0.5)
    np.testing.assert_allclose(added.mean(0) / expected, 0, atol=0.6)
    assert len(np.unique(added / expected)) == added.size
    assert (
        columns(part, "near", "noise-0.5")[1].array.tobytes()
        == columns(part, "near", "few-4")[0].array.tobytes()
    )


def test_noise_differs_between_parts_and_samples_and_is_the_same_for_each_run(columns):
    train, test = (columns(part, "far", "noise-1") for part in ("train", "test"))
    assert not np.allclose((train[1].array - train[0].array)[:30], test[1].array - test[0].array)
    prepared._corrupted.cache_clear()
    np.testing.assert_array_equal(columns("train", "far", "noise-1")[1].array, train[1].array)


def test_a_delay_repeats_the_first_frame(columns):
    before, after = columns("test", "wave", "with-wave+delay-3")
    np.testing.assert_array_equal(after.array[:, :, 3:], before.array[:, :, :-3])
    np.testing.assert_array_equal(after.array[:, :, :4], np.repeat(before.array[:, :, :1], 4, 2))


@pytest.mark.parametrize("protocol", ["with-wave+noise-2", "with-wave+delay-2", "with-wave+noise-2+delay-5"])
def test_a_large_column_is_changed_sample_by_sample(lab, columns, monkeypatch, protocol):
    _, whole = columns("train", "wave", protocol)
    prepared._corrupted.cache_clear()
    monkeypatch.setattr(corruption, "HELD", 0)
    _, one_by_one = columns("train", "wave", protocol)
    prepared._corrupted.cache_clear()
    assert one_by_one.array is None
    assert one_by_one.shape == (2, 16)
    np.testing.assert_array_equal(np.stack([one_by_one.read(i) for i in range(60)]), whole.array)


def test_frames_of_clips_come_late():
    clip = np.arange(2 * 5 * 3 * 3).reshape(2, 5, 3, 3)
    np.testing.assert_array_equal(corruption.late(clip, 2), clip[:, [0, 0, 0, 1, 2]])
    of = Column(1, clip[None].astype(np.float32))
    column = corruption.corrupted(of, Corruption(noise=1.0, delay=2), "part/clip")
    added = column.array[0] - corruption.late(clip, 2)
    assert 0.5 < added[0].std() / clip[0].std() < 1.5


def test_absent_samples_stay_absent():
    array = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 5.0]], np.float32)
    of = Column(3, array, np.array([True, False, True]))
    found = corruption.corrupted(of, Corruption(noise=1.0), "part/vector")
    assert np.isfinite(found.array[[0, 2]]).all()
    assert np.isnan(found.array[1]).all()


def test_keys_of_what_reads_it_alone_change(lab):
    key = {}
    for name in ("validated", "noise-1", "noise-2"):
        context = dataclasses.replace(lab.context, protocol=lab.dataset.protocol(name))
        key[name] = [context.key(stage) for stage in (pm.trained_on("near"), pm.trained_on("far"))]
    assert len({near for near, _ in key.values()}) == 1
    assert len({far for _, far in key.values()}) == 3
    assert toys.Toy().protocol("noise-1").corruption_of("near") is None


def test_noise_is_pinned():
    """Keys hold how much noise there is, not how it is drawn: whoever changes that raises ENGINE_VERSION."""
    of = Column(3, np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    found = corruption.corrupted(of, Corruption(noise=1.0, delay=1), "part/wave").array[1]
    expected = [[6.528100967407227, 0.9276299476623535], [7.397000312805176, 9.132349967956543]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
