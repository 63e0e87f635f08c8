"""The page of one table in markdown: verdicts, controls, other metrics, costs, skipped cells, provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...errors import plural
from ..audit import bonus_of, choices_of
from ..boards import AblationTable, Board
from ..headlines import ROLES, legend, marked, sentence
from ..placebo import KINDS
from ..record import Record, metric_of
from ..rows import ENSEMBLE, Row
from ..text import (
    bullets,
    code,
    duration,
    escape,
    gap_text,
    interval,
    number,
    options_text,
    p_text,
    percent,
    points,
    printed_text,
    quantity,
    rank_text,
    table,
    wrap,
)
from ..verdicts import (
    ceiling_text,
    left_lines,
    method_lines,
    teacher_lines,
    teacher_text,
    tests_text,
)
from .book import DRAWN, Book
from .front import picture
from .limits import warnings
from .matrix import matrix_text
from .tuning import tuning_text
from .verification import for_all, reasons, status_of

HOW_TO_READ = """\
How to read: ± is the 95 % interval of a mean over seeds. Gain is the difference to the floor in points,
paired over seeds. [ ] are simultaneous: those of all methods in one column hold together with 95 %
probability. A gain is significant if and only if its [ ] excludes 0, and so is a difference to a control. p
is multiplied by the number of methods. Rank 2 to 5 of 9: one row is significantly better, four are
significantly worse (all pairs tested, Holm). {marks}. P(best) is the share of draws from the model of the
tests in which the row is the best of the ranked ones. Gap recovered is (method - floor) / (ceiling - floor);
the ceiling is 100 %. Parameters and MACs are of what runs at test; training is the time of the whole plan, as
if nothing were reused."""


ABLATIONS = """\
Rows of the paper's ablation tables. Difference: points better than the method itself, paired over seeds; [ ]
are simultaneous over the rows, and p is multiplied by their number. The paper's numbers are from its own
data, named beside them."""


EPOCHS = """\
What another choice of the last stage's epoch would have added to the result, in points, mean over seeds. No
result of this page is chosen on the test part: picking the epoch there would add {bonus} points to a row that
is tested on the target modality alone, on average, without a better method."""


NOT_ANY_MORE = "Not verified any more"
TEACHERS = "Teachers: ranks among methods of one teacher, and methods under another teacher"


def table_page(book: Book, place: int, figures: Mapping[str, str]) -> str:
    """The page of the table at a place, in `tables/` beside the front page.

    `figures`: file name -> alternative text of those that it shows.
    """
    board, name = book.boards[place], book.names[place]
    parts = [f"# {escape(name)}\n\n[Leaderboard](../{book.front})", f"{escape(_capital(sentence(board)))}."]
    parts = [
        parts[0],
        wrap(parts[1]),
        bullets([*facts(board), *for_all(book, board), *tests_text(board), *ceiling_text(board)]),
        _list("Warnings", warnings(board)),
    ]
    parts += [picture(f"../figures/{figure}", text) for figure, text in figures.items()]
    how = wrap(HOW_TO_READ.format(marks=legend([board])))
    parts += ["## Results\n\n" + how, wrap(ROLES), *_results(book, board), _skipped(board)]
    parts += [_list("Methods", method_lines(board)), _controls(board)]
    parts += [*_means(book, board), *tuning_text(board)]
    parts += [_list(TEACHERS, teacher_lines(board)), _left(board), *_others(board), *matrix_text(board)]
    parts += _costs(board)
    parts += _epochs(board)
    parts += [part for ablation in board.ablations for part in _ablation(ablation, board)]
    parts += _provenance(book, board)
    parts.append("\n".join(f"[{slug}]: ../methods/{slug}.md" for slug in _slugs(book, board)))
    return "\n\n".join(part for part in (*parts, DRAWN) if part) + "\n"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slugs(book: Book, board: Board) -> list[str]:
    labels = [*(row.label for row in board.rows), *(a.label for a in board.absent)]
    labels += [a.label for a in board.ablations]
    return list(dict.fromkeys(book.slug_of(label) for label in labels if label in book.method_of))


def _linked(book: Book, label: str) -> str:
    return f"[{code(label)}][{book.slug_of(label)}]"


# --- one board ----------------------------------------------------------------------------------------------


def facts(board: Board) -> list[str]:
    """What was measured, and how."""
    cell = board.cell
    records = [r for row in board.rows for r in row.records]
    rules = sorted({r.validation.rule for r in records if r.validation})
    counts = sorted({r.samples.count for r in records if r.samples})
    samples = f"{' or '.join(map(str, counts)) or 'no'} {'sample' if counts == [1] else 'samples'}"
    backbones = ", ".join(f"{m}: {name}" for m, name in sorted(cell.backbones.items()))
    items = [
        f"protocol: {cell.protocol}, on version {cell.dataset_version} of the data; "
        f"tested on {', '.join(cell.target)} ({samples}); "
        f"privileged: {', '.join(cell.privileged) or 'none'}"
    ]
    if board.metric is not None:
        better = "higher" if board.metric.higher_is_better else "lower"
        items.append(f"metric: {board.metric.title}, in percent, {better} is better")
    items += [
        f"checkpoint: {'; '.join(rules) or 'no rule recorded'}",
        f"backbones: {backbones}; recipe set: {cell.recipe_set}; hyper-parameters: {cell.value_set} values",
        f"{plural(len(board.seeds), 'seed')}: {', '.join(map(str, board.seeds))}",
    ]
    return items


def _results(book: Book, board: Board) -> list[str]:
    """Table of the ranked rows, and table of the others."""
    metric = board.metric.title if board.metric else "result"
    floor = board.floor.label if board.floor else "floor"
    head = [
        "method",
        metric,
        f"gain over {code(floor)}",
        "gap recovered",
        "rank",
        "P(best)",
        "seeds",
    ]
    parts = []
    if ranked := [row for row in board.rows if row.rankable]:
        rows = [head, *(_cells(book, row, board) for row in ranked)]
        if any(row.teacher for row in ranked):  # older records name no teachers
            teachers = ["teacher", *(escape(teacher_text(row)) for row in ranked)]
            rows = [[*cells, teacher] for cells, teacher in zip(rows, teachers, strict=True)]
        parts.append(table(_verified(book, board, rows, ranked), left=(0, 7)))
    if others := [row for row in board.rows if not row.rankable]:
        rows = [[_name(book, row), interval(row.interval), _seeds(row, board)] for row in others]
        parts.append("Not ranked: given a privileged modality at test, not sealed, or equal to another row:")
        parts.append(table(_verified(book, board, [["method", metric, "seeds"], *rows], others), left=(0, 3)))
    return [*parts, _list(NOT_ANY_MORE, reasons(book, board))]


def _verified(book: Book, board: Board, lines: list[list[str]], rows: Sequence[Row]) -> list[list[str]]:
    """The lines with a column of how far referees have verified each row, unless `for_all` says that."""
    found = [status for row in rows if (status := status_of(book, row))]
    if not found or for_all(book, board):
        return lines
    column = ["verification", *(status.text for status in found)]
    return [[*cells, status] for cells, status in zip(lines, column, strict=True)]


def _name(book: Book, row: Row) -> str:
    return _linked(book, row.label) + (f" ({escape(', '.join(row.marks))})" if row.marks else "")


def _seeds(row: Row, board: Board) -> str:
    count = str(len(row.seeds))
    return count if len(row.seeds) == len(board.seeds) else f"{count} of {len(board.seeds)}"


def _cells(book: Book, row: Row, board: Board) -> list[str]:
    return [
        _name(book, row),
        interval(row.interval),
        marked(row, board),
        gap_text(row.gap),
        rank_text(row.rank),
        "-" if row.rank is None or row.rank.best is None else percent(row.rank.best),
        _seeds(row, board),
    ]


def _means(book: Book, board: Board) -> list[str]:
    """The means over protocols that the table is part of."""
    parts = []
    for mean in book.means_of(board):
        parts += [f"## {escape(_capital(mean.title))}", wrap(f"{escape(_capital(mean.sentence))}.")]
        if lines := mean.lines:
            rows = [[code(label), *map(escape, cells)] for label, *cells in lines[1:]]
            parts.append(table([lines[0], *rows], left=(0, 4)))
    return parts


def _skipped(board: Board) -> str:
    return _list("Cells without a result", [f"{a.label}: {a.text}" for a in board.absent])


def _costs(board: Board) -> list[str]:
    """What runs at test, and the training of the whole plan."""
    rows = [["method", "parameters", "MACs", "networks at test", "training", "times the floor's"]]
    for row in board.rows:
        cost = row.records[-1].cost
        times = "-"
        if board.floor is not None and board.floor.train_seconds > 0:
            times = f"{row.train_seconds / board.floor.train_seconds:.1f}"
        parameters, macs = (cost.parameters, cost.macs) if cost else (None, None)
        cells = [quantity(parameters), quantity(macs), str(row.networks), duration(row.train_seconds), times]
        rows.append([code(row.label), *cells])
    return ["## Costs", table(rows, left=(0,))] if board.rows else []


def _epochs(board: Board) -> list[str]:
    """What other choices of the epoch would have added."""
    bonus = bonus_of(board.rows, board.metric)
    if board.metric is None or bonus is None:
        return []
    rows = [["method", "last epoch", "best on validation data", "best on the test part", "seeds"]]
    for one in choices_of(board.rows, board.metric):
        validation = "-" if one.validation is None else number(one.validation, 2, sign=True)
        last, test = number(one.last, 2, sign=True), number(one.test, 2, sign=True)
        rows.append([code(one.label), last, validation, test, str(one.seeds)])
    text = EPOCHS.format(bonus=number(bonus, 2, sign=True))
    return ["## Choice of the epoch", wrap(text), table(rows, left=(0,))]


def provenance(board: Board) -> list[str]:
    """Where the records come from."""
    found = [r.provenance for row in board.rows for r in row.records]
    if not found:
        return []
    commits = sorted({(p.git_commit or "unknown")[:12] + " with changes" * bool(p.git_dirty) for p in found})
    dates = sorted({p.date[:10] for p in found})
    return [
        f"run: {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else ""),
        f"pmbench {_all(p.pmbench for p in found)}, commit {', '.join(commits)}",
        f"torch {_all(p.torch for p in found)}, Python {_all(p.python for p in found)}",
        f"{_all(p.platform for p in found)}; device {_all(p.device for p in found)}",
        f"isolation of plugins: {_all(p.isolation for p in found)}",
    ]


def _provenance(book: Book, board: Board) -> list[str]:
    """Where the records come from, and a link to each."""
    if not board.rows:
        return []
    seeds = "\n".join(
        wrap(f"- {code(row.label)}: " + ", ".join(_seed(book, r, board) for r in row.records), "  ")
        for row in board.rows
    )
    metric = board.metric.title if board.metric else "result"
    title = f"{_capital(metric)} by seed, from the record that each number links to:"
    return ["## Provenance", bullets(provenance(board)), title, seeds]


def _all(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _seed(book: Book, record: Record, board: Board) -> str:
    assert board.metric is not None, "a board with rows has a metric"
    text = number(record.metrics[board.metric.name], 2)
    return f"{record.cell.seed}: {book.record_link(text, record, '../')}"


def title_of(board: Board, name: str) -> str:
    """Heading of a metric's column."""
    found = (metric_of(record, name) for row in board.rows for record in row.records)
    return next(metric.title for metric in found if metric is not None)


def _others(board: Board) -> list[str]:
    """The other metrics of the rows."""
    metrics = dict.fromkeys(name for row in board.rows for name in row.others)
    if not metrics:
        return []
    rows = [["method", *(title_of(board, name) for name in metrics)]]
    for row in board.rows:
        found = (row.others.get(name, (None, ()))[0] for name in metrics)
        rows.append([code(row.label), *(interval(f) if f else "-" for f in found)])
    return ["Other metrics, ± over seeds:", table(rows, left=(0,))]


def _list(title: str, lines: Sequence[str]) -> str:
    return f"{title}:\n\n{bullets(lines)}" if lines else ""


def _controls(board: Board) -> str:
    """Table of the methods against the controls."""
    controls = list(dict.fromkeys(c.control for c in board.contrasts))
    if not controls:
        return ""
    found = {(c.label, c.control): c.comparison for c in board.contrasts}
    rows = [["method", *(f"against {code(control)}" for control in controls)]]
    for label in dict.fromkeys(c.label for c in board.contrasts):
        rows.append([code(label), *(points(found.get((label, control))) for control in controls)])
    title = "Against the controls, in points; a [ ] that excludes 0 is significant. "
    title += f"`{ENSEMBLE}` is the control of methods that run two networks at test:"
    return f"{wrap(title)}\n\n{table(rows, left=(0,))}"


def _left(board: Board) -> str:
    """Table of what is left of the gains without privileged information."""
    if not board.left:
        return ""
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in board.left)]
    found = {(one.label, one.kind): one for one in board.left}
    rows = [["method", "gain", *(part for kind in kinds for part in (f"left {KINDS[kind]}", "share"))]]
    for row in board.rows:
        cells = [found.get((row.label, kind)) for kind in kinds]
        if any(cells):
            better = row.gain is not None and row.gain.better
            parts = [
                (points(one.gain), gap_text(one.share) if better else "-") if one else ("-", "-")
                for one in cells
            ]
            rows.append([code(row.label), points(row.gain), *(text for part in parts for text in part)])
    title = (
        "Without privileged information, in points over the floor. What is left of a gain does not come from "
        "privileged data, but from the loss, the teacher's softness or the steps:"
    )
    return f"{wrap(title)}\n\n{table(rows, left=(0,))}\n\n{bullets(left_lines(board))}"


def _ablation(ablation: AblationTable, board: Board) -> list[str]:
    name = escape(ablation.label)
    head = ["row", "options", board.metric.title if board.metric else "result", "difference", "p", "seeds"]
    rows, absent, printed = [head], [], []
    for row in ablation.rows:
        first = row.name or "the method itself"
        absent += [f"{first}: {a.text}" for a in row.absent]
        printed += [f"{first}: {printed_text(row.printed)}"] if row.printed else []
        if row.row is not None:
            p = None if row.comparison is None else row.comparison.adjusted
            result = [interval(row.row.interval), points(row.comparison), p_text(p)]
            options = code(options_text(row.options) or "-")
            rows.append([escape(first), options, *result, str(len(row.row.seeds))])
    parts = [f"## Ablations of {name}", ABLATIONS, table(rows, left=(0, 1)) if len(rows) > 1 else ""]
    return [*parts, _list("Without a result", absent), _list("The paper's own numbers", printed)]
