"""The leaderboard in markdown, a pure function of records."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import StoreError
from .boards import AblationTable, Absent, Board, boards
from .placebo import KINDS
from .record import Record, metric_of
from .rows import ENSEMBLE, Row
from .summary import FEWEST_FOR_RANKS, overall
from .text import (
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
    published_text,
    quantity,
    rank_text,
    seeds_text,
    table,
    wrap,
)
from .verdicts import (
    ceiling_text,
    left_lines,
    method_lines,
    short_verdict,
    teacher_lines,
    teacher_text,
    tests_text,
)

HOW_TO_READ = """\
How to read: ± is the 95 % interval of a mean over seeds. Gain is the difference to the floor in points,
paired over seeds. [ ] are simultaneous: those of all methods in one column hold together with 95 %
probability. A gain is significant if and only if its [ ] excludes 0, and so is a difference to a control. p
is multiplied by the number of methods. Rank 2 to 5 of 9: one row is significantly better, four are
significantly worse (all pairs tested, Holm). P(best) is the share of draws from the model of the tests in
which the row is the best of the ranked ones. Gap recovered is (method - floor) / (ceiling - floor); the
ceiling is 100 %. Parameters and MACs are of what runs at test; training is the time of the whole plan, as if
nothing were reused. Published numbers are the papers' own, from their code, backbones and budgets."""


ABLATIONS = """\
Rows of the paper's ablation tables. Difference: points better than the method itself, paired over seeds; [ ]
are simultaneous over the rows, and p is multiplied by their number. The paper's numbers are from its own
data, named beside them."""


def render(records: Iterable[Record]) -> str:
    """The leaderboard of all records, in markdown."""
    all_boards = boards(records)
    if not all_boards:
        return "# Leaderboard\n\nNo records yet.\n"
    parts = ["# Leaderboard", HOW_TO_READ, *_summary(all_boards)]
    for board in all_boards:
        parts += [f"## {escape(board.title)}", _head(board), _table(board), *_others(board), *_notes(board)]
        parts += [part for ablation in board.ablations for part in _ablation(ablation, board)]
    return "\n\n".join(parts) + "\n"


def check(path: Path, records: Iterable[Record]) -> str:
    """Unified diff from the file to the rendered records, empty if equal; a missing file counts as empty.

    Raises StoreError if the file cannot be read.
    """
    try:
        found = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: the leaderboard cannot be read: {error}") from error
    rendered = render(records)
    before, after = found.splitlines(keepends=True), rendered.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, str(path), "rendered from records"))


# --- one board ----------------------------------------------------------------------------------------------


def _head(board: Board) -> str:
    cell = board.cell
    records = [r for row in board.rows for r in row.records]
    rules = sorted({r.validation.rule for r in records if r.validation})
    counts = sorted({r.samples.count for r in records if r.samples})
    backbones = ", ".join(f"{m}: {name}" for m, name in sorted(cell.backbones.items()))
    items = [
        f"protocol: {cell.protocol}, on version {cell.dataset_version} of the data; "
        f"tested on {', '.join(cell.target)} ({' or '.join(map(str, counts)) or 'no'} samples); "
        f"privileged: {', '.join(cell.privileged) or 'none'}"
    ]
    if board.metric is not None:
        better = "higher" if board.metric.higher_is_better else "lower"
        items.append(f"metric: {board.metric.title}, in percent, {better} is better")
    items += [
        f"checkpoint: {'; '.join(rules) or 'no rule recorded'}",
        f"backbones: {backbones}; recipe set: {cell.recipe_set}; hyper-parameters: {cell.value_set} values",
        f"{len(board.seeds)} seed{'s' if len(board.seeds) > 1 else ''}: {', '.join(map(str, board.seeds))}",
        *tests_text(board),
        *ceiling_text(board),
    ]
    return bullets(items)


def _table(board: Board) -> str:
    metric = board.metric.title if board.metric else "result"
    floor = board.floor.label if board.floor else "floor"
    head = ["rank", "method", metric, f"gain over {escape(floor)}", "verdict", "gap recovered", "P(best)"]
    rows = [[*head, "parameters", "MACs", "training", "seeds", "published"]]
    rows += [_cells(row, board) for row in board.rows]
    rows += [_absent(absent) for absent in board.absent]
    if any(row.teacher for row in board.rows):  # older records name no teachers
        teachers = ["teacher", *(escape(teacher_text(row)) for row in board.rows), *["-"] * len(board.absent)]
        rows = [[*row[:2], teacher, *row[2:]] for row, teacher in zip(rows, teachers, strict=True)]
    return table(rows, left=(1, 2, 4))


def _cells(row: Row, board: Board) -> list[str]:
    cost = row.records[-1].cost
    training = duration(row.train_seconds)
    if board.floor is not None and board.floor.train_seconds > 0:
        training += f" ({row.train_seconds / board.floor.train_seconds:.1f}x)"
    missing = len(row.seeds) != len(board.seeds)
    return [
        rank_text(row.rank),
        code(row.label) + (f" ({escape(', '.join(row.marks))})" if row.marks else ""),
        interval(row.interval),
        points(row.gain),
        short_verdict(row, board),
        gap_text(row.gap),
        "-" if row.rank is None or row.rank.best is None else percent(row.rank.best),
        quantity(cost.parameters if cost else None),
        quantity(cost.macs if cost else None),
        training,
        f"{len(row.seeds)} of {len(board.seeds)}" if missing else str(len(row.seeds)),
        published_text(row.published),
    ]


def _absent(absent: Absent) -> list[str]:
    return ["-", code(absent.label), escape(absent.text), *["-"] * 9]


def _title(board: Board, name: str) -> str:
    """Heading of a metric's column."""
    found = (metric_of(record, name) for row in board.rows for record in row.records)
    return next(metric.title for metric in found if metric is not None)


def _others(board: Board) -> list[str]:
    """The other metrics of the rows, with published numbers in brackets."""
    metrics = dict.fromkeys(name for row in board.rows for name in row.others)
    if not metrics:
        return []
    rows = [["method", *(_title(board, name) for name in metrics)]]
    for row in board.rows:
        cells = []
        for found, printed in (row.others.get(name, (None, ())) for name in metrics):
            text = interval(found) if found else "-"
            cells.append(f"{text} ({published_text(printed)})" if printed else text)
        rows.append([code(row.label), *cells])
    published = any(printed for row in board.rows for _, printed in row.others.values())
    title = "Other metrics, ± over seeds" + ("; in brackets what papers print:" if published else ":")
    return [title, table(rows, left=(0,))]


def _notes(board: Board) -> list[str]:
    parts = [_list("Warnings", _warnings(board)), _list("Methods", method_lines(board)), _controls(board)]
    parts.append(
        _list("Teachers: ranks among methods of one teacher, and the teacher alone", teacher_lines(board))
    )
    parts += [_left(board)]
    parts += [
        _list("Departures from the standard recipe, and deviations from the paper", _departures(board)),
        _list("Published numbers", _sources(board)),
    ]
    return [part for part in parts if part]


def _list(title: str, lines: Sequence[str]) -> str:
    return f"{title}:\n\n{bullets(lines)}" if lines else ""


def _warnings(board: Board) -> list[str]:
    lines = list(board.remarks)
    if board.rows and board.floor is None:
        lines.append("no sealed floor on this board: no gap recovered, and no test against it")
    if board.rows and board.ceiling is None:
        lines.append("no ceiling on this board: no gap recovered")
    if board.floor is not None:
        rising = [r.cell.seed for r in board.floor.records if r.validation and r.validation.flat is False]
        if rising:
            lines.append(
                f"the validation curve of {board.floor.label} is not flat ({seeds_text(rising)}): it may be "
                "under-trained, which fakes gains for every method"
            )
        if len(board.floor.seeds) == 1:
            lines.append("one seed of the floor: gains have no interval, and nothing is tested")
        if board.ceiling is not None and any(r.gap is None and r.gain is not None for r in board.rows):
            lines.append(
                "no gap recovered where the ceiling is less than 1 point above the floor on common seeds"
            )
    two = [r.label for r in board.rows if r.competes and r.networks > 1]
    if two and not any(r.cell.method == ENSEMBLE and r.rankable for r in board.rows):
        lines.append(f"{', '.join(two)}: more than one network at test, but no {ENSEMBLE} to compare with")
    return lines


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


def _departures(board: Board) -> list[str]:
    lines = []
    for row in board.rows:
        found: dict[str, None] = {}
        for record in row.records:
            for stage in record.stages:
                for name, (standard, own) in sorted(stage.departures.items()):
                    found[f"{stage.stage}: {name} {own} instead of {standard}"] = None
                if (stage.optimizer_steps or 0) > stage.steps:
                    more = f"{stage.optimizer_steps:,} optimizer steps in {stage.steps:,} batches"
                    found[f"{stage.stage}: {more}"] = None
            found.update(dict.fromkeys(record.deviations))
        if found:
            lines.append(f"{row.label}: {'; '.join(found)}")
    return lines


def _sources(board: Board) -> list[str]:
    lines = []
    for row in board.rows:
        tables: dict[str, dict[str, None]] = {}
        for printed in row.published:
            tables.setdefault(printed.paper, {})[printed.table] = None
        cited = "; ".join(f"{paper}: {', '.join(names)}" for paper, names in tables.items())
        if cited:
            lines.append(f"{row.label}: {cited}")
    return lines


def _ablation(ablation: AblationTable, board: Board) -> list[str]:
    name = escape(ablation.label)
    head = ["row", "options", board.metric.title if board.metric else "result", "difference", "p", "seeds"]
    rows = [[*head, "the paper's own number"]]
    for row in ablation.rows:
        first = [escape(row.name) or "the method itself", code(options_text(row.options) or "-")]
        for absent in row.absent:
            rows.append([*first, escape(absent.text), *["-"] * 4])
        if row.row is not None:
            p = None if row.comparison is None else row.comparison.adjusted
            result = [interval(row.row.interval), points(row.comparison), p_text(p)]
            rows.append([*first, *result, str(len(row.row.seeds)), escape(printed_text(row.printed))])
    return [f"### Ablations of {name}", ABLATIONS, table(rows, left=(0, 1, 6))]


# --- all boards ---------------------------------------------------------------------------------------------


def _summary(all_boards: Sequence[Board]) -> list[str]:
    """Gain and gap recovered over data sets, one table per set of values; empty for one board."""
    if len(all_boards) < 2:
        return []
    if len(sets := sorted({board.cell.value_set for board in all_boards})) > 1:
        return [p for s in sets for p in _summary([b for b in all_boards if b.cell.value_set == s])]
    methods = overall(all_boards)
    if not methods:
        return []
    ranked = any(m.mean_rank is not None for m in methods)
    rows = [["method", "mean gain", "gap recovered", "data sets", "tables"] + ["mean rank"] * ranked]
    for m in methods:
        rank = ["-" if m.mean_rank is None else number(m.mean_rank)] * ranked
        cells = [code(m.label), points(m.gain), gap_text(m.gap), str(m.datasets), str(m.tables)]
        rows.append(cells + rank)
    text = (
        "Mean gain over data sets of the means over their tables, in points of each table's metric; gap "
        "recovered is mean gain / mean gap. [ ] are simultaneous over the methods. They cover seeds and test "
        "samples of these tables, not the choice of data sets."
    )
    if not ranked:
        text += f" Mean ranks are shown from {FEWEST_FOR_RANKS} tables on."
    values = all_boards[0].cell.value_set
    title = "## Across data sets" + (f", {values} values" if values != "paper" else "")
    return [title, wrap(text), table(rows, left=(0,))]
