"""`pmbench check`: runs the contract checks of a plugin on small data."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..contracts.options import split_names
from ..errors import UsageError, plural
from .common import DataOption, JsonOption, data_folder, print_json, show_trace

if TYPE_CHECKING:
    from ..testing.outcome import Suite


def register(app: typer.Typer) -> None:
    app.command()(check)


def check(
    name: Annotated[list[str] | None, typer.Argument(help="Methods, data sets, backbones.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Check all installed plugins.")] = False,
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Check methods on a few samples of this data set.")
    ] = "",
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Check the contract of a method, data set or backbone on small data, in seconds on a CPU."""
    from ..testing.collect import registry, suites_for

    asked = split_names(name or ())
    if bool(asked) == all_:
        raise UsageError(
            "nothing to check" if not asked else "names and --all were both given", "give names, or --all"
        )
    found = registry()
    if dataset:
        found.dataset(dataset)
    if all_:
        asked = tuple(dict.fromkeys(n for offers in found.offers.values() for n in sorted(offers)))
    suites = [s for n in asked for s in suites_for(n, dataset=dataset, data=data_folder(data))]
    for suite in suites:
        _run(suite, json_)
    if json_:
        print_json([_as_json(suite) for suite in suites])
    else:
        _show_next(suites)
    if any(not result.ok for suite in suites for result in suite.results()):
        raise typer.Exit(1)


def _run(suite: Suite, aside: bool) -> None:
    """Runs the checks of a suite, with a line for each as soon as it is done."""
    total, width = len(suite.checks), max(len(check.name) for check in suite.checks)
    _say(f"{suite.kind} {suite.name}: {plural(total, 'check')}", aside)
    traces: set[str] = set()
    for number, check in enumerate(suite.checks, 1):
        result = suite.result(check)
        line = f"[{number:{len(str(total))}}/{total}] {check.name:<{width}}  {result.outcome:<7}  "
        _say((line + " ".join(result.reason.split())).rstrip(), aside)
        if result.trace not in traces:
            traces.add(result.trace)
            show_trace(result.trace)
    _say(_counts(suite), aside)


def _say(text: str, aside: bool) -> None:
    """Prints a line as soon as it is known; on standard error if standard output is JSON."""
    print(text, file=sys.stderr if aside else sys.stdout, flush=True)


def _counts(suite: Suite) -> str:
    outcomes = [result.outcome for result in suite.results()]
    counts = {o: outcomes.count(o) for o in ("passed", "failed", "allowed", "skipped")}
    return ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n) + "\n"


def _show_next(suites: list[Suite]) -> None:
    """Prints what to do after the checks."""
    failed = [suite.name for suite in suites if not all(result.ok for result in suite.results())]
    if failed:
        typer.echo(
            f"Next: correct what failed, then `pmbench check {shlex.join(failed)}`; "
            "--debug shows tracebacks, docs/contract-checks.md says what each check wants"
        )
    elif len(suites) == 1:
        kinds = {"data set": "dataset"}
        typer.echo(f"Next: `{next_command(kinds.get(suites[0].kind, suites[0].kind), suites[0].name)}`")
    else:
        typer.echo("Next: `pmbench list` shows what can be run")


def next_command(kind: str, name: str) -> str:
    """The command that runs a method, data set or backbone whose checks passed."""
    return {
        "method": f"pmbench run --method {shlex.quote(name)}",
        "dataset": f"pmbench run --method target_only --dataset {name}",
        "backbone": f"pmbench run --method target_only --dataset DATASET --backbone MODALITY={name}",
    }[kind]


def _as_json(suite: Suite) -> dict[str, object]:
    results = [{"check": r.check, "outcome": r.outcome, "reason": r.reason} for r in suite.results()]
    return {
        "kind": suite.kind,
        "name": suite.name,
        "passed": all(r.ok for r in suite.results()),
        "checks": results,
    }
