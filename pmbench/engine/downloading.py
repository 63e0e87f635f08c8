"""Official downloads: resumed where they stopped, checked where their source states a digest."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from ..contracts.samples import Download
from ..errors import DataError
from ..files import explain, file_digest, write_text

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
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            for download in downloads:
                whole = folder / download.file
                if not whole.exists():
                    _fetch(download, whole, report)
    except OSError as error:
        raise explain(error, folder) from error
    return folder


def _fetch(download: Download, whole: Path, report: Callable[[str, int, int], None]) -> None:
    part = whole.with_name(whole.name + ".part")
    version = whole.with_name(whole.name + ".version")
    start = part.stat().st_size if part.exists() else 0
    if not version.exists() and not download.sha256:
        start = 0  # nothing would tell whether the rest is of the same file
    if not (download.size and start == download.size):
        _receive(download, part, start, version, report)
    found = file_digest(part) if download.sha256 else ""
    if found != download.sha256 or (download.size and part.stat().st_size != download.size):
        size = part.stat().st_size
        part.unlink()
        version.unlink(missing_ok=True)
        raise DataError(
            f"{download.url} gave {size} bytes with SHA-256 {found or 'unchecked'}; expected "
            f"{download.size or 'any number of'} bytes with {download.sha256 or 'any'}",
            "try again, or get the file in another way and give it with --source",
        )
    part.replace(whole)
    version.unlink(missing_ok=True)


def _receive(
    download: Download, part: Path, start: int, version: Path, report: Callable[[str, int, int], None]
) -> None:
    """Appends to `part` what is behind `start`; all of it again where the file has changed since `version`,
    what the server called it, was written.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and version.exists():
        headers["If-Range"] = version.read_text(encoding="utf-8")
    request = urllib.request.Request(download.url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            if start and answer.status != 206:  # it does not resume, or has another file: from the beginning
                start = 0
            if not start:
                part.unlink(missing_ok=True)
                tag = answer.headers.get("ETag", "W/")  # a weak one does not stand for the very bytes
                tag = answer.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
                write_text(version, tag) if tag else version.unlink(missing_ok=True)
            total = start + int(answer.headers.get("Content-Length") or 0)
            done = start
            with part.open("ab" if start else "wb") as file:
                while chunk := answer.read(CHUNK):
                    done += file.write(chunk)
                    report(f"fetching {download.file} (kB)", done // 1000, total // 1000)
            if done < total:
                raise http.client.IncompleteRead(b"", total - done)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
            return  # there is no more
        if error.code == 416:
            part.unlink()
        raise _lost(download, error.reason) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _lost(download, getattr(error, "reason", error)) from error


def _lost(download: Download, reason: object) -> DataError:
    return DataError(
        f"{download.url} could not be fetched: {reason}",
        "the same command goes on where it stopped; or get the file in another way (a browser) and give "
        "it with --source",
    )
