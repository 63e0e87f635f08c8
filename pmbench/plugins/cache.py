"""What plugins have declared, kept on disk for the commands that follow.

A declaration holds as long as nothing that it came from has changed: the files of the plugin, the modules
outside of installed packages that it imported, the installed packages, pmbench, Python, and the environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..files import write_atomic
from .registry import entry_points, normal_name

_FRESH_NS = 2_000_000_000
"""A file that was written so recently may be written again without another time."""
_INSTALLED = (".dist-info", ".egg-info", ".pth", ".egg-link")
_ELSEWHERE = ("HOME", "PYTHONPATH")
"""Variables that do not count: plugins cannot read the home folder, and the import path counts itself."""
_CORE = Path(__file__).parents[1]


class DeclarationCache:
    """One file for each distribution, in `folder`. A file that cannot be read or written counts as absent."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {name: v for name, v in environment.items() if name not in _ELSEWHERE}

    def find(self, name: str) -> dict[str, Any] | None:
        """What the distribution has declared, or None if it has to be asked."""
        try:
            kept = json.loads(self._path(name).read_bytes())
            if kept["of"] == [_metadata(name), self._machine] and kept["files"] == _states(kept["files"]):
                return kept["declared"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def keep(self, name: str, declared: Mapping[str, Any]) -> None:
        """Keeps an answer of `inside.declarations` if nothing in it is broken and its files are not new."""
        try:
            files = _states(declared["files"])
        except (OSError, KeyError, TypeError, ValueError):
            return
        if (
            declared.get("broken")
            or max((t for t, _ in files.values()), default=0) > time.time_ns() - _FRESH_NS
        ):
            return
        text = json.dumps({"of": [_metadata(name), self._machine], "files": files, "declared": declared})
        with contextlib.suppress(StoreError):
            write_atomic(self._path(name), lambda path: _write(path, text), durable=False)

    def _path(self, name: str) -> Path:
        place = hashlib.sha256(f"{sys.prefix}\n{name}".encode()).hexdigest()[:16]
        return self._folder / f"{place}.json"

    @cached_property
    def _machine(self) -> str:
        """A digest of all that declarations of any plugin may depend on."""
        core = _states(str(path) for path in _CORE.rglob("*.py"))
        facts = [sys.version, _libraries(), sorted(core.items()), sorted(self._environment.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _metadata(name: str) -> list[list[Any]]:
    """Version, entry points, requirements and place of a distribution, also that of an editable one."""
    points = [(version, point) for owner, version, point in entry_points() if owner == name]
    return [[v, p.name, p.value, *(_of_distribution(p.dist) if p.dist else ())] for v, p in points]


def _of_distribution(found: Distribution) -> list[Any]:
    place, source = str(found.locate_file("")), found.read_text("direct_url.json")
    return [list(found.requires or ()), place, source]


def _libraries() -> list[tuple[str, list[str]]]:
    """Folders of the import path with what is installed there, without plugins: no plugin needs another."""
    plugins = {normal_name(name) for name, _, _ in entry_points()}
    found = []
    for path in filter(os.path.isdir, sys.path):
        names = sorted(os.listdir(path))
        installed = [name for name in names if name.endswith(_INSTALLED)]
        others = [name for name in installed if normal_name(name.partition("-")[0]) not in plugins]
        if others or (names and not installed):
            found.append((path, others))
    return found


def _states(files: Iterable[str]) -> dict[str, list[int]]:
    """Path -> time of the last change in ns and size; raises OSError for an absent file."""
    return {path: [(stat := os.stat(path)).st_mtime_ns, stat.st_size] for path in files}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
