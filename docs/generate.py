"""Writes the reference pages from the code: `uv run --group docs python docs/generate.py FOLDER`.

`pages()` gives path -> text, for the site's `conf.py` and for tests. `undocumented()` lists what has no text.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

import pmbench
from pmbench.cli.app import app
from pmbench.cli.describe import (
    backbone_values,
    dataset_values,
    method_values,
    protocols_of,
)
from pmbench.contracts import hooks
from pmbench.plugins import Registry, load_plugins
from pmbench.report.record import Record

CONTRACTS = (
    "Setting", "Method", "Ablation", "Options", "Stage", "Bench", "Batch", "Step", "Group", "Recipe",
    "Setup", "Dataset", "Split", "Part", "Files", "Download", "Sampling", "AugmentRng", "CropParams",
    "Modality", "ModalityKind", "Backbone", "BackboneFamily", "Pretrained", "Weights", "Metric",
    "Evidence", "Published", "Epoch",
)  # fmt: skip
"""Contracts of plugins, in reading order."""
NETWORKS = (
    "Encoder", "MapInfo", "Head", "Classifier", "Fusion", "Joint", "Mean", "Frozen", "Nets", "Output",
    "Stream", "Supervised", "EarlyFusion", "LateFusion", "JointLateFusion", "TeacherStudent", "Distill",
    "DistillOptions", "PseudoLabel", "PseudoLabelOptions",
)  # fmt: skip


def pages(registry: Registry | None = None) -> dict[str, str]:
    """Path below the reference folder -> text of each page."""
    found = registry or load_plugins()
    return {
        "cli.md": _cli(),
        "hooks.md": _hooks(),
        "contracts.md": _classes("Contracts", CONTRACTS),
        "networks.md": _classes("Networks and stages", NETWORKS),
        "functions.md": _functions(),
        "records.md": _records(),
        "metrics.md": _metrics(found),
        "methods.md": _methods(found),
        "datasets.md": _datasets(found),
        "backbones.md": _backbones(found),
        "protocols.md": _protocols(found),
    }


def undocumented() -> list[str]:
    """Commands, options, hooks and members of contracts without a text of their own."""
    missing = [f"command {' '.join(path)}" for path, command in commands() if not command.help]
    for path, command in commands():
        for parameter in command.params:
            if not getattr(parameter, "help", None) and parameter.name != "help":
                missing.append(f"{' '.join(path)} {parameter.opts[0]}")
    missing += [f"hook {name}" for name, hook in hook_functions() if not inspect.getdoc(hook)]
    for name in CONTRACTS:
        missing += [f"pm.{name}.{member}" for member, text in members(getattr(pmbench, name)) if not text]
    return missing


# --- text ---------------------------------------------------------------------------------------------------


def prose(text: str | None) -> str:
    """A docstring as markdown: marks outside of code are escaped, examples and indented lines are code."""
    parts: list[str] = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text or "").strip()):
        lines = block.splitlines()
        if lines and lines[0].startswith(">>>"):
            parts.append("```python\n" + block + "\n```")
        elif lines and all(line.startswith("    ") for line in lines):
            parts.append("```text\n" + textwrap.dedent(block) + "\n```")
        else:
            parts.append("\n".join(map(escaped, lines)))
    return "\n\n".join(parts)


def escaped(line: str) -> str:
    """A line whose marks outside of backticks are literal."""
    pieces = line.split("`")
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"([*_<>\[\]{}|$~])", r"\\\1", pieces[i])
    return "`".join(pieces)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table of cells that are markdown already."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def code(value: object) -> str:
    """A value as code."""
    return f"`{value}`" if str(value) != "" else ""


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


# --- command line -------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of each command of the command line."""

    def walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        children = getattr(command, "commands", {})
        if not children:
            yield path, command
        for name, child in children.items():
            yield from walk((*path, name), child)

    yield from walk(("pmbench",), typer.main.get_command(app))


def _cli() -> str:
    parts = [
        "Exit codes: 0 done, 1 failed, 2 invalid arguments, 3 nothing to run, 130 after SIGINT, 143 after "
        "SIGTERM. `--debug` before or after a command shows the traceback of an error.",
    ]
    for path, command in commands():
        parts += [f"## {' '.join(path)}", prose(command.help)]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        if arguments:
            rows = [(code(p.metavar or p.name.upper()), escaped(p.help or "")) for p in arguments]
            parts.append(table(("argument", "meaning"), rows))
        if options:
            rows = [(_option(p), escaped(p.help or "") + _environment(p)) for p in options]
            parts.append(table(("option", "meaning"), rows))
    return page("Command line", *parts)


def _option(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.strip('_').upper()}"
    return code(names + value)


def _environment(parameter: Any) -> str:
    return f" Environment: `{parameter.envvar}`." if parameter.envvar else ""


# --- hooks and contracts ------------------------------------------------------------------------------------


def hook_functions() -> list[tuple[str, Any]]:
    found = inspect.getmembers(hooks, inspect.isfunction)
    return [(name, hook) for name, hook in found if name.startswith("pmbench_")]


def _hooks() -> str:
    parts = ["A plugin implements hooks with `@pm.hookimpl`; [Writing plugins](../plugins.md) explains how."]
    for name, hook in hook_functions():
        parts += [
            f"## {name}",
            f"```python\n{name}{inspect.signature(hook)}\n```",
            prose(inspect.getdoc(hook)),
        ]
    return page("Hooks", *parts)


def members(cls: type) -> list[tuple[str, str]]:
    """(name, text) of the public members that a class defines: methods, properties and attributes.

    The text of an attribute is the string below it, or the sentence of the class that names it.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    about, found = inspect.getdoc(cls) or "", {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            below = after.value.value if _is_text(after) else ""
            found[name] = below or _option_help(cls, name) or _sentence_on(name, about)
        elif isinstance(node, ast.FunctionDef):
            member = inspect.getattr_static(cls, node.name)
            text = inspect.getdoc(getattr(member, "__func__", member)) or _sentence_on(node.name, about)
            found[node.name] = text.partition("\n\n")[0]
    return [(name, text) for name, text in found.items() if not name.startswith("_")]


def _option_help(cls: type, name: str) -> str:
    """The help of a field made by `pm.option`."""
    field = getattr(cls, "__dataclass_fields__", {}).get(name)
    return field.metadata.get("help", "") if field else ""


def _is_text(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _sentence_on(name: str, text: str) -> str:
    """The sentence that names a member in backticks, or has its name as a word."""
    sentences = re.split(r"(?<=[.;:])\s+", " ".join(text.split()))
    for pattern in (rf"`{name}\b", rf"\b{name}\b"):
        for sentence in sentences:
            if re.search(pattern, sentence):
                return sentence
    return ""


def _classes(title: str, names: Sequence[str]) -> str:
    parts = ["Names of `import pmbench as pm`."]
    for name in names:
        cls = getattr(pmbench, name)
        bases = [base.__name__ for base in cls.__bases__ if base.__module__.startswith("pmbench")]
        parts += [
            f"## {name}",
            f"Extends {', '.join(map(code, bases))}." if bases else "",
            prose(inspect.getdoc(cls)),
        ]
        rows = [(code(member + _arguments(cls, member)), escaped(text)) for member, text in members(cls)]
        if rows:
            parts.append(table(("member", "meaning"), rows))
    return page(title, *parts)


def _arguments(cls: type, name: str) -> str:
    """`(batch, rng)` of a method, nothing for properties and attributes."""
    member = inspect.getattr_static(cls, name, None)
    function = getattr(member, "__func__", member)
    if not inspect.isfunction(function):
        return ""
    names = [
        {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
        for p in inspect.signature(function).parameters.values()
        if p.name not in ("self", "cls")
    ]
    return f"({', '.join(names)})"


def _functions() -> str:
    known = {*CONTRACTS, *NETWORKS}
    parts = ["Names of `import pmbench as pm`."]
    for name in pmbench.__all__:
        value = getattr(pmbench, name)
        if name in known or name in ("__version__", "media", "Terms", "TEACHERS", "Bench"):
            continue
        if inspect.isclass(value):
            parts += [f"## {name}", prose(inspect.getdoc(value))]
        elif callable(value):
            shown = inspect.getdoc(value.__call__) if inspect.ismodule(value) else inspect.getdoc(value)
            parts += [f"## {name}", f"```python\n{_call(name, value)}\n```", prose(shown)]
    return page("Functions and errors", *parts)


def _call(name: str, function: Any) -> str:
    """`name(first, second=1)` without annotations, in lines of 100 characters."""
    shown = []
    for p in inspect.signature(function).parameters.values():
        mark = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={p.default!r}"
        if p.kind is p.KEYWORD_ONLY and "*" not in shown and not any(s.startswith("*") for s in shown):
            shown.append("*")
        shown.append(f"{mark}{p.name}{default}")
    return textwrap.fill(f"{name}({', '.join(shown)})", 100, subsequent_indent=" " * (len(name) + 1))


# --- records ------------------------------------------------------------------------------------------------


def _records() -> str:
    schema = Record.model_json_schema()
    parts = [
        "A record is the outcome of one cell, a JSON file that `pmbench run` writes. It is strict: unknown "
        "fields and values of another type are refused.",
        "## Record",
        prose(schema.get("description")),
        _fields(schema),
    ]
    for name, inner in sorted(schema["$defs"].items()):
        if inner.get("properties"):
            parts += [f"## {name}", prose(inner.get("description")), _fields(inner)]
    return page("Records", *parts)


def _fields(schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", [])
    rows = [
        (code(name), escaped(_type(value)), "yes" if name in needed else "no")
        for name, value in schema["properties"].items()
    ]
    return table(("field", "type", "required"), rows)


def _type(value: Mapping[str, Any]) -> str:
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(one) for one in value["anyOf"]))
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2]
    if "enum" in value:
        return " or ".join(repr(one) for one in value["enum"])
    if "const" in value:
        return repr(value["const"])
    kind = value.get("type", "any")
    if kind == "array":
        return f"list of {_type(value['items'])}" if value.get("items") else "list"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"object of {_type(value['additionalProperties'])}"
    low, high = value.get("minimum"), value.get("maximum")
    bounds = "" if low is None and high is None else f", {'' if low is None else f'{low:g}'} to "
    return kind + (bounds and f"{bounds}{'' if high is None else f'{high:g}'}".rstrip())


# --- what is installed --------------------------------------------------------------------------------------


def _offers(registry: Registry, kind: str) -> list[Any]:
    return [offer for name in sorted(registry.offers[kind]) for offer in registry.offers[kind][name]]


def _metrics(registry: Registry) -> str:
    rows = []
    for name in registry.names("metric"):
        metric = registry.metric(name)
        best = "higher" if metric.higher_is_better else "lower"
        about = (inspect.getdoc(metric.of_counts or metric.function) or "").partition("\n\n")[0]
        rows.append((code(name), escaped(metric.title), code(metric.needs), best, escaped(about)))
    return page("Metrics", table(("metric", "title", "needs", "better", "meaning"), rows))


def _methods(registry: Registry) -> str:
    parts = ["Options are set with `--set name=value`, or in the name of a variant: `kd[temperature=2]`."]
    for offer in _offers(registry, "method"):
        values = method_values(offer.value)
        parts += [f"## {offer.name}", f"{escaped(values['summary'])}.", escaped(values["about"])]
        facts = [
            ("from", code(offer.distribution)),
            ("paper", escaped(values["paper"])),
            ("role", values["role"]),
        ]
        facts += [("teacher", code(values["teacher"] or "")), ("tests on", values["tests_on"])]
        parts.append(table(("", ""), [fact for fact in facts if fact[1]]))
        if values["options"]:
            rows = [
                (
                    *(code(name), escaped(o["type"]), code(o["default"]), code(o["within"])),
                    *(code(o["search"]), escaped(o["help"])),
                )
                for name, o in values["options"].items()
            ]
            parts.append(table(("option", "type", "default", "within", "search", "meaning"), rows))
        if values["deviations"]:
            parts.append("Deviations from the paper:")
            parts.append("\n".join(f"- {escaped(text)}" for text in values["deviations"]))
        if values["ablations"]:
            rows = [(code(row), code(_pairs(found["options"]))) for row, found in values["ablations"].items()]
            parts.append(table(("ablation", "options"), rows))
        if values["small"]:
            parts.append(f"Values for small data (`--values small`): {code(_pairs(values['small']))}.")
    return page("Methods", *parts)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _datasets(registry: Registry) -> str:
    parts = []
    for offer in _offers(registry, "dataset"):
        values = dataset_values(offer.value)
        parts += [f"## {offer.name}", f"{escaped(values['summary'])}.", prose(values["about"])]
        if not values["modalities"]:
            continue
        facts = [
            ("from", code(offer.distribution)),
            ("classes", escaped(f"{len(values['classes'])}: {', '.join(map(str, values['classes'][:12]))}")),
            ("target", ", ".join(map(code, values["target"]))),
            ("privileged", ", ".join(map(code, values["privileged"]))),
            ("default protocol", code(values["default_protocol"])),
            ("metrics", ", ".join(map(code, values["metrics"]))),
            ("licence", escaped(values["licence"])),
            ("source", escaped(values["source"])),
            ("citation", escaped(values["citation"])),
            ("data", "embedded" if values["embedded"] else escaped(values["access"] or "your download")),
        ]
        parts.append(table(("", ""), facts))
        rows = [
            (code(m["name"]), m["kind"], "x".join(map(str, m["shape"])), escaped(m["unit"]),
             code(values["backbones"].get(m["name"], "")))
            for m in values["modalities"]
        ]  # fmt: skip
        parts.append(table(("modality", "kind", "shape", "unit", "backbone"), rows))
    return page("Data sets", *parts)


def _backbones(registry: Registry) -> str:
    found = [*_offers(registry, "backbone"), *(f for fs in registry.families.values() for f in fs)]
    rows = []
    for offer in found:
        values = backbone_values(offer.value)
        weights = ", ".join(map(code, values["weights"]))
        rows.append(
            (code(offer.name), ", ".join(values["kinds"]), ", ".join(values["provides"]), weights,
             code(offer.distribution), escaped(values["summary"]))
        )  # fmt: skip
    return page("Backbones", table(("backbone", "kinds", "provides", "weights", "from", "summary"), rows))


def _protocols(registry: Registry) -> str:
    parts = [
        "Protocols are values: parts are joined with `+`, `@modality` gives the other direction "
        "([glossary](../glossary.md)). Listed are those worth a name; a data set takes more.",
    ]
    for offer in _offers(registry, "dataset"):
        rows = []
        for values in protocols_of(offer.value) if offer.value.modalities else ():
            labels = values["labels_per_class"]
            kept = "all" if labels is None else f"{labels} a class"
            shown = code(values["name"]) + (" (default)" if values["default"] else "")
            setting = f"{', '.join(values['target'])} ← {', '.join(values['privileged'])}"
            rows.append((shown, escaped(setting), kept, ", ".join(map(code, values["metrics"]))))
        if rows:
            parts += [
                f"## {offer.name}",
                table(("protocol", "target ← privileged", "labels", "metrics"), rows),
            ]
    return page("Protocols", *parts)


def write(folder: Path) -> None:
    """Writes the pages that have changed below `folder`."""
    for path, text in pages().items():
        file = folder / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "reference"))
