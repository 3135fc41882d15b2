"""Volumes from DICOM series: planes grouped by what separates volumes, ordered by projected position, checked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.limits import check_size
from pipeline.core.scan import LPS_TO_RAS, Array, Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.dicom.pixels import read_stored
from pipeline.formats.dicom.planes import Plane
from pipeline.formats.dicom.regular import could_be_regular, rounding_of
from pipeline.formats.exact import linear, smallest_exact

#: Two slices are at one place if they are closer than this, mm.
_SAME_PLACE = 0.01
#: Distances between slices may differ by this share, and in-plane positions by this share of a pixel: header rounding.
_EVEN = 0.02
#: Keys whose values name a channel; the others hold text or times.
_NAMEABLE = {"echo", "echo time", "inversion time", "b-value", "time point", "trigger time", "repetition"}


@dataclass(frozen=True)
class Volume:
    """Planes that make one volume, ordered along the slice normal.

    Attributes:
        planes: From the lowest projected position up.
        keys: What tells this volume from others of its series.
        notes: What was noticed on the way.
    """

    planes: tuple[Plane, ...]
    keys: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """Planes that make no volume."""

    source: Path
    count: int
    reason: str


def volumes_of(planes: Sequence[Plane]) -> tuple[list[Volume], list[Refused]]:
    """Sort the planes of one series into volumes.

    Planes of different size, direction or pixel spacing are apart from the start. Where positions repeat, the first
    property that gives complete volumes tells them apart, else their order in time.
    """
    volumes: list[Volume] = []
    refused: list[Refused] = []
    for group in _alike(planes):
        try:
            volumes += _separated(*_without_copies(group))
        except InputError as error:
            refused.append(Refused(group[0].instance.path, len(group), error.what))
    return volumes, refused


def affine_of(volume: Volume) -> tuple[Array, dict[str, Any]]:
    """Voxel index → RAS+ mm, from the first and last slice position.

    Returns:
        The affine, and notes: ``sheared`` where slices are stacked askew (a tilted gantry), ``step_assumed`` where a
        single slice has no thickness, ``rounded`` where the slices are evenly spaced but for the header's rounding.

    Raises:
        InputError: Slices are missing, unevenly spaced or not in one line.
    """
    first, last = volume.planes[0], volume.planes[-1]
    notes: dict[str, Any] = {}
    count = len(volume.planes)
    if count == 1:
        if first.step is None:
            notes["step_assumed"] = True
        step = first.normal * (first.step or 1.0)
    else:
        step = (last.position - first.position) / (count - 1)
        rounding = _check_even(volume.planes)
        if rounding:
            taken = f"{float(np.linalg.norm(step)):.4g} mm from one to the next was taken"
            notes["rounded"] = f"written to {rounding:g} mm, and {taken}"
        if np.linalg.norm(np.cross(step, first.normal)) > 0.005 * np.linalg.norm(step):
            notes["sheared"] = True
    affine = np.eye(4)
    affine[:3, 0] = first.directions[0] * first.spacing[0]
    affine[:3, 1] = first.directions[1] * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return LPS_TO_RAS @ affine, notes


def read_volumes(volumes: Sequence[Volume], modality: Modality, options: Ingest) -> Scan:
    """Read volumes that lie on one grid as the channels of one scan.

    Returns:
        ``(C, X, Y, Z)``: X along columns, Y along rows, Z along the slice normal.

    Raises:
        InputError: Slices are missing or uneven, pixels are damaged, or the volumes lie on different grids.
    """
    affine, notes = affine_of(volumes[0])
    for volume in volumes:
        notes |= volume.notes | _without_rescale(volume)
    shape = (len(volumes), *volumes[0].planes[0].shape[::-1], len(volumes[0].planes))
    check_size(shape, 4, options)
    parts = []
    for volume in volumes:
        other, _ = affine_of(volume)
        if len(volume.planes) != shape[3] or not np.allclose(other, affine, atol=1e-3):
            raise InputError("the volumes of one series lie on different grids")
        parts.append(_voxels(volume))
    common = np.result_type(*parts)
    voxels = np.stack([part.astype(common, copy=False) for part in parts]) if len(parts) > 1 else parts[0][None]
    names = tuple(_name(volume, volumes) for volume in volumes)
    first = volumes[0].planes[0].instance
    if first.text("BurnedInAnnotation").upper() == "YES":
        notes["burned_in_annotation"] = True
    return Scan(
        smallest_exact(voxels),
        affine,
        modality,
        "patient",
        channels=names if len(volumes) > 1 else (),
        notes={"format": "dicom", **notes},
    )


def _name(volume: Volume, volumes: Sequence[Volume]) -> str:
    """What tells a volume from its fellows; texts and times, which may identify, by their order."""
    words = []
    for key, value in volume.keys.items():
        if key not in _NAMEABLE:
            values = list(dict.fromkeys(str(other.keys.get(key)) for other in volumes))
            value = values.index(str(value)) + 1
        words.append(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}")
    return ", ".join(words)


def _alike(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Groups of one size, direction and pixel spacing."""
    groups: list[list[Plane]] = []
    for plane in planes:
        for group in groups:
            other = group[0]
            if (
                plane.shape == other.shape
                and plane.instance.shape[3] == other.instance.shape[3]
                and (plane.spacing == other.spacing or np.allclose(plane.spacing, other.spacing, rtol=1e-3))
                and (plane.directions is other.directions or np.allclose(plane.directions, other.directions, atol=2e-3))
            ):
                group.append(plane)
                break
        else:
            groups.append([plane])
    return groups


def _without_copies(planes: list[Plane]) -> tuple[list[Plane], dict[str, Any]]:
    """Drop planes of objects that came twice (one SOPInstanceUID)."""
    seen: set[tuple[str, int, tuple[int, int]]] = set()
    kept = []
    for plane in planes:
        uid = plane.instance.text("SOPInstanceUID") or str(plane.instance.path)
        if (uid, plane.frame, plane.tile) not in seen:
            seen.add((uid, plane.frame, plane.tile))
            kept.append(plane)
    return kept, {"duplicates": len(planes) - len(kept)} if len(kept) < len(planes) else {}


def _places(planes: Sequence[Plane]) -> list[int]:
    """For each plane the number of its place along the normal."""
    normal = planes[0].normal
    along = np.array([plane.position @ normal for plane in planes])
    order = np.argsort(along, kind="stable")
    fresh = np.diff(along[order], prepend=along[order[0]]) > _SAME_PLACE
    numbers = np.empty(len(planes), int)
    numbers[order] = np.cumsum(fresh)
    return [int(n) for n in numbers]


def _separated(planes: list[Plane], notes: dict[str, Any]) -> list[Volume]:
    """Volumes in which no place is taken twice."""
    places = _places(planes)
    counts = Counter(places)
    if max(counts.values()) == 1:
        return [_ordered(planes, {}, notes)]
    for name in dict.fromkeys(key for plane in planes for key in plane.keys):
        parts: dict[Any, list[Plane]] = defaultdict(list)
        covered: dict[Any, Counter[int]] = defaultdict(Counter)
        for plane, place in zip(planes, places, strict=True):
            parts[plane.keys.get(name)].append(plane)
            covered[plane.keys.get(name)][place] += 1
        if len(parts) > 1 and all(set(places_of) == set(counts) for places_of in covered.values()):
            found = []
            for value, part in sorted(parts.items(), key=_in_time):
                for volume in _separated(part, notes):
                    found.append(Volume(volume.planes, {name: value, **volume.keys}, volume.notes))
            return found
    return _by_order(planes, places, counts, notes)


def _in_time(item: tuple[Any, list[Plane]]) -> tuple[float, float, str]:
    """Volumes stand in the order of a number that tells them apart (echo, time), else of their first instance."""
    value, planes = item
    number = value if isinstance(value, (int, float)) else 0.0
    return float(number), min(plane.number for plane in planes), str(value)


def _by_order(planes: list[Plane], places: list[int], counts: Counter[int], notes: dict[str, Any]) -> list[Volume]:
    """The n-th plane at each place belongs to the n-th volume."""
    if len(set(counts.values())) > 1:
        planes, dropped = _without_equal_pixels(planes, places)
        if dropped:
            return _separated(planes, {**notes, "duplicates": notes.get("duplicates", 0) + dropped})
        few, many = min(counts.values()), max(counts.values())
        raise InputError(
            f"slice positions occur {few} to {many} times: slices of a repetition are missing or were added"
        )
    volumes: dict[int, list[Plane]] = defaultdict(list)
    taken: Counter[int] = Counter()
    for plane, place in sorted(zip(planes, places, strict=True), key=lambda item: item[0].number):
        volumes[taken[place]].append(plane)
        taken[place] += 1
    return [_ordered(part, {"repetition": index + 1}, notes) for index, part in volumes.items()]


def _without_equal_pixels(planes: list[Plane], places: list[int]) -> tuple[list[Plane], int]:
    """Drop planes at a place whose pixels another plane at that place has."""
    kept: list[Plane] = []
    seen: dict[int, list[NDArray[Any]]] = defaultdict(list)
    for plane, place in zip(planes, places, strict=True):
        pixels = _cut(plane, read_stored(plane.instance))
        if not any(np.array_equal(pixels, other) for other in seen[place]):
            seen[place].append(pixels)
            kept.append(plane)
    return kept, len(planes) - len(kept)


def _ordered(planes: list[Plane], keys: dict[str, Any], notes: dict[str, Any]) -> Volume:
    normal = planes[0].normal
    return Volume(tuple(sorted(planes, key=lambda plane: float(plane.position @ normal))), keys, notes)


def _check_even(planes: Sequence[Plane]) -> float:
    """Slices must follow each other at one distance, on one line.

    Returns:
        The step that positions were rounded to, mm, where only that makes the distances differ; else 0.
    """
    positions = np.array([plane.position for plane in planes])
    along = positions @ planes[0].normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    off = np.flatnonzero(np.abs(gaps - usual) > max(_EVEN * usual, _SAME_PLACE))
    rounding = rounding_of(positions) if off.size else 0.0
    # Each of the three coordinates may be off by half the rounding.
    if off.size and not could_be_regular(along, rounding / 2 * float(np.abs(planes[0].normal).sum())):
        multiple = gaps / usual
        whole = np.abs(multiple - np.rint(multiple)) <= 0.1 + rounding / usual
        if whole.all() and (np.rint(multiple) > 1).any():
            off = np.flatnonzero(np.rint(multiple) > 1)
        missing = int(np.rint(multiple[off]).sum() - off.size)
        where = ", ".join(str(int(i) + 1) for i in off[:5]) + (" …" if off.size > 5 else "")
        if whole.all() and missing > 0 and (np.rint(multiple) >= 1).all():
            plural = "slices are" if missing > 1 else "slice is"
            raise InputError(f"{missing} {plural} missing (after slice {where} of {len(planes)})")
        raise InputError(
            f"slices are unevenly spaced: {gaps.min():.3f} to {gaps.max():.3f} mm apart (after slice {where})"
        )
    line = positions[0] + np.linspace(0, 1, len(planes))[:, None] * (positions[-1] - positions[0])
    limit = max(_EVEN * max(*planes[0].spacing, usual), _SAME_PLACE, rounding * np.sqrt(3))
    if np.linalg.norm(positions - line, axis=1).max() > limit:
        raise InputError("the slices do not lie in one line: each is shifted in its plane")
    return rounding


def _without_rescale(volume: Volume) -> dict[str, Any]:
    """The note ``no_rescale``, which names the slices that lack a slope and intercept where others have them."""
    bare = [index for index, plane in enumerate(volume.planes, 1) if not plane.scaled]
    identity = all(plane.scale == (1.0, 0.0) for plane in volume.planes)
    if not bare or len(bare) == len(volume.planes) or identity:
        return {}
    named = ", ".join(f"{index} (instance {volume.planes[index - 1].number:g})" for index in bare[:5])
    which = f"slice {named}" if len(bare) == 1 else f"slices {named}" + (" …" if len(bare) > 5 else "")
    return {
        "no_rescale": f"{which} of {len(volume.planes)} alone {'has' if len(bare) == 1 else 'have'} no RescaleSlope"
    }


def _cut(plane: Plane, stored: NDArray[Any]) -> NDArray[Any]:
    """The plane's pixels, ``(rows, columns)``, out of its object's ``(frames, rows, columns, samples)``."""
    row, column = plane.tile
    rows, columns = plane.shape
    if stored.shape[3] != 1:
        raise InputError("the slices are in colour: a derived map, not a scan")
    return stored[plane.frame, row : row + rows, column : column + columns, 0]


def _voxels(volume: Volume) -> NDArray[Any]:
    """``(X, Y, Z)`` after rescaling."""
    load = lru_cache(maxsize=1)(read_stored)  # an object may hold many planes
    stack = np.empty(0, np.uint8)
    for index, plane in enumerate(volume.planes):
        pixels = _cut(plane, load(plane.instance))
        if not index:
            stack = np.empty((len(volume.planes), *pixels.shape), pixels.dtype)
        stack = stack.astype(np.result_type(stack, pixels), copy=False)
        stack[index] = pixels
    scales = {plane.scale for plane in volume.planes}
    if len(scales) == 1:
        stack = linear(stack, *scales.pop())
    else:
        factors = np.array([plane.scale for plane in volume.planes])
        stack = (stack * factors[:, :1, None] + factors[:, 1:, None]).astype(np.float32)
    return smallest_exact(stack).transpose(2, 1, 0)
