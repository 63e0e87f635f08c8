"""What the rule that chooses the epoch is worth: the last one, or the best one on validation data.

Reads the audits of the published records, where each holds the results of both choices for the last stage of
a method, and prints the table of docs/statistics.md:

    uv run python benchmarks/statistics/best_or_last.py
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from statistics import fmean

from scipy.stats import ttest_1samp

from pmbench.report.boards import Board, boards
from pmbench.report.record import Record
from pmbench.report.record_files import read_records
from pmbench.report.statistics import LEVEL, holm, t_interval
from pmbench.report.text import number, table

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"
HEAD = (
    "table",
    "rows",
    "last - best, in points",
    "last is better / worse",
    "most won by the last",
    "most lost by the last",
)


def differences(board: Board) -> dict[str, dict[int, float]]:
    """Row -> seed -> result of the last epoch less that of the best on validation data, in points.

    Rows without such a pair under every seed are left out. More of the metric has to be better.
    """
    found = {}
    for row in board.rows:
        audits = {r.cell.seed: r.audit for r in row.records}
        values = {
            seed: a.last - a.validation
            for seed, a in audits.items()
            if a is not None and a.validation is not None
        }
        if len(values) == len(row.records) > 1:
            found[row.label] = values
    return found


def line(board: Board) -> list[str]:
    """One line of the table."""
    found = differences(board)
    seeds = sorted({seed for values in found.values() for seed in values})
    overall = t_interval([fmean(v[seed] for v in found.values() if seed in v) for seed in seeds])
    means = {label: fmean(values.values()) for label, values in found.items()}
    p_values = [float(ttest_1samp(list(values.values()), 0.0).pvalue) for values in found.values()]
    adjusted = holm([None if isnan(p) else p for p in p_values])  # nan: both choices agree under all seeds
    clear = [means[label] for label, p in zip(found, adjusted, strict=True) if p is not None and p < LEVEL]
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    return [
        board.title,
        str(len(found)),
        f"{number(overall.mean, 2, sign=True)} ± {number(overall.half or 0.0, 2)}",
        f"{sum(mean > 0 for mean in clear)} / {sum(mean < 0 for mean in clear)}",
        f"{number(means[best], 1, sign=True)} (`{best}`)",
        f"{number(means[worst], 1, sign=True)} (`{worst}`)",
    ]


def report(records: Sequence[Record]) -> str:
    """The table, in markdown."""
    return table([list(HEAD), *(line(board) for board in boards(records) if differences(board))], left=(0,))


if __name__ == "__main__":
    print(report(read_records(RECORDS)[0]))
