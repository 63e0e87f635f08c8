"""Drawing with matplotlib: average ranks over tables, and results against the values of an option."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..summary import AverageRanks
from .figures import LIGHT as C
from .plots_parts import DASHES, ROW, cut, grid, handle, legend, text_width, titles
from .studies import Printed, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAIN, SMALL = 2.6, 0.9
"""Inches of the panel of results, and of one of a paper's numbers."""


# --- average ranks ------------------------------------------------------------------------------------------


def ranks(shown: AverageRanks) -> Figure:
    """Average rank of each method, bars that join those that do not differ, the critical difference above."""
    labels = [f"{label}  {rank:.2f}" for label, rank in shown.ranks]
    left, right = text_width(labels, 9), 0.25 + 0.12 * len(shown.bars)
    size, margins = (9.0 - left - right, ROW * len(labels) + 0.3), (left, right, 0.35, 0.45)
    figure, (axes,) = grid((1, 1), size, margins, outer=(0.0, 0.0))
    values = "" if shown.values == "paper" else f", {shown.values} values"
    axes.set_title(f"Average ranks over {shown.datasets} data sets ({shown.tables} tables){values}")
    for place in range(0, len(labels), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=C["band"], linewidth=0, zorder=0)
    axes.plot([rank for _, rank in shown.ranks], range(len(labels)), "o", color=C["good"], markersize=6)
    for column, (first, last) in enumerate(shown.bars):
        x = 1 + (0.15 + 0.12 * column) / size[0]
        ends = [first - 0.25, last + 0.25]
        bar = Line2D([x, x], ends, color=C["text"], linewidth=3.0, transform=axes.get_yaxis_transform())
        axes.add_line(bar)
        bar.set_clip_on(False)
    axes.set_xlim(0.7, len(labels) + 0.3)
    axes.set_ylim(len(labels) - 0.5, -1.5)
    _scale(axes, shown, len(labels))
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("average rank, 1 is the best; bars on the right: no significant difference")
    return figure


def _scale(axes: Axes, shown: AverageRanks, count: int) -> None:
    """The critical difference as a length, above the first row; with an arrow where it is off the axis."""
    fits = 1 + shown.difference <= count + 0.3
    end = 1 + shown.difference if fits else count + 0.3
    style = "|-|,widthA=0.3,widthB=0.3" if fits else "->"
    arrow = {"arrowstyle": style, "color": C["text"], "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (end, -0.75), (1, -0.75), arrowprops=arrow)
    text = f"critical difference {shown.difference:.2f}" + ("" if fits else ", longer than the axis")
    axes.text((1 + end) / 2, -0.9, text, ha="center", va="bottom", fontsize=8)


# --- one option ---------------------------------------------------------------------------------------------


def study(shown: Study) -> Figure:
    """Result against the values of an option; a paper's numbers in panels of their own below."""
    handles = _handles(shown)
    below = 0.16 * math.ceil(len(handles) / 4) + 0.15
    width, left = 9.0, 0.65
    height = 0.4 + MAIN + (SMALL + 0.35) * len(shown.printed) + 0.45 + below
    figure = Figure(figsize=(width, height))
    titles(figure, cut(f"{shown.title} by {shown.option}: {shown.metric}, %", 100), "")
    top = height - 0.4
    heights = [MAIN, *(SMALL for _ in shown.printed)]
    panels = []
    for place, inches in enumerate(heights):
        top -= inches + (0.35 if place else 0.0)
        box = (left / width, top / height, (width - left - 0.15) / width, inches / height)
        panels.append(figure.add_axes(box))
    _results(panels[0], shown)
    for axes, printed in zip(panels[1:], shown.printed, strict=True):
        _numbers(axes, printed)
    for axes in panels:
        axes.set_xlim(-0.5, len(shown.places) - 0.5)
        axes.set_xticks(range(len(shown.places)), shown.places)
        axes.tick_params(labelsize=8, labelbottom=axes is panels[-1])
        axes.grid(visible=False, axis="x")
    panels[-1].set_xlabel(shown.option)
    legend(figure, handles, 4)
    return figure


def _results(axes: Axes, shown: Study) -> None:
    places = range(len(shown.places))
    axes.plot(places, [r.value for r in shown.results], color=C["good"], linewidth=1.0, alpha=0.6)
    for place, result in zip(places, shown.results, strict=True):
        if result.half is not None:
            ends = [result.value - result.half, result.value + result.half]
            axes.plot([place, place], ends, color=C["good"], linewidth=1.6, zorder=3)
        axes.plot([place], [result.value], "o", color=C["good"], markersize=6, zorder=5)
        beside = [place + 0.08] * len(result.seeds)
        axes.plot(beside, result.seeds, ".", color=C["good"], markersize=4, alpha=0.75, zorder=4)
    if shown.itself is not None:
        axes.axhline(shown.itself[1], color=C["text"], linewidth=1.1, zorder=2)
    for place, (_, value) in enumerate(shown.students):
        axes.axhline(
            value, color=C["control"], linestyle=DASHES[place % len(DASHES)], linewidth=1.3, zorder=2
        )
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _numbers(axes: Axes, printed: Printed) -> None:
    known = [(place, value) for place, value in enumerate(printed.values) if value is not None]
    places, values = zip(*known, strict=True)
    axes.set_title(cut(f"{printed.source}, {printed.metric}", 110), fontsize=8, fontweight="normal")
    axes.plot(places, values, "D-", color=C["ceiling"], markersize=4, linewidth=1.0)
    room = 0.15 * max(max(values) - min(values), 0.5)
    axes.set_ylim(min(values) - room, max(values) + room)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _handles(shown: Study) -> list[Line2D]:
    found = [Line2D([], [], color=C["good"], marker="o", label="mean, 95 % interval, seeds")]
    if shown.itself is not None:
        label, value = shown.itself
        found.append(handle(f"{cut(label, 40)} itself {value:.2f}", "text", "-"))
    for place, (label, value) in enumerate(shown.students):
        found.append(
            handle(f"{cut(label, 40)}, taught by it, {value:.2f}", "control", DASHES[place % len(DASHES)])
        )
    if shown.printed:
        found.append(
            Line2D([], [], color=C["ceiling"], marker="D", markersize=4, label="numbers of the paper")
        )
    return found
