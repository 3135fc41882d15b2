"""DICOM segmentation objects: their frames placed on a scan's grid."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.core.errors import InputError
from pipeline.core.labels import OrganMasks
from pipeline.core.scan import LPS, Scan
from pipeline.core.study import Ingest, Organ
from pipeline.formats.dicom.enhanced import enhanced_planes
from pipeline.formats.dicom.header import element_numbers, lenient
from pipeline.formats.dicom.image import Instance, NoImageError, read_instance
from pipeline.formats.dicom.pixels import read_stored
from pipeline.formats.dicom.planes import Plane

#: A frame lies on the grid if it is off by less than this share of a voxel.
_OFF_GRID = 0.1


def read_seg(path: Path, scan: Scan, organs: Mapping[str, Organ], options: Ingest) -> OrganMasks:
    """Read a binary or fractional segmentation object; fractions of one half and more are inside.

    Segments are matched with organs by label, alias or SNOMED code, else by number. Frames may come in any order,
    overlap, and run in another direction than the scan's axes.

    Args:
        path: The object.
        scan: The scan in canonical orientation that the masks belong to.
        organs: The study's organs.
        options: Bounds; segment numbers in ``background`` are passed over.

    Returns:
        Organ → ``(X, Y, Z)`` mask on the scan's grid.

    Raises:
        InputError: It is no segmentation object, a frame lies off the scan's grid, or a segment is no organ.
    """
    instance = _segmentation(path, options)
    if instance.modality != "SEG":
        raise InputError("is a DICOM object and not a segmentation")
    segments = _segments(instance)
    stored = read_stored(instance)[..., 0]
    top = instance.number("MaximumFractionalValue") or 1.0
    fractional = instance.text("SegmentationType").upper() == "FRACTIONAL"
    inside = stored >= 0.5 * top if fractional else stored != 0
    by_number: dict[int, list[int]] = defaultdict(list)
    for frame, number in enumerate(_frame_segments(instance)):
        by_number[number].append(frame)
    names = match_segments(segments, set(by_number), organs, options)
    planes = None if scan.is_flat and not _has_places(instance) else enhanced_planes(instance)
    masks: OrganMasks = {}
    for number, frames in by_number.items():
        organ = names.get(number)
        if organ is None:
            continue
        mask = masks.setdefault(organ, np.zeros(scan.shape, bool))
        for frame in frames:
            _place(mask, inside[frame], planes[frame] if planes else None, scan)
    return masks


def _segmentation(path: Path, options: Ingest) -> Instance:
    """The object; contours, which hold no pixels, are refused by name."""
    try:
        return read_instance(path, options)
    except NoImageError as error:
        if "RT Structure Set" not in error.what:
            raise
        raise InputError(
            "is an RT structure set, whose contours are not read as masks",
            remedy="Save it as DICOM SEG or as a label volume, with 3D Slicer (SlicerRT) or `plastimatch convert`.",
        ) from None


def _segments(instance: Instance) -> dict[int, list[str]]:
    """Segment number → the words that name it: label, description, type, code."""
    named: dict[int, list[str]] = {}
    with lenient():
        for item in instance.dataset.get("SegmentSequence") or []:
            numbers = element_numbers(item, "SegmentNumber")
            kinds = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
            words = [item.get("SegmentLabel"), item.get("SegmentDescription")]
            words += [kinds[0].get("CodeMeaning"), kinds[0].get("CodeValue")]
            if numbers:
                named[int(numbers[0])] = [str(word) for word in words if word]
    if not named:
        raise InputError("the segmentation object names no segments")
    return named


def _frame_segments(instance: Instance) -> list[int]:
    """For each frame the number of its segment."""
    with lenient():
        shared = instance.dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
        frames = []
        for group in instance.dataset.get("PerFrameFunctionalGroupsSequence") or []:
            item = group.get("SegmentIdentificationSequence") or shared[0].get("SegmentIdentificationSequence")
            numbers = element_numbers(item[0], "ReferencedSegmentNumber") if item else ()
            if not numbers:
                raise InputError("a frame of the segmentation object names no segment")
            frames.append(int(numbers[0]))
    if len(frames) != instance.shape[0]:
        raise InputError(f"holds {instance.shape[0]} frames and describes {len(frames)}")
    return frames


def match_segments(
    segments: Mapping[int, list[str]], used: set[int], organs: Mapping[str, Organ], options: Ingest
) -> dict[int, str]:
    """Segment number → organ, by name where any name fits, else by value.

    Raises:
        InputError: A segment that has frames is no organ of the study.
    """
    wanted: dict[str, str] = {}
    for name, organ in organs.items():
        for word in (name, *organ.aliases, *([organ.snomed] if organ.snomed else [])):
            wanted[_plain(word)] = name
    matched = {
        number: next((wanted[_plain(word)] for word in words if _plain(word) in wanted), None)
        for number, words in segments.items()
    }
    if not any(matched.values()):
        from pipeline.formats.pictures.masks import organ_values

        by_value = {value: name for name, value in organ_values(organs).items()}
        matched = {number: by_value.get(number) for number in segments}
    lost = [n for n in sorted(used) if not matched.get(n) and n not in options.background]
    if lost:
        shown = ", ".join(f"{n} ({segments.get(n, ['?'])[0]})" for n in lost[:5])
        raise InputError(
            f"the segmentation object holds segments that are no organ of the study: {shown}",
            remedy="Add the label to the organ's aliases, or the number to ingest.background.",
        )
    return {number: name for number, name in matched.items() if name}


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _has_places(instance: Instance) -> bool:
    with lenient():
        groups: list[Any] = [
            *(instance.dataset.get("PerFrameFunctionalGroupsSequence") or []),
            *(instance.dataset.get("SharedFunctionalGroupsSequence") or []),
        ]
    return any(group.get("PlanePositionSequence") for group in groups)


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
