"""The page of a table: rows, verdicts, warnings, other metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import line, render, row, tables

from pmbench.report.boards import boards
from pmbench.report.pages.book import Book
from pmbench.report.pages.folder import pages
from pmbench.report.record import Digests, Record, SampleOutcomes
from pmbench.report.rows import label_of

GOLDEN = Path(__file__).parents[2] / "golden" / "leaderboard.md"


def test_rows_with_privileged_input_or_unsealed_are_not_ranked(every_kind: list[Record]) -> None:
    text = tables([r for r in every_kind if r.cell.dataset == "toy"])
    ceiling, unsealed = row(text, "early_fusion"), row(text, "wishful")
    assert ceiling[0] == "[`early_fusion`][early_fusion] (ceiling, given accel at test)"
    assert unsealed[0] == "[`wishful`][wishful] (not sealed)"
    assert len(ceiling) == len(unsealed) == 3, "neither gain nor rank"
    assert row(text, "hoffman")[4] == "1 to 3"
    assert row(text, "target_only")[0] == "[`target_only`][target_only] (floor)"
    assert row(text, "self_distill")[0] == "[`self_distill`][self_distill] (control)"


def test_stages_near_chance_are_named(every_kind: list[Record]) -> None:
    records = []
    for r in every_kind:
        if r.cell.method == "hoffman" and r.cell.seed > 0:
            stages = [s.model_copy(update={"validation": 25.0, "near_chance": True}) for s in r.stages]
            r = r.model_copy(update={"stages": stages})
        records.append(r)
    said = "hoffman: what stage Imitate delivers is near chance on validation data, seeds 1, 2"
    assert said in " ".join(tables(records).split())
    assert "near chance" not in tables(every_kind)


def test_other_metrics_are_those_of_all_records_of_a_row(every_kind: list[Record]) -> None:
    records = [r for r in every_kind if r.cell.dataset == "toy"]
    values = [r.metrics["macro_f1"] for r in records if r.cell.method == "hoffman"]
    others = tables(records).partition("Other metrics")[2].partition("## Costs")[0]
    assert line(others, "| `hoffman`").startswith(f"| `hoffman` | {np.mean(values):.2f} ± ")
    first = next(r for r in records if r.cell.method == "kd")
    lacking = first.model_copy(update={"metrics": {"accuracy": first.metrics["accuracy"]}})
    changed = [r.model_copy(update={"published": []}) for r in records if r is not first] + [lacking]
    others = tables(changed).partition("Other metrics")[2]
    assert line(others.partition("## Costs")[0], f"| `{label_of(first.cell)}`").endswith("| - |")


def test_means_intervals_and_costs_are_those_of_the_records(every_kind: list[Record]) -> None:
    from scipy import stats

    (board,) = boards([r for r in every_kind if r.cell.dataset == "toy"])
    records = [r for r in every_kind if r.cell.method == "hoffman"]
    values = [r.metrics["accuracy"] for r in records]
    floor = [
        r.metrics["accuracy"]
        for r in every_kind
        if r.cell.method == "target_only" and r.cell.dataset == "toy"
    ]
    best = [
        r.metrics["accuracy"]
        for r in every_kind
        if r.cell.method == "early_fusion" and r.cell.dataset == "toy"
    ]
    (hoffman,) = [r for r in board.rows if r.label == "hoffman"]
    low, _ = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert hoffman.interval.half == pytest.approx(np.mean(values) - low)
    assert hoffman.gap is not None
    assert hoffman.gap.value == pytest.approx(
        (np.mean(values) - np.mean(floor)) / (np.mean(best) - np.mean(floor))
    )
    assert hoffman.gain is not None
    assert hoffman.gain.difference == pytest.approx(np.mean(values) - np.mean(floor))
    text = tables([r for r in every_kind if r.cell.dataset == "toy"])
    assert line(text, "| `hoffman` | 22.3 M").split(" | ")[1:] == ["22.3 M", "1.8 G", "2", "1.5 h", "540.0 |"]
    assert row(text, "hoffman")[6] == "3"


def test_each_set_of_options_has_a_row(every_kind: list[Record]) -> None:
    text = tables([r for r in every_kind if r.cell.dataset == "toy"])
    assert row(text, "kd[temperature=2.0]")[4] == "1 to 6"
    assert row(text, "kd")[4] == "2 to 7"


def test_skipped_and_failed_cells_are_listed_with_their_reasons(every_kind: list[Record]) -> None:
    text = tables(every_kind)
    skipped = r"skipped (seeds 0, 1, 2): needs maps of 'gyro' \| none &lt;b>here&lt;/b>"
    assert skipped in line(text, "- rad: ")
    assert "failed (seed 1): loss is not finite at step 12" in line(text, "- amid: failed")
    assert "amid lacks seed 1; compared with others on the seeds that both have" in text
    assert row(text, "amid")[6] == "2 of 3"


def test_a_table_of_which_no_cell_has_finished_is_not_drawn(
    every_kind: list[Record], make_record: Any
) -> None:
    """Such as that of a protocol that was mistyped once: `few-99` of a data set with 50 samples a class."""
    lost = {"protocol": "few-99", "reason": "few-99 needs 99 samples of each class"}
    more = [make_record(method, status=s, **lost) for method, s in (("kd", "skipped"), ("new", "failed"))]
    assert render([*every_kind, *more]) == render(every_kind)
    assert "`kd`" in tables([make_record(protocol="few-99"), *more])
    assert "failed (seed 0): few-99 needs" in tables([make_record(protocol="few-99"), *more])


def test_a_tampered_record_is_invalid_and_not_ranked(make_record: Any) -> None:
    record, floor = make_record(right=0.6), make_record("target_only", 0, 0.6, role="floor")
    tampered = record.model_copy(update={"metrics": {**record.metrics, "accuracy": 99.0}})
    text = tables([tampered, floor])
    assert "invalid (seed 0): record" in line(text, "- kd: ")
    assert "99.0" not in row(text, "target_only")


def test_the_newer_of_two_records_of_a_cell_counts(make_record: Any) -> None:
    later = make_record().provenance.model_copy(update={"date": "2025-02-01"})
    old = make_record(right=0.6, cell_key="a" * 64)
    new = make_record(right=0.9, provenance=later)
    text = tables([new, old])
    assert row(text, "kd")[1] == f"{new.metrics['accuracy']:.2f}"
    assert "kd has 2 records for seed 0; one counts: the newest" in text


def test_seeds_of_other_code_are_not_counted_with_the_newest(make_record: Any) -> None:
    later = make_record().provenance.model_copy(update={"date": "2025-02-01"})
    old = [make_record(seed=s, right=0.6, row_key="a" * 64) for s in (0, 1, 2)]
    new = [make_record(seed=s, right=0.9, row_key="b" * 64, provenance=later) for s in (0, 1)]
    text = tables([*new, old[2]])
    mean = sum(record.metrics["accuracy"] for record in new) / 2
    assert row(text, "kd")[1].startswith(f"{mean:.2f}")
    assert "kd: seed 2 came from other code or data than that of the newest; not counted" in text
    unknown = make_record(seed=2, right=0.6)
    assert "not counted" not in tables([*old[:2], unknown]), "an older record does not say"


@pytest.mark.parametrize(
    ("isolation", "marked"), [("landlock", False), ("unknown", False), ("none", True), ("audit-hook", True)]
)
def test_weaker_isolation_is_marked(make_record: Any, isolation: str, marked: bool) -> None:
    provenance = make_record().provenance.model_copy(update={"isolation": isolation})
    assert (f"isolation: {isolation}" in tables([make_record(provenance=provenance)])) is marked


def test_more_optimizer_steps_than_batches_are_told(make_record: Any) -> None:
    record = make_record()
    for steps, told in ((100, False), (300, True)):
        stages = [record.stages[0].model_copy(update={"optimizer_steps": steps})]
        text = render([record.model_copy(update={"stages": stages})])
        assert ("Imitate: 300 optimizer steps in 100 batches" in text) is told


def test_the_head_describes_the_measurement(every_kind: list[Record]) -> None:
    text = tables([r for r in every_kind if r.cell.dataset == "toy"])
    for expected in (
        "- protocol: split-1, on version 1 of the data; tested on gyro (400 samples); privileged: accel",
        "- metric: accuracy, in percent, higher is better",
        "- checkpoint: best epoch by accuracy on validation data",
        "- backbones: accel: cnn1d-small, gyro: cnn1d-small; recipe set: standard; "
        "hyper-parameters: paper values",
        "- 3 seeds: 0, 1, 2",
    ):
        assert expected in text.splitlines()


def test_verdicts_against_floor_and_controls(every_kind: list[Record]) -> None:
    text = tables([r for r in every_kind if r.cell.dataset == "toy"])
    assert line(text, "- kd: ").startswith("- kd: no significant gain over target_only (+1.33 points [")
    assert "a true gain of 9.0 points would be found with 80 %" in text
    hoffman = line(text, "- hoffman: better")
    assert "better than target_only (+14.50 points [" in hoffman
    assert "and better than self_distill and target_ensemble" in hoffman
    against = text.partition("Against the controls")[2].partition("Other metrics")[0]
    assert line(against, "| `kd` |").startswith("| `kd` | -0.33 [")
    assert line(against, "| `kd` |").endswith("| - |")
    assert line(against, "| `hoffman` |").split(" | ")[2].startswith("+12.17 [")


def test_a_significantly_worse_method_is_called_worse(make_record: Any) -> None:
    records = [make_record("target_only", s, 0.8, role="floor") for s in range(3)]
    text = tables([*records, *(make_record("kd", s, 0.5) for s in range(3))])
    assert "- kd: worse than target_only (-" in text
    assert row(text, "target_only")[4] == "1"
    assert row(text, "kd")[4] == "2"


def test_two_networks_without_an_ensemble_are_noted(make_record: Any) -> None:
    assert "no target_ensemble to compare with" in tables([make_record(networks=2)])
    assert "no target_ensemble" not in tables([make_record()])


def test_departures_deviations_and_sources_are_listed(every_kind: list[Record]) -> None:
    text = render(every_kind)
    hoffman = text.partition("=== methods/hoffman.md")[2].partition("=== ")[0]
    assert "- Imitate: lr 0.0001 instead of 0.001" in hoffman
    assert "- Hoffman 2016, Table 1: accuracy 74.5, macro_f1 73.9 on toy, split-1" in hoffman
    assert "- Later, Table 9: accuracy 76 on toy, split-1" in hoffman
    assert "88" not in hoffman.partition("Published")[2].partition("Costs")[0], "with all modalities at test"
    assert "- mean, not sum, over pixels" in text.partition("=== methods/amid.md")[2].partition("=== ")[0]


def test_warnings(make_record: Any) -> None:
    floor = make_record("target_only", 0, 0.6, role="floor", flat=False)
    ceiling = make_record("early_fusion", 0, 0.6, role="ceiling", tests_on="all")
    alone = tables([make_record()])
    assert "no sealed floor on this board" in alone
    assert "no ceiling on this board" in alone
    text = tables([floor, make_record()])
    assert "the validation curve of target_only is not flat (seed 0)" in text
    assert "one seed of the floor" in text
    close = ceiling.model_copy(update={"samples": floor.samples, "metrics": floor.metrics})
    assert "no gap recovered where the ceiling is less than 1 point" in tables([floor, close, make_record()])
    other = make_record(
        digests=Digests(program=None, predictions="e" * 64, labels=floor.digests.labels, data="d" * 64)
    )
    assert "different prepared forms of the data" in tables([floor, other])


def test_other_test_samples_are_not_compared(make_record: Any) -> None:
    floor, kd = make_record("target_only", 0, 0.6, role="floor"), make_record()
    shuffled = kd.model_copy(update={"digests": kd.digests.model_copy(update={"labels": "0" * 64})})
    text = tables([floor, shuffled])
    assert "kd, seed 0: tested on other samples than the rest, so not compared" in text
    assert row(text, "kd")[3] == "-"


def test_a_metric_that_is_better_if_lower(make_record: Any) -> None:
    def made(method: str, right: float, **more: Any) -> list[Record]:
        return [make_record(method, s, right, classes=2, metric="acer", **more) for s in range(3)]

    records = [
        *made("target_only", 0.6, role="floor"),
        *made("early_fusion", 0.9, role="ceiling", tests_on="all"),
        *made("rad", 0.8),
    ]
    text = tables(records)
    assert "metric: ACER, in percent, lower is better" in text
    assert (row(text, "rad")[4], row(text, "target_only")[4]) == ("1", "2")
    assert "- rad: better than target_only (+" in text
    gap = row(text, "rad")[3]
    assert 20 < float(gap.split(" %")[0]) < 100


def test_a_metric_without_predictions_is_compared_over_seeds(make_record: Any) -> None:
    def made(method: str, base: float, **more: Any) -> list[Record]:
        plain = [make_record(method, s, **more) for s in range(4)]
        return [
            r.model_copy(update={"metrics": {"r@1": base + 0.3 * r.cell.seed % 0.7}, "primary": "r@1"})
            for r in plain
        ]

    (board,) = boards([*made("target_only", 60.0, role="floor"), *made("amid", 65.0)])
    amid = board.rows[0]
    assert amid.label == "amid"
    assert amid.rank is not None
    assert amid.rank.low == 1
    assert amid.gain is not None
    assert amid.gain.difference == pytest.approx(5.0)


def test_splits_with_other_test_samples_for_each_seed(make_record: Any) -> None:
    def resplit(record: Record) -> Record:
        labels, predicted = record.samples.unpack()
        part = slice(0, 300) if record.cell.seed else slice(100, 400)
        digests = record.digests.model_copy(update={"labels": f"split {record.cell.seed}"})
        samples = SampleOutcomes.of(labels[part], predicted[part])
        value = 100 * float(np.mean(labels[part] == predicted[part]))
        return record.model_copy(
            update={"samples": samples, "digests": digests, "metrics": {"accuracy": value}}
        )

    floor = [resplit(make_record("target_only", s, 0.5, role="floor")) for s in range(3)]
    text = tables([*floor, *(resplit(make_record("kd", s, 0.8)) for s in range(3))])
    assert "- kd: better than target_only" in text
    assert "tested on other samples" not in text


def test_protocols_are_in_natural_order(make_record: Any) -> None:
    text = tables([make_record(protocol=p) for p in ("shared-10", "shared-5", "few-5")])
    titles = [x for x in text.splitlines() if x.startswith("# toy")]
    assert titles == ["# toy, few-5", "# toy, shared-5", "# toy, shared-10"]


def test_the_summary_counts_data_sets(every_kind: list[Record]) -> None:
    summary = pages(Book.of(every_kind))["across.md"]
    kd = line(summary, "| `kd` |").split(" | ")
    gains = [
        r.gain.difference
        for b in boards(every_kind)
        for r in b.rows
        if r.label == "kd" and r.gain is not None
    ]
    assert len(gains) == 2
    assert kd[1].startswith(f"{np.mean(gains):+.2f} [")
    assert kd[3:] == ["2", "2 |"]
    assert "mean rank" not in summary
    assert "across.md" not in pages(Book.of([r for r in every_kind if r.cell.dataset == "toy"]))
