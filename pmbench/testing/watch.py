"""Side effects of code: written files, started processes, draws from global generators."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
)
_LEAVES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")


class _Watch:
    installed = False
    seen: list[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _Watch.seen is None:
        return
    if event == "open":
        path, flags = arguments[0], arguments[2]
        if isinstance(flags, int) and flags & _WRITING and "__pycache__" not in str(path):
            _Watch.seen.append(f"opened {path} to write")
    elif event in (*_CHANGES, *_LEAVES) and "__pycache__" not in str(arguments):
        _Watch.seen.append(f"{event}{arguments[:1]}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collects the side effects of its block: files, processes, sockets, global generators."""
    import torch

    if not _Watch.installed:
        sys.addaudithook(_hook)
        _Watch.installed = True
    seen: list[str] = []
    before = torch.get_rng_state(), _global_generators()
    _Watch.seen = seen
    try:
        yield seen
    finally:
        _Watch.seen = None
    if not torch.equal(before[0], torch.get_rng_state()):
        seen.append("drew from torch's global generator")
    if before[1] != _global_generators():
        seen.append("drew from a global generator")


def _global_generators() -> tuple[str, object]:
    import numpy as np

    return str(np.random.get_state(legacy=False)), random.getstate()
