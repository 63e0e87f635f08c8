"""Landlock: what a process and its children may open, enforced by the Linux kernel.

The package `landlock` lacks the rules for network and signals; `sandlock` is 12 MB of compiled code and needs
Linux 6.7. The three system calls are made here instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, which are the same on all architectures."""
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS = {1: _EXECUTE | _WRITE_FILE | _READ_FILE, 3: 1 << 14, 5: 1 << 15}
"""Rights on files by the version that brought them: execute, write, read; truncate; ioctl of devices."""
_FOLDER_RIGHTS = {1: sum(1 << bit for bit in range(3, 13)), 2: 1 << 13}
"""Rights on folders by version: list, remove and make entries; move entries between folders."""
_TCP = 0b11
_SCOPES = 0b11
"""No abstract sockets and no signals to processes outside."""


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def version() -> int:
    """Version of Landlock in this kernel; 0 if it has none, or is not Linux."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _libc().syscall(_CREATE_RULESET, None, 0, _ASK_VERSION))


@dataclass(frozen=True)
class Rights:
    """What a process may open: files and folders, and everything below them. Absent ones are left out.

    `write` may be read, too; of `listed` only the names below are seen. `execute` allows to run programs
    below `read`, `network` allows TCP connections.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    execute: bool = False
    network: bool = False

    def apply(self) -> None:
        """Leaves this process and its children these rights, for good. Does nothing without Landlock.

        It binds the calling thread and those that it starts; call it before others are started.
        """
        known = version()
        if not known:
            return
        on_files = _up_to(_FILE_RIGHTS, known)
        on_folders = on_files | _up_to(_FOLDER_RIGHTS, known)
        tcp = _TCP if known >= 4 and not self.network else 0
        rules = _Ruleset(on_folders, tcp, _SCOPES if known >= 6 else 0)
        size = 24 if known >= 6 else 16 if known >= 4 else 8
        ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), size, 0)
        try:
            readable = _READ_FILE | _READ_FOLDER | (_EXECUTE if self.execute else 0)
            writable = on_folders & ~_EXECUTE
            for paths, rights in ((self.read, readable), (self.write, writable), (self.listed, _READ_FOLDER)):
                for path in paths:
                    _allow(ruleset, path, rights, on_files)
            if _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl failed")
            _call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int, on_files: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        rights &= -1 if os.path.isdir(path) else on_files
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_Beneath(rights, opened)), 0)
    finally:
        os.close(opened)


def _up_to(rights: dict[int, int], known: int) -> int:
    return sum(bits for since, bits in rights.items() if since <= known)


def _call(number: int, *arguments: object) -> int:
    result = _libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock is not available: {os.strerror(ctypes.get_errno())}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
