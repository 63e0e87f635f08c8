"""Locks that end with their holder: flock, or leases where flock is missing or holds on one machine alone."""

from __future__ import annotations

import errno
import os
import socket
import threading
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

HEARTBEAT = 10.0
"""Seconds after which the holder of a lease renews it."""
EXPIRES = 90.0
"""Seconds after which a lease that was not renewed may be taken: its holder or its machine has died."""
GLOBAL = {"apfs", "bcachefs", "btrfs", "ceph", "ext2", "ext3", "ext4", "f2fs", "gpfs", "jfs", "overlay"}
GLOBAL |= {"ramfs", "reiserfs", "tmpfs", "xfs", "zfs"}
"""Types of file systems that are local, or whose flock holds on all machines."""


class Lock(Protocol):
    def acquire(self) -> bool:
        """Whether the lock is ours now; False if another holds it. Raises OSError."""

    def release(self) -> None: ...


def lock_of(path: Path, root: Path) -> Lock:
    """A lock that holds between all processes that share `root`, an existing folder above `path`."""
    return Lease(path.with_suffix(".lease")) if needs_leases(root) else Flock(path)


class Flock:
    """A lock that the kernel gives back when its holder ends."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        self._lock.release()


class Lease:
    """A lock by the existence of a file, whose holder renews its time of change.

    Times are those of the file system, so that clocks of machines need not agree. A holder that stood still
    for longer than EXPIRES may lose its lease and does not notice; two may then do the same work, which
    stages can bear, because each is stored as a whole and with the same bits.
    """

    def __init__(self, path: Path, heartbeat: float = HEARTBEAT, expires: float = EXPIRES) -> None:
        self.path, self.heartbeat, self.expires = path, heartbeat, expires
        self.owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._ended = threading.Event()

    def acquire(self) -> bool:
        if not self._create() and not (self._remove_expired() and self._create()):
            return False
        threading.Thread(target=self._renew, daemon=True).start()
        return True

    def release(self) -> None:
        self._ended.set()
        with suppress(OSError):
            if self._holder(self.path) == self.owner:
                self.path.unlink()

    def _create(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.owner)
        return True

    def _remove_expired(self) -> bool:
        """Whether there is no lease any more, since it has expired or was released."""
        try:
            age = self._now() - self.path.stat().st_mtime
            holder = self._holder(self.path)
            if age <= self.expires:
                return False
            aside = self._beside()
            self.path.rename(aside)  # one of several that try succeeds
        except FileNotFoundError:
            return True
        expired = self._holder(aside) == holder
        if not expired:  # another took it between our look and our move: it gets it back
            with suppress(OSError):
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)
        return expired

    def _now(self) -> float:
        """The time of the file system."""
        probe = self._beside()
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _beside(self) -> Path:
        """A new name; what a killed process leaves under it is swept."""
        return self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.tmp")

    def _renew(self) -> None:
        while not self._ended.wait(self.heartbeat):
            with suppress(OSError):
                if self._holder(self.path) == self.owner:
                    os.utime(self.path)

    @staticmethod
    def _holder(path: Path) -> str:
        return path.read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def needs_leases(folder: Path) -> bool:
    """Whether flock in `folder`, which exists, is missing, or might hold on one machine alone."""
    import fcntl

    probe = folder / f".flock-{uuid.uuid4().hex}.tmp"
    try:
        with probe.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            return True
        raise
    finally:
        probe.unlink(missing_ok=True)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return not flock_is_global(mounts, folder.resolve())


def flock_is_global(mounts: str, folder: Path) -> bool:
    """Whether flock in `folder` holds on all machines, from the text of /proc/self/mountinfo.

    NFS without `nolock` and `local_lock`, and Lustre with `flock`, lock on all machines; of other network and
    FUSE file systems nothing is known.
    """
    best: tuple[int, str, str] = (-1, "", "")
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(rest) < 3:
            continue
        point = fields[4].encode().decode("unicode_escape")
        if folder.is_relative_to(point) and len(point) >= best[0]:
            best = len(point), rest[0], f"{fields[5]},{rest[2]}"
    _, kind, text = best
    options = set(text.split(","))
    if kind in ("nfs", "nfs4"):
        return options.isdisjoint({"nolock", "local_lock=flock", "local_lock=all"})
    if kind == "lustre":
        return "flock" in options
    return kind in GLOBAL or not kind
