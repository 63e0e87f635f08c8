"""The figures of a leaderboard as SVG, light and dark; the same bytes for equal records and matplotlib."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass

from .book import CREATOR, Book
from .shown import costs_of, curves_of, figures_of, gains_of, labels_of, overview_of

DRAWING = 1
"""Version of the drawing, in the digest of every figure: raise it when figures are to be drawn anew."""
LIGHT = {
    "paper": "#fffffe",
    "text": "#1f2328",
    "quiet": "#59636e",
    "grid": "#d8dee4",
    "band": "#f5f7f9",
    "good": "#0757ba",
    "partly": "#3d8bf0",
    "bad": "#bc4c00",
    "ceiling": "#1a7f37",
    "control": "#8250df",
}
"""Colours by meaning; all differ, since the dark form is made by replacing them."""
DARK = {
    "paper": "#0d1117",
    "text": "#e6edf3",
    "quiet": "#9198a1",
    "grid": "#30363d",
    "band": "#161b22",
    "good": "#79b8ff",
    "partly": "#388bfd",
    "bad": "#f0883e",
    "ceiling": "#3fb950",
    "control": "#bc8cff",
}


@dataclass(frozen=True)
class Planned:
    """A figure before it is drawn. `kind`: name of its function in `plots`; `shown`: plain values."""

    kind: str
    shown: object

    @property
    def digest(self) -> str:
        """Of all that the figure shows."""
        return hashlib.sha256(repr((DRAWING, self.kind, self.shown)).encode()).hexdigest()[:16]


def plan(book: Book) -> dict[str, Planned]:
    """Name -> figure of all figures of the pages; matplotlib is not imported."""
    found: dict[str, Planned] = {}
    if overview := overview_of(book):
        found["overview"] = Planned("overview", overview)
    made = {"gains": gains_of, "costs": costs_of, "curves": curves_of}
    for one in book.tables:
        for kind in figures_of(one.board, one.name):
            found[f"{one.slug}-{kind}"] = Planned(kind, made[kind](one.board, one.name))
    found |= {name: Planned("labels", values) for name, values in labels_of(book).items()}
    return found


def digest_in(svg: str) -> str | None:
    """The digest of what a figure shows, from its text; None for other files."""
    found = re.search(rf"{CREATOR}, (\w+)", svg)
    return found[1] if found else None


def draw(planned: Planned) -> dict[str, str]:
    """Ending of the name -> SVG: `""` in light colours, `"-dark"` in dark ones."""
    import matplotlib
    from matplotlib import style

    from . import plots

    with style.context(["default", _style()]):
        figure = getattr(plots, planned.kind)(planned.shown)
        buffer = io.StringIO()
        creator = f"Matplotlib {matplotlib.__version__}, {CREATOR}, {planned.digest}"
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": creator})
    light = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
    return {"": light, "-dark": darkened(light)}


def darkened(svg: str) -> str:
    """The figure in the colours of DARK."""
    of = {LIGHT[name]: DARK[name] for name in LIGHT}
    return re.sub("|".join(of), lambda found: of[found[0]], svg)


def _style() -> dict[str, object]:
    c = LIGHT
    return {
        "svg.hashsalt": "pmbench",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
        "font.size": 9,
        "figure.facecolor": c["paper"],
        "savefig.facecolor": c["paper"],
        "axes.facecolor": c["paper"],
        "axes.edgecolor": c["grid"],
        "axes.labelcolor": c["text"],
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": c["grid"],
        "grid.linewidth": 0.6,
        "text.color": c["text"],
        "xtick.color": c["grid"],
        "ytick.color": c["grid"],
        "xtick.labelcolor": c["text"],
        "ytick.labelcolor": c["text"],
        "legend.frameon": False,
        "legend.labelcolor": c["text"],
        "lines.linewidth": 1.4,
    }
