"""Downloads over HTTP, resumed after a lost connection and checked against their digest."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from ..contracts.samples import Download
from ..errors import DataError
from ..files import explain, file_digest, held, write_text

CHUNK = 1 << 20
TIMEOUT_S = 30.0
"""Seconds without data after which a connection counts as lost."""
LOST = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError)
"""Errors of a connection or an address, as opposed to errors of the disk."""
Report = Callable[[str, int, int], None]
"""Progress callback: description, amount done, total."""


def fetch_all(downloads: Sequence[Download], folder: Path, report: Report) -> Path:
    """Downloads the files that `folder` lacks, one process at a time; returns `folder`.

    Raises DataError if a server is unreachable or a file has another size or digest.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(FileLock(folder.with_name(f".{folder.name}.lock")), f"downloads to {folder}"):
            for download in downloads:
                fetch(download, folder / download.file, report)
    except OSError as error:
        raise explain(error, folder) from error
    return folder


def fetch(download: Download, path: Path, report: Report) -> None:
    """Downloads one file to `path` unless it exists; the caller holds the lock.

    Bytes are received in a `.part` file beside it, from whose end the next call resumes.
    """
    if path.exists():
        return
    part = path.with_name(path.name + ".part")
    version = path.with_name(path.name + ".version")
    start = part.stat().st_size if part.exists() else 0
    if not version.exists() and not download.sha256:
        start = 0  # the rest may be of another version of the file
    if not (download.size and start == download.size):
        _receive(download, part, start, version, report)
    size, digest = part.stat().st_size, file_digest(part) if download.sha256 else ""
    if not digest.startswith(download.sha256) or (download.size and size != download.size):
        part.unlink()
        version.unlink(missing_ok=True)
        raise DataError(
            f"{download.url} has {size} bytes with SHA-256 {digest or 'unchecked'}; expected "
            f"{download.size or 'any number of'} bytes with {download.sha256 or 'any'}",
            "try again, or download the file in another way and pass it with --source",
        )
    part.replace(path)
    version.unlink(missing_ok=True)


def _receive(download: Download, part: Path, start: int, version: Path, report: Report) -> None:
    """Appends to `part` from byte `start` on; starts over if the server no longer has the file's version that
    `version` holds (ETag or Last-Modified).
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and version.exists():
        headers["If-Range"] = version.read_text(encoding="utf-8")
    try:
        request = urllib.request.Request(download.url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            if start and answer.status != 206:  # no support for ranges, or another version
                start = 0
            if not start:
                part.unlink(missing_ok=True)
                tag = answer.headers.get("ETag", "W/")  # a weak ETag does not guarantee equal bytes
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
            return  # the part is complete
        if error.code == 416:
            part.unlink()
        raise _lost(download, error) from error
    except LOST as error:
        raise _lost(download, getattr(error, "reason", error)) from error


def _lost(download: Download, reason: object) -> DataError:
    return DataError(
        f"{download.url} could not be fetched: {reason}",
        "the same command resumes the download; or download the file in another way (a browser) and pass "
        "it with --source",
    )
