"""Formatting of numbers and tables, for markdown and the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import plural

if TYPE_CHECKING:
    from .gaps import Gap
    from .ranks import Rank
    from .record import PublishedNumber
    from .statistics import Comparison, Interval

WIDTH = 140
"""Characters of a line of prose in markdown."""


def escape(text: str) -> str:
    """Markdown that shows `text` literally, also in a table. Reasons of cells may hold any characters."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    for special, plain in (("|", "\\|"), ("`", "'"), ("](", "]\\("), ("**", "\\*\\*")):
        text = text.replace(special, plain)
    return text


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key that puts `few-5` before `few-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def code(text: str) -> str:
    """Text as inline code."""
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`"


def table(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """A markdown table with the first row as header; columns are right-aligned except those in `left`."""
    rules = ["---" if i in left else "---:" for i in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:]))


def bullets(lines: Sequence[str]) -> str:
    """A markdown list of texts that are escaped here."""
    return "\n".join(wrap(f"- {escape(line)}", "  ") for line in lines)


def wrap(text: str, indent: str = "") -> str:
    """The text in lines of WIDTH; none starts with a character that begins a list, heading or quotation."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        special = re.fullmatch(r"[-+*>=]+|#+|[0-9]+[.)]|[|].*", word) is not None
        if current and len(current) + 1 + len(word) > WIDTH and not special:
            lines.append(current)
            current = indent + word
        else:
            current = f"{current} {word}" if current else word
    return "\n".join([*lines, current])


def number(value: float, digits: int = 1, sign: bool = False) -> str:
    """A number with fixed digits, without negative zero; equal where machines differ in the last bits."""
    value = round(round(value, 9), digits) + 0.0
    return f"{value:{'+' if sign else ''}.{digits}f}"


def interval(found: Interval) -> str:
    return number(found.mean, 2) + ("" if found.half is None else f" ± {number(found.half, 2)}")


def percent(share: float) -> str:
    return f"{number(100 * share, 0)} %"


def gap_text(gap: Gap | None) -> str:
    if gap is None:
        return "-"
    if gap.low is None or gap.high is None:
        return percent(gap.value)
    return f"{percent(gap.value)} [{number(100 * gap.low, 0)}, {number(100 * gap.high, 0)}]"


def p_text(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else number(p, 3)


def p_equals(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {number(p, 3)}"


def difference(comparison: Comparison) -> str:
    """`+1.2 points [0.3, 2.0], p = 0.012`, with the adjusted p; positive is better for every metric."""
    text = points(comparison, " points")
    return text if comparison.adjusted is None else f"{text}, {p_equals(comparison.adjusted)}"


def points(comparison: Comparison | None, unit: str = "") -> str:
    """`+1.2 [0.3, 2.0]`."""
    if comparison is None:
        return "-"
    text = f"{number(comparison.difference, 2, sign=True)}{unit}"
    if comparison.low is None or comparison.high is None:
        return text
    return f"{text} [{number(comparison.low, 2)}, {number(comparison.high, 2)}]"


def rank_text(rank: Rank | None) -> str:
    """`3`, `1 to 9`."""
    if rank is None:
        return "-"
    return str(rank.low) if rank.low == rank.high else f"{rank.low} to {rank.high}"


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if names[:-1] else []), *names[-1:]])


def options_text(options: Mapping[str, Any]) -> str:
    """`alpha=0.5,scales=1+2`, in the syntax of `--set` and of variants."""
    return ",".join(f"{name}={option_text(options[name])}" for name in sorted(options))


def option_text(value: Any) -> str:
    """`2.0`, `true`, `none`, `1+2`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def variant_text(name: str, options: Mapping[str, Any]) -> str:
    """`kd`, `kd[temperature=2.0]`."""
    return f"{name}[{options_text(options)}]" if options else name


def row_text(
    method: str,
    options: Mapping[str, Any],
    *,
    ablation: str | None = None,
    placebo: str | None = None,
    matched_epochs: int | None = None,
    tuned_trials: int | None = None,
) -> str:
    """`kd[temperature=2.0]`, then what else sets a row apart.

    That is the row of an ablation, `rad[weighting=uniform] (-IW)`, a placebo, `kd (shuffle placebo)`, the
    epochs of a floor of matched compute, `target_only (60 epochs)`, or the trials of the study that chose the
    options, `kd[temperature=2.0] (tuned, 20 trials)`.
    """
    label = variant_text(method, options)
    label += f" ({placebo} placebo)" if placebo else ""
    label += f" ({plural(matched_epochs, 'epoch')})" if matched_epochs else ""
    label += f" (tuned, {plural(tuned_trials, 'trial')})" if tuned_trials else ""
    return f"{label} ({ablation})" if ablation else label


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 3`, `seeds 0, 1, 2`."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def quantity(count: int | None) -> str:
    """`935`, `12.3 k`, `11.2 M`, `1.8 G`."""
    if count is None:
        return "-"
    for size, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= size:
            return f"{count / size:.{1 if count < 1000 * size else 0}f}{unit}"
    return str(count)


def duration(seconds: float | None) -> str:
    """`0.8 s`, `42 s`, `12 min`, `3.4 h`; `unknown` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def printed_text(printed: Sequence[PublishedNumber]) -> str:
    """`accuracy 67.1, f1 59 on arl, patch-64x64`, for every data set and protocol."""
    settings: dict[str, list[str]] = {}
    for p in printed:
        settings.setdefault(f"{p.dataset}, {p.protocol}", []).append(f"{p.metric} {p.value:g}")
    return "; ".join(f"{', '.join(values)} on {setting}" for setting, values in settings.items()) or "-"
