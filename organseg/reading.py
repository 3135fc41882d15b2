"""Scans and masks out of files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Modality, Scan
from pipeline.core.study import Ingest, Organ, Study, load_study
from pipeline.formats.table import read_scan_file, sniff


def read_scan(path: str | Path | Sequence[str | Path], modality: Modality | None = None) -> Scan:
    """Read one scan in any form: DICOM file or series, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF.

    What a file is, its content says, not its name.

    Args:
        path: A file, the folder of a DICOM series, or one of these for each channel.
        modality: ``xray``, ``mri``, ``ct`` or ``photo``; by default what DICOM headers say, ``mri`` for other volumes,
            and by colour ``photo`` or ``xray`` for pictures.

    Returns:
        Voxels ``(C, X, Y, Z)`` with axes nearest to RAS+ (pictures as they are shown, with ``Z == 1``), and the affine
        from voxel index to RAS+ mm. Where a picture does not say how large its pixels are, ``scan.unit`` is ``px``.

    Raises:
        InputError: Nothing is there, it is damaged, or it holds no scan or several.
    """
    paths = [path] if isinstance(path, str | Path) else path
    return read_scan_file([Path(one) for one in paths], modality, Ingest())


def read_labels(
    path: str | Path | Mapping[str, str | Path],
    organs: Sequence[str] | Mapping[int, str] | None = None,
    *,
    study: Study | str | None = None,
    scan: Scan | None = None,
    name: str | None = None,
    dialect: str | None = None,
    overlapping: bool = False,
) -> LabelMap:
    """Read masks in any form: label volume, index or RGB palette picture, DICOM SEG, RLE CSV, or a file an organ.

    Args:
        path: One file with all organs, or organ → file. A label map that organseg itself stored (``masks/`` and
            ``predictions/`` of a study) names its organs, and needs nothing else.
        organs: Names of the values 1, 2, …, or value → name.
        study: In place of ``organs``: a study or its name, whose values, colours and aliases count.
        scan: The scan that the masks lie on, as :func:`read_scan` gives it. Needed for DICOM SEG and run lengths, which
            hold no grid; with other files it is checked that both have the same place.
        name: What the scan is called in a file of run lengths.
        dialect: Dialect of a file of run lengths that does not name its own.
        overlapping: Keep voxels that belong to several organs; by default the organ that is named later wins them. With
            a study, the study says so.

    Returns:
        ``(X, Y, Z)`` unsigned integers on the scan's grid, with their organs.

    What was assumed on the way, such as names that won over numbers, is a warning.

    Raises:
        InputError: A file is not readable as masks, holds a value that is no organ, or lies elsewhere than the scan.
    """
    from pipeline.formats.masks import read_masks, spoken
    from pipeline.formats.store import read_labels as read_stored

    if organs is None and study is None:
        if isinstance(path, Mapping):
            organs = list(path)
        else:
            return read_stored(Path(path))
    if study is not None:
        study = load_study(study) if isinstance(study, str) else study
        named, options, overlapping = study.organs, study.ingest, study.overlapping
    else:
        pairs = organs.items() if isinstance(organs, Mapping) else enumerate(organs or (), 1)
        named, options = {organ: Organ(value=value) for value, organ in pairs}, Ingest()
    if dialect is not None:
        options = options.model_copy(update={"rle_dialect": dialect})
    source = {organ: Path(file) for organ, file in path.items()} if isinstance(path, Mapping) else Path(path)
    first = next(iter(source.values())) if isinstance(source, Mapping) else source
    names = [name] if name is not None else []
    notes: dict[str, Any] = {}
    grid = scan or _grid_of(first)
    labels = read_masks(source, grid, named, options, overlapping=overlapping, names=names, notes=notes)
    for _, sentence in spoken(notes):
        warnings.warn(sentence, stacklevel=2)
    return labels


def _grid_of(path: Path) -> Scan:
    """The mask's own grid, where no scan is given."""
    if path.is_file() and sniff(path) in {"dicom", "text", "parquet"}:
        raise InputError("does not hold the grid of its scan", where=str(path), remedy="Give the scan too: scan=….")
    return read_scan_file([path], "mri", Ingest())
