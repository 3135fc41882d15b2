"""DICOM segmentation objects: their frames placed on a scan's grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import OrganMasks
from pipeline.core.scan import LPS, Scan
from pipeline.core.study import Ingest, Organ
from pipeline.formats.dicom.codes import coded
from pipeline.formats.dicom.enhanced import Groups, enhanced_planes, functional_groups
from pipeline.formats.dicom.header import element_numbers, lenient
from pipeline.formats.dicom.image import Instance, NoImageError, damage_named, read_instance
from pipeline.formats.dicom.pixels import read_stored
from pipeline.formats.dicom.planes import Plane
from pipeline.formats.naming import Segment, resolve

#: A frame lies on the grid if it is off by less than this share of a voxel.
_OFF_GRID = 0.1


def read_seg(
    path: Path,
    scan: Scan,
    organs: Mapping[str, Organ],
    options: Ingest,
    notes: dict[str, Any] | None = None,
    *,
    only: str | None = None,
) -> OrganMasks:
    """Read a binary, fractional or labelmap segmentation object, or an RT structure set.

    Fractions of one half and more are inside. Segments are matched with organs by label, alias or code, else by number,
    as :func:`~pipeline.formats.naming.match_segments` has it. Frames may come in any order, overlap, and run in another
    direction than the scan's axes.

    Args:
        path: The object.
        scan: The scan in canonical orientation that the masks belong to.
        organs: The study's organs.
        options: Bounds; segment numbers and names in ``background`` are passed over.
        notes: Takes what was assumed, for findings.
        only: The organ that the file is given for, where it is given for one.

    Returns:
        Organ → ``(X, Y, Z)`` mask on the scan's grid.

    Raises:
        InputError: It is no segmentation object, a frame lies off the scan's grid, or a segment is no organ.
    """
    notes = {} if notes is None else notes
    try:
        instance = read_instance(path, options)
    except NoImageError as error:
        if "RT Structure Set" not in error.what:
            raise
        from pipeline.formats.dicom.rtstruct import read_structures

        return read_structures(path, scan, organs, options, notes, only=only)
    if instance.modality != "SEG":
        raise InputError("is a DICOM object and not a segmentation")
    segments = _segments(instance, organs)
    stored = read_stored(instance)[..., 0]
    frames = functional_groups(instance)
    if instance.text("SegmentationType").upper() == "LABELMAP":
        used = {int(value) for value in np.unique(stored)} - {0, *_padding(path)}
        parts = {number: [(frame, number) for frame in range(len(frames))] for number in used}
    else:
        stored = _inside(instance, stored).astype(np.uint8)
        parts = _frames_of(frames, segments)
        used = set(parts)
    names = resolve(segments, used, organs, options, notes, only)
    placed = not scan.is_flat or any(groups.macro("PlanePositionSequence") for groups in frames)
    planes = enhanced_planes(instance) if placed else None
    masks: OrganMasks = {}
    for number in sorted(used & set(names)):
        mask = masks.setdefault(names[number], np.zeros(scan.shape, bool))
        for frame, value in parts[number]:
            _place(mask, stored[frame] == value, planes[frame] if planes else None, scan)
    return masks


def _padding(path: Path) -> tuple[int, ...]:
    """The value of a labelmap's pixels that belong to no segment, where the object names one; else it is 0."""
    with damage_named(), lenient():
        found = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["PixelPaddingValue"])
        return tuple(int(value) for value in element_numbers(found, "PixelPaddingValue"))


def _inside(instance: Instance, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """The pixels of a binary or fractional object that belong to their frame's segment."""
    if instance.text("SegmentationType").upper() != "FRACTIONAL":
        return np.asarray(stored != 0)
    return np.asarray(stored >= 0.5 * (instance.number("MaximumFractionalValue") or 1.0))


def _frames_of(frames: list[Groups], segments: Mapping[int, Segment]) -> dict[int, list[tuple[int, int]]]:
    """Segment number → its frames, each with the value that is inside."""
    parts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for frame, groups in enumerate(frames):
        numbers = element_numbers(groups.macro("SegmentIdentificationSequence"), "ReferencedSegmentNumber")
        if not numbers and len(segments) > 1:
            raise InputError("a frame of the segmentation object names no segment")
        parts[int(numbers[0]) if numbers else next(iter(segments))].append((frame, 1))
    return parts


def _segments(instance: Instance, organs: Mapping[str, Organ]) -> dict[int, Segment]:
    """Segment number → what names it: label, description, and the code of its kind."""
    named: dict[int, Segment] = {}
    with lenient():
        for item in instance.dataset.get("SegmentSequence") or []:
            numbers = element_numbers(item, "SegmentNumber")
            if numbers:
                words = _words(item.get("SegmentDescription"))
                found, organ = coded(item, "SegmentedPropertyTypeCodeSequence", organs)
                named[int(numbers[0])] = Segment(str(item.get("SegmentLabel") or ""), words + found, organ)
    if not named:
        raise InputError("the segmentation object names no segments")
    return named


def _words(*values: object) -> tuple[str, ...]:
    return tuple(str(value) for value in values if value)


def _place(mask: NDArray[np.bool_], inside: NDArray[np.bool_], plane: Plane | None, scan: Scan) -> None:
    """Add a frame ``(rows, columns)`` to a mask on the scan's grid."""
    if plane is None:
        if inside.T.shape != mask.shape[:2]:
            rows, columns = inside.shape
            raise InputError(
                f"the segmentation is {columns} × {rows} pixels, the scan {mask.shape[0]} × {mask.shape[1]}"
            )
        mask[:, :, 0] |= inside.T
        return
    to_index = np.linalg.inv(scan.affine)
    steps = np.stack([plane.directions[0] * plane.spacing[0], plane.directions[1] * plane.spacing[1]])
    along = (steps * LPS) @ to_index[:3, :3].T
    ends = np.array(inside.shape[::-1])
    turned = np.abs(along - np.rint(along)).max(axis=1) * ends
    origin = to_index[:3, :3] @ (plane.position * LPS) + to_index[:3, 3]
    if (turned > 2 * _OFF_GRID).any() or np.abs(origin - np.rint(origin)).max() > _OFF_GRID:
        raise InputError("the segmentation lies on another grid than the scan")
    rows, columns = np.nonzero(inside)
    places = np.rint(origin) + columns[:, None] * np.rint(along[0]) + rows[:, None] * np.rint(along[1])
    if (places < 0).any() or (places >= mask.shape).any():
        raise InputError("the segmentation reaches outside the scan")
    mask[tuple(places.astype(int).T)] = True
