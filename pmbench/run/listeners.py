"""Calls the implementations of `pmbench_run_finished`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import PluginError
from ..plugins import CORE, Registry
from ..report.record import Record
from ..tracebacks import error_text, trace_of

HOOK = "pmbench_run_finished"


def tell(registry: Registry, record: Record, out: Path) -> None:
    """Gives a written record to all implementations of the hook, each distribution in a process of its own.

    It may use the network and write into the folder `listeners/<distribution>` of `out`, in which it starts.
    One that raises is noted as broken.
    """
    for distribution in [name for name, hooks in registry.hooks.items() if HOOK in hooks]:
        try:
            if registry.host is None or distribution == CORE:
                heard(registry, record.model_dump(mode="json"), distribution)
                continue
            folder = (out / "listeners" / distribution).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            registry.host.call(
                "pmbench.run.listeners:heard",
                [distribution],
                {"record": record.model_dump(mode="json"), "distribution": distribution},
                write=[folder],
                folder=folder,
                network=True,
            )
        except (PluginError, OSError) as error:
            registry.note_broken(distribution, HOOK, str(error), trace_of(error))


def heard(registry: Registry, record: Mapping[str, Any], distribution: str) -> None:
    """Calls the implementations of a distribution that this process has loaded."""
    for function in registry.listeners[distribution]:
        try:
            function(Record.model_validate(record))
        except Exception as error:
            raise PluginError(error_text(error)) from error
