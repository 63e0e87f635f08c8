"""Tables for papers and for other programs: markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from ..boards import Board
from ..headlines import INTERVALS
from ..rows import Row
from ..text import code, escape, gap_text, interval, points, rank_text, table, wrap
from ..verdicts import short_verdict
from .book import Book
from .verification import status_of

COLUMNS = (
    "table", "dataset", "protocol", "values", "method", "role", "tests_on", "metric", "seeds", "result",
    "result_half_width", "gain", "gain_low", "gain_high", "gain_p_adjusted", "verdict", "edge",
    "gap_recovered", "gap_low", "gap_high", "rank_low", "rank_high", "probability_of_best", "teacher",
    "teacher_result", "parameters", "macs",
    "train_seconds", "sealed", "status", "verification", "equal_to",
)  # fmt: skip
"""Columns of the CSV: results in percent, gains in points, shares and probabilities from 0 to 1;
`edge`: seeds of which each, left out, changes the verdict; `equal_to`: the row whose predictions it has."""
TIED = "Bold: the best mean. Underlined: no significant difference to a better one (all pairs tested, Holm)."
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "\n": " ",
}


def to_csv(book: Book) -> str:
    """One line for each row of each table, and for each row without a result."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for one in book.tables:
        cell = one.board.cell
        common = {
            "table": one.name,
            "dataset": cell.dataset,
            "protocol": cell.protocol,
            "values": cell.value_set,
        }
        for row in one.board.rows:
            status = status_of(book, row)
            verification = {"verification": status.text} if status else {}
            writer.writerow(common | _flat(row, one.board) | verification)
        for absent in one.board.absent:
            writer.writerow(common | {"method": _plain(absent.label), "status": absent.status})
    return buffer.getvalue()


def _flat(row: Row, board: Board) -> dict[str, object]:
    cost, gain, gap, rank = row.records[-1].cost, row.gain, row.gap, row.rank
    found: dict[str, object] = {
        "method": _plain(row.label),
        "role": "ceiling" if row.ceiling else row.cell.role,
        "tests_on": row.cell.tests_on,
        "metric": board.metric.name if board.metric else "",
        "seeds": len(row.seeds),
        "result": row.interval.mean,
        "result_half_width": row.interval.half,
        "verdict": verdict if (verdict := short_verdict(row, board)) != "-" else "",
        "edge": "+".join(map(str, row.edge)),
        "parameters": cost.parameters if cost else None,
        "macs": cost.macs if cost else None,
        "train_seconds": row.train_seconds,
        "sealed": row.sealed,
        "status": "done",
        "equal_to": _plain(row.equal_to or ""),
    }
    if row.teacher is not None:
        found |= {
            "teacher": _plain(row.teacher.label or row.teacher.name),
            "teacher_result": row.teacher.value,
        }
    if gain is not None:
        found |= {"gain": gain.difference, "gain_low": gain.low, "gain_high": gain.high}
        found["gain_p_adjusted"] = gain.adjusted
    if gap is not None:
        found |= {"gap_recovered": gap.value, "gap_low": gap.low, "gap_high": gap.high}
    if rank is not None:
        found |= {"rank_low": rank.low, "rank_high": rank.high, "probability_of_best": rank.best}
    return {name: round(v, 9) if isinstance(v, float) else v for name, v in found.items()}


def _plain(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def marks_of(board: Board) -> dict[str, str]:
    """Label -> `best` or `tied` of ranked rows: tied is what no row is significantly better than."""
    ranked = [row for row in board.rows if row.rank is not None]
    found = {row.label: "tied" for row in ranked if row.rank is not None and row.rank.low == 1}
    if ranked:
        found[ranked[0].label] = "best"
    return found


def to_markdown(book: Book) -> str:
    """One table per board, best and tied rows marked."""
    parts = []
    for one in book.tables:
        marks = {"best": "**{}**", "tied": "<u>{}</u>"}
        rows = [_head(one.board), *_rows(one.board, code, escape, marks)]
        parts += [f"**{escape(one.name)}**", table(rows, left=(0,))]
    for mean in (mean for mean in book.means if mean.rows):
        rows = [[code(label), *map(escape, cells)] for label, *cells in mean.lines[1:]]
        parts += [f"**{escape(mean.title)}**: {escape(mean.sentence)}", table([mean.lines[0], *rows], (0, 4))]
    return "\n\n".join([*parts, wrap(f"{INTERVALS} {TIED}")]) + "\n" if parts else ""


def to_latex(book: Book) -> str:
    r"""One table per board for `\usepackage{booktabs}`, best and tied rows marked."""
    parts = ["% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}"]
    for one in book.tables:
        marks = {"best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}
        rows = _rows(one.board, latex, latex, marks)
        given = [not row.rankable for row in one.board.rows]
        lines = ["{}" * row[0].startswith("[") + " & ".join(row) + r" \\" for row in rows]  # not \\[
        place = given.index(True) if True in given else len(lines)
        caption = latex(f"{one.name}. Gains are differences to the floor in points, paired over seeds. ")
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering\footnotesize",
                    rf"\caption{{{caption}{latex(f'{INTERVALS} {TIED}')}}}",
                    rf"\label{{tab:{one.slug}}}",
                    r"\begin{tabular}{lrrrr}",
                    r"\toprule",
                    " & ".join(map(latex, _head(one.board))) + r" \\",
                    r"\midrule",
                    *lines[:place],
                    *([r"\midrule", *lines[place:]] if 0 < place < len(lines) else lines[place:]),
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _head(board: Board) -> list[str]:
    return ["method", board.metric.title if board.metric else "result", "gain", "gap recovered", "rank"]


def _rows(
    board: Board, name: Callable[[str], str], text: Callable[[str], str], marks: dict[str, str]
) -> list[list[str]]:
    """Cells of all rows; references that are given the privileged modality have no rank and no mark."""
    marked = marks_of(board)
    found = []
    for row in board.rows:
        result = marks.get(marked.get(row.label, ""), "{}").format(text(interval(row.interval)))
        cells = [text(points(row.gain)), text(gap_text(row.gap)), text(rank_text(row.rank))]
        role = f" {text(f'({row.marks[0]})')}" if row.marks else ""  # a page is narrow
        found.append([name(row.label) + role, result, *cells])
    return found


def latex(text: str) -> str:
    """Text with the special characters of LaTeX escaped."""
    return "".join(SPECIAL.get(c, c) for c in text)


FORMATS: dict[str, Callable[[Book], str]] = {"md": to_markdown, "csv": to_csv, "latex": to_latex}
"""Formats of `pmbench leaderboard --format`, besides json."""
