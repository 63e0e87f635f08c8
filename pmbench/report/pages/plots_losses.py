"""Drawing with matplotlib: losses by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .figures import LIGHT as C
from .plots_parts import DASHES, cut, grid, text_width, titles
from .studies import Losses, Terms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("good", "bad", "ceiling", "control", "partly", "quiet")
NICE = [b * 10.0**e for e in range(-12, 13) for b in (1, 2, 5)]
"""Ticks of a logarithmic axis."""
COLUMNS, LONGEST, LINE = 3, 20, 0.125
"""Panels in a line, characters of a term, and inches of its label in height."""
Line = tuple[str, Sequence[float], str, Any, float]
"""Label, values by epoch, colour, dashes, width."""


def terms(shown: Terms) -> Figure:
    """Loss terms by epoch: a panel a row, a line a term with its name at the end."""
    names = [cut(name, LONGEST) for _, found in shown.rows for name, _ in found]
    columns = min(COLUMNS, len(shown.rows))
    lines = math.ceil(len(shown.rows) / columns)
    height = max(1.2, LINE * max(len(found) for _, found in shown.rows))
    margins = (0.45, 0.22 + text_width(names, 7), 0.25, 0.2)
    size = (10 / COLUMNS - margins[0] - margins[1], height)
    figure, panels = grid((lines, columns), size, margins, outer=(0.35, 0.4))
    for axes, (label, found) in zip(panels, shown.rows, strict=False):
        axes.set_title(cut(label, 36), fontsize=8, fontweight="normal")
        drawn = [
            (cut(name, LONGEST), values, *_look(place), 1.3) for place, (name, values) in enumerate(found)
        ]
        _lines(axes, drawn, size)
    for axes in panels[len(shown.rows) :]:
        axes.set_axis_off()
    titles(figure, f"{shown.title}: loss terms, mean over seeds", "epoch of the last stage", 0.12)
    return figure


def losses(shown: Losses) -> Figure:
    """Sum of the loss terms by epoch for rows of an ablation, a panel for each set of terms."""
    names = [cut(row.label, 48) for _, rows in shown.panels for row in rows]
    height = max(2.0, (LINE + 0.02) * max(len(rows) for _, rows in shown.panels))
    margins = (0.55, 0.25 + text_width(names, 7.5), 0.3, 0.2)
    size = (9.0 - margins[0] - margins[1], height)
    figure, panels = grid((len(shown.panels), 1), size, margins, outer=(0.35, 0.4))
    for axes, (text, rows) in zip(panels, shown.panels, strict=True):
        axes.set_title(cut(text, 100), fontsize=8, fontweight="normal")
        drawn: list[Line] = []
        for place, row in enumerate(rows):
            colour, dashes = ("text", "-") if row.itself else _look(place)
            drawn.append((cut(row.label, 48), row.values, colour, dashes, 2.0 if row.itself else 1.2))
        _lines(axes, drawn, size)
    titles(figure, f"{shown.title}: sum of the loss terms, mean over seeds", "epoch of the last stage", 0.12)
    return figure


def _look(place: int) -> tuple[str, Any]:
    """Colour and dashes of a line, different for many."""
    round_, colour = divmod(place, len(COLOURS))
    return COLOURS[colour], "-" if round_ == 0 else DASHES[(round_ - 1) % len(DASHES)]


def _lines(axes: Axes, lines: Sequence[Line], size: tuple[float, float]) -> None:
    """Curves by epoch, each with its label at its end; a logarithmic axis if all values are positive."""
    values = [value for _, curve, *_ in lines for value in curve[_start(curve) :]]
    epochs = max(len(curve) for _, curve, *_ in lines)
    for _, curve, colour, dashes, width in lines:
        marker = "o" if len(curve) == 1 else ""
        start = _start(curve)
        axes.plot(
            range(1 + start, len(curve) + 1),
            curve[start:],
            color=C[colour],
            linestyle=dashes,
            linewidth=width,
            marker=marker,
            markersize=3,
        )
    axes.set_xlim(1 if epochs > 1 else 0.5, max(epochs, 1.5))
    if size[0] < 3 or epochs < 8:
        axes.set_xticks(sorted({1, (1 + epochs) // 2, epochs}))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _scale(axes, min(values), max(values))
    axes.tick_params(labelsize=7)
    _end_labels(axes, lines, size)


def _start(curve: Sequence[float]) -> int:
    """The first epoch whose loss has the term; 0 if none has it."""
    return next((epoch for epoch, value in enumerate(curve) if value), 0)


def _scale(axes: Axes, low: float, high: float) -> None:
    if low <= 0:
        axes.margins(y=0.06)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylim(*axes.get_ylim())
        return
    axes.set_yscale("log")
    room = (high / low) ** 0.06 if high > low else 1.2
    axes.set_ylim(low / room, high * room)
    ticks = [tick for tick in NICE if low / room <= tick <= high * room]
    if low == high:
        ticks = [low]
    elif len(ticks) < 3:
        ticks = [t for t in MaxNLocator(4).tick_values(low, high) if low / room <= t <= high * room]
    ticks = ticks[:: math.ceil(len(ticks) / 6)]
    axes.set_yticks(ticks, [f"{tick:.4g}" for tick in ticks])
    axes.minorticks_off()


def _end_labels(axes: Axes, lines: Sequence[Line], size: tuple[float, float]) -> None:
    """The label of each line right of its end, moved up or down until none covers another."""
    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"

    def share(value: float) -> float:
        if log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    order = sorted(lines, key=lambda line: (share(line[1][-1]), line[0]))
    ends = [share(line[1][-1]) for line in order]
    gap = min(LINE / size[1], 1 / max(len(ends), 1))
    places: list[float] = []
    for end in ends:
        places.append(max(end, places[-1] + gap) if places else max(end, gap / 2))
    limit = 1 - gap / 2
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    for (label, _, colour, *_), end, place in zip(order, ends, places, strict=True):
        axes.annotate(
            label,
            (1, end),
            (1 + 0.2 / size[0], place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=7,
            va="center",
            color=C[colour],
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": C[colour],
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
