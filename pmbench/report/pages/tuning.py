"""Rows with tuned options: best score on validation data against number of trials, and its confirmation."""

from __future__ import annotations

from ...errors import plural
from ..boards import Board
from ..text import bullets, code, number, table, wrap

HOW_TO_READ = """\
A tuned row has the option values with the best score on validation data, of as many trials for every method
of its study; the first trial has the default values, and test data took no part. Scores are in percent.
Confirmed: scores of default and best values under seeds that chose nothing."""
SAMPLERS = {"qmc": "quasi-random values", "tpe": "values by a tree-structured Parzen estimator"}
CONFIRMED = ("confirmed: default", "confirmed: best", "difference")


def columns(trials: int) -> list[int]:
    """Numbers of trials after which a table shows the best score: 1, 2, 4, 8, ... and all."""
    found, count = [], 1
    while count < trials:
        found.append(count)
        count *= 2
    return [*found, trials]


def score(value: float | None) -> str:
    return "-" if value is None else number(value, 1)


def confirmed(default: float | None, best: float | None) -> list[str]:
    """Cells of CONFIRMED."""
    difference = "-" if default is None or best is None else number(best - default, 1, sign=True)
    return [score(default), score(best), difference]


def tuning_text(board: Board) -> list[str]:
    """The section of a table's page; empty without tuned rows."""
    tuned = [(row.label, row.cell.study) for row in board.rows if row.cell.study is not None]
    if not tuned:
        return []
    shown = sorted({n for _, study in tuned for n in columns(study.trials)})
    lines = [["best score after", *(plural(n, "trial") for n in shown), *CONFIRMED]]
    for label, study in tuned:
        best = [score(study.best[n - 1]) if n <= study.trials else "" for n in shown]
        lines.append([code(label), *best, *confirmed(*study.confirmed)])
    studies = {study.digest: study for _, study in tuned}.values()
    named = [
        f"study {s.name}: {plural(s.trials, 'trial')} of each method, {SAMPLERS[s.sampler]}, SHA-256 "
        f"{s.digest[:16]}"
        for s in studies
    ]
    return ["## Tuned rows", wrap(HOW_TO_READ), table(lines, left=(0,)), bullets(named)]
