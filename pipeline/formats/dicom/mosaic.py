"""Siemens mosaics: the slices of one volume tiled in one image."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.scan import Array
from pipeline.formats.dicom.elements import SIEMENS_CSA, SIEMENS_TILES
from pipeline.formats.dicom.image import Instance
from pipeline.formats.dicom.planes import Plane, plane_of


def mosaic_planes(instance: Instance) -> list[Plane]:
    """The tiles of a mosaic as planes.

    The header's position is that of a picture as large as the mosaic around the first slice's centre; the tiles' own
    positions follow from it (nibabel, "Siemens mosaic format"). Slices run along the SliceNormalVector of the CSA
    header, which may be opposite to the cross product of the image's directions.

    Raises:
        InputError: The number of tiles, the slice normal or the spacing between slices is not known.
    """
    rows, columns = instance.shape[1:3]
    count, normal = _layout(instance)
    side = math.ceil(math.sqrt(count))
    if rows % side or columns % side:
        raise InputError(f"a mosaic of {rows} × {columns} pixels cannot hold {count} tiles")
    tile_rows, tile_columns = rows // side, columns // side
    whole = plane_of(instance)
    step = abs(instance.number("SpacingBetweenSlices") or 0.0)
    if whole is None or not step:
        raise InputError("a mosaic without position, orientation or spacing between slices")
    offset = np.array([(columns - tile_columns) / 2, (rows - tile_rows) / 2]) * whole.spacing
    first = whole.position + offset @ whole.directions
    return [
        replace(
            whole,
            tile=(index // side * tile_rows, index % side * tile_columns),
            shape=(tile_rows, tile_columns),
            position=first + normal * step * index,
            step=step,
        )
        for index in range(count)
    ]


def _layout(instance: Instance) -> tuple[int, Array]:
    """Number of tiles and the direction in which their slices follow each other, LPS."""
    element = instance.header.found.get(SIEMENS_CSA)
    if element is None or not element.value:
        raise InputError("a Siemens mosaic without the CSA header that says how its tiles lie")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental; the sample files prove this one
        from nibabel.nicom import csareader
    try:
        header = csareader.read(element.value)
        count = csareader.get_n_mosaic(header)
        normal = csareader.get_slice_normal(header)
    except (csareader.CSAReadError, KeyError, ValueError, IndexError, TypeError, OverflowError, MemoryError):
        raise InputError("a Siemens mosaic whose CSA header is damaged") from None
    if not count:
        count = int(instance.number(SIEMENS_TILES) or 0)
    if not 1 <= int(count or 0) <= 4096:
        raise InputError("a Siemens mosaic that does not say how many slices it holds")
    orientation = instance.orientation
    if normal is None or len(normal) != 3 or orientation is None:
        raise InputError("a Siemens mosaic without slice normal")
    across = np.cross(orientation[0], orientation[1])
    along = float(across @ np.asarray(normal, float))
    if abs(abs(along) - 1) > 0.01:
        raise InputError("a Siemens mosaic whose slice normal is not at right angles to its slices")
    return int(count), across * np.sign(along)
