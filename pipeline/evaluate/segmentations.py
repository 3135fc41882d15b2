"""DICOM segmentations compared: laid on the grid of the other side, or on one that holds the frames of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.scan import FRONTAL_AFFINE, LPS, Array, Grid, Scan, to_canonical
from pipeline.core.study import Ingest, Organ
from pipeline.core.units import LengthUnit
from pipeline.evaluate.scan_masks import ScanMasks
from pipeline.formats.dicom.enhanced import enhanced_planes, functional_groups
from pipeline.formats.dicom.header import element_numbers, lenient
from pipeline.formats.dicom.image import Instance, read_instance
from pipeline.formats.dicom.planes import Plane
from pipeline.formats.dicom.seg_reader import read_seg
from pipeline.formats.naming import match_segments, says_nothing
from pipeline.formats.segnrrd import Segments, segment_masks

#: Slices lie on one grid if they are off by less than this share of the step.
_OFF_GRID = 0.1


def read_segmentation(path: Path, names: Mapping[str, tuple[int, ...]], like: ScanMasks | None) -> ScanMasks:
    """Read one segmentation on the grid of the other side.

    Args:
        path: The object.
        names: Organ → segment numbers, where a user named them; otherwise segments go by the other side's organs where
            any is called so or only numbered, and by their own labels where not.
        like: The other side.

    Raises:
        InputError: There is no other side, a segment is no organ of it, or a frame lies off its grid.
    """
    if like is None:
        raise InputError(
            "a DICOM segmentation does not hold the whole grid",
            where=str(path),
            remedy="Compare it with a label volume, or export both as NIfTI.",
        )
    scan = Scan(np.zeros((1, *like.grid.shape), np.uint8), like.grid.affine, "mri")
    named = _named(names, like, lambda: segment_labels(path))
    masks = read_seg(path, scan, named, Ingest())
    return ScanMasks({name: masks.get(name, np.zeros(scan.shape, bool)) for name in named}, scan.grid, like.unit, False)


def read_named_volume(
    scan: Scan, segments: Segments, names: Mapping[str, tuple[int, ...]], like: ScanMasks | None
) -> ScanMasks:
    """A ``.seg.nrrd``, whose segments have names.

    Args:
        scan: The file as a scan in canonical orientation, a channel a layer.
        segments: What its header says of segments.
        names: As in :func:`read_segmentation`.
        like: The other side, where there is one.

    Raises:
        InputError: A segment is no organ of the other side, or the file contradicts itself.
    """
    called, inside = segment_masks(list(scan.voxels), segments)
    labels = [segment.label for number, segment in called.items() if not says_nothing(segment.label, number)]
    named = _named(names, like, lambda: labels)
    for number, segment in called.items():
        if not named or (like is None and not names and segment.label not in labels):
            named[str(number)] = Organ(value=number)
    used = [number for number, mask in inside.items() if mask.any()]
    masks = {name: np.zeros(scan.shape, bool) for name in named}
    for number, name in match_segments(called, used, named, Ingest()).items():
        masks[name] |= inside[number]
    one = scan.voxels.shape[0] == 1
    return ScanMasks(masks, scan.grid, scan.unit, one, located=scan.unit == "mm", stored=scan.stored)


def _named(
    names: Mapping[str, tuple[int, ...]], like: ScanMasks | None, own: Callable[[], Sequence[str]]
) -> dict[str, Organ]:
    """The organs that segments can be: those a user named, else those of the other side and their own."""
    if names:
        return {name: Organ(value=values[0]) for name, values in names.items()}
    # Organs that the other side only numbers are segments of that number; others are matched by name.
    there = [] if like is None else list(like.organs)
    named = {name: Organ(value=int(name)) if name.isdecimal() else Organ() for name in there}
    if named and all(name.isdecimal() for name in named):
        return named
    return named | {label: Organ() for label in own() if not _known(label, named)}


def _known(label: str, named: Mapping[str, Organ]) -> bool:
    return _plain(label) in {_plain(name) for name in named}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def segment_labels(path: Path) -> list[str]:
    """The labels of a segmentation's segments, in the order of their numbers."""
    found: dict[float, str] = {}
    with lenient():
        for item in _opened(path).dataset.get("SegmentSequence") or []:
            numbers = element_numbers(item, "SegmentNumber")
            if numbers and item.get("SegmentLabel"):
                found[numbers[0]] = str(item.get("SegmentLabel"))
    return list(dict.fromkeys(found[number] for number in sorted(found)))


def shared_grid(paths: Sequence[Path]) -> ScanMasks:
    """An empty scan whose grid holds every frame of some segmentations, with the labels of the first one's segments.

    Raises:
        InputError: They lie in different directions, or their slices on no regular grid.
    """
    instances = [_opened(path) for path in paths]
    organs = segment_labels(paths[0])
    placed = [any(g.macro("PlanePositionSequence") for g in functional_groups(one)) for one in instances]
    if not any(placed):
        sizes = {one.shape[1:3] for one in instances}
        if len(sizes) > 1:
            raise InputError("the segmentations are of pictures of different sizes", where=str(paths[0]))
        rows, columns = sizes.pop()
        return _empty(Grid((columns, rows, 1), FRONTAL_AFFINE.copy()), "px", organs)
    planes = [plane for one in instances for plane in enhanced_planes(one)]
    try:
        grid = _grid(planes)
    except InputError as error:
        raise InputError(error.what, where=", ".join(map(str, paths)), remedy=error.remedy) from None
    return _empty(grid.permuted(*to_canonical(grid)), "mm", organs)


def _opened(path: Path) -> Instance:
    return read_instance(path, Ingest())


def _empty(grid: Grid, unit: LengthUnit, organs: Sequence[str]) -> ScanMasks:
    return ScanMasks({organ: np.zeros(grid.shape, bool) for organ in organs}, grid, unit, False, whole=False)


def _grid(planes: Sequence[Plane]) -> Grid:
    """The regular grid that all planes lie on."""
    first = planes[0]
    remedy = "Compare them with a label volume of the scan."
    if any(np.abs(plane.directions - first.directions).max() > 1e-3 or plane.shape != first.shape for plane in planes):
        raise InputError("the frames of the segmentations lie in different directions", remedy=remedy)
    along = np.array([float(np.dot(plane.position, first.normal)) for plane in planes])
    levels = _levels(along)
    gaps = np.diff(levels)
    step = float(gaps.min()) if len(gaps) else first.step or 1.0
    if first.step and len(gaps) and abs(round(step / first.step) - step / first.step) < _OFF_GRID:
        step = first.step
    places = (levels - levels[0]) / step
    sideways = [
        plane.position - first.position - np.dot(plane.position - first.position, first.normal) * first.normal
        for plane in planes
    ]
    if np.abs(places - np.rint(places)).max() > _OFF_GRID or np.linalg.norm(sideways, axis=1).max() > _OFF_GRID * min(
        first.spacing
    ):
        raise InputError("the frames of the segmentations lie on no regular grid", remedy=remedy)
    origin = first.position + (levels[0] - float(np.dot(first.position, first.normal))) * first.normal
    axes = [first.directions[0] * first.spacing[0], first.directions[1] * first.spacing[1], first.normal * step]
    affine: Array = np.eye(4)
    affine[:3, :3] = (np.stack(axes) * LPS).T
    affine[:3, 3] = origin * LPS
    rows, columns = first.shape
    return Grid((columns, rows, int(np.rint(places[-1])) + 1), affine)


def _levels(along: Array) -> Array:
    """The different places along an axis, in order."""
    kept: list[float] = []
    for value in np.sort(along):
        if not kept or value - kept[-1] > 1e-2:
            kept.append(float(value))
    return np.array(kept)
