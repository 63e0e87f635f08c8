"""Access control: the files of prepared data that a process may open."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ContractError


class _Guard:
    installed = False
    forbidden: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    who = ""


_EVENTS = ("open", "os.link", "os.symlink", "os.rename")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook; raises ContractError for a guarded file."""
    if event not in _EVENTS or not _Guard.forbidden:
        return
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return
    real = os.path.realpath(os.fsdecode(path))
    inside = os.path.join(real, "")
    # parent folders are guarded, too: files opened relative to their descriptor are not audited
    guarded = inside.startswith(_Guard.forbidden) or any(root.startswith(inside) for root in _Guard.forbidden)
    if guarded and real not in _Guard.allowed:
        raise ContractError(
            f"{_Guard.who} opened {real}, which it may not read",
            "a stage reads its training samples through its batches alone, and never test data or labels",
        )


@contextmanager
def only(who: str, roots: Iterable[Path], allowed: Iterable[Path]) -> Iterator[None]:
    """Context in which this process opens no file below `roots` but those `allowed`.

    Raises ContractError naming `who` at any other open, link or rename that goes through Python (files,
    numpy, memory maps). Code inside cannot remove the audit hook. Files opened by compiled code and by other
    processes are not covered: this catches mistakes and shortcuts, and is not a sandbox. The test relies on
    the sealed program.
    """
    if not _Guard.installed:
        sys.addaudithook(_hook)
        _Guard.installed = True
    before = (_Guard.forbidden, _Guard.allowed, _Guard.who)
    _Guard.who = who
    _Guard.allowed = frozenset(os.path.realpath(path) for path in allowed)
    _Guard.forbidden = tuple(os.path.join(os.path.realpath(root), "") for root in roots)
    try:
        yield
    finally:
        _Guard.forbidden, _Guard.allowed, _Guard.who = before
