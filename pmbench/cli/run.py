"""`pmbench run`: runs methods x data sets x protocols x backbones x seeds, and draws the leaderboard."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .common import (
    DEFAULT_OUT,
    DeviceOption,
    OutOption,
    QuietOption,
    ThreadsOption,
    WorkersOption,
    data_folder,
    print_json,
    show_trace,
    store_folder,
)
from .selection import NamesFollowOptions, Selection, takes


@dataclass
class RunOptions(Selection):
    """Cells, folders, devices and processes of a run."""

    device: DeviceOption = "auto"
    devices: Annotated[int, typer.Option(metavar="N", min=1, help="Devices that share one stage (DDP).")] = 1
    workers: WorkersOption = None
    threads: ThreadsOption = 1
    data_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Threads that prefetch data that does not fit in memory. [0, or up to 8 on a GPU]",
        ),
    ] = None
    executor: Annotated[
        str, typer.Option(metavar="NAME", help="local, or ray: stages are trained on a Ray cluster.")
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The Ray cluster. [RAY_ADDRESS, or the one of this machine]"),
    ] = None
    gpu_share: Annotated[
        float,
        typer.Option(metavar="F", help="Share of a GPU that Ray gives a stage: 0.25 trains four on one."),
    ] = 1.0
    join: Annotated[
        bool, typer.Option("--join", help="Work together with the same command in other processes.")
    ] = False
    out: OutOption = DEFAULT_OUT
    download: Annotated[
        bool, typer.Option("--download", help="First fetch and prepare data sets whose download is open.")
    ] = False
    quiet: QuietOption = False


def register(app: typer.Typer) -> None:
    app.command(cls=NamesFollowOptions)(run)


@takes(RunOptions)
def run(options: RunOptions) -> None:
    """Train, seal, evaluate and rank. Adds floor, ceilings and control; reuses stored stages."""
    from ..errors import OTHER_CHOICE, NothingToRun
    from ..run.session import Session
    from .describe import warn_broken

    if options.download:
        _download(options)
    session = Session(
        out=options.out,
        store=store_folder(options.store),
        shared_store=options.shared_store,
        data=data_folder(options.data),
        command=sys.argv[1:],
        device=options.device,
        devices=options.devices,
        workers=options.workers,
        threads=options.threads,
        data_workers=options.data_workers,
        quiet=options.quiet,
        executor=options.executor,
        address=options.address,
        gpu_share=options.gpu_share,
        join=options.join,
    )
    outcome, registry, board = session.execute(options.requests)
    warn_broken(registry)
    for trace in outcome.traces:
        show_trace(trace)
    _show(outcome, board, options.out, options.json_)
    if outcome.failed:
        raise typer.Exit(1)
    if not outcome.left and all(r.status == "skipped" for r in outcome.records):
        raise NothingToRun(
            "every cell was skipped: " + "; ".join(sorted({str(r.reason) for r in outcome.records})),
            OTHER_CHOICE,
        )


def _download(options: RunOptions) -> None:
    """Prepares the data sets of a run that are not prepared and that can be downloaded."""
    from ..plugins import survey
    from .data import prepare, state_of

    registry, root = survey(), data_folder(options.data)
    for name in dict.fromkeys(name for one in options.requests(registry) for name in one.datasets):
        dataset = registry.dataset(name)
        if dataset.downloads and state_of(dataset, root).folder is None:
            with redirect_stdout(sys.stderr):
                prepare(name, download=True, data=options.data)


def _show(outcome: object, board: Path | None, out: Path, as_json: bool) -> None:
    from ..run.coordinator import Outcome
    from .leaderboard import ablation_values

    assert isinstance(outcome, Outcome)
    if as_json:
        print_json(
            {
                "trained": outcome.trained,
                "reused": outcome.reused,
                "left": outcome.left,
                "leaderboard": None if board is None else str(board),
                "ablations": ablation_values(outcome.records),
                "records": [r.model_dump(mode="json", exclude={"samples"}) for r in outcome.records],
            }
        )
        return
    from ..errors import plural

    if board is None:
        typer.echo(
            f"{plural(outcome.trained, 'stage')} trained here. Another process of this run evaluates "
            f"{plural(outcome.left, 'cell')} and writes the records and the leaderboard."
        )
        return
    from rich.console import Console

    from ..report.boards import boards
    from ..report.terminal import ablation_tables, legend, means, terminal_tables, without_result

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    found = boards(outcome.records)
    console.print(*terminal_tables(found), sep="\n")
    if averaged := means(found):
        console.print(*averaged, sep="\n")
    console.print(legend(found), markup=False, highlight=False)
    if any(r.cell.ablation for r in outcome.records):
        console.print(*ablation_tables(found), sep="\n")
    for line in without_result(outcome.records):
        typer.echo(line)
    typer.echo(
        f"{plural(outcome.trained, 'stage')} trained, {outcome.reused} of {len(outcome.records)} cells were "
        "finished before."
    )
    typer.echo(f"Leaderboard: {board}")
