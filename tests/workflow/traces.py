"""Looks for what identifies a patient in everything that a workflow left behind."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread

IDENTIFYING = ("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
IDENTIFYING += ("AccessionNumber", "StudyID", "InstitutionName", "ReferringPhysicianName")


def secrets_of(source: Path) -> set[bytes]:
    """Identifying values of all DICOM files below a folder, and the names of its files with their folder."""
    found = set()
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        found.add(f"{path.parent.name}/{path.name}".encode())
        if path.suffix == ".dcm":
            header = dcmread(path, stop_before_pixels=True)
            values = [str(header.get(name, "")) for name in IDENTIFYING]
            found |= {value.encode() for value in values if len(value) > 5}
    return found


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they hold when unpacked."""
    data = path.read_bytes()
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data[:2] == b"\x78\x9c":
        yield zlib.decompress(data)


def traces(results: Path, secrets: set[bytes], but: tuple[str, ...]) -> list[str]:
    """Files below ``results`` that hold a secret, but for those in folders named in ``but``."""
    found = []
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        if any(part in but for part in path.relative_to(results).parts):
            continue
        for data in contents(path):
            found += [f"{path.relative_to(results)}: {secret.decode()}" for secret in secrets if secret in data]
    return found
