"""The leaderboard as a whole: its front page, links, and comparison with files."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from drawn import front, line, render

from pmbench.errors import StoreError
from pmbench.report.boards import boards
from pmbench.report.headlines import sentence
from pmbench.report.pages.book import Book
from pmbench.report.pages.folder import book_for, check, pages, write
from pmbench.report.pages.front import front_page
from pmbench.report.pages.site import site
from pmbench.report.record import Record
from pmbench.report.results import Results

GOLDEN = Path(__file__).parents[2] / "golden" / "leaderboard.md"


def test_the_leaderboard_is_pinned(every_kind: list[Record]) -> None:
    rendered = render(every_kind)
    if os.environ.get("PMBENCH_REWRITE_GOLDEN"):
        GOLDEN.write_text(rendered, encoding="utf-8")
    assert rendered == GOLDEN.read_text(encoding="utf-8")


def test_the_order_of_records_is_irrelevant(every_kind: list[Record]) -> None:
    rendered = render(every_kind)
    random.Random(0).shuffle(every_kind)
    assert render(every_kind) == rendered


def test_one_of_anything_is_singular(make_record: Any) -> None:
    records = [make_record("target_only", 0, 0.6, role="floor", count=1), make_record(count=1)]
    records.append(
        records[0].model_copy(update={"cell": records[0].cell.model_copy(update={"matched_epochs": 1})})
    )
    results = Results(tuple(records[1:2]))
    text = "\n".join(
        [render(records), *site(Book.of(records), []).values(), repr(results), results.to_markdown()]
    )
    plurals = "tables|seeds|records|methods|epochs|samples|trials|rows|stages|cells|classes|groups|data sets"
    assert re.findall(rf"(?<![\d.,-])1 (?:{plurals})\b.*", text) == []
    assert repr(results) == "Results(1 record, 1 with a result, 1 table)"


def test_no_records_give_an_empty_board() -> None:
    assert front([]) == "# Leaderboard\n\nNo records yet.\n"


def test_check_returns_a_diff(every_kind: list[Record], tmp_path: Path) -> None:
    path, book = tmp_path / "README.md", Book.of(every_kind)
    assert check(path, book).startswith(f"--- {path}")
    write(path, book)
    assert check(path, book) == ""
    table = tmp_path / "tables" / "toy-split-1.md"
    table.write_text(table.read_text().replace("77.25", "97.25"), encoding="utf-8")
    difference = check(path, book).splitlines()
    assert [x[0] for x in difference if "7.25 ±" in x] == ["-", "+"]
    path.write_bytes(b"\xff")
    with pytest.raises(StoreError, match="cannot be read"):
        check(path, book)


def test_pages_of_no_record_differ_and_are_removed(every_kind: list[Record], tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write(path, Book.of(every_kind))
    own = tmp_path / "tables" / "notes.md"
    own.write_text("of somebody else", encoding="utf-8")
    fewer = Book.of([r for r in every_kind if r.cell.dataset == "toy"])
    assert "other-few-10.md\n+++ of no record" in check(path, fewer)
    write(path, fewer)
    assert check(path, fewer) == ""
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == ["notes.md", "toy-split-1.md"]


def test_links_lead_to_pages_and_records(every_kind: list[Record], tmp_path: Path) -> None:
    path = tmp_path / "board" / "README.md"
    files = {tmp_path / "records" / f"{i} of 9.json": r for i, r in enumerate(every_kind)}
    (tmp_path / "records").mkdir()
    for file in files:
        file.touch()
    write(path, book_for(path, files))
    linked = set()
    for page in path.parent.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        targets = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"^\[[^]]+\]: (.*)$", text, re.MULTILINE)]
        for target in targets:
            found = (page.parent / unquote(target)).resolve()
            assert found.exists(), (page, target)
            linked.add(found)
        for used, name in re.findall(r"\[(`?[^]`]+`?)\]\[([^]]+)\]", text):
            assert f"\n[{name}]: " in text, (page, used)
    done = {file for file, record in files.items() if record.status == "done"}
    assert done <= linked
    assert set(path.parent.rglob("*.md")) <= linked


def test_the_front_page_says_it_in_a_sentence_and_a_table(every_kind: list[Record]) -> None:
    text = front(every_kind)
    sentences = " ".join(text.split())
    assert "[toy, split-1][table-2]: 2 of 4 methods beat floor and controls;" in sentences
    assert "the best, hoffman, closes 54 % [" in sentences
    hoffman = line(text, "| [`hoffman`][hoffman] |")
    assert re.search(r"\| \+14.50 \[\S+, \S+\] ▲ \|$", hoffman)
    assert line(text, "| control: [`self_distill`][self_distill] |").endswith("] |")
    assert line(text, "| floor, its result in % |").count("±") == 2
    assert line(text, "| ceiling, its result in % |").count("±") == 2
    assert "target_only" not in text.partition("[table-")[0].partition("| gain")[2]


def many_tables(make_record: Any, datasets: int, protocols: int) -> list[Record]:
    """Records of two rows and two seeds on every protocol of every data set."""
    rows = (("target_only", 0.6, "floor"), ("kd", 0.7, "method"))
    return [
        make_record(method, seed, right, role=role, dataset=f"data{i}", protocol=f"few-{j}")
        for i in range(datasets)
        for j in range(protocols)
        for seed in (0, 1)
        for method, right, role in rows
    ]


def heads(text: str) -> list[str]:
    """The names of the tables in the header of each grid."""
    found = [x for x in text.splitlines() if x.startswith("| gain over the floor")]
    return [", ".join(re.findall(r"\[(data\d+, few-\d+)\]", head)) for head in found]


def test_the_front_page_holds_a_table_of_each_data_set_first(make_record: Any) -> None:
    book = Book.of(many_tables(make_record, 3, 4))
    text = front_page(book)
    assert max(map(len, text.splitlines())) <= 160
    assert heads(text) == ["data0, few-0, data0, few-1, data1, few-0, data2, few-0"]
    assert text.count("\n- [data") == 12, "a sentence for each table"
    assert "[The gains on all 12 tables](gains.md)" in text
    everything = pages(book)["gains.md"]
    assert max(map(len, everything.splitlines())) <= 160
    assert len(heads(everything)) > 1
    assert sum(head.count("data") for head in heads(everything)) == 12
    assert everything.count("| [`kd`][kd]") == len(heads(everything))


def test_the_front_page_prefers_protocols_that_data_sets_share(make_record: Any) -> None:
    records = [
        r for r in many_tables(make_record, 3, 4) if r.cell.dataset == "data1" or r.cell.protocol == "few-2"
    ]
    assert heads(front_page(Book.of(records))) == ["data0, few-2, data1, few-0, data1, few-2, data2, few-2"]
    records = [r for r in records if r.cell.dataset != "data2"]
    assert heads(front_page(Book.of(records))) == ["data0, few-2, data1, few-0, data1, few-1, data1, few-2"]


def test_a_front_page_with_every_table_has_no_page_of_all(make_record: Any) -> None:
    assert "gains.md" not in pages(Book.of(many_tables(make_record, 1, 2)))


def test_no_table_joins_other_modalities(make_record: Any) -> None:
    first = make_record()
    turned = {"target": ["accel"], "privileged": ["gyro"], "test_modalities": ["accel"]}
    other = make_record(seed=1, cell=first.cell.model_copy(update={"seed": 1, **turned}))
    assert sorted(Book.of([first, other]).names) == [
        "toy, split-1, tested on accel, given gyro in training",
        "toy, split-1, tested on gyro, given accel in training",
    ]


def test_the_sentence_says_that_data_differs(make_record: Any) -> None:
    floor = [make_record("target_only", s, 0.6, role="floor") for s in (0, 1)]
    kd = [make_record("kd", s, 0.7) for s in (0, 1)]
    assert kd[1].digests is not None
    other = kd[1].digests.model_copy(update={"data": "f" * 64})
    (same,), (mixed,) = (
        boards(r) for r in ([*floor, *kd], [*floor, kd[0], kd[1].model_copy(update={"digests": other})])
    )
    assert "prepared forms" not in sentence(same)
    assert sentence(mixed).endswith("; the records were made from different prepared forms of the data")


def test_conclusions_stand_at_the_top(every_kind: list[Record], tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    files = {tmp_path / f"{i}.json": record for i, record in enumerate(every_kind)}
    write(path, book_for(path, files))
    assert check(path, book_for(path, files)) == ""
    (tmp_path / "conclusions.txt").write_text("No gain\nwithout sharing.\n\n\nA **second** one.\n")
    assert "+No gain without sharing." in check(path, book_for(path, files))
    write(path, book_for(path, files))
    text = path.read_text(encoding="utf-8")
    assert "\n\nNo gain without sharing.\n\nA \\*\\*second\\*\\* one.\n\n- [other" in text
    html = site(book_for(path, files), [])["index.html"]
    assert "<p>No gain without sharing.</p>\n<p>A **second** one.</p>" in html
    (tmp_path / "conclusions.txt").write_bytes(b"\xff")
    with pytest.raises(StoreError, match=r"conclusions.txt cannot be read"):
        book_for(path, files)


def test_boards_with_equal_titles_have_different_pages(make_record: Any) -> None:
    first = make_record()
    other = first.cell.model_copy(update={"backbones": {"gyro": "mlp", "accel": "mlp"}})
    newer = first.cell.model_copy(update={"dataset_version": 2})
    records = [first, *(first.model_copy(update={"cell": cell}) for cell in (other, newer))]
    names = Book.of(records).names
    assert sorted(names) == [
        "toy, split-1, cnn1d-small, version 1",
        "toy, split-1, cnn1d-small, version 2",
        "toy, split-1, mlp",
    ]
    assert len(set(Book.of(records).slugs)) == 3


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({}, "no method is compared with the floor"),
        ({"kd": 0.6}, "the method is not shown to beat the floor and every control; a true gain of"),
        ({"kd": 0.6, "rad": 0.61}, "none of 2 methods is shown to beat the floor and every control"),
        ({"kd": 0.9}, "1 of 1 method beats the floor and every control; kd closes"),
        ({"kd": 0.9, "rad": 0.89}, "2 of 2 methods beat the floor and every control; the best of them by"),
    ],
)
def test_sentences(methods: dict[str, float], words: str, make_record: Any) -> None:
    rows = {"target_only": (0.6, "floor"), "self_distill": (0.6, "control")}
    rows |= {name: (right, "method") for name, right in methods.items()}
    records = [make_record(m, s, right, role=role) for m, (right, role) in rows.items() for s in range(4)]
    records += [make_record("early_fusion", s, 0.97, role="ceiling", tests_on="all") for s in range(4)]
    assert sentence(boards(records)[0]).startswith(words)


def test_sentences_where_nothing_can_be_tested(make_record: Any) -> None:
    assert sentence(boards([make_record()])[0]) == "no sealed floor, so nothing is compared"
    one = [make_record("target_only", 0, 0.6, role="floor"), make_record()]
    assert sentence(boards(one)[0]) == "1 method cannot be tested: one seed (--seeds 2 or more)"
    placebo = make_record()
    placebo = placebo.model_copy(update={"cell": placebo.cell.model_copy(update={"placebo": "noise"})})
    assert sentence(boards([placebo])[0]) == "no finished cell"


def test_importing_report_is_light() -> None:
    code = (
        "import sys, pkgutil, importlib, pmbench.report as r\n"
        "for m in pkgutil.walk_packages(r.__path__, 'pmbench.report.'):\n"
        "    if '.plots' not in m.name: importlib.import_module(m.name)  # these draw\n"
        "print([m for m in ('torch', 'scipy', 'pandas', 'matplotlib', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
