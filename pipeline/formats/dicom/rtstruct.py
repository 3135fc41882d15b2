"""RT structure sets: closed planar contours, filled on the grid of their scan.

The rule: a voxel is inside if its centre is, by the even-odd rule; of a centre that lies on an edge, the edge at the
lower index counts. Contours on one slice are combined by exclusive or, so a contour within another is a hole; so is
what a keyhole leaves out, whose two ways along the bridge cancel. A contour fills its own slice and no other.
Source: DICOM PS3.3, C.8.8.6 (ROI Contour Module).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.core.errors import InputError
from pipeline.core.labels import OrganMasks
from pipeline.core.limits import check_size
from pipeline.core.scan import LPS, Array, Scan
from pipeline.core.study import Ingest, Organ
from pipeline.formats.dicom.codes import coded
from pipeline.formats.dicom.header import element_numbers, lenient
from pipeline.formats.dicom.image import damage_named
from pipeline.formats.naming import Segment, match_segments, resolve

#: A contour lies on a slice if its points are off by less than this share of the distance between slices: positions
#: are written to a tenth of a millimetre.
_OFF_SLICE = 0.2
#: Points closer than this share of a voxel are one: what arithmetic adds must not decide on which side a centre lies.
_SNAP = 4
#: Kinds of contours (Contour Geometric Type) that enclose an area.
_CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}
#: RT ROI Interpreted Types that are never an organ (PS3.3, C.8.8.8.1).
_NO_ORGAN = {
    *("EXTERNAL", "SUPPORT", "FIXATION", "ISOCENTER", "MARKER", "REGISTRATION", "CONTROL", "DOSE_REGION", "BOLUS"),
    *("DOSE_MEASUREMENT", "TREATED_VOLUME", "IRRAD_VOLUME", "BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP"),
}
#: Edges times rows that are worked on at once.
_AT_ONCE = 1 << 21


@dataclass
class _Structure:
    """One region of interest: what it is called, and its contours, ``(N, 3)`` LPS mm each."""

    segment: Segment
    kind: str = ""
    contours: list[Array] = field(default_factory=list)
    other: set[str] = field(default_factory=set)


def read_structures(
    path: Path,
    scan: Scan,
    organs: Mapping[str, Organ],
    options: Ingest,
    notes: dict[str, Any],
    *,
    only: str | None = None,
) -> OrganMasks:
    """Read the structures of a set that are organs of the study.

    Structures that are none are passed over where every organ of the study was found; else one of them may be an organ
    under another name, and the set is refused.

    Args:
        path: The object.
        scan: The scan in canonical orientation that the contours belong to.
        organs: The study's organs.
        options: Bounds; names in ``background`` are passed over.
        notes: Takes ``passed_over`` (how many structures), ``gaps`` and ``crossing``, sentences for findings.
        only: The organ that the file is given for, where it is given for one.

    Returns:
        Organ → ``(X, Y, Z)`` mask on the scan's grid.

    Raises:
        InputError: It is damaged, a structure is no organ, or its contours are not closed or not on the scan's slices.
    """
    check_size((path.stat().st_size,), 4, options, what="the structure set")
    with damage_named(), lenient():
        structures = _structures(pydicom.dcmread(path, force=True), organs)
    segments = {number: structure.segment for number, structure in structures.items()}
    found = match_segments(segments, (), organs, options)
    used = {n for n, structure in structures.items() if structure.contours or structure.other}
    used = {n for n in used if n in found or structures[n].kind not in _NO_ORGAN}
    if only is None and set(organs) <= set(found.values()):
        notes["passed_over"] = len(used - set(found))
        used &= set(found)
    names = resolve(segments, used, organs, options, notes, only)
    notes.pop("names_won", None)  # numbers of structures mean nothing
    masks: OrganMasks = {}
    for number in sorted(used & set(names)):
        organ, structure = names[number], structures[number]
        if structure.other:
            raise InputError(
                f"{organ} has contours that enclose nothing ({', '.join(sorted(structure.other))})",
                remedy="Close them, or give the organ as a segmentation.",
            )
        mask = masks.setdefault(organ, np.zeros(scan.shape, bool))
        mask |= filled(structure.contours, scan, organ, notes)
    return masks


def _structures(dataset: Dataset, organs: Mapping[str, Organ]) -> dict[int, _Structure]:
    """The structures by number, in the order of the set."""
    found: dict[int, _Structure] = {}
    observed = {
        int(numbers[0]): item
        for item in dataset.get("RTROIObservationsSequence") or []
        if (numbers := element_numbers(item, "ReferencedROINumber"))
    }
    for item in dataset.get("StructureSetROISequence") or []:
        if numbers := element_numbers(item, "ROINumber"):
            seen = observed.get(int(numbers[0]), Dataset())
            words, organ = coded(seen, "RTROIIdentificationCodeSequence", organs)
            said = (item.get("ROIDescription"), seen.get("ROIObservationLabel"))
            words = tuple(str(word) for word in said if word) + words
            segment = Segment(str(item.get("ROIName") or ""), words, organ)
            found[int(numbers[0])] = _Structure(segment, str(seen.get("RTROIInterpretedType") or "").upper())
    if not found:
        raise InputError("the structure set names no structures")
    for item in dataset.get("ROIContourSequence") or []:
        numbers = element_numbers(item, "ReferencedROINumber")
        structure = found.get(int(numbers[0])) if numbers else None
        if structure is None:
            raise InputError("the structure set has contours of a structure that it does not name")
        for contour in item.get("ContourSequence") or []:
            kind = str(contour.get("ContourGeometricType") or "").upper()
            if kind in _CLOSED:
                structure.contours.append(_points(contour))
            else:
                structure.other.add(kind or "of no kind")
    return found


def _points(contour: Dataset) -> Array:
    """The points of a contour, ``(N, 3)`` LPS mm."""
    numbers = np.array(element_numbers(contour, "ContourData"))
    if numbers.size == 0 or numbers.size % 3:
        raise InputError(f"a contour has {numbers.size} numbers, which are no points")
    return numbers.reshape(-1, 3)


def filled(contours: list[Array], scan: Scan, organ: str, notes: dict[str, Any]) -> NDArray[np.bool_]:
    """The voxels that contours enclose.

    Args:
        contours: Points ``(N, 3)`` of each, LPS mm.
        scan: The scan, for its grid.
        organ: For messages.
        notes: Takes ``gaps`` and ``crossing``.

    Returns:
        ``(X, Y, Z)`` on the scan's grid.

    Raises:
        InputError: A contour lies between slices, askew to them, or outside the scan.
    """
    to_index = np.linalg.inv(scan.affine)
    indices = [points * LPS @ to_index[:3, :3].T + to_index[:3, 3] for points in contours]
    axis = _slice_axis(indices, scan)
    across = [other for other in range(3) if other != axis]
    slices: dict[int, list[Array]] = defaultdict(list)
    for points in indices:
        level = np.rint(points[:, axis].mean())
        if np.abs(points[:, axis] - level).max() > _OFF_SLICE:
            raise InputError(f"contours of {organ} lie between the scan's slices or askew to them")
        flat = np.round(points[:, across], _SNAP)
        ends = np.array([scan.shape[other] for other in across])
        if not 0 <= level < scan.shape[axis] or (flat < -1).any() or (flat > ends).any():
            raise InputError(f"contours of {organ} reach outside the scan")
        if not any(np.array_equal(flat, before) for before in slices[int(level)]):  # twice the same is once
            slices[int(level)].append(flat)
    mask = np.zeros(scan.shape, bool)
    moved = np.moveaxis(mask, axis, 0)
    crossing = 0
    for level, parts in slices.items():
        areas = [inside_of(points, moved.shape[1:]) for points in parts]
        crossing += any(_cross(a, b) for number, a in enumerate(areas) for b in areas[:number])
        moved[level] = np.logical_xor.reduce(areas)
    _note(slices, crossing, organ, notes)
    return mask


def _note(slices: Mapping[int, list[Array]], crossing: int, organ: str, notes: dict[str, Any]) -> None:
    """Note slices without contours between others, and slices whose contours cross."""
    if slices and (gaps := max(slices) - min(slices) + 1 - len(slices)):
        notes.setdefault("gaps", []).append(f"{organ} has no contour on {gaps} slices between its first and its last")
    if crossing:
        notes.setdefault("crossing", []).append(f"{organ} has contours that cross on {crossing} slices")


def _slice_axis(indices: list[Array], scan: Scan) -> int:
    """The axis that contours are planar across, in voxel indices; of a flat scan the third."""
    if scan.is_flat or not indices:
        return 2
    spans = np.max([points.max(axis=0) - points.min(axis=0) for points in indices], axis=0)
    return int(spans.argmin())


def _cross(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    """Whether two areas share some voxels and neither lies within the other."""
    both = a & b
    return bool(both.any()) and not (np.array_equal(both, a) or np.array_equal(both, b))


def inside_of(points: Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The grid points that a closed polygon encloses, by the even-odd rule.

    Args:
        points: ``(N, 2)``, in voxel indices along the two axes.
        shape: Of the grid.

    Returns:
        A mask of ``shape``.
    """
    turns = np.zeros((shape[0] + 1) * shape[1], np.int64)
    for place, row in _crossings(points, shape):
        turns += np.bincount(place * shape[1] + row, minlength=turns.size)
    return (np.cumsum(turns.reshape(shape[0] + 1, shape[1]), axis=0)[:-1] & 1).astype(bool)


def _crossings(points: Array, shape: tuple[int, ...]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where edges cross rows (second axis): the first grid point past the crossing, and the row; in parts."""
    start, end = points, np.roll(points, -1, axis=0)
    low = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1])), 0, shape[1]).astype(np.int64)
    high = np.clip(np.ceil(np.maximum(start[:, 1], end[:, 1])), 0, shape[1]).astype(np.int64)
    counts = high - low
    groups = np.cumsum(counts) // _AT_ONCE
    for group in np.unique(groups[counts > 0]):
        edges = np.flatnonzero((groups == group) & (counts > 0))
        many = counts[edges]
        edge = np.repeat(edges, many)
        row = low[edge] + np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        share = (row - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
        place = np.round(start[edge, 0] + share * (end[edge, 0] - start[edge, 0]), _SNAP + 2)
        yield np.clip(np.ceil(place), 0, shape[0]).astype(np.int64), row
