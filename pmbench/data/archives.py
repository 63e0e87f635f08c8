"""Members of archives: listed and checked before the first of them is read, then read within their size.

All errors of the readers of zip, tar and rar become DataErrors here.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from ..errors import DataError, UsageError
from ..media.extras import extra

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rar")
RATIO, FLOOR = 100, 1 << 28
"""The files of an archive may be RATIO times as large as the archive, and FLOOR bytes in any case."""
STATE, STAMP, TEMPORARY = ".archives.json", ".unpacked", ".unpacking.tmp"
"""Names in the folder of unpacked files that belong to pmbench: a file, an ending, a file."""
PIECE = 1 << 20  # bytes
_HEADER = 1 << 26  # bytes that are read at once from a compressed tar; headers are shorter


@dataclass(frozen=True)
class Member:
    """A file in an archive: `name` as written there, `path` relative to the folder, `size` in bytes."""

    name: str
    path: PurePosixPath
    size: int
    entry: Any


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(ENDINGS)


@contextmanager
def opened(
    archive: Path, folder: Path, largest: int = 0
) -> Iterator[tuple[Sequence[Member], Callable[[Member], Iterator[bytes]]]]:
    """Context of the members of an archive, and of the function that yields the bytes of one.

    Raises DataError for a damaged archive; for files of more than `largest` bytes together (0: the limits of
    RATIO and FLOOR); for a member that is no file, cannot be written below `folder` under its name, or is
    there twice; and for a member with other than the declared number of bytes.
    """
    usual = max(FLOOR, RATIO * archive.stat().st_size)
    limit = largest or usual
    with ExitStack() as stack:
        with _explained(archive):
            entries, open_entry = stack.enter_context(_listed(archive, limit, limit + usual))
            members = [_member(archive, folder, *entry) for entry in entries]
            _check_distinct(archive, members)
            if (total := sum(member.size for member in members)) > limit:
                raise _too_large(archive, limit, total)

        def read(member: Member) -> Iterator[bytes]:
            with _explained(archive), open_entry(member.entry) as content:
                done = 0
                while piece := content.read(min(PIECE, member.size - done + 1)):
                    done += len(piece)
                    if done > member.size:
                        break
                    yield piece
            if done != member.size:
                found = "more" if done > member.size else f"{done:,}"
                raise _refused(archive, member.name, f"has {found} bytes instead of {member.size:,}")

        yield members, read


def _too_large(archive: Path, limit: int, total: int | None = None) -> DataError:
    found = "more" if total is None else f"{total:,} bytes, more"
    return DataError(
        f"{archive} ({archive.stat().st_size:,} bytes) unpacks to {found} than the allowed {limit:,} bytes",
        "if this is the official archive, unpack it yourself and pass the folder",
    )


def _refused(archive: Path, name: str, wrong: str) -> DataError:
    shown = name if len(name) <= 80 else name[:77] + "..."
    return DataError(
        f"{archive}: member {shown!r} {wrong}", "this is not the official archive; nothing of it was unpacked"
    )


def _member(archive: Path, folder: Path, name: str, size: int, kind: str, entry: Any) -> Member:
    """The checked member; `kind` is empty for a regular file."""
    path = PurePosixPath(name.replace("\\", "/"))
    longest, deepest = 255, 4095  # bytes, where the system does not tell
    if hasattr(os, "pathconf"):
        longest, deepest = os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX") - 1
    first = path.parts[0].lower() if path.parts else ""
    if kind:
        wrong = f"is a {kind}"
    elif any(ord(c) < 32 or ord(c) == 127 for c in name):
        wrong = "has a control character in its name"
    elif ".." in path.parts or path.is_absolute() or ":" in first:
        wrong = "would leave the folder it is unpacked to"
    elif not path.parts:
        wrong = "names no file"
    elif max(len(os.fsencode(part)) for part in path.parts) > longest:
        wrong = f"has a name that is too long for the file system ({longest} bytes)"
    elif len(os.fsencode(folder.absolute() / path)) > deepest:
        wrong = f"has a path that is too long for the file system ({deepest} bytes)"
    elif first in (STATE, TEMPORARY) or (first.startswith(".") and first.endswith(STAMP)):
        wrong = "would overwrite the state of unpacking"
    elif size < 0:
        wrong = f"declares {size} bytes"
    else:
        return Member(name, path, size, entry)
    raise _refused(archive, name, wrong)


def _check_distinct(archive: Path, members: Sequence[Member]) -> None:
    """Raises DataError if a file is there twice, or has the name of a folder of another."""
    files: set[PurePosixPath] = set()
    for member in members:
        if member.path in files:
            raise _refused(archive, member.name, "is there more than once")
        files.add(member.path)
    for member in members:
        if above := next((path for path in member.path.parents if path in files), None):
            raise _refused(archive, member.name, f"lies in {str(above)!r}, which is a file")


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Turns the exceptions of the readers into errors of pmbench; others of the file system pass."""
    known = (
        *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error),
        *(OSError, ValueError, LookupError, OverflowError, MemoryError),
    )
    try:
        yield
    except RuntimeError as error:  # from zipfile, for an unknown compression or a password
        raise UsageError(
            f"{archive} cannot be unpacked: {error}", "unpack it yourself and pass the folder"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a wrong offset
            raise
        if type(error).__name__ == "RarCannotExec":
            raise UsageError(
                f"{archive} is compressed, and no program that reads .rar is installed",
                "install unrar, unar, 7zip or bsdtar, or unpack it yourself and pass the folder",
            ) from error
        if not isinstance(error, known) and type(error).__module__ != "rarfile":
            raise
        raise DataError(
            f"{archive} is damaged or incomplete: {error}", "download it again, then run the same command"
        ) from error


Entries = list[tuple[str, int, str, Any]]
"""(name, size, kind, object of the library) of each member that is no folder."""


@contextmanager
def _listed(archive: Path, limit: int, longest: int) -> Iterator[tuple[Entries, Callable[[Any], Any]]]:
    """Context of the entries and of the function that opens one.

    Raises DataError for a tar of more than `limit` bytes in files, or `longest` with its headers.
    """
    ending = archive.name.lower()
    if ending.endswith(".zip"):
        with zipfile.ZipFile(archive) as z:
            infos = [i for i in z.infolist() if not i.orig_filename.endswith("/")]
            yield [(i.orig_filename, i.file_size, _kind_in_zip(i), i) for i in infos], z.open
    elif ending.endswith(".rar"):
        with extra("rarfile", "video").RarFile(archive) as r:
            files = [i for i in r.infolist() if not i.is_dir()]
            yield [(i.filename, i.file_size, "link" if i.is_symlink() else "", i) for i in files], r.open
    else:
        with _Stream(archive, longest) as stream, tarfile.TarFile(fileobj=stream) as t:  # type: ignore[arg-type]
            entries: Entries = []
            total = 0
            for member in t:
                total += member.size
                if total > limit:  # before the next header, which lies behind as many bytes
                    raise _too_large(archive, limit)
                if not member.isdir():
                    entries.append((member.name, member.size, _kind_in_tar(member), member))
            stream.seek(t.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError(f"neither a member nor the end of the archive at byte {t.offset:,}")
            while stream.read(PIECE):  # to the end, where compressed files have their checksum
                pass
            yield entries, t.extractfile


class _Stream:
    """The bytes of a tar, decompressed; raises DataError after `longest`, EOFError for a header of many."""

    _OPEN: ClassVar[dict[bytes, Callable[..., Any]]] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ": lzma.open,
    }

    def __init__(self, archive: Path, longest: int) -> None:
        with archive.open("rb") as file:
            start = file.read(8)
        found = [opener for magic, opener in self._OPEN.items() if start.startswith(magic)]
        self._file = found[0](archive, "rb") if found else archive.open("rb")
        self._archive, self._longest = archive, longest

    def read(self, size: int) -> bytes:
        if size > _HEADER:
            raise EOFError(f"a header of {size:,} bytes")
        piece = self._file.read(size)
        if self._file.tell() > self._longest:
            raise _too_large(self._archive, self._longest)
        return piece

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _kind_in_zip(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    special = stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return "device" if special and info.create_system == 3 else ""  # 3: Unix, where the mode has a meaning


def _kind_in_tar(member: tarfile.TarInfo) -> str:
    return "" if member.isfile() else "link" if member.issym() or member.islnk() else "device"
