"""The tables of a study in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import plural
from ...report.pages.tuning import CONFIRMED, columns, confirmed, score
from ...report.text import bullets, code, duration, escape, options_text, seeds_text, table, wrap
from .files import LEDGER, Confirmation, TunedFile
from .journal import Trial

HOW_TO_READ = """\
Scores are {metric} on validation data, in percent, mean over {seeds} of the search. Every method had
{trials}, the first one with its default values. The best of several trials is partly luck: the last columns
have the scores of default and best values under seeds that chose nothing ({confirming}). Test data was never
opened."""


def summary(found: TunedFile, trials: Mapping[str, Sequence[Trial]], again: Sequence[Confirmation]) -> str:
    """What was chosen, best score by number of trials, all trials, and methods that were not tuned."""
    text = HOW_TO_READ.format(
        metric=found.metric,
        seeds=seeds_text(found.seeds),
        trials=plural(found.trials, "trial"),
        confirming=", ".join(map(str, found.confirming)),
    )
    parts = [f"# Study {found.name}: {found.dataset}, {found.protocol}", wrap(" ".join(text.split()))]
    rows = [["method", "chosen values", "trial", "default", "best", *CONFIRMED]]
    for label, one in found.methods.items():
        cells = [code(options_text(one.options) or "the default"), str(one.trial)]
        cells += [score(trials[label][0].score), score(one.best[-1]), *confirmed(*one.confirmed)]
        rows.append([code(label), *cells])
    if found.methods:
        parts.append(table(rows, left=(0, 1)))
        shown = columns(found.trials)
        rows = [["best score after", *(plural(n, "trial") for n in shown)]]
        rows += [
            [code(label), *(score(one.best[n - 1]) for n in shown)] for label, one in found.methods.items()
        ]
        parts += ["## Score against number of trials", table(rows, left=(0,))]
    if found.skipped:
        parts += ["## Not tuned", bullets([f"{label}: {why}" for label, why in found.skipped.items()])]
    parts += [f"## Trials\n\nWith scores by seed and keys of stages in `{LEDGER}`."]
    for label, of in trials.items():
        rows = [["trial", "values", "score", "training"]]
        rows += [
            [
                str(t.number),
                code(options_text(t.values)),
                escape(t.failure) or score(t.score),
                duration(t.seconds),
            ]
            for t in of
        ]
        parts += [f"### {code(label)}", table(rows, left=(1,))]
    failed = [f"{a.method}, trial {a.number}: {a.failure}" for a in again if a.failure]
    parts += ["## Confirmations that failed", bullets(failed)] if failed else []
    return "\n\n".join(parts) + "\n"
