"""Which stages a run works with, so that another process does not remove them meanwhile."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StoreError
from ..files import write_text
from .locks import lock_of

FOLDER = "uses"


@contextmanager
def using(root: Path, keys: Iterable[str]) -> Iterator[None]:
    """Keeps stages from being pruned during the block, or until this process ends.

    Nothing is noted in a store that cannot be written to: nothing can be removed from it either.
    """
    path = root / FOLDER / f"{uuid.uuid4().hex}.json"
    lock = None
    with suppress(OSError, StoreError):
        path.parent.mkdir(parents=True, exist_ok=True)
        held = lock_of(path.with_suffix(".lock"), root)
        if held.acquire():
            lock = held
            write_text(path, json.dumps(sorted(keys)))
    try:
        yield
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            lock.release()
            path.with_suffix(".lock").unlink(missing_ok=True)


def in_use(root: Path) -> set[str]:
    """Keys that running processes have noted; forgets those of processes that have ended."""
    found: set[str] = set()
    for path in sorted((root / FOLDER).glob("*.json")):
        lock = lock_of(path.with_suffix(".lock"), root)
        try:
            ended = lock.acquire()
            if not ended:
                found |= set(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # it ended, or begins, this moment
            continue
        if ended:
            path.unlink(missing_ok=True)
            lock.release()
            path.with_suffix(".lock").unlink(missing_ok=True)
    return found
