"""Archives: unpacked once, and never outside of their folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DataError
from ..files import explain, write_json
from .archives import ENDINGS, STAMP, STATE, TEMPORARY, is_archive, opened
from .download import Report


def unpacked(
    source: Path, scratch: Path, report: Report = lambda text, done, total: None, *, largest: int = 0
) -> Path:
    """The folder with the files of `source`, which is a folder, an archive, or a folder of archives.

    Archives are unpacked to `scratch`, other files of their folder are linked there; archives at the top of
    an archive are unpacked too, beside it. Files unpacked by an earlier call are kept unless an archive has
    changed. Raises DataError for an archive that is damaged, has a member that is no file below the folder,
    or unpacks to more than `largest` bytes, see `archives.opened`; files that this call has unpacked from it
    are then removed.
    """
    links: list[Path] = []
    if source.is_dir():
        entries = sorted(source.iterdir())
        archives = [path for path in entries if is_archive(path)]
        if not archives:
            return source
        links = [path for path in entries if path not in archives]
    elif is_archive(source):
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
        _unpack(archive, scratch, report, largest)
    inner = [path for path in sorted(scratch.iterdir()) if is_archive(path) and not path.is_symlink()]
    for archive in inner:
        _unpack(archive, scratch, report, largest)
    return scratch


def _begin(archives: Sequence[Path], scratch: Path) -> None:
    """Removes the files of `scratch` if an archive has changed, and the links of an earlier call."""
    note = scratch / STATE
    states = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in archives}
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict) or any(states.get(name) != state for name, state in before.items()):
        shutil.rmtree(scratch, ignore_errors=True)
    write_json(note, states)
    for path in scratch.iterdir():
        if path.is_symlink():
            path.unlink()


def _unpack(archive: Path, folder: Path, report: Report, largest: int) -> None:
    stamp = folder / f".{archive.name}{STAMP}"
    if stamp.exists():
        return
    written: list[Path] = []
    try:
        with opened(archive, folder, largest) as (members, read):
            for done, member in enumerate(members):
                report(f"unpacking {archive.name}", done, len(members))
                path = folder / member.path
                if path.is_file() and path.stat().st_size == member.size:
                    continue
                beside = folder / member.path.parts[0]
                if beside.is_symlink() and beside != path:
                    raise DataError(
                        f"{archive} holds {member.name}, which is missing or incomplete in the folder "
                        f"{beside.name} beside the archive",
                        "unpack the whole archive there, or move one of the two away",
                    )
                _write(path, folder / TEMPORARY, read(member))
                written.append(path)
    except DataError:
        for path in written:
            path.unlink()
        raise
    os.sync()  # writes all files before they count as unpacked
    stamp.touch()


def _write(path: Path, temporary: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file under another name, which is never too long, and renames it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        temporary.replace(path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)
