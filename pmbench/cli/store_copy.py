"""`pmbench store verify|push|pull`: hash the files of stages, copy stages to another place and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .common import JsonOption, StoreOption, print_json, store_folder

if TYPE_CHECKING:
    from ..store.store import Store

KeysArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY]...", help="First digits of keys. [all]", show_default=False),
]
UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="A folder, or an address such as s3://bucket/folder.")
]


def register(group: typer.Typer) -> None:
    group.command()(verify)
    group.command()(push)
    group.command()(pull)


def verify(keys: KeysArgument = None, store: StoreOption = None, json_: JsonOption = False) -> None:
    """Hash all files of finished stages again. Changes nothing; fails if one is damaged."""
    from ..errors import StoreError, plural
    from ..store.integrity import damages
    from ..store.store import Store
    from .stored import SHOWN, one_key

    opened = Store(store_folder(store))
    chosen = [one_key(opened, key) for key in keys or ()] or opened.find("")
    found = [one for key in _shown(chosen, "verify") for one in damages(opened.own(key), key)]
    found = [one for one in found if opened.own(one.key).is_dir()]  # others were removed meanwhile
    bad = sorted({one.key for one in found})
    if json_:
        print_json({"stages": len(chosen), "damaged": [vars(one) for one in found]})
    else:
        for one in found:
            typer.echo(f"{one.key[:SHOWN]}  {one.file} {one.reason}")
        typer.echo(f"{plural(len(chosen), 'stage')}, {len(bad)} damaged, in {opened.root}")
    if bad:
        raise StoreError(
            f"{plural(len(bad), 'damaged stage')} in {opened.root}",
            f"`pmbench store prune {' '.join(key[:SHOWN] for key in bad[:20])}` removes "
            f"{'it' if len(bad) == 1 else 'them'}; a removed stage is trained again when it is needed",
        )


def push(url: UrlArgument, keys: KeysArgument = None, store: StoreOption = None) -> None:
    """Copy finished stages, and those that they were trained from, to a folder or a bucket.

    What is there is left as it is.
    """
    from ..store.remote import Remote
    from ..store.store import Store
    from .stored import one_key

    opened, remote = Store(store_folder(store)), Remote.open(url)
    given = [one_key(opened, key) for key in keys or ()]
    chosen = [*given, *(k for key in given for k in _ancestors(opened, key) if opened.has(k))]
    _copy(chosen or opened.find(""), "push", lambda key: remote.push(opened, key), f"{opened.root} to {url}")


def pull(url: UrlArgument, keys: KeysArgument = None, store: StoreOption = None) -> None:
    """Copy finished stages, and those that they were trained from, from a folder or a bucket to the store.

    Each is stored once all its files have their digests.
    """
    from ..errors import UsageError
    from ..store.remote import Remote
    from ..store.store import Store
    from .stored import check_prefix

    opened, remote = Store(store_folder(store)), Remote.open(url)
    chosen: list[str] = []
    for prefix in keys or [""]:
        found = remote.keys(check_prefix(prefix) if keys else "")
        if not found or (keys and len(found) > 1):
            count = f"{len(found)} stages" if found else "no stage"
            raise UsageError(
                f"{count} in {url} with a key that begins with {prefix!r}" if keys else f"no stage in {url}",
                "give more digits" if found else "check the address; `pmbench store push` writes there",
            )
        chosen += found
    there = set(remote.keys()) if keys else set()

    def copy(key: str) -> bool:
        done = remote.pull(opened, key)
        if keys:
            chosen.extend(k for k in _ancestors(opened, key) if k in there and k not in chosen)
        return done

    _copy(chosen, "pull", copy, f"{url} to {opened.root}")


def _ancestors(store: Store, key: str) -> list[str]:
    """Keys of the stages from which one was trained."""
    return [other for other in store.stage(key).get("lineage", {}) if other != key]


def _copy(keys: Iterable[str], command: str, copy: Callable[[str], bool], places: str) -> None:
    """Copies stages; goes on after one that cannot be copied, and fails at the end."""
    from ..errors import StoreError, plural

    done = skipped = 0
    refused: dict[str, StoreError] = {}
    for key in _shown(keys, command):
        try:
            if copy(key):
                done += 1
            else:
                skipped += 1
        except StoreError as error:
            refused[key] = error
            print(f"Warning: {error.message}", file=sys.stderr)
    typer.echo(f"Copied {plural(done, 'stage')} from {places}; {skipped} were there.")
    if refused:
        raise StoreError(
            f"{plural(len(refused), 'stage')} could not be copied", next(iter(refused.values())).hint
        )


def _shown(keys: Iterable[str], command: str) -> Iterator[str]:
    """The keys one by one, with a bar on a terminal. `keys` may grow meanwhile."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return iter(keys)
    return iter(track(keys, command, console=console, transient=True))
