from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from math import asin, pi, sqrt
from pathlib import Path

import numpy as np
import pytest

import pmbench as pm
from pmbench.builtin.planted import PRIVATE, SHARED, WIDTH, Planted

PINNED = {  # SHA-256 of the first 8 samples
    "shared-10-train": ("dcfeb7c79e0a8d90", "ed9962cd264ed931"),
    "shared-10-test": ("7d5f1e7982fae8e0", "d63ca384068c0995"),
    "shared-0-validation": ("ab7a826c47742d60", "81fbe2fbb093c4dd"),
    "shared-40-train": ("ed3d232ca9222c5c", "59bd6311ed39d42e"),
}


def run_afresh(code: str) -> None:
    """Runs `code` in a new interpreter with the same path."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


@pytest.fixture(scope="module")
def parts() -> dict[str, pm.Part]:
    return dict(Planted().read(Path(__file__)))


def test_parts_and_counts(parts: dict[str, pm.Part]) -> None:
    assert {name: len(part.ids) for name, part in parts.items()} == Planted.expected
    assert len(parts) == 21
    for s in SHARED:
        train = parts[f"shared-{s}-train"].labels
        assert (train[:200] >= 0).all()
        assert (train[200:] == -1).all()
        for part in ("validation", "test"):
            labels = parts[f"shared-{s}-{part}"].labels
            assert set(labels.tolist()) == {0, 1}
            assert abs(labels.mean() - 0.5) < 0.1


def test_arrays(parts: dict[str, pm.Part]) -> None:
    ids = [i for part in parts.values() for i in part.ids]
    assert len(set(ids)) == len(ids)
    for name, part in parts.items():
        assert part.groups is None
        for place, modality in enumerate(Planted.modalities):
            array = part.arrays[modality.name]
            assert array.shape == (len(part.ids), *modality.shape)
            assert array.dtype == np.float32
            assert np.isfinite(array).all()
            if name in PINNED:
                digest = hashlib.sha256(np.ascontiguousarray(array[:8]).astype("<f4")).hexdigest()
                assert digest[:16] == PINNED[name][place]


@pytest.mark.parametrize("s", SHARED)
def test_what_is_planted(s: int, parts: dict[str, pm.Part]) -> None:
    for part in ("train", "validation", "test"):
        data = parts[f"shared-{s}-{part}"]
        target, privileged = (data.arrays[m] for m in ("target_view", "privileged_view"))
        np.testing.assert_array_equal(target[:, :s], privileged[:, :s])
        assert not (target[:, s:] == privileged[:, s:]).any()
        known = data.labels >= 0
        decided = privileged[:, : PRIVATE + s].astype(float).sum(1) > 0
        np.testing.assert_array_equal(decided[known], data.labels[known] == 1)


@pytest.mark.parametrize("s", SHARED)
def test_best_reachable_accuracy(s: int, parts: dict[str, pm.Part]) -> None:
    """The sign of the sum of the shared features has the accuracy of the docstring."""
    data = parts[f"shared-{s}-test"]
    guess = data.arrays["target_view"][:, :s].sum(1) > 0
    best = 0.5 + asin(sqrt(s / (PRIVATE + s))) / pi
    assert abs((guess == (data.labels == 1)).mean() - best) < 0.04
    assert f"{100 * best:.1f}" in (Planted.__doc__ or "")


def test_many_pairs_begin_with_those_of_shared_40(parts: dict[str, pm.Part]) -> None:
    """The same 200 labelled samples, the same first 200 pairs; with all labels, the same 2,200 samples."""
    few, many, labelled = (parts[name] for name in ("shared-40-train", "many-train", "many-train-labelled"))
    np.testing.assert_array_equal(few.labels, many.labels[:400])
    assert (many.labels[200:] == -1).all()
    np.testing.assert_array_equal(many.labels[:200], labelled.labels[:200])
    assert set(labelled.labels.tolist()) == {0, 1}
    for modality in ("target_view", "privileged_view"):
        np.testing.assert_array_equal(few.arrays[modality], many.arrays[modality][:400])
        np.testing.assert_array_equal(labelled.arrays[modality], many.arrays[modality])
    decided = labelled.arrays["privileged_view"].astype(float).sum(1) > 0
    np.testing.assert_array_equal(decided, labelled.labels == 1)
    assert {name: Planted().protocol(name).split.test for name in ("unlabelled-2000", "labelled-2200")} == {
        "unlabelled-2000": "many-test",
        "labelled-2200": "many-test",
    }


def test_parts_are_independent_draws(parts: dict[str, pm.Part]) -> None:
    fresh = {n: part for n, part in parts.items() if n not in ("shared-40-train", "many-train-labelled")}
    rows = np.concatenate([part.arrays["privileged_view"] for part in fresh.values()])
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert abs(rows.mean()) < 0.01
    assert abs(rows.std() - 1) < 0.01
    assert rows.shape[1] == WIDTH


def test_reading_twice_gives_the_same_bits(parts: dict[str, pm.Part]) -> None:
    np.random.seed(1)  # the global generator has no say
    for name, part in Planted().read(Path("anywhere")):
        for modality, array in part.arrays.items():
            np.testing.assert_array_equal(array, parts[name].arrays[modality])


def test_embedded_and_cheap_to_list() -> None:
    path = Planted().find_source()
    assert path is not None
    assert path.name == "planted.py"
    run_afresh(
        "import sys; from pmbench.builtin.planted import Planted\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)"
    )


def test_protocols() -> None:
    dataset = Planted()
    protocol = dataset.protocol(dataset.default_protocol)
    assert (protocol.name, protocol.split_name) == ("shared-10", "shared-10")
    assert protocol.split.validation == "shared-10-validation"
    assert {f"shared-{s}" for s in SHARED} <= set(dataset.protocol_names())
