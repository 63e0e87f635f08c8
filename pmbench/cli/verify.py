"""`pmbench verify`: the referee of submissions."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..contracts.options import split_names
from .common import DataOption, JsonOption, StoreOption, data_folder, print_json, store_folder

if TYPE_CHECKING:
    from ..errors import RecordError
    from ..run.referee.case import Case
    from ..run.referee.outcome import Report


SHOWN = 5
"""Files that a check's report names; --json has all."""


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    path: Annotated[Path, typer.Argument(help="Folder of a submission.")],
    level: Annotated[str, typer.Option(metavar="LEVEL", help="recompute, reinfer or retrain.")] = "reinfer",
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", metavar="NAME", help="Import this plugin, too, isolated; repeat for several."
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option("--records", metavar="DIR", help="Records to compare with: those of the board."),
    ] = None,
    base: Annotated[
        str, typer.Option(metavar="COMMIT", help="Refuse changes since then outside of the folder.")
    ] = "",
    nonce: Annotated[
        Path | None,
        typer.Option("--nonce", metavar="FILE", help="Secret that draws orders and seed. [drawn at random]"),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="This is the submission's kind of machine: training gives its bits."),
    ] = False,
    attest: Annotated[
        Path | None, typer.Option("--attest", metavar="DIR", help="Write attestations of the level reached.")
    ] = None,
    withdraw: Annotated[
        str,
        typer.Option(metavar="REASON", help="Check nothing; write withdrawals to the folder of --attest."),
    ] = "",
    stale: Annotated[
        bool,
        typer.Option("--stale", help="PATH holds records: say which today's code and data would not give."),
    ] = False,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who attests or withdraws.")] = "",
    comment: Annotated[
        Path | None,
        typer.Option(
            "--comment",
            metavar="FILE",
            help="Write the report there as markdown, with rows beside --records.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:N.")] = "cpu",
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Stages trained in parallel, for retrain.")
    ] = 1,
    store: StoreOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what is true of a submission: recompute, run its programs again, or train one seed again.

    Exit code 0 if every check passed, 1 if something was refused or could not be checked.
    """
    from ..errors import RecordError, UnknownName, UsageError
    from ..files import write_text
    from ..run.referee import verify as referee
    from ..run.referee.comment import comment as referee_comment
    from ..run.referee.outcome import LEVELS

    if (attest is not None) != bool(by):
        raise UsageError("--attest and --by belong together", "say where to write, and who attests")
    if stale:
        _stale(path, data_folder(data), store, split_names(plugin or ()), attest, by, json_)
        return
    if level not in LEVELS:
        raise UnknownName("level", level, LEVELS)
    if withdraw and attest is None:
        raise UsageError("--withdraw writes files", "say where with --attest, and who withdraws with --by")
    case = case_of(
        path,
        data_folder(data),
        store,
        plugins=split_names(plugin or ()),
        records=records,
        base=base,
        nonce=nonce,
    )
    case.device, case.workers, case.exact = device, workers, exact
    if withdraw and attest is not None:
        written = referee.withdraw(case, withdraw, attest, by)
        print_json({"written": [*map(str, written)]}) if json_ else typer.echo(
            f"{len(written)} withdrawals in {attest}"
        )
        return
    report = referee.verify(case, level)
    written = referee.attest(case, report, attest, by) if attest is not None else []
    if comment is not None:
        write_text(comment, referee_comment(case, report))
    if json_:
        print_json({**report.as_json(), "attestations": [*map(str, written)]})
    else:
        show_report(report)
        if written:
            typer.echo(f"{len(written)} attestations in {attest}: {report.reached}")
    if report.verdict == "refused":
        raise refused(path, report)
    if report.verdict == "not checked":
        raise RecordError(
            f"{path} is not verified: not everything could be checked", "see above for what is missing"
        )


def _stale(
    path: Path,
    data: Path,
    store: Path | None,
    plugins: Sequence[str],
    attest: Path | None,
    by: str,
    json_: bool,
) -> None:
    """Prints which records of a folder are stale, and writes that where attestations are."""
    from ..run.referee.case import Case
    from ..run.referee.outcome import shown
    from ..run.referee.staleness import of_records, stale
    from ..run.referee.verify import mark_stale
    from ..store.store import Store

    case = Case(of_records(path), data, plugins, Store(store_folder(store)).pretrained)
    found = list(stale(case))
    written = mark_stale(case, found, attest, by) if attest is not None else []
    if json_:
        problems = [{"file": p.file, "reason": shown(p.reason), "checked": p.checked} for p in found]
        print_json({"stale": problems, "attestations": [*map(str, written)]})
        raise typer.Exit(int(not all(problem.checked for problem in found)))
    for problem in found:
        typer.echo(
            f"{'stale' if problem.checked else 'not checked'}: {problem.file}: {shown(problem.reason)}"
        )
    count = sum(problem.checked for problem in found)
    unchecked = len(found) - count
    typer.echo(
        f"{path}: {count} of {len(case.submission.done)} records are stale"
        f"{f', {unchecked} not checked' if unchecked else ''}; {len(written)} notes written"
    )
    if unchecked:
        raise typer.Exit(1)


def case_of(
    path: Path,
    data: Path,
    store: Path | None,
    *,
    plugins: Sequence[str] = (),
    records: Path | None = None,
    base: str = "",
    nonce: Path | None = None,
) -> Case:
    """The case of a submission; raises UsageError for a path that is no folder.

    The store holds pretrained weights, and no results.
    """
    from ..errors import UsageError
    from ..report.record_files import read_records
    from ..report.submission import read_submission
    from ..run.referee.case import Case
    from ..store.store import Store

    if not path.is_dir() or path.is_symlink():
        raise UsageError(f"{path} is not a folder", "give the folder of one submission")
    secret = secrets.token_hex(16)
    if nonce is not None:
        try:
            secret = nonce.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--nonce {nonce} cannot be read: {error}", "give a text file with a secret of your own"
            ) from error
    own = read_records(records)[0] if records else []
    pretrained = Store(store_folder(store)).pretrained
    return Case(read_submission(path), data, plugins, pretrained, own, base, secret)


def show_report(report: Report) -> None:
    """Prints every check, and the first files that it refuses, with the reason."""
    from ..run.referee.outcome import shown

    for result in report.results:
        typer.echo(f"{result.level:<9}  {result.verdict:<11}  {result.check.replace('_', ' ')}")
        for problem in result.problems[:SHOWN]:
            mark = "refused" if problem.checked else "not checked"
            typer.echo(f"           {mark}: {shown(problem.file)}: {shown(problem.reason)}")
        if (more := len(result.problems) - SHOWN) > 0:
            typer.echo(f"           and {more} more: --json has all")
    for note in report.notes:
        typer.echo(f"Note: {shown(note)}")
    reached = f"reached level {report.reached}" if report.reached else "reached no level"
    typer.echo(f"{shown(report.folder)}: {report.verdict}; {reached}")


def refused(path: Path, report: Report, hint: str | None = None) -> RecordError:
    """The error of a submission that was refused."""
    from ..errors import RecordError, plural

    found = report.problems("refused")
    checks = ", ".join(dict.fromkeys(result.check.replace("_", " ") for result, _ in found))
    return RecordError(f"{path} is refused for {plural(len(found), 'reason')}: {checks}", hint)
