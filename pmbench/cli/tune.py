"""`pmbench tune`: as many trials for every method, on validation data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from ..contracts.options import split_names
from ..errors import UsageError
from .common import (
    DataOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    RecipeOption,
    StoreOption,
    ThreadsOption,
    WeightsOption,
    WorkersOption,
    data_folder,
    print_json,
    store_folder,
)
from .selection import NamesFollowOptions, takes


@dataclass
class TuneOptions:
    """Methods, trials, folders, devices and processes of a study."""

    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="Method, or variant, whose options are not searched; repeated or comma-separated; `all`.",
        ),
    ] = field(default_factory=list)
    dataset: Annotated[str, typer.Option("--dataset", "-d", metavar="NAME", help="Data set. [hapt]")] = "hapt"
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", metavar="NAME", help="Protocol. [that of the data set]")
    ] = ""
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "-b",
            metavar="NAME",
            help="Backbone for all modalities, or modality=NAME,modality=NAME.",
        ),
    ] = ""
    recipe: RecipeOption = ""
    weights: WeightsOption = ""
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="name=value of a method's option, which is not searched then, or recipe.name=value; repeat "
            "for several.",
        ),
    ] = field(default_factory=list)
    trials: Annotated[
        int, typer.Option(metavar="N", help="Trials of each method; the first has its default values.")
    ] = 20
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="qmc: quasi-random points; tpe: ten trials of these, then a Parzen estimator.",
        ),
    ] = "qmc"
    seed: Annotated[
        list[int],
        typer.Option(metavar="S", min=0, max=2**32 - 1, help="Seed of the search; repeat for several. [100]"),
    ] = field(default_factory=list)
    confirm_seed: Annotated[
        list[int],
        typer.Option(
            metavar="S",
            min=0,
            max=2**32 - 1,
            help="Seed under which the best trial is confirmed; repeat for several. [101, 102, 103]",
        ),
    ] = field(default_factory=list)
    device: DeviceOption = "auto"
    workers: WorkersOption = None
    threads: ThreadsOption = 1
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the study; the same command resumes it."),
    ] = None
    store: StoreOption = None
    data: DataOption = None
    json_: JsonOption = False
    quiet: QuietOption = False


def register(app: typer.Typer) -> None:
    app.command(cls=NamesFollowOptions)(tune)


@takes(TuneOptions)
def tune(options: TuneOptions) -> None:
    """Search values of options with equally many trials for each method, scored on validation data alone.

    Test data is never opened. The best trial is confirmed under seeds that chose nothing. `pmbench run
    --tuned DIR` runs what was chosen.
    """
    from ..run.tuning.files import SUMMARY
    from ..run.tuning.request import CONFIRMING, SEEDS, TuningRequest
    from ..run.tuning.session import tune as carry_out

    if options.out is None:
        raise UsageError("no folder for the study", "give --out DIR")
    request = TuningRequest(
        methods=split_names(options.method),
        dataset=options.dataset,
        protocol=options.protocol,
        backbone=options.backbone,
        recipe=options.recipe,
        weights=options.weights,
        sets=tuple(options.set_),
        trials=options.trials,
        sampler=options.sampler,  # type: ignore[arg-type]  # checked there
        seeds=tuple(dict.fromkeys(options.seed)) or SEEDS,
        confirming=tuple(dict.fromkeys(options.confirm_seed)) or CONFIRMING,
    )
    found = carry_out(
        request,
        out=options.out,
        store=store_folder(options.store),
        data=data_folder(options.data),
        device=options.device,
        workers=options.workers,
        threads=options.threads,
        quiet=options.quiet,
    )
    if options.json_:
        print_json(asdict(found))
        return
    typer.echo((options.out / SUMMARY).read_text(encoding="utf-8"))
    typer.echo(f"Run what was chosen: pmbench run --tuned {options.out}")
