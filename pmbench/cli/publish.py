"""`pmbench publish`: makes a submission of results, and lets the referee look at it."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..contracts.options import split_names
from .common import (
    DataOption,
    JsonOption,
    SharedStoreOption,
    StoreOption,
    data_folder,
    open_store,
    print_json,
)
from .tables import size_text
from .verify import case_of, refused, show_report

if TYPE_CHECKING:
    from ..run.referee.outcome import Report

LARGE = 100 << 20
"""Bytes above which hosts of git repositories refuse a file."""


def register(app: typer.Typer) -> None:
    app.command()(publish)


def publish(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of results that `pmbench run` has written.", show_default=False),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="Methods or rows, repeated or comma-separated; reference rows come with them. [all]",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", metavar="NAME", help="Data sets, repeated or comma-separated. [all]"),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol", "-p", metavar="NAME", help="Protocols, repeated or comma-separated. [all]"
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder that holds `submissions`.", show_default=False),
    ] = None,
    handle: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Short name of the author: a-z, 0-9 and -, at most 39.",
            show_default=False,
        ),
    ] = "",
    contact: Annotated[
        str, typer.Option(metavar="TEXT", help="How to reach the author.", show_default=False)
    ] = "",
    data_terms: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="On which terms the data was used, and may be by others.",
            show_default=False,
        ),
    ] = "",
    licence: Annotated[
        str, typer.Option(metavar="NAME", help="Licence of records, predictions and programs.")
    ] = "CC-BY-4.0",
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Mandated seeds, 0 to N-1, of every row.")
    ] = 10,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="PLUGIN=ADDRESS", help="Where to get a plugin; repeat for several."),
    ] = None,
    date: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Date. [today]", show_default=False)] = "",
    new_repo: Annotated[
        Path | None,
        typer.Option(
            "--new-repo",
            metavar="DIR",
            help="Write a new repository for results of many authors instead: rules, guide, workflows.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    shared_store: SharedStoreOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a submission: records, predictions, programs and facts, checked by the referee.

    A submission that the referee refuses is removed again.
    """
    from pydantic import ValidationError

    from ..errors import UsageError
    from ..plugins import survey
    from ..report.record_files import summary
    from ..run.collecting import Choice, collect
    from ..run.publishing import Author, publish

    if new_repo is not None:
        if results or to:
            raise UsageError("--new-repo takes no results", "publish them there afterwards, with --to")
        _new_repository(new_repo, json_)
        return
    asked = {
        "RESULTS": results,
        "--to": to,
        "--handle": handle,
        "--contact": contact,
        "--data-terms": data_terms,
    }
    lacking = [name for name, value in asked.items() if not value]
    if lacking or results is None or to is None:
        raise UsageError(f"publish needs {', '.join(lacking)}", "`pmbench publish --help` explains them")
    where = dict(text.partition("=")[::2] for text in source or ())
    if unclear := [name for name, address in where.items() if not name or not address]:
        raise UsageError(f"--source {unclear[0]}: expected PLUGIN=ADDRESS")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    author = Author(handle, contact, licence, data_terms, where)
    choice = Choice(split_names(method or ()), split_names(dataset or ()), split_names(protocol or ()))
    registry = survey()
    found, left_out = collect(results, choice, registry)
    if left_out:
        typer.echo(f"Left out, since nobody else can verify them: {', '.join(left_out)}", err=json_)
    try:
        folder = publish(found, to, author, seeds, date or today, registry, open_store(store, shared_store))
    except ValidationError as error:
        raise UsageError(f"the statement is not valid: {summary(error)}") from error
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    report = None
    try:
        report = _verified(folder, data_folder(data), store)
    finally:
        if report is None or report.verdict == "refused":  # None: an error or an interruption
            shutil.rmtree(folder, ignore_errors=True)
    if json_:
        print_json({"folder": str(folder), "sizes": sizes, "report": report.as_json()})
    else:
        show_report(report)
    if report.verdict == "refused":
        raise refused(folder, report, "it was removed; mend what is refused above, and publish again")
    if not json_:
        _next(folder, to, sizes, report.verdict == "passed")


def _verified(folder: Path, data: Path, store: Path | None) -> Report:
    """What the referee says of a submission whose plugins are installed here."""
    from ..run.referee.verify import verify

    case = case_of(folder, data, store)
    if case.submission.statement is not None:
        case.plugins = [plugin.distribution for plugin in case.submission.statement.plugins]
    return verify(case, "reinfer")


def _new_repository(to: Path, json_: bool) -> None:
    from ..plugins import survey
    from ..run.new_repository import write_repository

    written = write_repository(to, survey().distributions)
    if json_:
        print_json({"folder": str(to), "files": [path.as_posix() for path in written]})
        return
    typer.echo("\n".join(str(to / path) for path in written))
    typer.echo(
        "Next: edit requirements.txt, RULES.md and CITATION.cff, then make it a repository:\n"
        f"  git -C {to} init -b main\n"
        f"  git -C {to} add .\n"
        f'  git -C {to} commit -m "repository: add rules, guide and workflows"\n'
        "CONTRIBUTING.md says what to set once at its host."
    )


def _next(folder: Path, to: Path, sizes: dict[str, int], passed: bool) -> None:
    from ..errors import plural

    by_place: dict[str, list[int]] = {}
    for name, size in sizes.items():
        by_place.setdefault(name.partition("/")[0], []).append(size)
    typer.echo(f"\n{folder}: {size_text(sum(sizes.values()))} in {plural(len(sizes), 'file')}")
    for place, found in sorted(by_place.items()):
        typer.echo(f"  {place}: {plural(len(found), 'file')}, {size_text(sum(found))}")
    if large := [name for name, size in sizes.items() if size > LARGE]:
        typer.echo(
            f"Larger than 100 MB, which hosts of repositories refuse: {', '.join(large)}; use git lfs."
        )
    if not passed:
        typer.echo("Not everything could be checked here: see above; the referee may lack the same.")
    inside = folder.relative_to(to)
    if not (to / ".git").exists():
        typer.echo(
            "Next: add this folder, and nothing else, to a clone of a repository of results (--to CLONE)."
        )
        return
    typer.echo(
        "Next: open a pull request that adds this folder, and nothing else:\n"
        f"  git -C {to} switch -c {folder.name}\n"
        f"  git -C {to} add {inside}\n"
        f'  git -C {to} commit -m "submissions: add {folder.name}"\n'
        f"  git -C {to} push -u origin {folder.name}"
    )
