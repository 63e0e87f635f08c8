from __future__ import annotations

import pytest

from pmbench.errors import RecordError
from pmbench.report.metrics import METRICS
from pmbench.report.published import COLUMNS, load, parse, published_for


def test_numbers_of_the_papers_are_found_under_the_words_of_the_project() -> None:
    printed = published_for("amid", "ucf51", "split-1", "accuracy")
    assert 73.8 in {p.value for p in printed}
    assert {p.paper for p in printed} == {"AMID"}
    (surf,) = {p.value for p in published_for("dad", "casia-surf", "intra-testing", "acer") if not p.variant}
    assert surf == 6.75
    assert published_for("cgan", "arl", "patch-64x64", "f1")[0].value == 59.0
    assert published_for("amid", "ucf51", "split-2", "accuracy") == ()


@pytest.mark.parametrize(
    ("protocol", "distilled", "plain"),
    [
        ("shared-5", 62.0, 62.2),
        ("shared-10", 67.6, 67.9),
        ("shared-20", 73.5, 73.6),
        ("shared-30", 76.5, 76.5),
    ],
)
def test_linear_numbers_on_planted_data(protocol: str, distilled: float, plain: float) -> None:
    values = [
        published_for(method, "planted", protocol, "accuracy")[0].value
        for method in ("gen_distill", "target_only", "privileged_only")
    ]
    assert values == [distilled, plain, 89.6]


def test_every_row_is_in_known_words() -> None:
    rows = load()
    assert len(rows) == 424
    for row in rows:
        assert row.metric == "parameters" or METRICS[row.metric].higher_is_better is row.higher_is_better
        assert row.metric == "parameters" or 0 <= row.value <= 100
        assert not row.paper.endswith(".txt")


def test_a_file_with_other_columns_or_rows_is_refused() -> None:
    head = ",".join(COLUMNS)
    with pytest.raises(RecordError, match="expected paper, table"):
        parse(["paper,value", "x,1"])
    with pytest.raises(RecordError, match="line 2"):
        parse([head, "p,t,m,v,a,a,d,s,accuracy,high,true"])
    with pytest.raises(RecordError, match="line 2"):
        parse([head, "p,t,m"])
