"""`pmbench run`: runs methods x data sets x protocols x backbones x seeds, and draws the leaderboard."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..processes import cores
from .common import DEFAULT_OUT, OutOption, data_folder, print_json, show_trace, store_folder
from .selection import Selection, takes


@dataclass
class RunOptions(Selection):
    """Cells, folders, devices and processes of a run."""

    device: Annotated[
        str, typer.Option(metavar="NAME", help="cpu, cuda, cuda:N; auto uses a GPU if there is one.")
    ] = "auto"
    devices: Annotated[int, typer.Option(metavar="N", min=1, help="Devices that share one stage (DDP).")] = 1
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Stages trained in parallel; 0 trains in this process. [cores, or 1 on a GPU]",
        ),
    ] = None
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, help="Threads of one stage; results depend on it.")
    ] = 1
    data_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Threads that prefetch data that does not fit in memory. [0, or up to 8 on a GPU]",
        ),
    ] = None
    out: OutOption = DEFAULT_OUT
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False


def register(app: typer.Typer) -> None:
    app.command()(run)


@takes(RunOptions)
def run(options: RunOptions) -> None:
    """Train, seal, evaluate and rank. Adds floor, ceilings and control; reuses stored stages."""
    from ..errors import NothingToRun
    from ..plugins import load_plugins, survey
    from ..run.coordinator import Runner
    from ..run.matrix import plan_all
    from ..run.provenance import isolation, provenance
    from ..run.recording import Recorder
    from ..run.worker import Resources
    from ..store.store import Store
    from .board import write_board
    from .describe import warn_broken
    from .watch import watch

    registry = load_plugins() if options.workers == 0 else survey()
    device, threads = _device(options.device), options.threads
    gpu = device.startswith("cuda")
    resources = Resources(
        store=store_folder(options.store),
        data=data_folder(options.data),
        device=device,
        devices=options.devices,
        threads=threads,
        data_workers=_given(options.data_workers, min(8, cores() // options.devices) if gpu else 0),
    )
    plan = plan_all(options.requests(registry), registry, resources.data, Store(resources.store))
    workers = _given(options.workers, 1 if gpu else max(1, cores() // threads))
    isolated = isolation(workers)
    if isolated == "audit-hook":
        print(
            "Warning: this system has no Landlock (Linux 5.13 or newer), so the kernel does not keep plugins "
            "from files; records say `isolation: audit-hook`",
            file=sys.stderr,
        )
    if workers == 0:
        from ..run.executors.inline import Inline as pool
    else:
        from ..run.executors.local import LocalPool as pool  # type: ignore[assignment]
    with watch(options.quiet) as watcher:
        runner = Runner(
            plan=plan,
            registry=registry,
            resources=resources,
            out=options.out,
            workers=workers,
            recorder=Recorder(partial(provenance, registry, device, threads, isolated), registry.published),
            watcher=watcher,
            make_pool=pool,
        )
        outcome = runner.execute()
    warn_broken(registry)
    for trace in outcome.traces:
        show_trace(trace)
    board = write_board(options.out)
    _show(outcome, board, options.out, options.json_)
    if outcome.failed:
        raise typer.Exit(1)
    if all(r.status == "skipped" for r in outcome.records):
        raise NothingToRun(
            "every cell was skipped: " + "; ".join(sorted({str(r.reason) for r in outcome.records}))
        )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _device(name: str) -> str:
    """Resolves `auto` to cuda if an NVIDIA driver shows a GPU, without importing torch."""
    from ..errors import UsageError

    gpus = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
    if name == "auto":
        return "cuda" if Path("/dev/nvidia0").exists() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}", "--device takes cpu, cuda, cuda:N or auto")
    if name != "cpu" and not gpus:
        raise UsageError(f"--device {name}: this machine shows no NVIDIA GPU", "use --device cpu, or auto")
    return name


def _show(outcome: object, board: Path, out: Path, as_json: bool) -> None:
    from ..run.coordinator import Outcome
    from .leaderboard import ablation_values

    assert isinstance(outcome, Outcome)
    if as_json:
        print_json(
            {
                "trained": outcome.trained,
                "reused": outcome.reused,
                "leaderboard": str(board),
                "ablations": ablation_values(outcome.records),
                "records": [r.model_dump(mode="json", exclude={"samples"}) for r in outcome.records],
            }
        )
        return
    from rich.console import Console

    from ..errors import plural
    from ..report.boards import boards
    from ..report.rows import label_of
    from ..report.terminal import ablation_tables, legend, terminal_tables
    from ..report.text import seeds_text

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    found = boards(outcome.records)
    console.print(*terminal_tables(found), sep="\n")
    console.print(legend(found), markup=False, highlight=False)
    if any(r.cell.ablation for r in outcome.records):
        console.print(*ablation_tables(found), sep="\n")
    without: dict[tuple[str, str], dict[str, list[int]]] = {}
    for record in outcome.records:
        if record.status != "done":
            labels = without.setdefault((record.status, record.reason or ""), {})
            labels.setdefault(label_of(record.cell), []).append(record.cell.seed)
    for (status, reason), labels in without.items():
        named = ", ".join(f"{label} ({seeds_text(seeds)})" for label, seeds in labels.items())
        typer.echo(f"{status}: {named}: {reason}")
    typer.echo(
        f"{plural(outcome.trained, 'stage')} trained, {outcome.reused} of {len(outcome.records)} cells were "
        "finished before."
    )
    typer.echo(f"Leaderboard: {board}")
