"""A folder for a person to correct: scans whose organs are doubtful, with the masks that were found in them.

``organseg manifest add`` takes the folder back into a study.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.files import read_json, sha256_of, whole_file, write_json
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Scan
from pipeline.formats.nifti.labels import stored_grid, write_label_files
from pipeline.formats.nifti.writer import write_nifti
from pipeline.formats.pictures.borders import uncropped

FOLDER, IMAGES, MASKS = "correction", "images", "masks"
#: When the folder was last written by us, and each mask's sha256 as it was: what differs, a person has changed.
STAMP = ".written"


def clear(folder: Path) -> Path | None:
    """Remove an earlier run's folder; corrections that were begun in it are kept under another name, which is given."""
    if not folder.is_dir():
        return None
    stamp = folder / STAMP
    since = stamp.stat().st_mtime_ns if stamp.is_file() else 0
    files = (path for path in folder.rglob("*") if path.is_file() and path != stamp)
    if not any(path.stat().st_mtime_ns > since for path in files):
        shutil.rmtree(folder)
        return None
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(1))
    kept = next(path for path in numbered if not path.exists())
    folder.rename(kept)
    return kept


def finish(folder: Path, masks_in: str = MASKS) -> None:
    """Note that all in the folder is as it was found, and what its masks are like."""
    if folder.is_dir():
        masks = sorted(path for path in (folder / masks_in).rglob("*") if path.is_file())
        write_json(folder / STAMP, {path.relative_to(folder).as_posix(): sha256_of(path) for path in masks})


def untouched(masks: Iterable[Path]) -> set[Path]:
    """Those of the masks that are as a model wrote them.

    What a model wrote has a stamp in its folder or in one of the two above that; masks elsewhere are a person's.
    """
    stamps = {mask: _stamp_of(mask.parent) for mask in masks}
    return {mask for mask, stamp in stamps.items() if stamp is not None and _is_as_written(mask, stamp)}


def _stamp_of(folder: Path) -> Path | None:
    around = (folder, *folder.parents[:2])
    return next((place / STAMP for place in around if (place / STAMP).is_file()), None)


def _is_as_written(mask: Path, stamp: Path) -> bool:
    if not stamp.stat().st_size:  # as folders of before have it
        return mask.stat().st_mtime_ns <= stamp.stat().st_mtime_ns
    written: dict[str, str] = read_json(stamp)
    name = mask.relative_to(stamp.parent).as_posix()
    return name in written and mask.is_file() and written[name] == sha256_of(mask)


def put_aside(folder: Path, name: str, scan: Scan, labels: LabelMap, values: Mapping[str, int]) -> None:
    """Put a scan under ``images/`` and its organs under ``masks/``.

    A picture whose size in millimetres is unknown becomes a PNG, all else a NIfTI file a channel.

    Args:
        folder: Where to.
        name: The scan's name.
        scan: The scan.
        labels: Its organs, on the scan's grid.
        values: Organ → value in the file, as :func:`~pipeline.formats.nifti.labels.write_label_files` takes them.
    """
    whole = uncropped(scan)
    picture = _as_picture(whole)
    if picture is not None:
        with whole_file(below(folder, IMAGES, f"{name}.png")) as part:
            picture.save(part, "PNG")
    else:
        several = whole.voxels.shape[0] > 1
        for number, channel in enumerate(whole.voxels):
            path = folder / IMAGES / (f"{name}_{number:04d}.nii.gz" if several else f"{name}.nii.gz")
            write_nifti(path, whole.to_stored(channel), stored_grid(whole).affine, whole.unit)
    write_label_files(folder / MASKS, name, scan, labels, values)


def _as_picture(scan: Scan) -> Image.Image | None:
    """A picture of the very values, where a PNG can hold them and nothing is lost."""
    channels = scan.voxels.shape[0]
    if not scan.is_flat or scan.spacing_source == "patient" or channels not in (1, 3):
        return None
    values = scan.voxels[..., 0].transpose(2, 1, 0)
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0:
        return None
    most = int(values.max())
    if channels == 3:
        return Image.fromarray(values.astype(np.uint8)) if most < 256 else None
    dtype = np.uint8 if most < 256 else np.uint16
    return Image.fromarray(np.ascontiguousarray(values[..., 0]).astype(dtype)) if most < 65536 else None
