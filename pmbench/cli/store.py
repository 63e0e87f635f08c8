"""`pmbench store`: lists and shows finished stages."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Annotated

import typer

from .common import JsonOption, StoreOption, print_json, store_folder

group = typer.Typer(
    help="Finished stages: list, show, verify, prune, push, pull.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


_COLUMNS = (
    *("key", "stage", "reads", "data set", "trained on"),
    *("seed", "methods", "size", "took", "finished"),
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="store")
    for name in ("prune", "copy"):
        importlib.import_module(f".store_{name}", __package__).register(group)


@group.command("list")
def list_(store: StoreOption = None, json_: JsonOption = False) -> None:
    """List finished stages, oldest first, with the methods that use them."""
    from ..errors import plural
    from ..report.text import duration
    from ..store.listing import leftovers, read_listing
    from .stored import SHOWN, entry_values, size_of
    from .tables import DAY, date_text, size_text, table

    gc.disable()  # 100,000 stages are a million objects, and this process ends soon
    root = store_folder(store)
    found = read_listing(root)
    if json_:
        print_json([entry_values(entry) for entry in found.entries])
    elif not found.entries:
        typer.echo(f"No finished stages in {root}.")
    else:
        rows = [
            (
                e.key[:SHOWN],
                e.stage,
                ", ".join(e.reads),
                e.dataset,
                e.trained_on,
                e.seed,
                ", ".join(e.methods) or "-",
                size_text(e.size),
                duration(e.seconds),
                date_text(e.finished),
            )
            for e in found.entries
        ]
        table(_COLUMNS, rows, right=("seed", "size", "took"))
        total = sum(e.size for e in found.entries)
        typer.echo(f"\n{plural(len(rows), 'stage')}, {size_text(total)} in {root}")
    pretrained = root / "pretrained"
    weights = list(pretrained.glob("*.safetensors"))
    if weights and not json_:
        typer.echo(
            f"{plural(len(weights), 'file')} of pretrained weights, "
            f"{size_text(sum(map(size_of, weights)))} in {pretrained}; removed files are "
            "downloaded or read again when needed"
        )
    for key in found.damaged:
        print(
            f"Warning: stage {key[:SHOWN]} is damaged; `pmbench store prune {key[:SHOWN]}` removes it",
            file=sys.stderr,
        )
    if old := leftovers(root, found.rest, DAY):
        what = plural(
            len(old),
            "unfinished stage, download or temporary file",
            "unfinished stages, downloads or temporary files",
        )
        print(
            f"Note: {what} older than a day ({size_text(sum(map(size_of, old)))}); "
            "`pmbench store prune --unfinished` removes them",
            file=sys.stderr,
        )


@group.command()
def show(
    key: Annotated[str, typer.Argument(help="The first digits of a key.")],
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Show a finished stage."""
    from ..store.store import Store
    from .stored import one_key, show_stage, stage_values

    opened = Store(store_folder(store))
    values = stage_values(opened, one_key(opened, key))
    if json_:
        print_json(values)
    else:
        show_stage(values)
