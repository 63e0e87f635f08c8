"""Files of the site, and tables for papers, without a browser."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pmbench.errors import UsageError
from pmbench.report.boards import boards
from pmbench.report.pages.book import Book
from pmbench.report.pages.formats import latex, marks_of, to_csv, to_latex, to_markdown
from pmbench.report.pages.site import PARTS, site, write_site
from pmbench.report.record import Record
from pmbench.report.record_files import to_json

HOSTILE = "<img src=x onerror=alert(1)>&\"'`|"


@pytest.fixture
def few(make_record: Any) -> list[Record]:
    """A table of three rows, one of them with a hostile name."""
    rows = (("target_only", 0.6, "floor"), ("kd", 0.7, "method"), (HOSTILE, 0.65, "method"))
    return [make_record(name, seed, right, role=role) for name, right, role in rows for seed in (0, 1)]


class Links(HTMLParser):
    """What a page refers to, the ids that it has, and the tags that it uses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "srcset") and value:
                self.targets.append(value)
            if name == "id" and value:
                self.ids.append(value)


def test_the_site_is_whole_and_its_links_lead_to_files(few: list[Record], tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_site(folder, Book.of(few), [{"table": 1}])
    pages = {page: Links(page.read_text(encoding="utf-8")) for page in folder.rglob("*.html")}
    assert len(pages) == 1 + 1 + 3
    reached: set[Path] = set()
    for page, found in pages.items():
        assert len(found.ids) == len(set(found.ids)), page
        for target in found.targets:
            if target == "data:,":
                continue
            assert "//" not in target
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.is_file(), (page, target)
            reached.add(file)
            if anchor:
                assert anchor in pages[file].ids, (page, target)
    assert {p for p in folder.rglob("*.json") if p.parent.name == "records"} <= reached
    records = sorted(p.read_text(encoding="utf-8") for p in (folder / "records").iterdir())
    assert records == sorted(map(to_json, few))
    assert json.loads((folder / "leaderboard.json").read_text()) == [{"table": 1}]

    # a name is text and nothing else, wherever it stands
    for page, found in pages.items():
        text = page.read_text(encoding="utf-8")
        assert "<img src=x" not in text
        assert set(found.tags) <= KNOWN, page
    assert html.escape(HOSTILE, quote=False)[:20] in (folder / "index.html").read_text(encoding="utf-8")

    # only a site is replaced
    (folder / "tables" / "left.html").write_text("of the old site")
    write_site(folder, Book.of(few), [])
    assert not (folder / "tables" / "left.html").exists()
    (folder / "submissions").mkdir()
    with pytest.raises(UsageError, match="holds something else than a site of this command: submissions"):
        write_site(folder, Book.of(few), [])
    assert (folder / "submissions").is_dir()
    assert {path.name for path in folder.iterdir()} == {*PARTS, "submissions"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        write_site(other, Book.of(few), [])
    assert (other / "precious.txt").exists()


KNOWN = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "nav", "main", "footer"),
    *("h1", "h2", "p", "a", "ul", "li", "section", "div", "span", "figure", "picture", "source", "img"),
    *("figcaption", "form", "label", "input", "select", "option", "output", "svg", "line", "circle"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
}


@pytest.mark.slow
def test_equal_records_give_an_equal_site(few: list[Record]) -> None:
    first, second = site(Book.of(few), []), site(Book.of(few[::-1]), [])
    assert first == second


def test_csv_has_a_line_for_every_row(every_kind: list[Record]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(Book.of(every_kind)))))
    found = boards(every_kind)
    assert len(lines) == sum(len(b.rows) + len(b.absent) for b in found)
    hoffman = next(line for line in lines if line["method"] == "hoffman")
    (row,) = [row for b in found for row in b.rows if row.label == "hoffman"]
    assert row.gain is not None
    assert float(hoffman["gain"]) == pytest.approx(row.gain.difference)
    assert float(hoffman["gain_low"]) == pytest.approx(row.gain.low)
    assert (hoffman["verdict"], hoffman["status"]) == ("beats floor and controls", "done")
    assert next(line for line in lines if line["method"] == "rad")["status"] == "skipped"


def test_no_cell_of_the_csv_is_a_formula(make_record: Any) -> None:
    (line,) = csv.DictReader(io.StringIO(to_csv(Book.of([make_record("=HYPERLINK(1)")]))))
    assert line["method"] == "'=HYPERLINK(1)"


def test_best_and_tied_are_marked(every_kind: list[Record]) -> None:
    book = Book.of([r for r in every_kind if r.cell.dataset == "toy"])
    marks = marks_of(book.boards[0])
    assert marks["hoffman"] == "best"
    assert marks["kd[temperature=2.0]"] == "tied"
    assert "target_only" not in marks
    text = to_markdown(book)
    assert "| `target_only` (floor) |" in text
    assert re.search(r"^\| `hoffman` \| \*\*77.25 ± 2.85\*\* \| \+14.50 \[", text, re.MULTILINE)
    assert re.search(r"^\| `kd\[temperature=2.0\]` \| <u>71.83 ± \S+</u> \|", text, re.MULTILINE)
    assert r"\textbf{77.25 $\pm$ 2.85}" in to_latex(book)


def test_latex_is_balanced_and_escaped(few: list[Record]) -> None:
    text = to_latex(Book.of(few))
    assert r"\textless{}img src=x onerror=alert(1)\textgreater{}\&" in text
    body = re.sub(r"\\[\\{}&%$#_]|^%.*$", "", text, flags=re.MULTILINE)
    assert body.count("{") == body.count("}")
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    rows = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    for row in (row for row in rows if "rule" not in row):
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == 4
    bracket = few[0].cell.model_copy(update={"method": "[x]"})
    text = to_latex(Book.of([few[0].model_copy(update={"cell": bracket})]))
    assert "\n{}[x] (floor) & " in text, "no optional argument of the line before"
    assert latex("50% of a_b & {x} \\ ~^#$") == (
        r"50\% of a\_b \& \{x\} \textbackslash{} \textasciitilde{}\textasciicircum{}\#\$"
    )
