"""`pmbench export` and `pmbench predict`: models for use outside of pmbench."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..processes import cores
from .common import (
    DEFAULT_OUT,
    DataOption,
    JsonOption,
    SharedStoreOption,
    StoreOption,
    data_folder,
    open_store,
    print_json,
)

if TYPE_CHECKING:
    from ..report.record import Record
    from ..store.store import Store


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(predict)


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="METHOD|RECORD|DATASET|RESULTS",
            help="A method, or a record's file; a data set for croissant, a folder of results for "
            "predictions.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write to; new for a model.")],
    as_: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="FORM",
            help="model; hf: with a card for Hugging Face; croissant: metadata of a prepared data set; "
            "eee: logs of Every Eval Ever; predictions: logits of all seeds in a small file for each row.",
        ),
    ] = "model",
    results: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the run's results.")
    ] = DEFAULT_OUT,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Its data set.", show_default=False)] = "",
    protocol: Annotated[str, typer.Option("--protocol", "-p", help="Its protocol.", show_default=False)] = "",
    seed: Annotated[
        int | None, typer.Option(help="Its seed. [the best one on validation data]", show_default=False)
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="pt2 (torch), or onnx.")] = "pt2",
    owner: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="eee: the organization that evaluates; hf: the owner of the data set on the Hub.",
            show_default=False,
        ),
    ] = "",
    store: StoreOption = None,
    shared_store: SharedStoreOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a trained model with a card and a script, or results and data in the forms of others."""
    from ..errors import UnknownName, UsageError
    from ..plugins import survey
    from .exports import FORMS, write_croissant, write_logs, write_predictions

    if as_ not in FORMS:
        raise UnknownName("form", as_, FORMS)
    if owner and (as_ not in ("hf", "eee") or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", owner)):
        raise UsageError(
            f"--owner {owner} with --as {as_}", "--as hf and --as eee take a name of letters, digits and _.-"
        )
    if as_ == "predictions":
        write_predictions(Path(what), to, dataset, protocol, json_)
    elif as_ == "croissant":
        write_croissant(survey().dataset(what), data_folder(data), to, json_)
    elif as_ == "eee":
        records = _records(what, results, dataset, protocol, seed)
        write_logs(records if seed is None else records[:1], owner, to, json_)
    else:
        records = _records(what, results, dataset, protocol, seed)
        _model(
            records,
            results,
            to,
            format_,
            owner if as_ == "hf" else None,
            open_store(store, shared_store),
            data,
            json_,
        )


def _records(what: str, results: Path, dataset: str, protocol: str, seed: int | None) -> list[Record]:
    """The records of a method, or the one in a file: first the chosen one, then those of other seeds."""
    from ..errors import UsageError
    from ..report.record_files import read_record
    from ..run.model import choose, other_seeds

    if not what.endswith(".json"):
        return choose(results / "records", what, dataset, protocol, seed)
    path = Path(what)
    record = read_record(path)
    if record.status != "done":
        raise UsageError(
            f"{path} is the record of a cell that is {record.status}; expected one with a result",
            "choose another cell, or run it again",
        )
    return [record, *other_seeds(results / "records", record)]


def _model(
    records: list[Record],
    results: Path,
    to: Path,
    format_: str,
    owner: str | None,
    store: Store,
    data: Path | None,
    json_: bool,
) -> None:
    """Writes a model; with metadata for Hugging Face if there is an owner, which may be empty."""
    from ..data.prepared import open_prepared
    from ..errors import UnknownName
    from ..plugins import survey
    from ..run.exports.hub import write_card
    from ..run.model import FORMATS, export_model

    if format_ not in FORMATS:
        raise UnknownName("format", format_, FORMATS)
    cell = records[0].cell
    prepared = open_prepared(survey().dataset(cell.dataset), data_folder(data))
    predictions = _predictions(records[0].digests.predictions if records[0].digests else "", results)
    card = export_model(records, prepared, store, predictions, to, format_)
    if owner is not None:
        write_card(to, card, records[0], owner)
    if json_:
        print_json(card)
        return
    typer.echo(
        f"{to}: {card['method']} on {card['dataset']} {card['protocol']}, seed {card['seed']}, "
        f"{card['metric']} {card['value']:.2f}; repeats the stored predictions"
    )
    typer.echo(f"Next: `pmbench predict {to} FILES...`, or `python {to}/infer.py INPUT.npy ...`")


def _predictions(digest: str, results: Path) -> Path:
    """The file of predictions with this digest below the results of a run."""
    from ..errors import DataError
    from ..files import file_digest

    for path in sorted((results / "predictions").rglob("*.parquet")):
        if file_digest(path) == digest:
            return path
    raise DataError(
        f"{results} does not hold the predictions of this record", "name the folder of the run with --out"
    )


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `pmbench export` wrote.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Recordings, one file each.")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="CSV with a column of paths for each input of the model."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="CSV to write. [standard output]")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes that decode files.")
    ] = None,
) -> None:
    """Classify new recordings with an exported model, read and sampled as in training, to CSV."""
    from ..errors import UsageError
    from ..files import write_text
    from ..plugins import survey
    from ..run.predict import predict as run
    from ..run.predict import read_card

    card = read_card(model)
    inputs = [one["name"] for one in card["inputs"]]
    if bool(files) == (table is not None):
        raise UsageError("no recordings were given; expected files or a table", "give FILES, or --table FILE")
    if files and len(inputs) > 1:
        raise UsageError(
            f"the model takes {' and '.join(inputs)} of each recording",
            f"give a --table with the columns {', '.join(inputs)}",
        )
    rows = [[path] for path in files or ()] if table is None else _rows(table, inputs)
    shares = run(model, rows, survey(), workers=cores() if workers is None else workers)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*inputs, "class", "probability", *(f"p({name})" for name in card["classes"])])
    for row, of_classes in zip(rows, shares, strict=True):
        best = int(of_classes.argmax())
        numbers = [f"{share:.6f}" for share in of_classes]
        writer.writerow([*map(str, row), card["classes"][best], numbers[best], *numbers])
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_text(out, text.getvalue())
        typer.echo(f"Wrote {out}")


def _rows(table: Path, inputs: list[str]) -> list[list[Path]]:
    from ..errors import DataError

    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{table} cannot be read: {error}; expected a CSV file", f"its columns are {', '.join(inputs)}"
        ) from error
    if not lines or any(name not in lines[0] for name in inputs):
        raise DataError(
            f"{table} has no rows with the columns {', '.join(inputs)}",
            "name the columns in its first line; each further line is a recording",
        )
    return [[table.parent / str(line[name]) for name in inputs] for line in lines]
