"""Means over protocols that belong together."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import front, tables
from rich.console import Console

from pmbench.report.averages import _difference, mean_tables
from pmbench.report.boards import boards
from pmbench.report.comparison import pair
from pmbench.report.pages.book import Book
from pmbench.report.pages.formats import to_markdown
from pmbench.report.pages.site import site
from pmbench.report.record import Average
from pmbench.report.results import Results
from pmbench.report.statistics import paired
from pmbench.report.terminal import means

FOLDS = ("fold-1", "fold-2", "fold-3")
METHODS = {"target_only": 0.55, "self_distill": 0.56, "kd": 0.63, "hoffman": 0.56}


@pytest.fixture
def folds(make_record, make_published):
    """Records of four methods on three folds, with four seeds; `kd` has a published mean."""
    printed = make_published(("AMID", "Table 3", ""), ("gyro",), "toy", "accuracy", 64.5)
    found = []
    for place, fold in enumerate(FOLDS):
        for name, right in METHODS.items():
            role = {"target_only": "floor", "self_distill": "control"}.get(name, "method")
            average = Average(protocol="3-fold", of=list(FOLDS), published=[printed] * (name == "kd"))
            found += [
                make_record(
                    name,
                    seed,
                    right + 0.01 * place,
                    role=role,
                    protocol=fold,
                    averages=[average],
                    count=300 + place,
                )
                for seed in range(4)
            ]
    return found


def accuracies(records, method):
    """(fold, seed) results of a method."""
    found = {
        (r.cell.protocol, r.cell.seed): r.metrics["accuracy"] for r in records if r.cell.method == method
    }
    return np.array([[found[fold, seed] for seed in range(4)] for fold in FOLDS])


def test_the_mean_over_folds_is_taken_by_seed(folds):
    (mean,) = mean_tables(boards(folds))
    assert (mean.title, mean.of, mean.missing) == ("toy, 3-fold", FOLDS, ())
    assert {one.row.label for one in mean.rows} == set(METHODS)
    floor = accuracies(folds, "target_only").mean(0)
    for one in mean.rows:
        by_seed = accuracies(folds, one.row.label).mean(0)
        assert one.interval.mean == pytest.approx(by_seed.mean())
        assert one.interval.half == pytest.approx(3.182446 * by_seed.std(ddof=1) / 2)
        if one.row.label == "target_only":
            assert one.gain is None
        else:
            assert one.gain.difference == pytest.approx((by_seed - floor).mean())
    best = mean.rows[0]
    assert (best.row.label, [n.value for n in best.published]) == ("kd", [64.5])
    assert best.gain.better
    assert "1 of 2 methods significantly better than target_only" in mean.sentence


def test_the_mean_is_more_certain_than_a_fold(folds):
    found = boards(folds)
    (mean,) = mean_tables(found)
    whole = next(one for one in mean.rows if one.row.label == "kd").gain
    each = [next(row for row in board.rows if row.label == "kd").gain for board in found]
    widths = [gain.high - gain.low for gain in each]
    assert whole.high - whole.low < min(widths)
    assert whole.high - whole.low > max(widths) / 3**0.5 * 0.5


def test_seeds_and_rows_that_some_folds_lack_are_left_out(folds):
    kept = [
        r
        for r in folds
        if not (r.cell.protocol == "fold-2" and (r.cell.seed == 3 or r.cell.method == "hoffman"))
    ]
    (mean,) = mean_tables(boards(kept))
    assert {one.row.label for one in mean.rows} == set(METHODS) - {"hoffman"}
    assert all(one.seeds == (0, 1, 2) for one in mean.rows)


def test_a_fold_that_was_not_run_leaves_no_mean(folds):
    found = boards([r for r in folds if r.cell.protocol != "fold-3"])
    (mean,) = mean_tables(found)
    assert (mean.rows, mean.missing) == ((), ("fold-3",))
    assert mean.sentence == "no mean over fold-1, fold-2, fold-3: fold-3 not run"
    assert means(found) == []


def test_records_of_no_mean_have_none(make_record):
    assert mean_tables(boards([make_record("kd", 0)])) == []


@pytest.mark.slow
def test_pages_terminal_and_notebook_show_it(folds):
    assert "[toy, 3-fold][table-" in front(folds)
    pages = tables(folds)
    assert pages.count("## Toy, 3-fold") == 3
    assert pages.count("accuracy 64.5 on toy, split-1") == 3
    assert "**toy, 3-fold**: mean over fold-1, fold-2, fold-3" in to_markdown(Book.of(folds))
    console = Console(width=160)
    with console.capture() as captured:
        console.print(*means(boards(folds)), sep="\n")
    assert "toy, 3-fold: mean over" in captured.get()
    assert "toy, 3-fold: mean over" in Results(tuple(folds))._repr_html_()
    of_tables = [text for path, text in site(Book.of(folds), []).items() if path.startswith("tables/")]
    assert len(of_tables) == 3
    assert all("mean over fold-1, fold-2, fold-3" in text for text in of_tables)


def test_folds_count_as_independent_test_parts(folds):
    """The sampling variance of the mean is that of a mean of independent differences."""
    found = boards(folds)
    both = [pair(board.rows, board.metric, []) for board in found]
    whole = _difference("kd", "target_only", both)
    each = [paired(p.resampled["kd"], p.resampled["target_only"]) for p in both]
    assert whole.sampling == pytest.approx(sum(d.sampling for d in each) / 9)
    assert whole.units == sum(d.units for d in each)
    assert whole.value == pytest.approx(np.mean([d.value for d in each]))
