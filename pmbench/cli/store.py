"""`pmbench store`: lists, shows and removes finished stages."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import JsonOption, StoreOption, print_json, store_folder

if TYPE_CHECKING:
    from ..store.store import Entry, Store

group = typer.Typer(help="Finished stages: list, show, prune.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="store")


@group.command("list")
def list_(store: StoreOption = None, json_: JsonOption = False) -> None:
    """List finished stages, oldest first, with the methods that use them."""
    from ..errors import plural
    from ..report.text import duration
    from ..store.store import Store
    from .stored import SHOWN, damaged, entry_values
    from .tables import DAY, date_text, size_text, table

    opened = Store(store_folder(store))
    entries = opened.entries()
    values = [entry_values(entry) for entry in entries]
    if json_:
        print_json(values)
    elif not values:
        typer.echo(f"No finished stages in {opened.root}.")
    else:
        rows = [
            (
                v["key"][:SHOWN],
                v["stage"],
                ", ".join(v["reads"]),
                v["dataset"],
                v["protocol"],
                v["seed"],
                ", ".join(v["methods"]) or "-",
                size_text(v["size"]),
                duration(v["seconds"]),
                date_text(v["finished"]),
            )
            for v in values
        ]
        columns = (
            "key",
            "stage",
            "reads",
            "data set",
            "trained on",
            "seed",
            "methods",
            "size",
            "took",
            "finished",
        )
        table(columns, rows, right=("seed", "size", "took"))
        typer.echo(
            f"\n{plural(len(values), 'stage')}, {size_text(sum(v['size'] for v in values))} in {opened.root}"
        )
    weights = list(opened.pretrained.glob("*.safetensors"))
    if weights and not json_:
        typer.echo(
            f"{plural(len(weights), 'file')} of pretrained weights, {size_text(sum(map(_size, weights)))} in "
            f"{opened.pretrained}; removed files are downloaded or read again when needed"
        )
    for key in damaged(opened, entries):
        print(
            f"Warning: stage {key[:SHOWN]} is damaged; `pmbench store prune {key[:SHOWN]}` removes it",
            file=sys.stderr,
        )
    if old := opened.leftovers(DAY):
        what = plural(
            len(old),
            "unfinished stage, download or temporary file",
            "unfinished stages, downloads or temporary files",
        )
        print(
            f"Note: {what} older than a day ({size_text(sum(map(_size, old)))}); "
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


@group.command()
def prune(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="First digits of keys.", show_default=False)
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Only stages older than that."),
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Checkpoints, partial downloads and temporary files older than a day."
        ),
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="All finished stages.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, remove nothing.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Remove stages. A removed stage is trained again when it is needed."""
    from ..errors import UsageError, plural
    from ..store.store import Store
    from .stored import SHOWN, one_key
    from .tables import DAY, size_text

    opened = Store(store_folder(store))
    if all_ and keys:
        raise UsageError("--all and keys were both given", "give the keys alone, or --all")
    if not (keys or all_ or unfinished or older_than is not None):
        raise UsageError(
            "nothing to remove was given",
            "give keys (`pmbench store list`), --older-than DAYS, --unfinished or --all",
        )
    given = [one_key(opened, key) for key in keys or ()]
    finished = given or all_ or (older_than is not None and not unfinished)
    entries = {e.key: e for e in opened.entries()} if finished else {}
    chosen = given or opened.find("") if finished else []
    if older_than is not None:
        limit = time.time() - older_than * DAY
        chosen = [key for key in chosen if _finished(opened, entries.get(key), key) <= limit]
    old = opened.leftovers(max(1.0, older_than or 0.0) * DAY) if unfinished else []
    if not chosen and not old:
        typer.echo(f"Nothing to remove from {opened.root}.")
        return
    sizes = {key: _size(opened.folder(key)) for key in dict.fromkeys(chosen)}
    _announce(sizes, entries, old)
    whole = sum(sizes.values()) + sum(map(_size, old))
    if dry_run:
        typer.echo(f"Would free {size_text(whole)}; nothing was removed.")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "nothing was removed: there is no terminal to ask", "--yes removes without asking"
            )
        typer.confirm("Remove?", abort=True, err=True)
    freed, kept = _remove(opened, sizes, old)
    typer.echo(f"Removed {plural(len(sizes) + len(old) - len(kept), 'item')}, freed {size_text(freed)}.")
    for name in kept:
        print(f"Warning: {name[:SHOWN]} is in use and was kept", file=sys.stderr)


def _announce(sizes: dict[str, int], entries: dict[str, Entry], old: list[Path]) -> None:
    from ..errors import plural
    from .stored import SHOWN, entry_values
    from .tables import size_text

    for key, size in sizes.items():
        text = "damaged"
        if key in entries:
            v = entry_values(entries[key])
            text = f"{v['stage']}({', '.join(v['reads'])}) {v['dataset']} seed {v['seed']}"
        typer.echo(f"{key[:SHOWN]}  {size_text(size):>9}  {text}")
    for path in old:
        kind = "unfinished stage" if path.suffix == ".work" else "download or temporary file"
        typer.echo(f"{path.name.lstrip('.')[:SHOWN]}  {size_text(_size(path)):>9}  {kind}")
    children = [
        e for e in entries.values() if e.key not in sizes and sizes.keys() & set(e.stage.get("parents", []))
    ]
    if children:
        typer.echo(f"{plural(len(children), 'stored child stage')} of these will stay.")


def _remove(store: Store, sizes: dict[str, int], old: list[Path]) -> tuple[int, list[str]]:
    """(bytes freed, keys and files that were kept because another process uses them)."""
    freed, kept = 0, []
    for key, size in sizes.items():
        with store.lock(key) as mine:
            if mine:
                store.remove(key)
                freed += size
            else:
                kept.append(key)
    for path in old:
        size = _size(path)
        with store.lock(path.stem) if path.suffix == ".work" else nullcontext(True) as mine:
            if not mine:
                kept.append(path.name)
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            freed += size
    return freed, kept


def _finished(store: Store, entry: Entry | None, key: str) -> float:
    """Time when a stage was finished; for a damaged one, the time of its `stage.json`."""
    moment = entry.stage.get("finished") if entry else None
    if isinstance(moment, int | float):
        return float(moment)
    return (store.folder(key) / "stage.json").stat().st_mtime


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
