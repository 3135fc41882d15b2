"""Gzip through ISA-L: several times as fast as zlib at its level 1, and as small."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from isal import isal_zlib

from pipeline.core.files import whole_file

#: ISA-L's levels are 0 to 3. On scans 2 packs as well as 3, or better, and faster.
LEVEL = 2
_RAW_DEFLATE = -15
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def packed(parts: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """One gzip member without name and time, so that equal data give equal files; in pieces as they come."""
    press = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    check = size = 0
    yield _HEADER
    for part in parts:
        check = isal_zlib.crc32(part, check)
        size += len(part)
        yield press.compress(part)
    yield press.flush()
    yield struct.pack("<II", check, size & 0xFFFFFFFF)


def unpacked(data: bytes) -> bytes:
    """The content of a gzip file.

    Raises:
        isal_zlib.error: The data are damaged or cut short.
    """
    return bytes(isal_zlib.decompress(data, 16 - _RAW_DEFLATE))


def write_packed(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a gzip file, whole or not at all."""
    with whole_file(path) as part, open(part, "wb") as stream:
        stream.writelines(packed(parts))
