"""Text form of methods, data sets, backbones and records for `pmbench show`, from its JSON values."""

from __future__ import annotations

from typing import Any

import typer

from ..report.text import duration, option_text, options_text
from .tables import fields, heading, size_text, table

Values = dict[str, Any]


def _from(values: Values) -> str:
    return f"{values['distribution']} {values['version_of_distribution']}"


def show_method(values: Values) -> None:
    fields(
        [
            ("method", values["name"]),
            ("summary", values["summary"]),
            ("paper", values["paper"]),
            ("role", values["role"]),
            ("tests on", values["tests_on"]),
            ("networks at test", values["networks"]),
            ("teacher", values["teacher"] or "none"),
            ("other teachers", _teachers(values)),
            ("deviations", values["deviations"]),
            ("exempt from", [f"{check}: {why}" for check, why in values["exceptions"].items()]),
            ("from", _from(values)),
        ]
    )
    _about(values)
    if values["options"]:
        heading("Options, changed with --set name=value")
        rows = [
            (name, f"{o['type']} {o['within']}".strip(), option_text(o["default"]), o["help"])
            for name, o in values["options"].items()
        ]
        table(("option", "type", "default", "meaning"), rows)
    if spaces := [(n, o["search"]) for n, o in values["options"].items() if o["search"]]:
        heading("Search space of pmbench tune")
        table(("option", "values"), spaces)
    if values["small"]:
        heading("Values for small data, taken with --values small")
        table(("option", "value"), [(n, option_text(v)) for n, v in values["small"].items()])
    if values["deliveries"]:
        heading("Other networks that it can test")
        tested = [(options_text(d["when"]), d["tests_on"], d["networks"]) for d in values["deliveries"]]
        table(("options", "tests on", "networks"), tested)
    if values["ablations"]:
        heading("Ablations, run with --ablate")
        sets = [(row, options_text(a["options"])) for row, a in values["ablations"].items()]
        table(("row", "options"), sets)


def _teachers(values: Values) -> list[str]:
    """How the other teachers are asked for."""
    teachers = values["teachers"].items()
    return [
        f"{row}: {values['name']}[teacher={choice}]"
        for choice, row in teachers
        if choice and row != values["teacher"]
    ]


def _about(values: Values) -> None:
    if values["about"]:
        typer.echo(f"\n{values['about']}")


def show_dataset(values: Values) -> None:
    expected = {part: sum(n) if isinstance(n, list) else n for part, n in values["expected"].items()}
    classes = values["classes"]
    fields(
        [
            ("data set", f"{values['name']} (version {values['version']})"),
            ("summary", values["summary"]),
            ("classes", f"{len(classes)}: {', '.join(classes)}"),
            ("privileged", ", ".join(values["privileged"])),
            ("target", ", ".join(values["target"])),
            ("metrics", ", ".join(values["metrics"])),
            ("default protocol", values["default_protocol"]),
            ("protocols", ", ".join(values["protocols"])),
            *((f"recipe {name}", recipe_text(recipe)) for name, recipe in values["recipes"].items()),
            ("samples", ", ".join(f"{part} {n}" for part, n in expected.items())),
            ("licence", values["licence"]),
            ("source", values["source"]),
            ("citation", values["citation"]),
            ("access", values["access"]),
            ("prepared", values["prepared"]),
            ("from", _from(values)),
        ]
    )
    heading("Modalities")
    rows = [
        (
            m["name"],
            m["kind"],
            " x ".join(map(str, m["shape"])),
            m["unit"],
            m["grid"],
            values["backbones"].get(m["name"], "-"),
        )
        for m in values["modalities"]
    ]
    table(("modality", "kind", "shape", "unit", "grid", "default backbone"), rows)
    heading("Splits")
    splits = values["splits"].items()
    table(
        ("split", "train", "validation", "test"),
        [(name, s["train"], s["validation"] or _carved(s), s["test"]) for name, s in splits],
    )
    if counts := values.get("counts"):
        from ..data.carve import counts_table

        heading("Samples")
        header, *lines = counts_table(counts, classes)
        table(header, lines, right=header[1:])
    if notes := [*values.get("notes", ()), *([values["duplicates"]] if values.get("duplicates") else [])]:
        heading("Notes")
        for note in notes:
            typer.echo(note)
    _about(values)


def _carved(split: Values) -> str:
    groups = ", ".join(split["validation_groups"])
    return f"from train: groups {groups}" if groups else "from train, by a fixed hash"


def recipe_text(recipe: Values) -> str:
    """The fields of a recipe, without those of other optimizers and schedules."""
    hidden: Values = {"clip": 0.0, "warmup": 0.0, "milestones": ()}
    if recipe["schedule"] != "step":
        hidden["gamma"] = recipe["gamma"]
    unused = "beta1" if recipe["optimizer"] == "sgd" else "momentum"
    hidden[unused] = recipe[unused]
    return ", ".join(f"{n} {value}" for n, value in recipe.items() if hidden.get(n, ...) != value)


def show_backbone(values: Values) -> None:
    fields(
        [
            ("backbone", values["name"]),
            ("summary", values["summary"]),
            ("accepts", ", ".join(values["kinds"])),
            ("provides", ", ".join(values["provides"])),
            ("size", values["size"]),
            (
                "pretrained weights",
                [f"{name}: {url}" for name, url in values["weights"].items()],
            ),
            ("from", _from(values)),
        ]
    )


BLOCKS = "▁▂▃▄▅▆▇█"
MOST_CLASSES = 12
"""Classes whose recall is shown one by one."""


def _recalls(classes: list[Values]) -> str:
    """`walking: 79.4, sitting: 83.9`; of many classes, the lowest ones."""
    text = ", ".join(f"{c['name']}: {c['recall']:.1f}" for c in classes[:MOST_CLASSES])
    if len(classes) <= MOST_CLASSES:
        return text
    lowest = sorted(classes, key=lambda c: (c["recall"], c["class"]))[: MOST_CLASSES // 2]
    return f"lowest of {len(classes)}: " + ", ".join(f"{c['name']}: {c['recall']:.1f}" for c in lowest)


def _validation(validation: Values) -> str:
    """The curve in a line, and the rule that chose the checkpoint."""
    curve = validation["curve"]
    if not curve:
        return str(validation["rule"])
    low, high = min(curve), max(curve)
    marks = "".join(BLOCKS[round((v - low) / ((high - low) or 1.0) * (len(BLOCKS) - 1))] for v in curve[:60])
    flat = {True: "", False: ", not flat at the end", None: ""}[validation["flat"]]
    return f"{validation['rule']}: {low:.1f} to {high:.1f}, {marks}{flat}"


def show_record(values: Values) -> None:
    cell, cost, validation = values["cell"], values["cost"], values["validation"]
    where = values["provenance"]
    commit = where["git_commit"]
    fields(
        [
            ("record", values["file"]),
            ("cell", f"{cell['method']} on {cell['dataset']} {cell['protocol']}, seed {cell['seed']}"),
            ("options", ", ".join(f"{name}={value}" for name, value in cell["options"].items())),
            ("status", values["status"] + (f": {values['reason']}" if values["reason"] else "")),
            ("tested on", ", ".join(cell["test_modalities"])),
            ("privileged", ", ".join(cell["privileged"])),
            ("backbones", ", ".join(f"{m}: {b}" for m, b in cell["backbones"].items())),
            ("recipe", cell["recipe_set"]),
            ("metrics", [f"{name} {value:.2f}" for name, value in values["metrics"].items()]),
            ("recall by class", _recalls(values["classes"])),
            ("validation", validation and _validation(validation)),
            ("training", cost and f"{duration(cost['train_seconds'])}, {cost['steps']} steps"),
            ("parameters", cost and cost["parameters"]),
            ("buffers", cost and cost["buffers"]),
            ("memory", cost and cost["peak_bytes"] and size_text(cost["peak_bytes"])),
            ("sealed", "yes" if values["sealed"] else "no"),
            ("deviations", values["deviations"]),
            (
                "run",
                f"{where['date']}, pmbench {where['pmbench']}, torch {where['torch']}, {where['device']}",
            ),
            ("commit", commit and commit[:12] + (", with changes" if where["git_dirty"] else "")),
            ("isolation", where["isolation"]),
            ("command", " ".join(where["command"])),
        ]
    )
    if values["stages"]:
        heading("Stages")
        rows = [
            (
                s["key"][:12],
                s["stage"],
                ", ".join(s["reads"]),
                s["epochs"],
                s["selected_epoch"],
                _stage_result(s),
                duration(s["seconds"]),
                "reused" if s["reused"] else "trained",
            )
            for s in values["stages"]
        ]
        table(
            ("key", "stage", "reads", "epochs", "selected", "validation", "took", "was"),
            rows,
            right=("epochs", "selected", "validation", "took"),
        )


def _stage_result(stage: dict[str, Any]) -> str:
    """The validation result of a stage, with a note if it is near chance."""
    if stage["validation"] is None:
        return "-"
    return f"{stage['validation']:.2f}" + (", near chance" if stage["near_chance"] else "")
