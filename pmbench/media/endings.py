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


_MPEG1, _MPEG2 = 3, 2
_BITRATES = {
    _MPEG1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    _MPEG2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits per second of layer III; the first stands for any other rate."""
_RATES = (44_100, 48_000, 32_000)


def _mp3(file: BinaryIO, size: int) -> str:
    """The frames follow each other; each header tells the length of its frame."""
    content = file.read()
    at = 0
    if content[:3] == b"ID3":
        at = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(content[6:10])))
    while len(header := content[at : at + 4]) == 4:
        version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
        rate, bits = header[2] >> 2 & 3, header[2] >> 4
        if (
            header[0] != 0xFF
            or header[1] < 0xE0
            or layer != 1
            or version == 1
            or rate == 3
            or bits in (0, 15)
        ):
            return ""  # a tag, or no frame
        samples = 1152 if version == _MPEG1 else 576
        hertz = _RATES[rate] >> (_MPEG1 - version if version else 2)
        at += samples // 8 * 1000 * _BITRATES[version or _MPEG2][bits] // hertz + (header[2] >> 1 & 1)
    return "a frame" if at > size else ""


def _adts(file: BinaryIO, size: int) -> str:
    content, at = file.read(), 0
    while len(head := content[at : at + 6]) == 6:
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or length < 7:
            return ""
        at += length
    return "a frame" if at > size or (0 < size - at < 6 and content[at : at + 1] == b"\xff") else ""


def _wave64(file: BinaryIO, size: int) -> str:
    at = 40
    while at + 24 <= size:
        file.seek(at)
        kind, length = struct.unpack("<4s12xQ", file.read(24))
        if kind == b"data":
            missing = at + length - size
            return f"its samples, of which {missing:,} bytes are missing" if missing > SLACK else ""
        if length < 24:
            return ""
        at += length + -length % 8
    return "its head"


_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675


def _matroska(file: BinaryIO, size: int) -> str:
    """Elements of EBML: an id, a length, and the content; the outer ones may leave their length open."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        id_length = 9 - head[0].bit_length()
        if id_length > 4:
            return ""
        rest = head[id_length:]
        long = 9 - rest[0].bit_length() if rest else 9
        if len(rest) < long:
            return "the head of an element" if len(head) < 12 else ""
        mask = (1 << 7 * long) - 1
        length = int.from_bytes(rest[:long], "big") & mask
        kind, opened = int.from_bytes(head[:id_length], "big"), length == mask
        at += id_length + long
        if opened and kind not in (_SEGMENT, _CLUSTER):
            return ""
        if kind == _SEGMENT and not opened and at + length > size:
            return f"its content, of which {at + length - size:,} bytes are missing"
        if kind != _SEGMENT and not opened:
            at += length
    return "an element" if at > size else ""


_CHECKS: Mapping[str, Callable[[BinaryIO, int], str]] = {
    "mp4": _mp4,
    "wav": _wav,
    "mpeg": _program_stream,
    "mpegts": _transport_stream,
    "ogg": _ogg,
    "gif": _gif,
    "mp3": _mp3,
    "aac": _adts,
    "w64": _wave64,
    "matroska": _matroska,
    "image2": _jpeg,
    "jpeg_pipe": _jpeg,
}
