"""Ends of files: formats that do not declare a duration, and whose last bytes show a truncation instead."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from os import PathLike
from typing import BinaryIO

UNKNOWN = 0x7FFF0000
"""Programs that cannot go back to the head of a WAV file write sizes from this one on."""
TAIL = 1 << 20  # bytes, many times as long as a page or packet
SLACK = 64  # bytes; some programs count the head of a WAV file among its samples


def truncation(path: str | PathLike[str], kind: str) -> str:
    """The part within which a file of FFmpeg's format `kind` ends; empty if it is whole, or cannot be told.

    A file that is truncated exactly between two parts cannot be told from a whole one.
    """
    known = next((check for name, check in _CHECKS.items() if name in kind.split(",")), None)
    if known is None:
        return ""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        return known(file, size)


def counts_frames(path: str | PathLike[str]) -> bool:
    """Whether an MP3 file starts with a count of its frames, without which FFmpeg guesses its duration."""
    with open(path, "rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            file.seek(10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:]))))
        else:
            file.seek(0)
        frame = file.read(256)
    return any(name in frame for name in (b"Xing", b"Info", b"VBRI"))


def _mp4(file: BinaryIO, size: int) -> str:
    at, kind = 0, b""
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
        if length < 8:  # to the end of the file, or no box
            return ""
        at += length
    name = kind.decode("latin-1")
    if at != size:
        return f"its last box, {name!r}"
    return "a fragment, whose samples are missing" if kind == b"moof" else ""


def _wav(file: BinaryIO, size: int) -> str:
    order = ">" if file.read(4) == b"RIFX" else "<"
    at, long = 12, 0
    while at + 8 <= size:
        file.seek(at)
        kind, length = struct.unpack(order + "4sI", file.read(8))
        if kind == b"ds64":
            (long,) = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))
        if kind == b"data":
            length = long if length >= UNKNOWN else length
            missing = at + 8 + length - size
            return f"its samples, of which {missing:,} bytes are missing" if missing > SLACK else ""
        at += 8 + length + length % 2
    return "its head"


def _transport_stream(file: BinaryIO, size: int) -> str:
    start = file.read(3 * 204)
    for length, first in ((188, 0), (192, 4), (204, 0)):
        if start[first::length][:3] == b"GGG":  # each packet starts with 0x47
            break
    else:
        return ""
    if size % length:
        return "a packet"
    file.seek(max(0, size - TAIL // length * length) + first)
    missing: dict[int, int] = {}  # PID -> bytes to come of its last PES packet
    tail = file.read()
    for at in range(0, len(tail), length):
        packet = tail[at : at + 188]
        pid, starts = (packet[1] & 31) << 8 | packet[2], packet[1] & 64
        payload = packet[4 + (1 + packet[4] if packet[3] & 32 else 0) :] if packet[3] & 16 else b""
        if starts:
            declared = int.from_bytes(payload[4:6], "big") if payload[:3] == b"\0\0\1" else 0
            missing[pid] = declared + 6 - len(payload) if declared else 0
        elif pid in missing:
            missing[pid] -= len(payload)
    return "a frame" if any(left > 0 for left in missing.values()) else ""


def _program_stream(file: BinaryIO, size: int) -> str:
    file.seek(max(0, size - TAIL))
    tail = file.read()
    at = len(tail)
    while (at := tail.rfind(b"\0\0\1", 0, at)) >= 0:
        if 0xBC <= (tail[at + 3] if at + 3 < len(tail) else 0) <= 0xEF:  # a PES packet
            length = int.from_bytes(tail[at + 4 : at + 6], "big")
            return "a packet" if at + 6 + length > len(tail) else ""
    return ""


def _ogg(file: BinaryIO, size: int) -> str:
    file.seek(max(0, size - TAIL))
    tail = file.read()
    page = tail.rfind(b"OggS")
    lengths = tail[page + 27 :][: tail[page + 26]] if 0 <= page < len(tail) - 26 else b""
    if page >= 0 and (len(tail) - page < 27 or len(lengths) < tail[page + 26]):
        return "the head of a page"
    return "a page" if page >= 0 and page + 27 + len(lengths) + sum(lengths) > len(tail) else ""


def _gif(file: BinaryIO, size: int) -> str:
    file.seek(max(0, size - 64))
    return "" if file.read().rstrip(b"\0\r\n").endswith(b";") else "its images"


def _jpeg(file: BinaryIO, size: int) -> str:
    """A decoder takes a progressive JPEG for whole after any of its scans, a simple one has one."""
    content = file.read()
    scan = content.rfind(b"\xff\xda")
    whole = content.find(b"\xff\xd9", scan) >= 0 or b"\xff\xc2" not in content[:scan]
    return "" if whole or not content.startswith(b"\xff\xd8") else "its scans"


_CHECKS: Mapping[str, Callable[[BinaryIO, int], str]] = {
    "mp4": _mp4,
    "wav": _wav,
    "mpeg": _program_stream,
    "mpegts": _transport_stream,
    "ogg": _ogg,
    "gif": _gif,
    "image2": _jpeg,
    "jpeg_pipe": _jpeg,
}
