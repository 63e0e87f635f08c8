"""Official downloads: resumed where they stopped, checked where their source states a digest."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from ..contracts.samples import Download
from ..errors import DataError
from ..files import explain
from .identity import file_digest

CHUNK = 1 << 20
SECONDS = 30
"""After so long without a byte, a connection counts as lost."""


def fetch(downloads: Sequence[Download], folder: Path, report: Callable[[str, int, int], None]) -> Path:
    """The folder with all files, of which those already whole are not fetched again.

    `report` is told what is fetched, and how many kilobytes of how many. Raises DataError where a server
    cannot be reached or a file is not what it should be; what has come stays, and the next call goes on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for download in downloads:
            whole = folder / download.file
            if not whole.exists():
                _fetch(download, whole, report)
    except OSError as error:
        raise explain(error, folder) from error
    return folder


def _fetch(download: Download, whole: Path, report: Callable[[str, int, int], None]) -> None:
    part = whole.with_name(whole.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    if not (download.size and start == download.size):
        _receive(download, part, start, report)
    found = file_digest(part) if download.sha256 else ""
    if found != download.sha256 or (download.size and part.stat().st_size != download.size):
        size = part.stat().st_size
        part.unlink()
        raise DataError(
            f"{download.url} gave {size} bytes with SHA-256 {found or 'unchecked'}; expected "
            f"{download.size or 'any number of'} bytes with {download.sha256 or 'any'}",
            "try again, or get the file in another way and give it with --source",
        )
    part.replace(whole)


def _receive(download: Download, part: Path, start: int, report: Callable[[str, int, int], None]) -> None:
    request = urllib.request.Request(download.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            if start and answer.status != 206:  # the server does not resume: from the beginning
                start = 0
            total = start + int(answer.headers.get("Content-Length") or 0)
            done = start
            with part.open("ab" if start else "wb") as file:
                while chunk := answer.read(CHUNK):
                    done += file.write(chunk)
                    report(f"fetching {download.file} (kB)", done // 1000, total // 1000)
            if done < total:
                raise http.client.IncompleteRead(b"", total - done)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{download.url} could not be fetched: {reason}",
            "the same command goes on where it stopped; or get the file in another way (a browser) and give "
            "it with --source",
        ) from error
