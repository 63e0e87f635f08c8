"""What a piece of code does besides returning: files it writes, processes it starts, chance it draws on."""

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
    elif event in _CHANGES or event in _LEAVES:
        if "__pycache__" not in str(arguments):
            _Watch.seen.append(f"{event}{arguments[:1]}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collects what the code inside changes outside itself: files, processes, sockets, torch's and numpy's
    chance.
    """
    import numpy as np
    import torch

    if not _Watch.installed:
        sys.addaudithook(_hook)
        _Watch.installed = True
    seen: list[str] = []
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state()[1],
        random.getstate(),
    )
    numpy_state = np.array(numpy_state)
    _Watch.seen = seen
    try:
        yield seen
    finally:
        _Watch.seen = None
    if not torch.equal(torch_state, torch.get_rng_state()):
        seen.append("drew from torch's global generator")
    if random.getstate() != python_state or not np.array_equal(numpy_state, np.random.get_state()[1]):
        seen.append("drew from a global generator")
