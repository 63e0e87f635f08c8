"""A distribution with one method, data set or backbone, as files."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from ..errors import UnknownName, UsageError
from ..files import check_writable, write_text

KINDS = {"method": "method", "dataset": "data set", "backbone": "backbone"}
"""Kinds of plugins with their name in a sentence."""
LONGEST = 40
TEMPLATES = Path(__file__).parent / "templates"
_FILES = {
    "pyproject.toml.jinja": "pyproject.toml",
    "README.md.jinja": "README.md",
    "gitignore.jinja": ".gitignore",
    "ci.yml.jinja": ".github/workflows/test.yml",
    "test.py.jinja": "tests/test_{name}.py",
    "module.py.jinja": "src/pmbench_{name}/__init__.py",
    "networks.py.jinja": "src/pmbench_{name}/networks.py",
}


def distribution_of(name: str) -> str:
    """The distribution that offers `name`: `pmbench-my-method` for `my_method`."""
    return f"pmbench-{name.replace('_', '-')}"


def write_plugin(kind: str, name: str, folder: Path, version: str) -> list[Path]:
    """Writes the distribution of `name` into the new `folder`, for pmbench `version`; returns its files.

    Raises UsageError for a name that is no identifier and for a folder that has content.
    """
    check_name(kind, name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists already; expected a new folder", "choose another name, or a folder with --to"
        )
    values = {
        "kind": kind,
        "what": KINDS[kind],
        "name": name,
        "distribution": distribution_of(name),
        "camel": "".join(part.capitalize() for part in name.split("_")),
        "offer": f"{name}-16" if kind == "backbone" else name,
        "contract": _contract(version),
    }
    texts = _rendered(kind, values)
    check_writable(folder)
    for path, text in texts.items():
        write_text(folder / path, text)
    return [folder / path for path in texts]


def check_name(kind: str, name: str) -> None:
    """Raises UsageError unless `name` can name a plugin and its module."""
    if kind not in KINDS:
        raise UnknownName("plugin kind", kind, KINDS)
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or "__" in name or len(name) > LONGEST:
        better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:LONGEST].strip("_")
        raise UsageError(
            f"{name!r} cannot name a {KINDS[kind]}; expected 2 to {LONGEST} lower-case letters, digits and "
            "single underscores, with a letter first",
            f"for example `pmbench new {kind} {better if len(better) > 1 else 'my_' + kind}`",
        )
    if keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot name a {KINDS[kind]}: it is a word of Python; expected a name of its own",
            f"for example `pmbench new {kind} my_{name}`",
        )


def _contract(version: str) -> str:
    """The releases with the contract of pmbench `version`: `>=0.1,<0.2` for 0.1.3."""
    major, minor = map(int, version.split(".")[:2])
    above = f"0.{minor + 1}" if major == 0 else str(major + 1)
    return f">={major}.{minor},<{above}"


def _rendered(kind: str, values: dict[str, str]) -> dict[str, str]:
    """Path below the folder -> text."""
    import jinja2

    loader = jinja2.FileSystemLoader([TEMPLATES / kind, TEMPLATES / "common"])
    made = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    there = {path.name for place in (kind, "common") for path in (TEMPLATES / place).iterdir()}
    return {
        path.format(name=values["name"]): made.get_template(template).render(values)
        for template, path in _FILES.items()
        if template in there
    }
