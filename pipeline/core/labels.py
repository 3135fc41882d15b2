"""The label map: named organs on the grid of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.names import same_text
from pipeline.core.scan import Array, Grid

IGNORE = "(ignore)"
#: Organ → its mask, ``(X, Y, Z)``.
OrganMasks = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class LabelMap:
    """Named organs on one grid, exclusive (one organ a voxel) or overlapping (any number).

    Attributes:
        data: ``(X, Y, Z)`` unsigned integers. Exclusive: 0 is background, organ *i* of ``organs`` is ``i + 1``, and
            the dtype's largest value marks voxels to ignore. Overlapping: bit *i* is organ *i*, and the dtype's highest
            bit marks voxels to ignore.
        affine: 4×4, voxel index → RAS+ mm, that of the scan.
        organs: Names in the order of the study.
        overlapping: Which of the two readings of ``data`` holds.
        annotated: The organs somebody looked for. An organ that is annotated and has no voxel is absent; one that is
            not annotated is unknown, and neither trained nor measured on.
    """

    data: NDArray[np.unsignedinteger]
    affine: Array
    organs: tuple[str, ...]
    overlapping: bool
    annotated: frozenset[str]

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise ValueError(f"a label map is (X, Y, Z), not {self.data.shape}")
        if not np.issubdtype(self.data.dtype, np.unsignedinteger):
            raise ValueError(f"a label map holds unsigned integers, not {self.data.dtype}")
        unknown = set(self.annotated) - set(self.organs)
        if unknown:
            raise ValueError(f"annotated organs that are not in the map: {sorted(unknown)}")

    @staticmethod
    def dtype_for(count: int, overlapping: bool) -> np.dtype[np.unsignedinteger]:
        """The smallest dtype that holds ``count`` organs and the mark for voxels to ignore."""
        for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
            bits = np.iinfo(dtype).bits
            if (count < bits) if overlapping else (count < 2**bits - 1):
                return np.dtype(dtype)
        raise ValueError(f"{count} overlapping organs are more than fit in 64 bits")

    @classmethod
    def from_masks(
        cls,
        masks: Mapping[str, Array],
        affine: Array,
        organs: Sequence[str],
        *,
        overlapping: bool,
        annotated: frozenset[str] | None = None,
        ignore: Array | None = None,
    ) -> LabelMap:
        """Build from one boolean ``(X, Y, Z)`` mask an organ.

        Args:
            masks: Organ → mask. Organs without a mask are absent.
            affine: 4×4, voxel index → RAS+ mm.
            organs: All organs of the study, in order.
            overlapping: Keep overlaps. If false, the organ that comes later in ``organs`` wins a shared voxel.
            annotated: Organs somebody looked for; by default those with a mask.
            ignore: Voxels that are neither trained nor measured on.
        """
        if not masks:
            raise ValueError("a label map needs at least one mask; give an empty one to fix the grid")
        shape = next(iter(masks.values())).shape
        dtype = cls.dtype_for(len(organs), overlapping)
        data = np.zeros(shape, dtype)
        for index, organ in enumerate(organs):
            if organ in masks:
                inside = np.asarray(masks[organ], bool)
                if overlapping:
                    data[inside] |= dtype.type(1 << index)
                else:
                    data[inside] = index + 1
        if ignore is not None:
            mark = 1 << (np.iinfo(dtype).bits - 1) if overlapping else np.iinfo(dtype).max
            data[np.asarray(ignore, bool)] = mark
        return cls(
            data,
            np.asarray(affine, float),
            tuple(organs),
            overlapping,
            frozenset(masks) if annotated is None else annotated,
        )

    @property
    def grid(self) -> Grid:
        """Shape and affine."""
        x, y, z = self.data.shape
        return Grid((x, y, z), self.affine)

    def mask(self, organ: str) -> NDArray[np.bool_]:
        """``(X, Y, Z)`` boolean mask of one organ."""
        index = self.organs.index(organ)
        if self.overlapping:
            return (self.data & self.data.dtype.type(1 << index)) != 0
        return self.data == index + 1

    def masks(self) -> NDArray[np.bool_]:
        """``(K, X, Y, Z)`` boolean masks of all organs, in order."""
        return np.stack([self.mask(organ) for organ in self.organs])

    def ignored(self) -> NDArray[np.bool_]:
        """``(X, Y, Z)`` boolean mask of the voxels to ignore."""
        info = np.iinfo(self.data.dtype)
        if self.overlapping:
            return (self.data & self.data.dtype.type(1 << (info.bits - 1))) != 0
        return self.data == info.max

    def present(self) -> tuple[str, ...]:
        """The organs that have at least one voxel."""
        if self.overlapping:
            union = int(np.bitwise_or.reduce(self.data, axis=None))
            return tuple(organ for index, organ in enumerate(self.organs) if union >> index & 1)
        counts = np.bincount(self.data.ravel(), minlength=len(self.organs) + 1)
        return tuple(organ for index, organ in enumerate(self.organs) if counts[index + 1])


def parse_organs(text: str | None, *, values_only: bool = False) -> dict[int, str]:
    """``1=liver,2=spleen`` or ``liver,spleen`` as value → name.

    Args:
        text: As given on the command line; ``None`` names no organ.
        values_only: Whether every organ must be given with its value.

    Raises:
        InputError: A value is no whole number above 0 or absent where it must not be, or two organs share a value or a
            name.
    """
    organs: dict[int, str] = {}
    for position, part in enumerate([p.strip() for p in (text or "").split(",") if p.strip()], 1):
        value, equals, name = (piece.strip() for piece in part.partition("="))
        if values_only and not equals:
            raise InputError(f"{part!r} is not VALUE=ORGAN", where="--organs", remedy="Write 1=liver,2=spleen.")
        number, name = (value, name) if equals else (str(position), value)
        if not number.isdecimal() or int(number) < 1 or not name or int(number) in organs or name in organs.values():
            raise InputError(
                f"{part!r} names no organ", where="--organs", remedy="Write 1=liver,2=spleen: each value and name once."
            )
        organs[int(number)] = same_text(name)
    return organs
