"""The figures of a leaderboard as SVG, light and dark; the same bytes for equal records and matplotlib."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .book import CREATOR, Book, Table, slugs
from .front import ranks_of, ranks_text
from .shown import costs_of, curves_of, figures_of, gains_of, labels_of, overview_of
from .studies import losses_of, method_of, studies_of, terms_of

DRAWING = 3
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
    """A figure before it is drawn. `kind`: name of the function that draws it, in
    `plots`, `plots_results` or `plots_losses`; `shown`: plain values.

    `pages`: paths without suffix of the pages of tables and methods that show it.
    """

    kind: str
    shown: object
    alternative: str = ""
    pages: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of all that the figure shows."""
        return hashlib.sha256(repr((DRAWING, self.kind, self.shown)).encode()).hexdigest()[:16]


def plan(book: Book) -> dict[str, Planned]:
    """File name without suffix -> figure of all figures of the pages; matplotlib is not imported."""
    found: list[tuple[str, Planned]] = []
    if overview := overview_of(book):
        found.append(("overview", Planned("overview", overview)))
    found += [(name, Planned("ranks", ranks, ranks_text(ranks))) for name, ranks in ranks_of(book).items()]
    for one in book.tables:
        found += [(f"{one.slug}-{name}", planned) for name, planned in _of_table(book, one)]
    for name, shown in labels_of(book).items():
        pages = tuple(f"tables/{table}" for table in shown.tables)
        found.append((name, Planned("labels", shown, shown.alternative, pages)))
    names = slugs([name for name, _ in found])
    return {name: planned for name, (_, planned) in zip(names, found, strict=True)}


def _of_table(book: Book, one: Table) -> list[tuple[str, Planned]]:
    """The figures of one table, each with the end of its name."""
    board, name, page = one.board, one.name, f"tables/{one.slug}"
    made = {"gains": gains_of, "costs": costs_of, "curves": curves_of}
    found = [
        (kind, Planned(kind, made[kind](board, name), text, (page,)))
        for kind, text in figures_of(board, name).items()
    ]
    if terms := terms_of(board, name):
        found.append(("terms", Planned("terms", terms, terms.alternative, (page,))))
    for table in board.ablations:
        method = method_of(table)
        pages = (page,) if method is None else (page, f"methods/{book.methods[method]}")
        for option, study in studies_of(board, table, name).items():
            found.append((f"{table.label}-{option}", Planned("study", study, study.alternative, pages)))
        if losses := losses_of(table, name):
            found.append((f"{table.label}-losses", Planned("losses", losses, losses.alternative, pages)))
    return found


def shown_on(page: str, figures: Mapping[str, Planned]) -> dict[str, str]:
    """File name -> alternative text of the figures of a page."""
    return {name: planned.alternative for name, planned in figures.items() if page in planned.pages}


def digest_in(svg: str) -> str | None:
    """The digest of what a figure shows, from its text; None for other files."""
    found = re.search(rf"{CREATOR}, (\w+)", svg)
    return found[1] if found else None


def draw(planned: Planned) -> dict[str, str]:
    """Ending of the name -> SVG: `""` in light colours, `"-dark"` in dark ones."""
    import matplotlib
    from matplotlib import style

    from . import plots, plots_losses, plots_results

    module = {"ranks": plots_results, "study": plots_results, "terms": plots_losses, "losses": plots_losses}
    with style.context(["default", _style()]):
        figure = getattr(module.get(planned.kind, plots), planned.kind)(planned.shown)
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
        "axes.titley": 1.0,  # else its place is measured, which takes a fifth of the time
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
