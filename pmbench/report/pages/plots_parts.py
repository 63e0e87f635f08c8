"""Parts of several figures: panels of one size, legends, titles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .figures import LIGHT as C

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)), (0, (2, 3)))
ROW, LEGEND = 0.25, 0.3
"""Inches of a row of a forest plot, and of a legend of one line."""


def grid(
    shape: tuple[int, int],
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure with panels of one size.

    `shape` is (lines, columns); `size` of a panel and `margins` left of, right of,
    above and below it in inches. Margins are computed, not measured: matplotlib measures by drawing twice.
    """
    lines, columns = shape
    left, right, top, bottom = margins
    outer = options.pop("outer", (0.0, LEGEND))  # above and below all panels
    width = columns * (size[0] + left + right)
    height = lines * (size[1] + top + bottom) + sum(outer)
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(lines, columns, squeeze=False, **options)
    for line in range(lines):
        for column in range(columns):
            x = column * (size[0] + left + right) + left
            y = height - outer[0] - (line + 1) * (size[1] + top + bottom) + bottom
            axes[line][column].set_position((x / width, y / height, size[0] / width, size[1] / height))
    return figure, list(axes.flat)


def legend(figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=8, borderaxespad=0.4)


def text_width(labels: Sequence[str], size: float) -> float:
    """Inches of the longest label in a font of `size` points."""
    return max(map(len, labels), default=0) * size * 0.0088 + 0.12


def handle(label: str, colour: str, style: Any, **more: Any) -> Line2D:
    return Line2D([], [], color=C[colour], linestyle=style, label=label, **more)


def small_panels(
    count: int, most: int, height: float, margins: tuple[float, float, float, float]
) -> tuple[Figure, list[Axes], int]:
    """A figure of small panels with common axes, its panels, and how many of `most` stand in a line."""
    columns = min(most, count) or 1
    shape = (math.ceil(count / columns) or 1, columns)
    size = (10 / columns - margins[0] - margins[1], height)
    figure, panels = grid(shape, size, margins, outer=(0.35, 0.75), sharex=True, sharey=True)
    return figure, panels, columns


def label_lowest(panels: Sequence[Axes], used: int, columns: int) -> None:
    """Labels of the horizontal axis below the lowest panel of each column; the unused panels are hidden."""
    for axes in panels[max(0, used - columns) : used]:
        axes.tick_params(labelbottom=True)
    for axes in panels[used:]:
        axes.set_axis_off()


def titles(figure: Figure, title: str, below: str, bottom: float = 0.42) -> None:
    """Title above all panels, label below them, `bottom` inches above the end of the figure."""
    height = figure.get_figheight()
    figure.text(0.01, 1 - 0.1 / height, title, va="top", fontsize=10, fontweight="bold")
    figure.text(0.5, bottom / height, below, ha="center", fontsize=8)


def cut(text: str, most: int) -> str:
    """The text, or its beginning if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
