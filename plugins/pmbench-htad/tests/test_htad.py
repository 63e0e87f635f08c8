from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pmbench_htad
import pytest
from pmbench_htad import CLASSES, Htad, block_split, random_half

import pmbench as pm
from pmbench.testing import first_digests, parts_of, run_afresh

PINNED = {  # SHA-256 of the first 8 samples
    ("block-train", "audio"): "b81cd1491ffa0e5b",
    ("block-train", "accel"): "e2c3a03adc81ce3c",
    ("block-test", "audio"): "0d7a2e4200adb32d",
    ("block-test", "accel"): "d1c84a8f66cb5d79",
    ("random-train", "audio"): "710d2c010b07d27f",
    ("random-train", "accel"): "8ff1aabab6fc1caa",
    ("random-test", "audio"): "6ab5b38dd8c4f6fb",
    ("random-test", "accel"): "96d0e00606709edc",
}


@pytest.fixture(scope="module")
def source() -> Path:
    path = Htad().find_source()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def parts() -> dict[str, pm.Part]:
    return parts_of(Htad())


def rows(part: pm.Part) -> list[int]:
    return [int(i.rpartition("-r")[2]) for i in part.ids]


def test_counts(parts: dict[str, pm.Part]) -> None:
    assert {n: tuple(np.bincount(p.labels).tolist()) for n, p in parts.items()} == Htad.expected
    totals = dict(zip(CLASSES, (180, 282, 181, 178, 179, 180, 206), strict=True))
    for split in ("block", "random"):
        both = np.sum([Htad.expected[f"{split}-{part}"] for part in ("train", "test")], 0)
        assert dict(zip(CLASSES, both.tolist(), strict=True)) == totals


def test_arrays(parts: dict[str, pm.Part]) -> None:
    assert first_digests(parts) == PINNED
    assert sum(len(part.ids) for part in parts.values()) == 2 * 1386


@pytest.mark.parametrize("split", ["block", "random"])
def test_halves_are_disjoint_and_complete(split: str, parts: dict[str, pm.Part]) -> None:
    train, test = rows(parts[f"{split}-train"]), rows(parts[f"{split}-test"])
    assert sorted(train + test) == list(range(1386))


def test_block_split_tests_on_the_end_of_each_class(parts: dict[str, pm.Part]) -> None:
    train, test = parts["block-train"], parts["block-test"]
    for label in range(len(CLASSES)):
        last = max(r for r, y in zip(rows(train), train.labels, strict=True) if y == label)
        first = min(r for r, y in zip(rows(test), test.labels, strict=True) if y == label)
        assert last < first


def test_chunks_are_runs_of_neighbours(parts: dict[str, pm.Part]) -> None:
    train, test = parts["block-train"], parts["block-test"]
    assert train.groups is not None
    assert test.groups is not None
    assert not set(train.groups) & set(test.groups)
    for label, name in enumerate(CLASSES):
        groups = [g for g, y in zip(train.groups, train.labels, strict=True) if y == label]
        assert [g for g, _ in groupby(groups)] == [f"{name}-{k}" for k in range(10)]
        sizes = [groups.count(f"{name}-{k}") for k in range(10)]
        assert max(sizes) - min(sizes) <= 1


def test_validation_has_every_class_and_does_not_interleave(parts: dict[str, pm.Part]) -> None:
    train = parts["block-train"]
    held_out = np.isin(train.groups, Htad.splits["block"].validation_groups)
    assert np.bincount(train.labels[held_out], minlength=7).tolist() == [21, 33, 21, 21, 21, 21, 24]
    for label in range(len(CLASSES)):
        assert len(list(groupby(held_out[train.labels == label]))) == 2  # training rows, then validation rows


def test_splits_need_no_seed() -> None:
    labels = np.repeat(np.arange(7), 11)
    np.testing.assert_array_equal(random_half(labels), random_half(labels))
    assert np.bincount(labels[random_half(labels)]).tolist() == [6] * 7
    earlier, chunks = block_split(labels)
    assert np.bincount(labels[earlier]).tolist() == [6] * 7
    assert len(chunks) == 77


def test_damaged_or_wrong_file(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "htad.csv"
    for content in (b"", source.read_bytes()[:5000], source.read_bytes().replace(b"0.1", b"0.2")):
        path.write_bytes(content)
        with pytest.raises(pm.DataError, match="damaged, or another file"):
            dict(Htad().read(path))
    for missing in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(pm.DataError, match="cannot be read"):
            dict(Htad().read(missing))


def test_terms_are_stated() -> None:
    assert "research" in Htad.licence
    assert "permission" in Htad.licence


def test_listing_and_reading_import_no_package() -> None:
    code = (
        "import sys, pmbench_htad as h; (d,) = h.pmbench_datasets()\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)\n"
        "dict(d.read(d.find_source()))\n"
        "assert not {'multiviewstacking', 'pandas', 'sklearn', 'torch'} & set(sys.modules)"
    )
    run_afresh(code)


def test_offered_through_the_hook() -> None:
    (dataset,) = pmbench_htad.pmbench_datasets()
    protocol = dataset.protocol(dataset.default_protocol)
    assert (protocol.name, protocol.split_name, protocol.labels_per_class) == ("few-10", "block", 10)
    assert dataset.protocol("random+few-10").split.train == "random-train"
    assert set(dataset.backbones) == {m.name for m in dataset.modalities}
