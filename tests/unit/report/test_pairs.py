"""Comparisons of two rows and of two records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from pmbench.errors import UnknownName, UsageError
from pmbench.report.boards import boards
from pmbench.report.pairs import Compared, compare_records, compare_rows, recalls
from pmbench.report.record import Record, SampleOutcomes


def accuracy(record: Record, of: Any = None) -> float:
    labels, predicted = record.samples.unpack()
    part = slice(None) if of is None else of(labels)
    return 100 * float((labels == predicted)[part].mean())


def of_class(number: int) -> Any:
    return lambda labels: labels == number


@pytest.fixture
def two(make_record: Any) -> dict[str, list[Record]]:
    return {
        name: [make_record(name, s, right) for s in range(4)] for name, right in (("kd", 0.62), ("rad", 0.8))
    }


def compared(two: dict[str, list[Record]], first: str = "kd", second: str = "rad") -> Compared:
    return compare_rows(boards([r for rows in two.values() for r in rows])[0], first, second)


def test_the_difference_is_that_of_the_means_and_changes_its_sign(two: dict[str, list[Record]]) -> None:
    found, other = compared(two), compared(two, "rad", "kd")
    means = [float(np.mean([accuracy(r) for r in two[name]])) for name in ("kd", "rad")]
    assert found.values == pytest.approx(means)
    assert found.comparison is not None
    assert other.comparison is not None
    assert found.comparison.difference == pytest.approx(means[0] - means[1])
    assert found.comparison.significant
    assert other.comparison.difference == pytest.approx(-found.comparison.difference)
    assert other.comparison.p == pytest.approx(found.comparison.p)


def test_parts_are_recalls_whose_intervals_hold_together(two: dict[str, list[Record]]) -> None:
    found = compared(two)
    assert [part.number for part in found.classes] == [0, 1, 2, 3]
    assert sum(part.samples for part in found.classes) == 400
    for part in found.classes:
        part_of = of_class(part.number)
        pairs = zip(two["kd"], two["rad"], strict=True)
        by_seed = [accuracy(a, part_of) - accuracy(b, part_of) for a, b in pairs]
        assert part.comparison.difference == pytest.approx(np.mean(by_seed))
        # no narrower than the t interval over seeds alone, at a fourth of the level
        half = stats.t.isf(0.05 / 8, 3) * stats.sem(by_seed)
        assert part.comparison.high is not None
        assert part.comparison.high - part.comparison.difference >= half * 0.999
    assert found.groups == ()


def test_groups_are_compared_where_records_name_them(two: dict[str, list[Record]]) -> None:
    names = [f"person {i // 50}" for i in range(400)]

    def grouped(record: Record) -> Record:
        labels, predicted = record.samples.unpack()
        return record.model_copy(update={"samples": SampleOutcomes.of(labels, predicted, names)})

    both = {name: [grouped(r) for r in rows] for name, rows in two.items()}
    found = compared(both)
    assert [part.samples for part in found.groups] == [50] * 8
    expected = [accuracy(r, lambda labels: slice(50, 100)) for r in both["kd"]]
    assert found.groups[1].first == pytest.approx(np.mean(expected))


def test_two_records_are_two_networks(two: dict[str, list[Record]]) -> None:
    found = compare_records(two["kd"][0], two["rad"][0])
    assert not found.over_seeds
    assert (found.first, found.second) == ("kd, seed 0", "rad, seed 0")
    assert found.comparison is not None
    labels, one = two["kd"][0].samples.unpack()
    other = two["rad"][0].samples.unpack()[1]
    differences = 100.0 * ((one == labels).astype(float) - (other == labels))
    low, high = stats.t.interval(0.95, 399, differences.mean(), stats.sem(differences))
    assert found.comparison.difference == pytest.approx(differences.mean())
    assert found.comparison.low == pytest.approx(low, abs=0.5)
    assert found.comparison.high == pytest.approx(high, abs=0.5)
    itself = compare_records(two["kd"][0], two["kd"][0])
    assert (itself.first, itself.second) == ("kd, seed 0 (1)", "kd, seed 0 (2)")
    assert itself.comparison is not None
    assert itself.comparison.difference == 0.0


def test_what_cannot_be_compared(two: dict[str, list[Record]], make_record: Any) -> None:
    with pytest.raises(UnknownName, match="did you mean 'rad'"):
        compared(two, "kd", "radd")
    with pytest.raises(UsageError, match="other test samples"):
        compare_records(two["kd"][0], make_record(dataset="other"))
    with pytest.raises(UsageError, match="is failed: it has no predictions"):
        compare_records(two["kd"][0], make_record(status="failed", reason="killed"))
    apart = {"kd": two["kd"][:2], "rad": two["rad"][2:]}
    with pytest.raises(UsageError, match="no seed with the same test samples"):
        compared(apart)


def test_recalls_by_class(two: dict[str, list[Record]]) -> None:
    record = two["kd"][0]
    found = recalls(record)
    assert sum(c["samples"] for c in found) == 400
    assert found[2]["recall"] == pytest.approx(accuracy(record, of_class(2)))
    weighted = sum(c["samples"] * c["recall"] for c in found) / 400
    assert weighted == pytest.approx(record.metrics["accuracy"])
