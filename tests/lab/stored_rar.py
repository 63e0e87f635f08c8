"""A RAR 4 archive of uncompressed files, after the description of the format: no free program writes one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping

MARKER = b"Rar!\x1a\x07\x00"
STORED = 0x30


def _block(kind: int, flags: int, fields: bytes) -> bytes:
    body = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body


def archive(files: Mapping[str, bytes]) -> bytes:
    """name -> content."""
    return b"".join(blocks(files.items()))


def blocks(files: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """The blocks of an archive of (name, content), whose names may occur twice."""
    written = [MARKER, _block(0x73, 0, bytes(6))]
    for name, content in files:
        raw = name.replace("/", "\\").encode()
        fields = struct.pack(
            "<IIBIIBBHI",
            len(content), len(content), 0, zlib.crc32(content), 0x21 << 16, 20, STORED, len(raw), 0x20,
        )  # fmt: skip
        written += [_block(0x74, 0x8000, fields + raw), content]
    return [*written, _block(0x7B, 0x4000, b"")]
