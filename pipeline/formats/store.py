"""How ingested scans and label maps lie on disk: ordinary NIfTI files whose header also carries what NIfTI cannot say.

The extra facts (modality, where the millimetres come from, the grid of the original file; organs, bits and what was
annotated) stand as JSON in a NIfTI comment extension, so a file moved elsewhere keeps them, and any viewer opens it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Array, Grid, Scan
from pipeline.formats.nifti.writer import COMMENT, write_nifti

if TYPE_CHECKING:
    import nibabel as nib

KEY = "organseg"


def _write(path: Path, data: Array, affine: Array, facts: dict[str, Any], unit: Literal["mm", "px"]) -> None:
    text = json.dumps({KEY: facts}, ensure_ascii=False).encode()
    write_nifti(path, data, affine, unit, text)


def _facts(image: nib.Nifti1Image, path: Path) -> dict[str, Any]:
    for extension in image.header.extensions:
        if extension.get_code() == COMMENT:
            content = extension.get_content()
            text = content.decode() if isinstance(content, bytes) else str(content)
            try:
                facts = json.loads(text.rstrip("\0"))
            except json.JSONDecodeError:
                continue
            if isinstance(facts, dict) and KEY in facts:
                return dict(facts[KEY])
    raise InputError("was not written by organseg", where=str(path), remedy="Ingest it first.")


def _load(path: Path) -> nib.Nifti1Image:
    import nibabel as nib  # takes longer to import than a scan to write, and only readers need it
    from nibabel.filebasedimages import ImageFileError
    from nibabel.wrapstruct import WrapStructError

    try:
        return nib.Nifti1Image.from_filename(path)
    except FileNotFoundError:
        raise InputError("the file does not exist", where=str(path)) from None
    except (ImageFileError, WrapStructError, OSError, EOFError) as error:
        raise InputError(f"is not readable as NIfTI ({error})", where=str(path)) from None


def write_scan(path: Path, scan: Scan) -> None:
    """Write a scan; one channel as ``(X, Y, Z)``, several as ``(X, Y, Z, C)``. The dtype is kept."""
    data = scan.voxels[0] if scan.voxels.shape[0] == 1 else np.moveaxis(scan.voxels, 0, -1)
    facts = {
        "modality": scan.modality,
        "spacing_source": scan.spacing_source,
        "channels": list(scan.channels),
        "notes": scan.notes,
        "affine": scan.affine.tolist(),
        "stored": None
        if scan.stored is None
        else {"shape": list(scan.stored.shape), "affine": np.asarray(scan.stored.affine).tolist()},
    }
    _write(path, data, scan.affine, facts, scan.unit)


def read_scan(path: Path) -> Scan:
    """Read a scan that :func:`write_scan` wrote.

    Raises:
        InputError: The file is absent, unreadable or was not written by :func:`write_scan`.
    """
    image = _load(path)
    facts = _facts(image, path)
    data = np.asanyarray(image.dataobj)
    voxels = data[None] if data.ndim == 3 else np.ascontiguousarray(np.moveaxis(data, -1, 0))
    stored = facts["stored"]
    return Scan(
        voxels=voxels,
        affine=np.array(facts["affine"]),
        modality=facts["modality"],
        spacing_source=facts["spacing_source"],
        channels=tuple(facts["channels"]),
        stored=None if stored is None else Grid(tuple(stored["shape"]), np.array(stored["affine"])),
        notes=facts["notes"],
    )


def write_labels(path: Path, labels: LabelMap, unit: Literal["mm", "px"] = "mm") -> None:
    """Write a label map; overlapping organs as a bit mask whose header names the bits."""
    facts = {
        "organs": list(labels.organs),
        "overlapping": labels.overlapping,
        "annotated": [organ for organ in labels.organs if organ in labels.annotated],
        "affine": np.asarray(labels.affine).tolist(),
        "meaning": {
            organ: f"bit {index} (value {1 << index})" if labels.overlapping else f"value {index + 1}"
            for index, organ in enumerate(labels.organs)
        },
    }
    _write(path, labels.data, np.asarray(labels.affine), facts, unit)


def read_labels(path: Path) -> LabelMap:
    """Read a label map that :func:`write_labels` wrote.

    Raises:
        InputError: The file is absent, unreadable or was not written by :func:`write_labels`.
    """
    image = _load(path)
    facts = _facts(image, path)
    return LabelMap(
        data=np.asanyarray(image.dataobj),
        affine=np.array(facts["affine"]),
        organs=tuple(facts["organs"]),
        overlapping=facts["overlapping"],
        annotated=frozenset(facts["annotated"]),
    )
