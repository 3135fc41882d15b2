"""Gzip through ISA-L: several times as fast as zlib at its level 1, and as small."""

from __future__ import annotations

import struct
from pathlib import Path

from isal import isal_zlib

from pipeline.core.files import whole_file

#: ISA-L's levels are 0 to 3; 3 packs scans to the size of zlib's level 1.
LEVEL = 3
_RAW_DEFLATE = -15
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def packed(data: bytes) -> bytes:
    """One gzip member without name and time, so that equal data give equal files."""
    body = isal_zlib.compress(data, LEVEL, _RAW_DEFLATE)
    return _HEADER + body + struct.pack("<II", isal_zlib.crc32(data), len(data) & 0xFFFFFFFF)


def unpacked(data: bytes) -> bytes:
    """The content of a gzip file.

    Raises:
        isal_zlib.error: The data are damaged or cut short.
    """
    return bytes(isal_zlib.decompress(data, 16 - _RAW_DEFLATE))


def write_packed(path: Path, data: bytes) -> None:
    """Write a gzip file, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(packed(data))
