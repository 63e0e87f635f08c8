"""`pmbench show`: details of a method, data set, backbone, stored stage or cell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DEFAULT_OUT, DataOption, JsonOption, StoreOption, data_folder, print_json, store_folder

if TYPE_CHECKING:
    from ..plugins import Offer, Registry
    from ..report.cell import CellInfo

KINDS = ("method", "dataset", "backbone", "stage", "record")
_NAMES = {"dataset": "data set", "stage": "stored stage"}


@dataclass(frozen=True)
class Found:
    """One meaning of a name: `values` returns its JSON values, `lines` prints them."""

    kind: str
    values: Callable[[], dict[str, Any]]
    lines: Callable[[dict[str, Any]], None]


def register(app: typer.Typer) -> None:
    app.command()(show)


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A name, the first digits of a stage's key, or a cell: its file, the first digits of its "
            "key, or the end of its path, such as kd-s0 or hapt/few-10/cnn1d-8/kd-s0."
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help=f"{', '.join(KINDS)}; for a name with several meanings.", show_default=False
        ),
    ] = "",
    records: Annotated[
        Path, typer.Option("--records", metavar="DIR", help="Folder of records, for cells.")
    ] = DEFAULT_OUT / "records",
    store: StoreOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Show a method or a variant of it, a data set, backbone, stored stage or cell."""
    from ..errors import UnknownName, UsageError
    from ..plugins import survey
    from .cards import show_record

    if kind and kind not in KINDS:
        raise UnknownName("kind", kind, KINDS)
    registry = survey()
    found = _find(name, registry, store_folder(store), data_folder(data))
    found += [
        Found("record", partial(_record, path, registry, data), show_record) for path in cells(records, name)
    ]
    found = [f for f in found if kind in ("", f.kind)]
    if not found:
        raise _unknown(name, kind, registry, records)
    if len(found) > 1:
        if all(f.kind == "record" for f in found):
            paths = [str(path) for path in cells(records, name)]
            raise UsageError(f"{name!r} is the name of {len(found)} cells", f"name one of {', '.join(paths)}")
        kinds = [_NAMES.get(f.kind, f.kind) for f in found]
        raise UsageError(
            f"{name!r} is the name of a {' and of a '.join(kinds)}",
            f"choose one: {', '.join(f'--kind {f.kind}' for f in found)}",
        )
    values = found[0].values()
    if json_:
        print_json({"kind": found[0].kind, **values})
    else:
        found[0].lines(values)


def _find(name: str, registry: Registry, store: Path, data: Path) -> list[Found]:
    from .cards import show_backbone, show_dataset, show_method

    if name.endswith("]"):
        return [Found("method", partial(_variant, name, registry), show_method)]

    found = []
    for kind, lines in (("method", show_method), ("dataset", show_dataset), ("backbone", show_backbone)):
        if registry.has(kind, name):
            found.append(Found(kind, partial(_offered, registry, kind, name, data), lines))
    if re.fullmatch(r"[0-9a-f]{4,64}", name):
        from ..store.store import Store
        from .stored import one_key, show_stage, stage_values

        if Store(store).find(name):
            found.append(
                Found("stage", lambda: stage_values(Store(store), one_key(Store(store), name)), show_stage)
            )
    return found


def cells(folder: Path, name: str) -> list[Path]:
    """Files of the records that a name means: a file, the end of a path in `folder`, or digits of a key."""
    if name.endswith(".json") and Path(name).is_file():
        return [Path(name)]
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    parts = Path(name.removesuffix(".json")).parts
    found = [f for f in files if f.with_suffix("").parts[-len(parts) :] == parts] if parts else []
    if not found and re.fullmatch(r"[0-9a-f]{4,64}", name):
        found = [f for f in files if f'"cell_key": "{name}' in f.read_text("utf-8", "replace")]
    return found


def _unknown(name: str, kind: str, registry: Registry, records: Path) -> Exception:
    from ..errors import UnknownName, UsageError

    if kind in ("stage", "record"):
        hint = (
            "`pmbench store list` shows stages" if kind == "stage" else "records are files that end in .json"
        )
        return UsageError(f"{name!r} is not a {_NAMES.get(kind, kind)}", hint)
    known = {n for k in registry.offers if kind in ("", k) for n in registry.offers[k]}
    if "/" in name and not kind:
        known |= {f.relative_to(records).with_suffix("").as_posix() for f in records.rglob("*.json")}
    hint = "`pmbench list` shows all names, `pmbench store list` the keys of stored stages"
    if registry.broken:
        hint += f"; not loaded: {', '.join(b.distribution for b in registry.broken)} (`pmbench plugins`)"
    what = _NAMES.get(kind, kind) if kind else "name"
    unknown = UnknownName(what, name, known, hint)
    if "did you mean" in unknown.message:
        return unknown
    return UsageError(
        f"{name!r} is not a {'method, data set, backbone, stored stage or cell' if not kind else what}", hint
    )


def _offered(registry: Registry, kind: str, name: str, data: Path) -> dict[str, Any]:
    from ..errors import PluginError
    from ..tracebacks import error_text
    from .describe import DESCRIBE

    offer = registry.offer(kind, name)
    if kind == "dataset" and "/" in name:
        from ..data.prepared import open_prepared

        prepared = open_prepared(offer.value, data)
        counts = prepared.class_counts(prepared.dataset.splits[prepared.dataset.default_split])
        return {
            **DESCRIBE[kind](prepared.dataset),
            "prepared": _prepared(offer, data),
            "notes": prepared.notes,
            "duplicates": prepared.duplicates,
            "counts": {part: found.tolist() for part, found in counts.items()},
            "distribution": offer.distribution,
            "version_of_distribution": offer.version,
        }
    try:
        values = DESCRIBE[kind](offer.value)
    except Exception as error:
        raise PluginError(
            f"the declarations of {_NAMES.get(kind, kind)} {name!r} ({offer.distribution} {offer.version}) "
            f"raise {error_text(error)}",
            "this is a defect of the plugin; --debug shows where",
        ) from error
    if kind == "dataset":
        values["prepared"] = _prepared(offer, data)
    return {**values, "distribution": offer.distribution, "version_of_distribution": offer.version}


def _variant(text: str, registry: Registry) -> dict[str, Any]:
    """Values of a method whose defaults are the options of a variant."""
    from ..contracts.options import split_variant
    from .describe import DESCRIBE

    name, options = split_variant(text)
    offer = registry.offer("method", name)
    values = DESCRIBE["method"](offer.value.but(**offer.value.parse(options)))
    return {**values, "distribution": offer.distribution, "version_of_distribution": offer.version}


def _prepared(offer: Offer, data: Path) -> str:
    from .data import state_of

    state = state_of(offer.value, data)
    return f"{state.text}: {state.folder}" if state.folder else state.text


def _record(path: Path, registry: Registry, data: Path | None) -> dict[str, Any]:
    from ..report.pairs import recalls
    from ..report.record_files import read_record

    record = read_record(path)
    names = class_names(record.cell, registry, data_folder(data))
    values = record.model_dump(mode="json", exclude={"samples"})
    classes = [{"name": names[int(found["class"])], **found} for found in recalls(record)]
    return {"file": str(path), **values, "classes": classes}


def class_names(cell: CellInfo, registry: Registry, data: Path) -> list[str]:
    """Names of the classes of a cell's data set; their numbers where this version of it is not installed."""
    from ..data.prepared import open_prepared
    from ..errors import PmbenchError

    try:
        dataset = registry.offer("dataset", cell.dataset).value
        if "/" in cell.dataset:
            dataset = open_prepared(dataset, data).dataset
    except PmbenchError:
        return list(map(str, range(cell.num_classes)))
    same = (dataset.version, len(dataset.classes)) == (cell.dataset_version, cell.num_classes)
    return list(map(str, dataset.classes if same else range(cell.num_classes)))
