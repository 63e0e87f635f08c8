"""Exceptions of plugins as text: the line that raised them, and their traceback."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
import traceback
from pathlib import Path

LONGEST = 20_000
"""Characters of a traceback that one process sends to another; its end is kept."""


def error_text(error: BaseException) -> str:
    """Class, line and text of an exception: `KeyError (pmbench_kd/stages.py, line 12, in losses): 'x'`."""
    where = place(error)
    return f"{type(error).__name__}{f' ({where})' if where else ''}: {error}"


def place(error: BaseException) -> str:
    """File, line and function of the innermost frame in a plugin; empty if there is none.

    The file is named below its import path, so that records have no paths of a machine. Plugins are the
    packages that register in the entry-point group `pmbench`; if none of them is on the stack, any module
    but those of pmbench, torch and Python is taken for one.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    named = [(frame.f_globals.get("__name__") or "", frame, line) for frame, line in reversed(frames)]
    plugins = _plugins() if named else frozenset()
    in_plugins = [found for found in named if _within(found[0], plugins)]
    elsewhere = [found for found in named if _foreign(found[0], found[1].f_code.co_filename)]
    for name, frame, line in (in_plugins or elsewhere)[:1]:
        file = Path(frame.f_code.co_filename)
        depth = name.count(".") + 1 + (file.stem == "__init__")
        return f"{'/'.join(file.parts[-depth:])}, line {line}, in {frame.f_code.co_name}"
    return ""


def trace_of(error: BaseException) -> str:
    """The traceback of an exception, or that of the process which raised it, if this one was told of it."""
    told = getattr(error, "trace", "")
    return told or "".join(traceback.format_exception(error))[-LONGEST:]


def printable(text: object) -> str:
    """Text of another process, without characters that a terminal takes for commands."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in str(text)[-LONGEST:])


@functools.cache
def _plugins() -> frozenset[str]:
    """Top-level packages of all plugins, and the one of those that pmbench has built in."""
    found = importlib.metadata.entry_points(group="pmbench")
    return frozenset({p.module.partition(".")[0] for p in found} - {"pmbench"} | {"pmbench.builtin"})


def _within(name: str, packages: frozenset[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _foreign(name: str, file: str) -> bool:
    """Whether a module is neither of pmbench nor of torch nor of Python."""
    top = name.partition(".")[0]
    return top not in {"pmbench", "torch", *sys.stdlib_module_names} and not file.startswith("<")
