"""Demos: made-up samples of a data set in its official layout, written by its plugin."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..plugins import CORE, Registry

DEMO = ":demo"
"""End of the name of a demo."""


def write_demo(registry: Registry, name: str, root: Path) -> Path:
    """Writes the files of the demo `<name>:demo` below `root`; returns their folder.

    With a host, the plugin's code runs in a process of its own that may write to this folder alone.
    """
    offer = registry.offer("dataset", name)
    if not offer.value.demo_of:
        raise UsageError(f"data set {name!r} is no demo")
    folder = root / "demos" / name.replace(":", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options: dict[str, Any] = {"name": name, "folder": str(folder.resolve())}
    if registry.host is None or offer.distribution == CORE:
        write_here(registry, **options)
    else:
        registry.host.call(
            f"{__name__}:write_here",
            [offer.distribution],
            options,
            write=[folder],
            limit=math.inf,
        )
    return folder


def write_here(registry: Registry, name: str, folder: str) -> None:
    """Writes the files of a demo in this process."""
    registry.dataset(name).write_demo(Path(folder))
