"""Archives: unpacked once, and never outside of their folder."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..errors import DataError, UsageError
from ..files import write_atomic, write_json
from ..media.extras import extra
from .download import Report

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rar")


def unpacked(source: Path, scratch: Path, report: Report = lambda text, done, total: None) -> Path:
    """The folder with the files of `source`, which is a folder, an archive, or a folder of archives.

    Archives are unpacked to `scratch`, other files of their folder are linked there. Files unpacked by an
    earlier call are kept unless an archive has changed. Raises DataError for a damaged archive, and for a
    member that is a link or would leave the folder.
    """
    links: list[Path] = []
    if source.is_dir():
        entries = sorted(source.iterdir())
        archives = [path for path in entries if _is_archive(path)]
        if not archives:
            return source
        links = [path for path in entries if path not in archives]
    elif _is_archive(source):
        archives = [source]
    else:
        raise DataError(
            f"{source} is neither a folder nor an archive ({', '.join(ENDINGS)})",
            "pass the official download, or the folder it was unpacked to",
        )
    _begin(archives, scratch)
    for path in links:
        link = scratch / path.name
        if not link.exists():
            link.symlink_to(path.resolve())
    for archive in archives:
        _unpack(archive, scratch, report)
    return scratch


def _begin(archives: Sequence[Path], scratch: Path) -> None:
    """Removes the files of `scratch` if an archive has changed, and the links of an earlier call."""
    note = scratch / ".archives.json"
    states = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in archives}
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else None
    if before is None or any(states.get(name) != state for name, state in before.items()):
        shutil.rmtree(scratch, ignore_errors=True)
    write_json(note, states)
    for path in scratch.iterdir():
        if path.is_symlink():
            path.unlink()


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def _unpack(archive: Path, folder: Path, report: Report) -> None:
    stamp = folder / f".{archive.name}.unpacked"
    if stamp.exists():
        return
    try:
        with _opened(archive) as (members, open_member):
            for name, _, link in members:
                _check(archive, name, link)
            total = len(members)
            for done, (name, size, _) in enumerate(members):
                report(f"unpacking {archive.name}", done, total)
                path = folder / PurePosixPath(name.replace("\\", "/"))
                if path.is_file() and path.stat().st_size == size:
                    continue
                beside = folder / path.relative_to(folder).parts[0]
                if beside.is_symlink() and beside != path:
                    raise DataError(
                        f"{archive} holds {name}, which is missing or incomplete in the folder {beside.name} "
                        "beside the archive",
                        "unpack the whole archive there, or move one of the two away",
                    )
                with open_member(name) as content:
                    write_atomic(path, partial(_copy, content), durable=False)
    except RuntimeError as error:  # from zipfile, for an unknown compression or a password
        raise UsageError(
            f"{archive} cannot be unpacked: {error}", "unpack it yourself and pass the folder"
        ) from error
    except _damage() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if type(error).__name__ == "RarCannotExec":
            raise UsageError(
                f"{archive} is compressed, and no program that reads .rar is installed",
                "install unrar, unar, 7zip or bsdtar, or unpack it yourself and pass the folder",
            ) from error
        raise DataError(
            f"{archive} is damaged or incomplete: {error}", "download it again, then run the same command"
        ) from error
    os.sync()  # writes all files before they count as unpacked
    stamp.touch()


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        while piece := _read(content):
            file.write(piece)


def _read(content: Any) -> bytes:
    """The next piece of a file; raises EOFError for damaged data."""
    try:
        return content.read(1 << 20)
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report damage so
            raise EOFError(str(error)) from error
        raise


def _check(archive: Path, name: str, link: bool) -> None:
    """Raises DataError for a member that is a link or would leave the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if link or ".." in parts or PurePosixPath(name).is_absolute() or (parts and ":" in parts[0]):
        wrong = "is a link" if link else "would leave the folder it is unpacked to"
        raise DataError(
            f"{archive}: member {name!r} {wrong}",
            "this is not the official archive; nothing was unpacked",
        )


Members = list[tuple[str, int, bool]]
"""(name, size in bytes, whether it is a link) of each file."""


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Members, Callable[[str], Any]]]:
    """Context of an archive's members and the function that opens one by name."""
    ending = archive.name.lower()
    if ending.endswith(".zip"):
        with zipfile.ZipFile(archive) as z:
            links = {i.filename for i in z.infolist() if (i.external_attr >> 16) & 0o170000 == 0o120000}
            files = [(i.filename, i.file_size, i.filename in links) for i in z.infolist() if not i.is_dir()]
            yield files, z.open
    elif ending.endswith(".rar"):
        with extra("rarfile", "video").RarFile(archive) as r:
            yield [(i.filename, i.file_size, i.is_symlink()) for i in r.infolist() if not i.is_dir()], r.open
    else:
        with tarfile.open(archive) as t:
            inside = [m for m in t.getmembers() if not m.isdir()]
            while t.fileobj and _read(t.fileobj):  # to the end, where compressed files have their checksum
                pass
            yield [(m.name, m.size, not m.isfile()) for m in inside], t.extractfile


def _damage() -> tuple[type[Exception], ...]:
    """Exceptions that the readers raise for a damaged archive."""
    known = (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
    try:
        import rarfile
    except ImportError:
        return known
    return (*known, rarfile.Error)
