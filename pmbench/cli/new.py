"""`pmbench new`: writes the distribution of a new plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(new)


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="method, dataset or backbone.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, underscores.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="The new folder. [pmbench-NAME, here]", show_default=False),
    ] = None,
) -> None:
    """Write a plugin with a working example: package, tests, README, CI."""
    from .. import __version__
    from ..errors import UsageError, plural
    from ..plugins import survey
    from ..scaffold.write import KINDS, check_name, distribution_of, write_plugin

    check_name(kind, name)
    registry, distribution = survey(), distribution_of(name)
    for offer in (o for other, os in registry.offers[kind].items() if _is(other, name, kind) for o in os):
        raise UsageError(
            f"{KINDS[kind]} {offer.name!r} is offered by {offer.distribution}; expected a name that is free",
            f"`pmbench list {kind}s` shows those in use",
        )
    if distribution in registry.distributions:
        raise UsageError(
            f"{distribution} {registry.distributions[distribution]} is installed; "
            "expected a name that is free",
            "`pmbench plugins` shows the distributions in use",
        )
    folder = to or Path(distribution)
    written = write_plugin(kind, name, folder, __version__)
    offer_name = f"{name}-16" if kind == "backbone" else name
    typer.echo(f"{folder}: {plural(len(written), 'file')}")
    for path in written:
        typer.echo(f"  {path.relative_to(folder)}")
    typer.echo("Next:")
    for command in (
        f"uv pip install -e {folder}   # or: python -m pip install -e {folder}",
        *_next(kind, offer_name),
    ):
        typer.echo(f"  {command}")


def _is(other: str, name: str, kind: str) -> bool:
    """Whether the offer `other` is `name`; backbones are named after a size, too."""
    return other == name or (kind == "backbone" and other.startswith(f"{name}-"))


def _next(kind: str, name: str) -> tuple[str, str]:
    from .check import next_command

    return f"pmbench check {name}", next_command(kind, name)
