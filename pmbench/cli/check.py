"""`pmbench check`: runs the contract checks of a plugin on small data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .common import DataOption, JsonOption, data_folder, names, print_json, show_trace
from .tables import table

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

    asked = names(name or ())
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
    failed = [suite.name for suite in suites if not all(result.ok for result in suite.results())]
    if json_:
        print_json([_as_json(suite) for suite in suites])
    else:
        _show(suites)
    if failed:
        raise typer.Exit(1)


def _as_json(suite: Suite) -> dict[str, object]:
    results = [{"check": r.check, "outcome": r.outcome, "reason": r.reason} for r in suite.results()]
    return {
        "kind": suite.kind,
        "name": suite.name,
        "passed": all(r.ok for r in suite.results()),
        "checks": results,
    }


def _show(suites: list[Suite]) -> None:
    for suite in suites:
        results = suite.results()
        typer.echo(f"{suite.kind} {suite.name}")
        rows = [(r.check, r.outcome, r.reason) for r in results]
        table(("check", "result", "reason"), rows)
        for trace in {r.reason: r.trace for r in results}.values():
            show_trace(trace)
        counts = {o: sum(r.outcome == o for r in results) for o in ("passed", "failed", "allowed", "skipped")}
        typer.echo(", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n) + "\n")
