"""Scans named on the command line: files, folders and manifests, each under a name that says nothing of a patient."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.limits import machine_gib
from pipeline.core.names import SCAN_ID, within
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.found import PASSED_OVER, UNOPENED
from pipeline.formats.table import read_scan_file, read_scans
from pipeline.inference.champion import Reading


@dataclass
class Input:
    """One scan to segment.

    Attributes:
        name: Its name in every output.
        source: Where it comes from; for the terminal only.
        read: Reads it in canonical orientation.
    """

    name: str
    source: str
    read: Callable[[], Scan]


def scans_in(paths: Sequence[Path], modality: Modality, reading: Reading, say: Say = quiet) -> list[Input]:
    """As :func:`find_inputs`, all of them.

    Raises:
        InputError: A path does not exist, a manifest cannot be read, or there is no scan.
    """
    inputs = list(find_inputs(paths, modality, reading, say))
    if not inputs:
        raise InputError("holds no scan", where=", ".join(map(str, paths)))
    return inputs


def find_inputs(
    paths: Sequence[Path], modality: Modality, reading: Reading | None = None, say: Say = quiet
) -> Iterator[Input]:
    """Every scan in files, folders and manifests, under names that are told apart and say nothing of a patient.

    A picture or volume keeps its file's name; DICOM objects, whose files may be named after patients, are numbered.
    They are read as ``reading`` says, which a model knows of the scans that it was trained on. Each file that is passed
    over is told to ``say`` with the reason; the name may identify a patient, so that is for the terminal only.

    Raises:
        InputError: A path does not exist, or a manifest cannot be read.
    """
    taken: set[str] = set()
    options = options_for(reading or Reading())
    for path in paths:
        find = _from_manifest if path.suffix.lower() == ".csv" else _from_files
        for one in find(path, modality, options, say):
            name, number = one.name, 2
            while name in taken:
                name, number = f"{one.name}-{number}", number + 1
            taken.add(name)
            yield Input(name, one.source, one.read)


def _from_manifest(path: Path, modality: Modality, options: Ingest, say: Say) -> Iterator[Input]:
    rows = read_table(path)
    for column in ("scan_id", "image"):
        if rows and column not in rows[0]:
            raise InputError(f"has no column {column!r}", where=str(path))
    roots = [path.parent, Path(os.environ.get("ORGANSEG_DATA") or "data")]
    for line, row in enumerate(rows, 2):
        if not SCAN_ID.fullmatch(row["scan_id"]):
            raise InputError(f"{row['scan_id']!r} cannot be a scan's name", where=f"{path}, line {line}")
        names = [name.strip() for name in row["image"].split(";")]
        root = next((r for r in roots if all(within(r, name).exists() for name in names)), roots[0])
        files = [within(root, name) for name in names]

        def read(files: list[Path] = files) -> Scan:
            return read_scan_file(files, modality, options)

        yield Input(row["scan_id"], row["image"], read)


def _from_files(path: Path, modality: Modality, options: Ingest, say: Say) -> Iterator[Input]:
    for item in read_scans(path, modality, options):
        stem = re.sub(r"(\.nii)?(\.gz)?$", "", item.source.name, flags=re.IGNORECASE)
        stem = stem if stem != item.source.name else item.source.stem
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-._")[:80]
        # What could not be opened may be DICOM as well.
        name = "scan" if not safe or item.kind.startswith(("DICOM", UNOPENED)) else safe
        if item.read is not None:
            yield Input(name, str(item.source), item.read)
        elif path.is_dir() and item.code in PASSED_OVER:
            say(f"passed over: {item.source}: {item.reason}")
        else:
            reason = item.reason

            def refuse(reason: str = reason) -> Scan:
                raise InputError(reason)

            yield Input(name, str(item.source), refuse)


def options_for(reading: Reading) -> Ingest:
    """How to read: one scan is in memory at a time, so it may take the machine's."""
    return reading.options(memory_gib=machine_gib())
