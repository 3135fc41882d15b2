"""Stacks: the numbered pictures of a folder as the slices of one volume."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.scan import Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.pictures.reader import read_raster

_NUMBER = re.compile(r"\d+")


def slices_of(folder: Path, pattern: str) -> dict[int, Path]:
    """Number → file of the slices in a folder, in order. The last number in a file's name is its slice's.

    Raises:
        InputError: No file fits the pattern, one has no number, two have the same, or a number between is absent.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or not fnmatch.fnmatchcase(path.name, pattern):
            continue
        numbers = _NUMBER.findall(path.name.split(".")[0])
        if not numbers:
            raise InputError(f"a file that fits the stack {pattern!r} has no number", where=str(path))
        if int(numbers[-1]) in found:
            raise InputError(f"two slices of the stack {pattern!r} have the number {int(numbers[-1])}", where=str(path))
        found[int(numbers[-1])] = path
    if not found:
        raise InputError(f"no file fits the stack {pattern!r}", where=str(folder))
    gaps = sorted(set(range(min(found), max(found))) - set(found))
    if gaps:
        raise InputError(f"slice {gaps[0]} of the stack {pattern!r} is absent", where=str(folder))
    return dict(sorted(found.items()))


def read_stack(folder: Path, modality: Modality, options: Ingest) -> Scan:
    """Read the slices of a folder as one volume, as ``ingest.stack`` and ``ingest.stack_spacing`` say.

    Pictures say nothing of how they lie in the patient: columns are taken to run to the left, rows to the back and
    slices up, as axial slices are shown. ``notes`` hold the slices' numbers.

    Returns:
        ``(C, X, Y, Z)``, X along columns, Y along rows and Z along the slices' numbers.

    Raises:
        InputError: As in :func:`slices_of`; slices differ in size or channels, or one cannot be read.
    """
    if options.stack is None or options.stack_spacing is None:
        raise InputError("is a folder of pictures", where="ingest.stack")
    files = slices_of(folder, options.stack)
    slices = [read_raster(path, modality, options).voxels for path in files.values()]
    voxels = np.concatenate(_alike(slices, folder), axis=3)
    notes = {"format": "stack", "slices": list(files)}
    return Scan(voxels, _affine(options.stack_spacing), modality, "patient", notes=notes)


def _affine(spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    x, y, z = spacing
    return np.diag([-x, -y, z, 1.0])


def stack_grid(masks: NDArray[Any], scan: Scan, options: Ingest) -> Scan:
    """A stack of masks ``(X, Y, Z)`` as a scan, for its grid."""
    if options.stack_spacing is None:
        raise InputError("is a folder of pictures", where="ingest.stack")
    return Scan(masks[None], _affine(options.stack_spacing), scan.modality, "patient", notes={"format": "stack"})


def mask_slices(folder: Path, scan: Scan, options: Ingest) -> list[Path]:
    """The pictures of a folder of masks, one for each slice of the scan, in order.

    Raises:
        InputError: The folder is no stack, or its numbers are not the scan's.
    """
    pattern = options.stack_masks or options.stack
    if pattern is None:
        raise InputError("is a folder", remedy="Name the mask file itself, or set ingest.stack.")
    files = slices_of(folder, pattern)
    numbers = scan.notes.get("slices")
    if numbers is not None and list(files) != numbers:
        odd = sorted(set(files) ^ set(numbers))
        raise InputError(f"the stacks of the scan and its masks differ, first in slice {odd[0]}", where=str(folder))
    return list(files.values())


def _alike(slices: list[NDArray[Any]], folder: Path) -> list[NDArray[Any]]:
    if len({part.shape for part in slices}) > 1:
        raise InputError("slices of the stack differ in size or colours", where=str(folder))
    return slices
