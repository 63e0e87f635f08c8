"""Writes a new repository of results: rules, guide, workflows, and the script that these run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from ..files import write_text
from ..plugins import CORE
from .referee.case import KNOWN

TEMPLATE = Path(__file__).parent / "repository"
PLACES = {
    "gitattributes": ".gitattributes",
    "workflows/referee.yml": ".github/workflows/referee.yml",
    "workflows/site.yml": ".github/workflows/site.yml",
}
"""File of the template -> its place; the others keep theirs."""


def write_repository(to: Path, distributions: Mapping[str, str]) -> list[Path]:
    """Writes the files of a new repository to a new or empty folder; returns their paths in it.

    `distributions`: name -> version of what is installed. requirements.txt names pmbench and those of its own
    plugins. Raises UsageError if the folder holds files.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to} is not an empty folder", "give a new folder with --new-repo")
    used = {name: version for name, version in distributions.items() if name in KNOWN | {CORE}}
    lines = [f"{name}=={version}" for name, version in sorted(used.items())]
    head = (
        "# What the referee runs. Name addresses for what is on no package index: pmbench @ git+https://..."
    )
    texts = {"requirements.txt": "\n".join([head, *lines]) + "\n"}
    texts |= {f"{name}/.gitkeep": "" for name in ("submissions", "attestations")}
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file()):
        name = source.relative_to(TEMPLATE).as_posix()
        if "__pycache__" not in name:
            texts[PLACES.get(name, name)] = source.read_text(encoding="utf-8")
    for name, text in texts.items():
        write_text(to / name, text)
    return sorted(path.relative_to(to) for path in to.rglob("*") if path.is_file())
