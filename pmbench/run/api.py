"""`pmbench.run` and `pmbench.plan`: what the commands of these names do, from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.options import split_names
from ..errors import OTHER_CHOICE, NothingToRun, UsageError, plural
from ..files import cache_folder
from ..processes import cores
from ..report.results import Results, html_table, pandas_module
from ..report.text import duration, escape, row_text
from ..report.text import table as markdown_table
from .request import Request, joined
from .session import Session, find_device
from .tuning.tuned import complete

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

Names = str | Sequence[str]


def run(
    methods: Names,
    datasets: Names = (),
    *,
    protocols: Names = (),
    backbones: Names | Mapping[str, str] = (),
    seeds: int | Sequence[int] = 3,
    options: Mapping[str, Any] | None = None,
    recipe: str = "",
    weights: str | Mapping[str, str] = "",
    values: str = "paper",
    tuned: str | Path = "",
    ablate: bool = False,
    placebo: Names = (),
    matched_compute: bool = False,
    references: bool = True,
    out: str | Path = "results",
    store: str | Path | None = None,
    shared_store: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    workers: int | None = None,
    threads: int = 1,
    data_workers: int | None = None,
    executor: str = "local",
    address: str | None = None,
    gpu_share: float = 1.0,
    join: bool = False,
    quiet: bool = False,
) -> Results:
    """Trains, seals and evaluates as `pmbench run` does, with the same records to the bit.

    Arguments are the options of the command. Names are one name or several; `seeds` is a number N for 0 to
    N - 1, or the seeds themselves; `options` are values of methods and of the recipe, for example
    `{"temperature": 2, "recipe.epochs": 40}`; backbones by modality may be a mapping. `tuned` is the folder
    of a study of `pmbench tune`, whose data set is then the default one; else that is `hapt`. `store` and
    `data` are by default those of PMBENCH_STORE and PMBENCH_DATA, else folders in the user's cache; stages of
    `shared_store`, by default that of PMBENCH_SHARED_STORE, are used, and nothing is written there. A cell
    that fails is a record with its reason. With `join` the results lack cells that another process of the
    run evaluates.

    Raises UsageError for arguments that cannot be, and NothingToRun if every cell was skipped.

    >>> results = pmbench.run("hoffman", seeds=1)  # doctest: +SKIP
    >>> print(results.to_markdown())  # doctest: +SKIP
    """
    request = _request(
        methods, datasets, protocols, backbones, seeds, options or {}, recipe, weights, values, ablate,
        placebo, matched_compute, references,
    )  # fmt: skip
    session = Session(
        out=Path(out),
        store=_folder(store, "store"),
        shared_store=_shared(shared_store),
        data=_folder(data, "data"),
        command=["run", *_words(request)],
        device=device,
        devices=devices,
        workers=workers,
        threads=threads,
        data_workers=data_workers,
        quiet=quiet,
        executor=executor,
        address=address,
        gpu_share=gpu_share,
        join=join,
    )
    outcome, _, _ = session.execute(lambda registry: [complete(request, tuned, registry)])
    if not outcome.left and all(record.status == "skipped" for record in outcome.records):
        reasons = sorted({str(record.reason) for record in outcome.records})
        raise NothingToRun(f"every cell was skipped: {'; '.join(reasons)}", OTHER_CHOICE)
    return Results(tuple(outcome.records), Path(out), outcome.trained, outcome.reused)


def plan(
    methods: Names,
    datasets: Names = (),
    *,
    protocols: Names = (),
    backbones: Names | Mapping[str, str] = (),
    seeds: int | Sequence[int] = 3,
    options: Mapping[str, Any] | None = None,
    recipe: str = "",
    weights: str | Mapping[str, str] = "",
    values: str = "paper",
    tuned: str | Path = "",
    ablate: bool = False,
    placebo: Names = (),
    matched_compute: bool = False,
    references: bool = True,
    store: str | Path | None = None,
    shared_store: str | Path | None = None,
    data: str | Path | None = None,
    time: bool = False,
) -> Forecast:
    """What `pmbench.run` with these arguments would train. Stores nothing; prepares embedded data.

    `time` times a few steps of each kind of stage that was never trained on this machine. Raises UsageError
    for arguments that cannot be.

    >>> pmbench.plan("kd,hoffman").summary["stages_to_train"]  # doctest: +SKIP
    """
    from ..plugins import survey
    from ..store.store import Store, check_shared
    from .forecast import forecast
    from .matrix import plan_all
    from .timing import rates_for
    from .worker import Resources

    request = _request(
        methods, datasets, protocols, backbones, seeds, options or {}, recipe, weights, values, ablate,
        placebo, matched_compute, references,
    )  # fmt: skip
    folder, registry = _folder(store, "store"), survey()
    kept = Store(folder, shared=check_shared(_shared(shared_store), folder))
    requests = [complete(request, tuned, registry)]
    planned = plan_all(requests, registry, _folder(data, "data"), kept)
    resources = Resources(kept.root, _folder(data, "data"), find_device("auto"), shared=kept.shared)
    rates, failed = rates_for(planned, requests, registry, resources, time=time)
    for reason in failed:
        warnings.warn(f"not timed: {reason}", stacklevel=2)
    found = forecast(planned, rates, cores())
    return Forecast(found["cells"], found["stages"], found["summary"])


COLUMNS = ("method", "role", "dataset", "protocol", "seed", "status", "stages", "to_train", "reason")


@dataclass(frozen=True)
class Forecast:
    """Cells, stages and summary of a plan, with the items of `pmbench plan --json`.

    `cells` are dictionaries with method, data set, protocol, backbones, seed, status ("run", "skip",
    "failed") and reason; `stages` have key, class, modalities, state ("stored", "train", "not needed") and an
    estimate in seconds; `summary` has the sums, with time in seconds and disk in bytes.
    """

    cells: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    summary: dict[str, Any]

    def __len__(self) -> int:
        return len(self.cells)

    def __repr__(self) -> str:
        return f"Forecast({self._sentence()})"

    def to_markdown(self) -> str:
        """A table of the cells, and a line with the sums."""
        lines = [[escape(text) for text in line] for line in self._lines()]
        return f"{markdown_table([_HEAD, *lines], left=(0, 1, 2, 3, 5, 8))}\n\n{self._sentence()}.\n"

    def to_pandas(self) -> DataFrame:
        """A row for each cell; raises UsageError where pandas is not installed."""
        return pandas_module().DataFrame([self._values(cell) for cell in self.cells], columns=COLUMNS)

    def __rich__(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=SIMPLE_HEAD, pad_edge=False, caption=f"{self._sentence()}.", caption_justify="left")
        for name in _HEAD:
            drawn.add_column(name)
        for line in self._lines():
            drawn.add_row(*map(Text, line))
        return drawn

    def _repr_html_(self) -> str:
        return f"{html_table(_HEAD, self._lines())}<p>{self._sentence()}.</p>"

    def _sentence(self) -> str:
        s = self.summary
        seconds = "" if s["seconds"] is None else f", about {duration(s['seconds'])}"
        counts = f"{plural(s['cells'], 'cell')}, {plural(s['stages_unique'], 'stage')}"
        return f"{counts}, {s['stages_to_train']} to train{seconds}"

    @staticmethod
    def _values(cell: Mapping[str, Any]) -> list[Any]:
        apart = {name: cell[name] for name in ("ablation", "placebo", "matched_epochs", "tuned_trials")}
        label = row_text(cell["method"], cell["options"], **apart)
        rest = [cell[name] for name in COLUMNS[1:]]
        return [label, *(len(value) if isinstance(value, list) else value for value in rest)]

    def _lines(self) -> list[list[str]]:
        return [["" if value is None else str(value) for value in self._values(c)] for c in self.cells]


_HEAD = [name.replace("dataset", "data set").replace("_", " ") for name in COLUMNS]


def _request(
    methods: Names,
    datasets: Names,
    protocols: Names,
    backbones: Names | Mapping[str, str],
    seeds: int | Sequence[int],
    options: Mapping[str, Any],
    recipe: str,
    weights: str | Mapping[str, str],
    values: str,
    ablate: bool,
    placebo: Names,
    matched_compute: bool,
    references: bool,
) -> Request:
    if isinstance(seeds, int) and seeds < 1:
        raise UsageError(
            f"seeds={seeds}; expected the number of seeds, or a list of them", "seeds=3 is usual"
        )
    if isinstance(backbones, Mapping):
        backbones = "+".join(f"{modality}={name}" for modality, name in backbones.items())
    if isinstance(weights, Mapping):
        weights = ",".join(f"{modality}={name}" for modality, name in weights.items())
    request = Request(
        methods=_names("methods", methods),
        datasets=_names("datasets", datasets),
        protocols=_names("protocols", protocols),
        backbones=joined(_names("backbones", backbones)),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds)),
        sets=tuple(f"{name}={_text(value)}" for name, value in options.items()),
        references=references,
        recipe=recipe,
        weights=weights,
        ablate=ablate,
        value_set=values,
        placebos=_names("placebo", placebo),
        matched_compute=matched_compute,
    )
    if not request.methods or not request.seeds:
        raise UsageError(
            "methods and seeds need at least one each", "`pmbench list methods` shows the methods"
        )
    return request


def _names(what: str, given: Names) -> tuple[str, ...]:
    """One name or several, as texts; a text may have commas between names, but for those in [ ]."""
    several = [given] if isinstance(given, str) else list(given)
    if wrong := [value for value in several if not isinstance(value, str)]:
        raise UsageError(f"{what}={given!r}: {wrong[0]!r} is no name", "give a text, or a list of texts")
    return split_names(several)


def _text(value: Any) -> str:
    """A value as --set has it: none, true, 1+4."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)


def _folder(given: str | Path | None, name: str) -> Path:
    """`store` or `data`: the argument, the variable of the environment, or a folder in the user's cache."""
    found = given or os.environ.get(f"PMBENCH_{name.upper()}")
    return Path(found) if found else cache_folder(name)


def _shared(given: str | Path | None) -> Path | None:
    """`shared_store`: the argument, or the variable of the environment."""
    found = given or os.environ.get("PMBENCH_SHARED_STORE")
    return Path(found) if found else None


def _words(request: Request) -> list[str]:
    """The options of `pmbench run` for a request, for the provenance of its records."""
    named = (
        ("--method", request.methods),
        ("--dataset", request.datasets),
        ("--protocol", request.protocols),
        ("--backbone", request.backbones),
        ("--seed", map(str, request.seeds)),
        ("--set", request.sets),
        ("--placebo", request.placebos),
        ("--recipe", [request.recipe] * bool(request.recipe)),
        ("--weights", [request.weights] * bool(request.weights)),
        ("--values", [request.value_set] * (request.value_set != "paper")),
    )
    words = [word for option, values in named for value in values for word in (option, value)]
    flags = {"--ablate": request.ablate, "--matched-compute": request.matched_compute}
    flags["--no-references"] = not request.references
    return [*words, *(flag for flag, given in flags.items() if given)]
