"""Access to prepared data: which of its files a process may open."""

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


_GIVES_ACCESS = ("open", "os.link", "os.symlink", "os.rename")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _GIVES_ACCESS or not _Guard.forbidden:
        return
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return
    real = os.path.realpath(os.fsdecode(path))
    inside = os.path.join(real, "")
    # a folder above is as good as the file: what is opened relative to its descriptor cannot be seen here
    within_reach = inside.startswith(_Guard.forbidden) or any(
        root.startswith(inside) for root in _Guard.forbidden
    )
    if within_reach and real not in _Guard.allowed:
        raise ContractError(
            f"{_Guard.who} opened {real}, which it may not read",
            "a stage sees its training samples through its batches alone; test data and labels are never "
            "open to it",
        )


@contextmanager
def only(who: str, roots: Iterable[Path], allowed: Iterable[Path]) -> Iterator[None]:
    """Within it, this process can open no file below `roots` but those `allowed`; raises ContractError that
    names `who`.

    It watches every open, link and rename that goes through Python (files, numpy, memory maps). An audit hook
    cannot be removed again, so that code which runs inside cannot switch it off by unhooking it. Compiled
    code that opens files by itself, and other processes, are not seen: this catches mistakes and shortcuts,
    and is no sandbox. The test rests on the sealed program.
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
