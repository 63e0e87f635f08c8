"""`pmbench store prune`: removes finished stages by key, age, size and use, and what is unfinished."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import StoreOption, store_folder

if TYPE_CHECKING:
    from ..store.listing import Entry, Listing
    from ..store.store import Store


def register(group: typer.Typer) -> None:
    group.command()(prune)


def prune(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="First digits of keys.", show_default=False)
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Only stages older than that."),
    ] = None,
    unused_by: Annotated[
        list[Path] | None,
        typer.Option(
            "--unused-by",
            metavar="RESULTS",
            help="Only stages that no record of these results names; repeat for several.",
            show_default=False,
        ),
    ] = None,
    to_size: Annotated[
        str,
        typer.Option(
            "--to-size",
            metavar="SIZE",
            help="Of these the oldest, until all that is left takes SIZE: 500MB, 1.5TB.",
            show_default=False,
        ),
    ] = "",
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
    """Remove stages that meet all conditions. A removed stage is trained again when it is needed.

    Stages that a running command trains or works with are kept.
    """
    from ..errors import UsageError, plural
    from ..store.listing import read_listing
    from ..store.store import Store
    from .stored import SHOWN, one_key, size_of
    from .tables import DAY, size_text

    opened = Store(store_folder(store))
    if all_ and keys:
        raise UsageError("--all and keys were both given", "give the keys alone, or --all")
    conditions = bool(unused_by or to_size or (older_than is not None and not unfinished))
    if not (keys or all_ or unfinished or conditions):
        raise UsageError(
            "nothing to remove was given",
            "give keys (`pmbench store list`), --older-than DAYS, --unused-by RESULTS, --to-size SIZE, "
            "--unfinished or --all",
        )
    limit = _bytes(to_size) if to_size else None
    named = _named_by(unused_by) if unused_by else set()
    given = {one_key(opened, key) for key in keys or ()}
    listing = read_listing(opened.root)
    entries = {entry.key: entry for entry in listing.entries}
    sizes = {}
    if given or all_ or conditions:
        sizes = {key: size_of(opened.own(key)) for key in listing.damaged}
        sizes |= {entry.key: entry.size for entry in listing.entries}
    whole = sum(sizes.values())
    if given:
        sizes = {key: size for key, size in sizes.items() if key in given}
    sizes = {key: size for key, size in sizes.items() if key not in named}
    if older_than is not None:
        moment = time.time() - older_than * DAY
        sizes = {k: size for k, size in sizes.items() if _finished(opened, entries.get(k), k) <= moment}
    if limit is not None:
        sizes = _first(sizes, whole - limit)
    old = opened.leftovers(max(1.0, older_than or 0.0) * DAY) if unfinished else []
    if not sizes and not old:
        typer.echo(f"Nothing to remove from {opened.root}.")
        return
    _announce(sizes, listing, old)
    freed = sum(sizes.values()) + sum(map(size_of, old))
    if dry_run:
        typer.echo(f"Would free {size_text(freed)}; nothing was removed.")
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


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def _bytes(text: str) -> float:
    """`500MB` or `1.5 TB` in bytes; raises UsageError for anything else."""
    from ..errors import UsageError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if not found:
        raise UsageError(f"--to-size {text}: not a size", "a size is a number and a unit: 500MB, 20GB, 1.5TB")
    return float(found[1]) * _UNITS[found[2]]


def _named_by(results: Iterable[Path]) -> set[str]:
    """Keys that records name. Raises UsageError for a folder without records, or with one not readable."""
    from ..errors import UsageError
    from ..report.record_files import read_records

    found: set[str] = set()
    for path in results:
        records, problems = read_records(path / "records" if (path / "records").is_dir() else path)
        if problems:
            raise UsageError(
                f"--unused-by {path}: {problems[0].message}",
                "nothing was removed, since what this record names is unknown; repair it, or take it away",
            )
        if not records:
            raise UsageError(
                f"--unused-by {path}: no record is there", "give the folder of `pmbench run --out`"
            )
        for record in records:
            found |= {key for stage in record.stages for key in (stage.key, *stage.parents)}
    return found


def _first(sizes: dict[str, int], excess: float) -> dict[str, int]:
    """The first stages that together have `excess` bytes."""
    found = {}
    for key, size in sizes.items():
        if excess <= 0:
            break
        found[key] = size
        excess -= size
    return found


def _announce(sizes: dict[str, int], listing: Listing, old: Sequence[Path]) -> None:
    from ..errors import plural
    from .stored import SHOWN, size_of
    from .tables import size_text

    entries = {entry.key: entry for entry in listing.entries}
    for key, size in sizes.items():
        text = "damaged"
        if e := entries.get(key):
            text = f"{e.stage}({', '.join(e.reads)}) {e.dataset} seed {e.seed}"
        typer.echo(f"{key[:SHOWN]}  {size_text(size):>9}  {text}")
    for path in old:
        kind = "download or temporary file"
        if path.suffix != ".tmp" and path.is_dir():
            kind = "unfinished stage" if path.suffix == ".work" else "programs of a stage of a shared store"
        typer.echo(f"{path.name.lstrip('.')[:SHOWN]}  {size_text(size_of(path)):>9}  {kind}")
    children = [e for e in listing.entries if e.key not in sizes and not sizes.keys().isdisjoint(e.parents)]
    if children:
        typer.echo(f"{plural(len(children), 'stored child stage')} of these will stay.")


def _remove(store: Store, sizes: dict[str, int], old: Sequence[Path]) -> tuple[int, list[str]]:
    """(bytes freed, keys and files that were kept because another process uses them)."""
    from ..store.uses import in_use
    from .stored import size_of

    used = in_use(store.root)
    freed, kept = 0, []
    for key, size in sizes.items():
        with store.lock(key) as mine:
            if mine and key not in used:
                store.remove(key)
                freed += size
            else:
                kept.append(key)
    for path in old:
        size, stage = size_of(path), path.suffix != ".tmp" and path.is_dir()
        with store.lock(path.stem) if stage else nullcontext(True) as mine:
            if not mine or (stage and path.stem in used):
                kept.append(path.name)
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            freed += size
    return freed, kept


def _finished(store: Store, entry: Entry | None, key: str) -> float:
    """Time when a stage was finished; without one in it, the time of its `stage.json`."""
    if entry is not None and entry.finished is not None:
        return entry.finished
    return (store.own(key) / "stage.json").stat().st_mtime
