"""Volumes ↔ pictures: which way up a slice lies, what a checksum is taken over, and label maps as entries to write.

A slice along array axis ``z`` is a picture with rows along Y and columns along X; along ``y`` rows along Z and columns
along X; along ``x`` rows along Z and columns along Y. A picture of a radiograph, stored ``(X, Y, 1)``, is its slice
along ``z``. Runs of a whole ``volume`` go through the slices along ``z`` one after the other, each in the order named:
by rows, their flat index is ``x + X · (y + Y · z)``, the order of voxels in a NIfTI file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import IGNORE, LabelMap
from pipeline.core.scan import Grid, Scan
from pipeline.formats.rle.edges import Mask
from pipeline.formats.rle.runs import Order, Runs

#: Axis of slicing → array axes in the order (slice, row, column).
_AXES = {"z": (2, 1, 0), "y": (1, 2, 0), "x": (0, 2, 1), "volume": (2, 1, 0)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One mask to write: a picture, a slice or a whole volume.

    Attributes:
        scan_id: Image it belongs to.
        organ: Organ.
        runs: Pixels; those of a whole volume lie in a picture of all slices one after the other.
        axis: ``x``, ``y``, ``z`` or ``volume``.
        index: 0-based slice.
        depth: Slices along the axis; 1 for a picture.
        spacing: Distance of voxels along X, Y, Z.
        unit: ``mm`` or ``px``.
        affine: 4×4, voxel index → RAS+ mm, where known.
    """

    scan_id: str
    organ: str
    runs: Runs
    axis: str = "z"
    index: int = 0
    depth: int = 1
    spacing: tuple[float, float, float] | None = None
    unit: str = ""
    affine: NDArray[np.float64] | None = field(default=None, compare=False)

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of one slice."""
        return self.runs.slice_shape(self.depth) if self.axis == "volume" else self.runs.shape

    def reordered(self, order: Order) -> Entry:
        """The same entry with runs in another order; a whole volume stays in its slices."""
        if self.runs.order == order:
            return self
        if self.axis != "volume":
            return replace(self, runs=self.runs.to_order(order))
        return replace(self, runs=self.runs.slices(self.depth).to_order(order).joined())

    def slices(self) -> Iterator[Entry]:
        """This entry slice by slice along ``z``, those without a pixel left out; itself, where it is one slice."""
        if self.axis != "volume":
            yield self
            return
        pictures = self.runs.slices(self.depth)
        filled = pictures.counts > 0
        for index, runs in enumerate(pictures):
            # A volume without a pixel is told by its first slice.
            if filled[index] or (index == 0 and not filled.any()):
                yield replace(self, runs=runs, axis="z", index=index)

    def add_to(self, pictures: Mask) -> None:
        """Add the pixels to a volume as :func:`to_pictures` shows it, ``(slices, rows, columns)``, in place."""
        painted = self.runs.paint()
        if self.axis != "volume":
            pictures[self.index] |= painted
        elif self.runs.order == "row":
            pictures |= painted.reshape(pictures.shape)
        else:
            # Slices lie side by side: (rows, slices · columns).
            height, width = self.picture_size
            pictures |= painted.reshape(height, self.depth, width).transpose(1, 0, 2)


def to_pictures(data: NDArray[Any], axis: str) -> NDArray[Any]:
    """``(X, Y, Z)`` as pictures ``(slices, rows, columns)`` (a view)."""
    return data.transpose(_AXES[axis])


def from_pictures(pictures: NDArray[Any], axis: str) -> NDArray[Any]:
    """Undo :func:`to_pictures` (a view)."""
    inverse = np.argsort(_AXES[axis])
    return pictures.transpose(*(int(i) for i in inverse))


def checksums(entries: Sequence[Entry]) -> list[str]:
    """What the column ``checksum`` of our dialect holds, of each mask.

    The first 16 hexadecimal digits of the SHA-256 of the text ``SLICESxROWSxCOLUMNS:`` followed by the mask's bits,
    slice by slice and row by row, eight to a byte, the first pixel in the highest bit (``numpy.packbits``). It is
    taken from the runs: nothing is painted.
    """
    if not entries:
        return []
    heads = []
    for entry in entries:
        height, width = entry.picture_size
        heads.append(f"{entry.depth if entry.axis == 'volume' else 1}x{height}x{width}:")
    flat = [entry.reordered("row").runs if entry.axis == "volume" else entry.runs for entry in entries]
    return Runs.gather(flat).to_order("row").checksums(heads)


def on_stored_grid(scan: Scan, labels: LabelMap) -> LabelMap:
    """A label map in the axis order of the file that its scan came in; a picture in its whole size.

    Slices are counted as whoever has that file sees them, which is how ingestion reads them back.
    """
    if scan.stored is None:
        return labels
    return replace(labels, data=scan.to_stored(labels.data), affine=np.asarray(scan.stored.affine, float))


def label_entries(
    scan_id: str, labels: LabelMap, unit: str, order: Order, axis: str = "z", *, every_slice: bool = False
) -> Iterator[Entry]:
    """A label map as entries, by :func:`mask_entries`.

    Organs that nobody looked for give none. Voxels to ignore are an organ of their own, named ``(ignore)``.
    """
    masks = {organ: labels.mask(organ) for organ in labels.organs if organ in labels.annotated}
    ignored = labels.ignored()
    if ignored.any():
        masks[IGNORE] = ignored
    return mask_entries(scan_id, masks, np.asarray(labels.affine, float), unit, order, axis, every_slice=every_slice)


def mask_entries(
    scan_id: str,
    masks: Mapping[str, Mask],
    affine: NDArray[np.float64],
    unit: str,
    order: Order,
    axis: str = "z",
    *,
    every_slice: bool = False,
) -> Iterator[Entry]:
    """Masks of one scan as entries: one a slice and organ, slice by slice; one an organ, where ``axis`` is ``volume``.

    Args:
        scan_id: The scan.
        masks: Organ → ``(X, Y, Z)`` mask, all of one shape; one without a voxel gives one empty entry.
        affine: 4×4, voxel index → RAS+.
        unit: Unit of the affine, ``mm`` or ``px``.
        order: Flat order of the runs.
        axis: Array axis to slice along, or ``volume``.
        every_slice: Give slices without a pixel too.

    Raises:
        InputError: ``axis`` is none of ``x``, ``y``, ``z`` and ``volume``.
    """
    if axis not in _AXES:
        raise InputError(f"there is no axis {axis!r}", remedy="Slice along x, y or z, or take volume.")
    if not masks:
        return

    def upright(mask: Mask) -> Mask:
        # One copy turns an organ's slices upright in memory, after which they are read in one sweep.
        return np.ascontiguousarray(to_pictures(mask, axis))

    x, y, z = next(iter(masks.values())).shape
    spacing = Grid((x, y, z), affine).spacing

    def entry(organ: str, runs: Runs, index: int, depth: int) -> Entry:
        return Entry(scan_id, organ, runs, axis, index, depth, spacing, unit, affine)

    if axis == "volume":
        for organ, mask in masks.items():
            stack = upright(mask)
            yield entry(organ, Runs.from_volume(stack, order), 0, len(stack))
        return
    slices = {organ: Runs.from_stack(upright(mask), order) for organ, mask in masks.items()}
    counts = {organ: pictures.counts.tolist() for organ, pictures in slices.items()}
    for index, pictures in enumerate(zip(*slices.values(), strict=True)):
        for organ, runs in zip(slices, pictures, strict=True):
            if every_slice or counts[organ][index] or (index == 0 and not any(counts[organ])):
                yield entry(organ, runs, index, len(counts[organ]))
