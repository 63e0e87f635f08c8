"""`pmbench data`: data sets on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..processes import cores
from .common import DataOption, JsonOption, data_folder, interactive, print_json

if TYPE_CHECKING:
    from ..contracts.dataset import Dataset

group = typer.Typer(
    help="Data sets: list, prepare, verify, remove.", no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A data set (`pmbench list datasets`).")]


@dataclass(frozen=True)
class State:
    """State of a data set. `folder`, `samples` by part and `size` in bytes are None unless it is prepared."""

    text: str
    folder: Path | None = None
    samples: dict[str, int] | None = None
    size: int | None = None


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="data")


def state_of(dataset: Dataset, root: Path) -> State:
    from ..data.prepared import open_prepared
    from ..errors import DataError, DataNotPrepared

    try:
        prepared = open_prepared(dataset, root)
    except DataNotPrepared:
        embedded = dataset.find_source() is not None
        return State(
            "on first use (it comes with an installed package)" if embedded else "no, needs --source"
        )
    except DataError as error:
        return State(f"damaged: {error.message}")
    parts = prepared.manifest["parts"]
    size = sum(file["bytes"] for part in parts.values() for file in part["files"].values())
    return State("yes", prepared.folder, {name: part["count"] for name, part in parts.items()}, size)


def access_of(dataset: Dataset) -> str:
    """How the official files are had; what "by hand" means is in `Dataset.access`."""
    if dataset.demo_of:
        return "made up"
    if dataset.takes_names:
        return "own files"
    if dataset.find_source() is not None:
        return "package"
    return "--download" if dataset.downloads else "by hand"


def prepared_by_name(dataset: Dataset, root: Path) -> list[Dataset]:
    if not dataset.takes_names:
        return []
    before, behind = f"{dataset.name}-", f"-v{dataset.version}"
    folders = sorted(path.name for path in root.glob(f"{before}*{behind}"))
    return [dataset.named(name.removeprefix(before).removesuffix(behind)) for name in folders]


@group.command("list")
def list_(data: DataOption = None, json_: JsonOption = False) -> None:
    """List data sets, and whether they are prepared."""
    from ..plugins import survey
    from .describe import attempt, offers, warn_broken
    from .tables import size_text, table

    registry, root = survey(), data_folder(data)
    states: list[tuple[Any, State]] = []
    for offer in offers(registry, "dataset"):
        for dataset in (offer.value, *prepared_by_name(offer.value, root)):

            def look(_: Any, dataset: Dataset = dataset) -> State:
                return state_of(dataset, root)

            state = attempt(registry, offer, look)
            if state is not None:
                states.append((dataset, state))
    if json_:
        print_json(
            [
                {
                    "name": d.name,
                    "version": d.version,
                    "prepared": s.text == "yes",
                    "state": s.text,
                    "folder": str(s.folder) if s.folder else None,
                    "samples": s.samples,
                    "size": s.size,
                    "target": list(d.target),
                    "privileged": list(d.privileged),
                    "access_kind": access_of(d),
                    "access": d.access,
                    "source": d.source,
                }
                for d, s in states
            ]
        )
    else:
        rows = [
            (
                d.name,
                f"{', '.join(d.privileged)} -> {', '.join(d.target)}" if d.target else "-",
                access_of(d),
                s.text,
                sum(s.samples.values()) if s.samples else "-",
                size_text(s.size) if s.size is not None else "-",
            )
            for d, s in states
        ]
        heads = ("data set", "privileged -> target", "access", "prepared", "samples", "size")
        table(heads, rows, right=("samples", "size"))
        typer.echo(f"\nPrepared data is in {root}.")
    warn_broken(registry)


@group.command()
def prepare(
    name: NameArgument,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            help="The official download: an archive, a folder of archives, or their unpacked files.",
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the official download first, if it is open.")
    ] = False,
    data: DataOption = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes that decode files. [cores]")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Store frames uncompressed: faster to read, many times the disk.")
    ] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Train without files that cannot be read.")
    ] = False,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Accept missing samples; every record reports how many.")
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates", help="Accept equal samples in several parts or groups; every record reports it."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prepare it anew, also if it is prepared.")] = False,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Prepare NAME:demo: made-up samples in the official layout of NAME."),
    ] = False,
) -> None:
    """Prepare a data set for training from its official files, and check it."""
    from ..data import prepare as engine
    from ..data.carve import counts_table
    from ..data.demo import DEMO, write_demo
    from ..data.download import fetch_all
    from ..data.prepared import open_prepared
    from ..data.sources import changes, earlier_source, source_of
    from ..errors import DataError, DataNotPrepared, UnknownName, UsageError, plural
    from ..plugins import survey
    from .tables import size_text, table

    registry, root = survey(), data_folder(data)
    if demo and (download or source):
        raise UsageError("--demo writes its own files", "leave out --source and --download")
    demo = demo or name.endswith(DEMO)
    name = f"{name.removesuffix(DEMO)}{DEMO}" if demo else name
    if download and source:
        raise UsageError("--download and --source were both given", "give one of them")
    try:
        dataset = registry.dataset(name)
    except UnknownName as error:
        own = f"your own recordings are called local/{name}" if source and "/" not in name else error.hint
        raise UsageError(error.message, own) from error
    if source is not None and not source.exists():
        raise DataError(f"{source} does not exist", dataset.how_to_get())
    state = state_of(dataset, root)
    if state.folder is not None and not force:
        prepared = open_prepared(dataset, root)
        earlier = source_of(prepared)
        if not (found := changes(prepared, source)):
            engine.tidy(dataset, root)
            typer.echo(
                f"{name} is prepared already: {state.folder}" + (f", from {earlier}" if earlier else "")
            )
            if source is not None and source.resolve() != earlier and prepared.dataset.declaration is None:
                typer.echo(f"--force prepares it from {source}")
            return
        typer.echo(f"{source or earlier} has changed: {'; '.join(found)}. Preparing what has changed.")
        source = source or earlier
    if download and not dataset.downloads:
        raise UsageError(f"data set {name!r} has no open download", dataset.access or dataset.source)
    source = source or dataset.find_source()
    if state.folder is not None and source is None and not download and not demo:
        source = earlier_source(dataset, root)
    if demo:
        source = write_demo(registry, name, root)
    if source is None and name.startswith("local/"):
        raise DataNotPrepared(
            f"{name} is a folder of yours, and no folder is named",
            f"`pmbench data prepare {name} --source FOLDER`; `pmbench data new` writes the table it needs",
        )
    if source is None and not download:
        raise DataNotPrepared(
            f"data set {name!r} is not part of an installed package, so its official files are needed",
            dataset.how_to_get(),
        )
    with _progress(name) as report:
        if download:
            source = fetch_all(dataset.downloads, root / "downloads" / name, report)
        assert source is not None
        prepared = engine.prepare_named(
            registry,
            name,
            source,
            root,
            report,
            workers=cores() if workers is None else workers,
            codec="raw" if raw else "jpeg",
            allow=["damaged"] * skip_damaged + ["incomplete"] * incomplete + ["duplicates"] * duplicates,
            force=force,
        )
    done = state_of(dataset, root)
    samples = sum((done.samples or {}).values())
    for note in prepared.notes:
        typer.echo(note)
    if prepared.dataset.declaration is not None:
        header, *rows = counts_table(
            prepared.class_counts(prepared.dataset.splits[prepared.dataset.default_split]),
            prepared.dataset.classes,
        )
        table(header, rows, right=header[1:])
    typer.echo(f"{done.folder} ({plural(samples, 'sample')}, {size_text(done.size or 0)})")
    for modality in prepared.dataset.modalities:
        if lacking := prepared.missing("+".join(done.samples or {}), modality.name):
            typer.echo(f"{lacking} of {plural(samples, 'sample')} lack {modality.name!r}")
    if prepared.duplicates:
        typer.echo(f"Warning: {prepared.duplicates}")
    if prepared.dataset.declaration is not None or demo:
        typer.echo(f"Next: `pmbench run --method kd --dataset {name}`")


@group.command()
def remove(name: NameArgument, data: DataOption = None) -> None:
    """Remove the prepared form of a data set; its official files stay."""
    from ..data import prepare as engine
    from ..plugins import survey

    dataset, root = survey().dataset(name), data_folder(data)
    found = engine.remove(dataset, root)
    if not found:
        raise dataset.not_prepared(root)
    for path in found:
        typer.echo(f"Removed {path}")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """A callback that shows progress on standard error, on a terminal with the remaining time."""
    start, printed = time.monotonic(), 0.0
    if not interactive():
        print(f"Preparing {name}", file=sys.stderr, flush=True)

        def line(what: str, done: int, total: int) -> None:
            nonlocal printed
            now = time.monotonic()
            if done in (0, total) or now - printed > 10:
                printed = now
                print(f"[{now - start:.1f} s] {what}: {done} of {total}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def bar(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(f"{name}: {what}", total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield bar


@group.command()
def verify(name: NameArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Compare counts and digests of the prepared form with the expected ones; fail if they differ.

    Of a user's own folder also the files with those that were prepared.
    """
    from ..data import prepared as engine
    from ..data.sources import changes, source_of
    from ..errors import DataError
    from ..plugins import survey
    from .tables import table

    dataset, root = survey().dataset(name), data_folder(data)
    rows = engine.verify(dataset, root)
    prepared = engine.open_prepared(dataset, root)
    if prepared.dataset.declaration is not None:
        found = "; ".join(changes(prepared)) or "unchanged"
        what = f"files in {source_of(prepared)}"
        rows.append(
            {
                "part": "source",
                "what": what,
                "expected": "unchanged",
                "found": found,
                "ok": found == "unchanged",
            }
        )
    wrong = [row for row in rows if not row["ok"]]
    if json_:
        print_json(
            {"dataset": name, "folder": str(engine.data_folder(dataset, root)), "ok": not wrong, "rows": rows}
        )
    else:
        shown = [
            (r["part"], r["what"], _short(r["expected"]), _short(r["found"]), "ok" if r["ok"] else "DIFFERS")
            for r in rows
        ]
        table(("part", "what", "expected", "found", ""), shown)
        if prepared.duplicates:
            typer.echo(prepared.duplicates)
    if wrong:
        named = ", ".join(f"{r['part']} {r['what']}" for r in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        raise DataError(
            f"data set {name!r} differs from its manifest, {len(wrong)} of {len(rows)} checks: {named}",
            f"`pmbench data prepare {name} --force` prepares it anew",
        )


def _short(value: Any) -> str:
    """Text of a value; digests by their first 12 digits."""
    text = str(value)
    return text[:12] if isinstance(value, str) and len(text) == 64 else text


@group.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set will be local/NAME.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Your folder of recordings.")],
    frames: Annotated[
        bool, typer.Option("--frames", help="Folders of numbered images are clips, not single images.")
    ] = False,
    example: Annotated[
        bool,
        typer.Option("--example", help="First fill the folder, a new one, with clips of real videos."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files written earlier.")] = False,
) -> None:
    """Look at a folder of recordings, and write a table of samples and a description for you to check."""
    from ..errors import DataError
    from ..files import write_text
    from ..plugins import survey

    name = name.removeprefix("local/")
    dataset = survey().dataset(f"local/{name}")
    if example:
        from ..testing.media.example import write_example

        if folder.exists():
            raise DataError(f"{folder} exists already", "--example writes a new folder")
        write_example(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "give the folder that holds your recordings")
    files, notes = dataset.propose(folder, frames=frames)
    if (taken := [f for f in files if (folder / f).exists()]) and not force:
        raise DataError(f"{folder / taken[0]} exists already", "--force replaces it")
    for note in notes:
        typer.echo(note)
    for file, text in files.items():
        write_text(folder / file, text)
        typer.echo(f"Wrote {folder / file}")
    typer.echo(f"Check them, then run `pmbench data prepare local/{name} --source {folder}`")
