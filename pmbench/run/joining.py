"""Identical commands that work together: which of them evaluates and writes the records."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from ..files import explain
from ..store.keys import digest
from ..store.locks import lock_of

_LOOK_AGAIN = 2.0
"""Seconds after which a command that does not write looks whether the one that does has ended."""


class Writer:
    """A lock in the folder of results; its holder writes. It is released when its holder ends or dies.

    Commands with the same cells share it, whatever the paths under which they see the folder.
    """

    def __init__(self, out: Path, identities: Iterable[str]) -> None:
        path = out / f".join-{digest(sorted(identities))[:12]}.lock"
        try:
            self._lock = lock_of(path, out)
        except OSError as error:
            raise explain(error, path) from error
        self._path, self._next, self.mine = path, 0.0, False

    def claim(self, *, now: bool = False) -> bool:
        """Whether this command writes; takes the lock if it is free, which is tried every two seconds."""
        if not self.mine and (now or time.monotonic() >= self._next):
            self._next = time.monotonic() + _LOOK_AGAIN
            try:
                self.mine = self._lock.acquire()
            except OSError as error:
                raise explain(error, self._path) from error
        return self.mine

    def release(self) -> None:
        if self.mine:
            self._lock.release()


def place() -> float:
    """A number in [0, 1) for this command: where in the queue it starts."""
    return uuid.uuid4().int / 2**128
