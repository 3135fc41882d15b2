"""Small files that promise gigabytes are refused before they are read, with the limits of a study and of a command."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from organseg import rle
from pipeline.core.errors import InputError
from pipeline.core.limits import MOST_PACKED, UNQUESTIONED, check_size
from pipeline.core.study import Ingest
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.pictures import unpack
from pipeline.formats.table import read_scan_file
from pipeline.inference.champion import Reading
from pipeline.predict.inputs import options_for

JUNK = np.random.default_rng(0).bytes(2**21)


def nifti(path: Path) -> Path:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((1024, 1024, 600))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0\0\0\0" + JUNK))
    return path


def png(path: Path) -> Path:
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 2**20)))
    return path


def nrrd(path: Path) -> Path:
    path = path / "bomb.nrrd"
    head = "NRRD0004\ntype: int16\ndimension: 3\nsizes: 1024 1024 800\nencoding: gzip\nendian: little\n\n"
    path.write_bytes(head.encode() + gzip.compress(b"\0" * 2**20))
    return path


@pytest.mark.parametrize("make", [nifti, png, nrrd], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "options", [Ingest(), options_for(Reading()), Ingest(memory_gib=1000)], ids=["study", "predict", "generous"]
)
def test_bombs_are_refused(make: Callable[[Path], Path], options: Ingest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="promises"):
        read_scan_file([make(tmp_path)], "mri", options)


def test_a_large_scan_that_is_packed_as_scans_are_may_be_read() -> None:
    promised = 4 * UNQUESTIONED
    generous = Ingest(memory_gib=1000)
    assert check_size((promised,), 1, generous, promised // MOST_PACKED + 1) == promised
    with pytest.raises(InputError, match="in a file of"):
        check_size((promised,), 1, generous, promised // MOST_PACKED - 1)
    assert check_size((UNQUESTIONED,), 1, generous, 1) == UNQUESTIONED


@pytest.mark.parametrize("size", [(10**6, 10**6), (10**8 - 1, 10**8 - 1)])
def test_run_lengths_of_a_giant_picture_are_not_painted(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "m.csv"
    path.write_text("ImageId,EncodedPixels\ns1,1 3 10 5\n")
    with pytest.raises(InputError, match="the row promises"):
        list(unpack(EntryReader(path, "kaggle", size=size), tmp_path / "out"))
    assert rle.convert(path, tmp_path / "new.csv", "organseg", dialect="kaggle", size=(10**5, 10**5)) == 1
