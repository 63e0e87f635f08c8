"""Results and data in the forms of others, for `pmbench export --as`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .common import print_json
from .tables import size_text

if TYPE_CHECKING:
    from ..contracts.dataset import Dataset
    from ..report.record import Record

FORMS = ("model", "hf", "croissant", "eee", "predictions")


def write_croissant(dataset: Dataset, data: Path, to: Path, json_: bool) -> None:
    """Writes `to/croissant.json` of a prepared data set."""
    from ..data.prepared import open_prepared
    from ..errors import plural
    from ..files import write_json
    from ..run.exports.croissant import croissant

    prepared = open_prepared(dataset, data)
    metadata, file = croissant(prepared), to / "croissant.json"
    write_json(file, metadata)
    if json_:
        print_json({"file": str(file), "metadata": metadata})
        return
    typer.echo(f"{file}: {plural(len(metadata['distribution']), 'file')} of {dataset.name}")
    typer.echo(f"Its paths start in the folder of the prepared data, {prepared.folder}")


def write_logs(records: Sequence[Record], owner: str, to: Path, json_: bool) -> None:
    """Writes a log of Every Eval Ever for each record."""
    from ..errors import UsageError, plural
    from ..plugins import survey
    from ..run.exports import eee

    if not owner:
        raise UsageError("--as eee needs --owner", "name the organization that has evaluated, as in its logs")
    written = eee.write_logs(records, survey().dataset(records[0].cell.dataset), owner, to)
    if json_:
        print_json({"files": [*map(str, written)]})
    else:
        typer.echo(f"{to}: {plural(len(written), 'log')} of {records[0].cell.method}, one for each seed")


def write_predictions(results: Path, to: Path, dataset: str, protocol: str, json_: bool) -> None:
    """Writes a file of logits for each row of a folder of results."""
    from ..errors import plural
    from ..run.exports.predictions import pack

    written = pack(results, to, dataset, protocol)
    exact = {str(one.path): list(one.exact) for one in written if one.exact}
    if json_:
        print_json({"files": [str(one.path) for one in written], "float32": exact})
        return
    size = sum(one.path.stat().st_size for one in written)
    typer.echo(f"{to}: {plural(len(written), 'file')}, {size_text(size)}")
    for path, columns in exact.items():
        typer.echo(f"{path}: float16 would change classes of {', '.join(columns)}, which are float32")
