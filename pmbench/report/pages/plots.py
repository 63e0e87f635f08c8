"""Drawing with matplotlib: one function per kind of figure, from the values of `shown`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..text import duration, quantity
from .figures import LIGHT as C
from .plots_parts import (
    DASHES,
    ROW,
    cut,
    grid,
    handle,
    label_lowest,
    legend,
    small_panels,
    text_width,
    titles,
)
from .shown import Costs, Curves, Gain, Gains, Labels, Overview, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {
    "beats floor and controls": ("o", "good", True),
    "beats floor": ("o", "partly", False),
    "worse than floor": ("v", "bad", True),
}
"""Verdict -> marker, colour, and whether it is filled; other verdicts have a grey square."""


def gains(shown: Gains) -> Figure:
    """Forest plot of one table: a line for the interval, a mark for the mean, a dot for each seed."""
    left = text_width([row.label for row in shown.rows], 9)
    handles = [*_verdict_handles(shown.rows), _seed_handle(), *_line_handles(shown)]
    below = 0.16 * math.ceil(len(handles) / 3) + 0.1
    size, margins = (9.0 - left - 0.15, ROW * len(shown.rows)), (left, 0.15, 0.3, 0.5)
    figure, (axes,) = grid((1, 1), size, margins, outer=(0.0, below))
    _forest(axes, shown, {row.label: place for place, row in enumerate(shown.rows)})
    axes.set_xlabel(shown.unit)
    legend(figure, handles, 3)
    return figure


def overview(shown: Overview) -> Figure:
    """Forest plots of several tables beside each other, with one line for each method."""
    count, places = len(shown.tables), {label: place for place, label in enumerate(shown.labels)}
    left, top, below, between = text_width(shown.labels, 8), 0.45, 0.85, 0.15
    across, up = max(1.15, (10.0 - left) / count - between), 0.2 * len(places)
    width, height = left + count * (across + between), top + up + below
    figure = Figure(figsize=(width, height))
    for column, table in enumerate(shown.tables):
        at = left + column * (across + between)
        axes = figure.add_axes((at / width, below / height, across / width, up / height))
        _forest(axes, table, places, size=8)
        axes.set_title(table.title.replace(", ", ",\n"), fontsize=8)
        if column:
            axes.tick_params(axis="y", labelleft=False)
    every = [row for table in shown.tables for row in table.rows]
    handles = [
        *_verdict_handles(every),
        _seed_handle(),
        handle("floor", "text", "-"),
        handle("controls", "control", DASHES[0]),
    ]
    handles.append(handle("ceiling", "ceiling", "-"))
    figure.text(0.5, 0.45 / height, "gain over the floor, points", ha="center", fontsize=8)
    legend(figure, handles, 4)
    return figure


def _forest(axes: Axes, shown: Gains, places: Mapping[str, int], size: float = 9) -> None:
    """A line for each method at its place; a mean far below the floor is an arrow at the edge."""
    axes.set_title(shown.title)
    ends = [abs(end) for row in shown.rows for end in (row.value, row.high) if end is not None and end > 0]
    edge = -1.2 * max([*ends, shown.gap[1] if shown.gap else 0.0, 5.0])
    for place in range(0, len(places), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=C["band"], linewidth=0, zorder=0)
    for row in shown.rows:
        place = places[row.label]
        marker, colour, filled = _kind(row.verdict)
        if row.low is not None and row.high is not None:
            axes.plot(
                [max(row.low, edge), max(row.high, edge)], [place] * 2, color=colour, linewidth=1.6, zorder=3
            )
        off = row.value < edge
        face = colour if filled else C["paper"]
        style: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 6, "zorder": 5}
        axes.plot([max(row.value, edge)], [place], "<" if off else marker, **style)
        seeds = [seed for seed in row.seeds if seed >= edge]
        axes.plot(seeds, [place + 0.27] * len(seeds), ".", color=colour, markersize=3.2, alpha=0.75, zorder=4)
    axes.axvline(0, color=C["text"], linewidth=1.1, zorder=2)
    for (_, value), dash in zip(shown.controls, _dashes(len(shown.controls)), strict=True):
        axes.axvline(value, color=C["control"], linestyle=dash, linewidth=1.0, zorder=2)
    if shown.gap is not None:
        axes.axvline(shown.gap[1], color=C["ceiling"], linewidth=1.4, zorder=2)
    axes.set_yticks(range(len(places)), list(places), fontsize=size)
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=size)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _kind(verdict: str) -> tuple[str, str, bool]:
    marker, colour, filled = KINDS.get(verdict, ("s", "quiet", False))
    return marker, C[colour], filled


def _dashes(count: int) -> list[Any]:
    return [DASHES[i % len(DASHES)] for i in range(count)]


def _verdict_handles(rows: Sequence[Gain]) -> list[Line2D]:
    found = {row.verdict: _kind(row.verdict) for row in rows}
    return [
        Line2D(
            [],
            [],
            marker=marker,
            color=colour,
            markerfacecolor=colour if filled else C["paper"],
            label=verdict,
        )
        for verdict, (marker, colour, filled) in sorted(found.items())
    ]


def _seed_handle() -> Line2D:
    return handle("each seed", "quiet", "", marker=".", markersize=4)


def _line_handles(shown: Gains) -> list[Line2D]:
    found = [handle("floor", "text", "-")]
    for (label, value), dash in zip(shown.controls, _dashes(len(shown.controls)), strict=True):
        found.append(handle(f"{label} {value:+.1f}", "control", dash))
    if shown.gap is not None:
        found.append(handle(f"ceiling, {shown.gap[0]} {shown.gap[1]:+.1f}", "ceiling", "-"))
    return found


Costly = tuple[float, Point]
"""A point with its cost."""
Box = tuple[float, float, float]
"""Left end, centre in height, and width of something drawn."""
NEAR = 6
"""Steps of 0.05 inches within which a label of a point that is not on the front has to find room."""
COUNTS = [b * 10.0**e for e in range(18) for b in (1, 1.5, 2, 3, 5, 7)]
TIMES = [0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 2400]
TIMES += [3600.0 * hours for hours in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)]
"""Nice numbers for ticks: counts, and seconds that are whole minutes and hours."""


# --- costs --------------------------------------------------------------------------------------------------


def costs(shown: Costs) -> Figure:
    """Result against MACs at test and against training time, with the Pareto front of the ranked rows."""
    figure, (left, right) = grid((1, 2), (4.4, 4.3), (0.5, 0.1, 0.3, 0.5), sharey=True)
    known = [(p.macs, p) for p in shown.points if p.macs is not None]
    timed = [(max(p.seconds, 1e-3), p) for p in shown.points]
    if known:
        _cost(left, shown, known, lambda macs: quantity(round(macs)), COUNTS)
    _cost(right, shown, timed, duration, TIMES)
    left.set_xlabel("multiply-accumulates at test")
    right.set_xlabel("training of the whole plan")
    left.set_ylabel(f"{shown.metric}, %")
    left.set_title(shown.title)
    given: dict[str, Any] = {"color": C["ceiling"], "marker": "D", "markerfacecolor": C["paper"]}
    handles = [
        Line2D([], [], color=C["good"], marker="o", linewidth=1.2, label="Pareto front"),
        Line2D([], [], label="other ranked rows", color=C["quiet"], marker="o", linestyle=""),
        Line2D([], [], label="given a privileged modality at test, or not sealed", linestyle="", **given),
    ]
    legend(figure, handles, 3)
    return figure


def front_of(points: Sequence[Costly], *, higher_is_better: bool = True) -> list[Costly]:
    """Ranked points that no other one beats in cost and result, by cost."""
    sign = -1 if higher_is_better else 1
    found: list[Costly] = []
    for cost, point in sorted(points, key=lambda p: (p[0], sign * p[1].value, p[1].label)):
        if not point.given and (not found or sign * point.value < sign * found[-1][1].value):
            found.append((cost, point))
    return found


def _cost(
    axes: Axes,
    shown: Costs,
    points: Sequence[Costly],
    text: Callable[[float], str],
    nice: Sequence[float],
) -> None:
    front = front_of(points, higher_is_better=shown.higher_is_better)
    best = {point.label for _, point in front}
    axes.set_xscale("log")
    axes.plot(
        [c for c, _ in front],
        [p.value for _, p in front],
        color=C["good"],
        linewidth=1.2,
        drawstyle="steps-post",
    )
    for cost, point in points:
        marker, colour = (
            ("D", "ceiling") if point.given else ("o", "good" if point.label in best else "quiet")
        )
        face = C["paper"] if point.given else C[colour]
        axes.plot(
            [cost], [point.value], marker, color=C[colour], markerfacecolor=face, markersize=5, zorder=4
        )
    costs = [cost for cost, _ in points]
    low, high = math.log10(min(costs)), math.log10(max(costs))
    span = max(high - low, 0.3)
    axes.set_xlim(10 ** (low - 0.1 * span), 10 ** (high + 0.6 * span))
    ticks = _ticks(nice, low - 0.1 * span, high + 0.6 * span)
    axes.set_xticks(ticks, [text(tick).replace(".0 ", " ") for tick in ticks])
    axes.minorticks_off()
    values = [point.value for point in shown.points]
    height = max(max(values) - min(values), 1.0)
    axes.set_ylim(min(values) - 0.08 * height, max(values) + 0.06 * height)
    _label(axes, points, best)


def _ticks(nice: Sequence[float], low: float, high: float) -> list[float]:
    """About five of the nice numbers between two powers of ten."""
    inside = [tick for tick in nice if low <= math.log10(tick) <= high]
    return inside[:: math.ceil(len(inside) / 6)] if inside else []


def _label(axes: Axes, points: Sequence[Costly], bold: set[str]) -> None:
    """Labels right of their points, moved up or down until none covers another or a point.

    Those of the front first; the others only where there is room near them.
    """
    left, right = (math.log10(x) for x in axes.get_xlim())
    low, high = axes.get_ylim()
    across, up = (right - left) / 4.4, (high - low) / 4.3  # of one inch
    taken = [(math.log10(cost) - 0.04 * across, point.value, 0.08 * across) for cost, point in points]
    leaders = []
    for cost, point in sorted(points, key=lambda p: (p[1].label not in bold, -p[1].value, p[0], p[1].label)):
        strong = point.label in bold
        x, width = math.log10(cost) + 0.1 * across, len(point.label) * 0.066 * across
        steps = range(2, 60) if strong else range(NEAR)  # above the line of the front
        tries = [point.value + sign * k * 0.05 * up for k in steps for sign in (1, -1)]
        fits = (y for y in tries if low < y < high and not _covers(taken, x, y, width, 0.115 * up))
        y = next(fits, None)
        if y is None:
            continue
        taken.append((x, y, width))
        weight, colour = ("bold", C["text"]) if strong else ("normal", C["quiet"])
        axes.text(10**x, y, point.label, fontsize=7, va="center", color=colour, fontweight=weight)
        leaders.append([(cost, point.value), (10 ** (x - 0.02 * across), y)])
    axes.add_collection(LineCollection(leaders, colors=C["quiet"], linewidths=0.4), autolim=False)


def _covers(taken: Sequence[Box], x: float, y: float, width: float, height: float) -> bool:
    """Whether a label would lie on one of `taken`."""
    return any(abs(y - other) < height and x < at + wide and at < x + width for at, other, wide in taken)


# --- curves -------------------------------------------------------------------------------------------------


def curves(shown: Curves) -> Figure:
    """Validation metric by epoch: a panel a row, its seeds thin, its mean thick, the floor beside it."""
    figure, panels, columns = small_panels(len(shown.rows), 5, 1.1, (0.36, 0.05, 0.25, 0.12))
    for axes, (label, mean, seeds) in zip(panels, shown.rows, strict=False):
        axes.set_title(cut(label, 34), fontsize=7, fontweight="normal")
        lines = [list(enumerate(seed, 1)) for seed in seeds]
        axes.add_collection(LineCollection(lines, colors=C["partly"], linewidths=0.6, alpha=0.55))
        axes.plot(
            range(1, len(shown.floor) + 1), shown.floor, color=C["text"], linewidth=1.0, linestyle=DASHES[0]
        )
        axes.plot(range(1, len(mean) + 1), mean, color=C["good"])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelsize=7)
    label_lowest(panels, len(shown.rows), columns)
    titles(figure, f"{shown.title}: {shown.metric} on validation data, %", "epoch of the last stage")
    handles = [
        handle("mean over seeds", "good", "-"),
        handle("each seed", "partly", "-", alpha=0.55),
        handle("floor, mean", "text", DASHES[0]),
    ]
    legend(figure, handles, 3)
    return figure


# --- labels -------------------------------------------------------------------------------------------------


def labels(shown: Labels) -> Figure:
    """Gain by number of labels a class: a panel a method, with interval and the ceiling's gap.

    A mean far below the floor is at the edge, so that it does not flatten all other panels.
    """
    figure, panels, columns = small_panels(len(shown.rows), 4, 1.4, (0.25, 0.05, 0.25, 0.15))
    places = range(len(shown.places))
    means = [gain.value for _, row in shown.rows for gain in row if gain is not None]
    edge = -0.5 * max([*means, *(gap for gap in shown.gaps if gap is not None), 5.0])
    for axes, (label, found) in zip(panels, shown.rows, strict=False):
        axes.set_title(label, fontsize=8, fontweight="normal")
        axes.axhline(0, color=C["text"], linewidth=1.0)
        gaps = [(x, gap) for x, gap in zip(places, shown.gaps, strict=True) if gap is not None]
        axes.plot([x for x, _ in gaps], [gap for _, gap in gaps], color=C["ceiling"], linewidth=1.2)
        known = [(x, gain) for x, gain in zip(places, found, strict=True) if gain is not None]
        axes.plot(
            [x for x, _ in known], [max(g.value, edge) for _, g in known], color=C["quiet"], linewidth=0.9
        )
        for x, gain in known:
            marker, colour, filled = _kind(gain.verdict)
            if gain.low is not None and gain.high is not None:
                ends = [max(gain.low, edge), max(gain.high, edge)]
                axes.plot([x, x], ends, color=colour, linewidth=1.5)
            face = colour if filled else C["paper"]
            axes.plot(
                [x],
                [max(gain.value, edge)],
                marker,
                color=colour,
                markerfacecolor=face,
                markersize=5,
                zorder=4,
            )
        axes.set_xticks(list(places), shown.places)
        axes.tick_params(labelsize=7)
    label_lowest(panels, len(shown.rows), columns)
    titles(figure, f"{shown.title}: {shown.unit}", "labels a class")
    every = [gain for _, row in shown.rows for gain in row if gain is not None]
    handles = [*_verdict_handles(every), handle("ceiling", "ceiling", "-"), handle("floor", "text", "-")]
    legend(figure, handles, 5)
    return figure
