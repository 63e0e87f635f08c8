"""Atomic files and folders: written beside their final place, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PmbenchError, StoreError

if TYPE_CHECKING:
    from filelock import FileLock

PATIENCE = 5.0
"""Seconds after which a command says that it waits for another process."""


def cache_folder(name: str) -> Path:
    """A folder of pmbench in the user's cache, such as `store` or `data`."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("pmbench", appauthor=False)) / name


def explain(error: OSError, path: Path) -> PmbenchError:
    """A StoreError for an OSError at `path`, with a hint."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left while writing {path}",
            "free some space (`pmbench store prune`) or choose another place with --store, --data, --out; "
            "finished stages are kept, and the same command resumes",
        )
    return StoreError(
        f"cannot write {path}: {error.strerror or error}", "check that the folder exists and is writable"
    )


def check_writable(folder: Path) -> None:
    """Makes a folder; raises StoreError if no file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise explain(error, folder) from error


def write_atomic(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Calls `write(temporary)` and renames the result to `path`; removes it on failure.

    `durable` calls fsync before the rename, so that a power cut leaves no partial file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(folder: Path, older_than_s: float = 86_400.0) -> None:
    """Removes temporary files below a folder that processes which were killed have left, after a day."""
    limit = time.time() - older_than_s
    for path in folder.rglob(".*.tmp"):
        with suppress(OSError):
            if path.stat().st_mtime < limit:
                path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")

    write_atomic(path, write)


@contextmanager
def held(lock: FileLock, what: str) -> Iterator[None]:
    """Holds a lock; after PATIENCE seconds it says on standard error what another process does meanwhile."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        print(f"Waiting for another process, which {what} ({lock.lock_file})", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """A new temporary folder that becomes `path` at the end of the block, or is removed on an exception."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise explain(error, path) from error
    try:
        yield temporary
        publish(temporary, path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, path: Path) -> None:
    """Renames a folder to `path` after an fsync of its files; replaces an existing one."""
    for file in temporary.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    temporary.chmod(0o755)
    if path.exists():
        shutil.rmtree(path)
    temporary.replace(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
