"""The scan: voxels with their place in space."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import laid_out
from pipeline.core.units import LengthUnit, length_unit

Modality = Literal["xray", "mri", "ct", "photo"]
SpacingSource = Literal["patient", "detector", "unknown"]
Array = NDArray[Any]

#: Voxel index → RAS+ mm of a frontal radiograph or a photograph as it is shown: columns run to the patient's left,
#: rows run to the feet. Millimetres are 1 until a spacing is known.
FRONTAL_AFFINE = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
#: Signs between our RAS+ and the LPS of DICOM and ITK, for points and directions, in either direction.
LPS = np.array([-1.0, -1.0, 1.0])
#: The same for affines: ``LPS_TO_RAS @ affine`` turns voxel index → LPS mm into voxel index → RAS+ mm.
LPS_TO_RAS = np.diag([*LPS, 1.0])


@dataclass(frozen=True)
class Grid:
    """Shape, place and axis order of a voxel grid.

    Attributes:
        shape: ``(X, Y, Z)`` voxels along the three array axes.
        affine: 4×4, voxel index → RAS+ mm.
    """

    shape: tuple[int, int, int]
    affine: Array

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each array axis, mm (or pixels where the spacing is unknown)."""
        x, y, z = np.linalg.norm(np.asarray(self.affine, float)[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def orientation(self) -> str:
        """Nearest anatomical direction of growing index along each array axis, such as ``RAS`` or ``LPI``."""
        directions = np.asarray(self.affine, float)[:3, :3] / np.asarray(self.spacing)
        return "".join(
            ("RL", "AP", "SI")[row][0 if directions[row, axis] > 0 else 1]
            for axis, row in enumerate(_matched_rows(directions))
        )

    @property
    def lateral_axis(self) -> int:
        """The array axis that runs most nearly from one side of the patient to the other."""
        return next(axis for axis, letter in enumerate(self.orientation) if letter in "RL")

    def same_place(self, other: Grid, tolerance: float = 1e-2) -> bool:
        """Whether both grids have one shape and no corner differs by more than ``tolerance`` voxels."""
        if self.shape != other.shape:
            return False
        ends = np.array(self.shape, float) - 1
        corners = np.array([[*(ends * [i, j, k]), 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        apart = np.linalg.norm((corners @ (np.asarray(self.affine) - np.asarray(other.affine)).T)[:, :3], axis=1)
        return bool(apart.max() <= tolerance * min(self.spacing))

    def permuted(self, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Grid:
        """The grid after array axes are reordered to ``axes`` and then reversed where ``flips`` says."""
        shape = (self.shape[axes[0]], self.shape[axes[1]], self.shape[axes[2]])
        affine = np.asarray(self.affine, float).copy()
        affine[:3, :3] = affine[:3, list(axes)]
        for axis, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
                affine[:3, axis] *= -1
        return Grid(shape, affine)


def _matched_rows(directions: Array) -> list[int]:
    """For each array axis the anatomical axis it is matched with, each taken once, strongest match first."""
    rows = [-1, -1, -1]
    strength = np.abs(directions)
    for flat in np.argsort(-strength, axis=None, kind="stable"):
        row, axis = divmod(int(flat), 3)
        if rows[axis] < 0 and row not in rows:
            rows[axis] = row
    return rows


def to_canonical(grid: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Axis order and reversals that bring a grid nearest to RAS+, for :meth:`Grid.permuted` and :func:`permute`."""
    letters = grid.orientation
    axes = tuple(next(i for i, letter in enumerate(letters) if letter in pair) for pair in ("RL", "AP", "SI"))
    flips = tuple(letters[axis] in "LPI" for axis in axes)
    return axes, flips  # type: ignore[return-value]


def permute(array: Array, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Array:
    """Reorder and then reverse the last three axes of ``array`` (a view)."""
    lead = array.ndim - 3
    moved = array.transpose(*range(lead), *(lead + axis for axis in axes))
    return moved[(..., *(slice(None, None, -1 if flip else None) for flip in flips))]


def unpermute(array: Array, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Array:
    """Undo :func:`permute` (a view)."""
    lead = array.ndim - 3
    turned = array[(..., *(slice(None, None, -1 if flip else None) for flip in flips))]
    inverse = tuple(int(i) for i in np.argsort(axes))
    return turned.transpose(*range(lead), *(lead + axis for axis in inverse))


def is_invertible(affine: Array) -> bool:
    """Whether a 4×4 affine has finite entries and gives voxels a volume."""
    with np.errstate(over="ignore", invalid="ignore"):
        volume = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    return bool(np.isfinite(volume) and volume >= 1e-12)


@dataclass(frozen=True)
class Scan:
    """An image with its place in space.

    Attributes:
        voxels: ``(C, X, Y, Z)``. A radiograph or photograph has ``Z == 1``, X along the columns of the picture (left to
            right as shown) and Y along its rows (top to bottom).
        affine: 4×4, voxel index → RAS+ mm.
        modality: ``xray``, ``mri``, ``ct`` or ``photo``.
        spacing_source: Where the millimetres come from: ``patient`` (true in the patient), ``detector`` (magnified by
            an unknown factor) or ``unknown`` (the affine then counts pixels, and metrics must not speak of mm).
        channels: What each channel is, such as ``("T1", "FLAIR")``.
        stored: The grid of the file that the scan was read from, where ``voxels`` were reordered from it.
        notes: Choices taken and things noticed while reading, as short words → values (no identifying text).
    """

    voxels: Array
    affine: Array
    modality: Modality
    spacing_source: SpacingSource = "patient"
    channels: tuple[str, ...] = ()
    stored: Grid | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.voxels.ndim != 4:
            raise ValueError(f"a scan's voxels are (C, X, Y, Z), not {self.voxels.shape}")
        affine = np.asarray(self.affine, dtype=float)
        if affine.shape != (4, 4) or not is_invertible(affine):
            raise ValueError("a scan's affine is a finite, invertible 4×4 matrix")
        object.__setattr__(self, "affine", affine)

    @property
    def grid(self) -> Grid:
        """Shape and affine of the voxels as they lie in memory."""
        _, x, y, z = self.voxels.shape
        return Grid((x, y, z), self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(X, Y, Z)``."""
        return self.grid.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm along each axis, or pixels where ``spacing_source`` is ``unknown``."""
        return self.grid.spacing

    @property
    def is_flat(self) -> bool:
        """Whether this is a picture rather than a volume."""
        return self.voxels.shape[3] == 1

    @property
    def unit(self) -> LengthUnit:
        """The unit of every length measured on this scan."""
        return length_unit(self.spacing_source)

    def canonical(self, *, view: bool = False) -> Scan:
        """The same scan with axes nearest to RAS+; pictures stay as they are shown. ``stored`` keeps the old grid.

        Args:
            view: Leave the voxels where they lie. Else they are brought in order, long volumes in an unnamed file
                (:func:`~pipeline.core.arrays.laid_out`).
        """
        if self.is_flat:
            return replace(self, stored=self.stored or self.grid)
        axes, flips = to_canonical(self.grid)
        turned = permute(self.voxels, axes, flips)
        return replace(
            self,
            voxels=turned if view else laid_out(turned),
            affine=self.grid.permuted(axes, flips).affine,
            stored=self.stored or self.grid,
        )

    def to_stored(self, array: Array, fill: float = 0) -> Array:
        """Bring an array ``(…, X, Y, Z)`` on this scan's grid back to the file it came from; of a volume, as a view.

        That is the axis order of a volume's file, and the whole size of a picture whose borders were cut off.

        Args:
            array: What lies on this scan's grid.
            fill: Value of what was cut off.
        """
        if self.stored is None:
            return array
        if self.is_flat:
            return self._widened(array, self.stored, fill)
        axes, flips = to_canonical(self.stored)
        return unpermute(array, axes, flips)

    def _widened(self, array: Array, whole: Grid, fill: float) -> Array:
        """A picture's array with what was cut off around it, at its place on the grid of the file."""
        if whole.shape == self.shape:
            return array
        origin = np.linalg.inv(np.asarray(whole.affine, float)) @ self.affine[:, 3]
        before = [round(float(origin[axis])) for axis in (0, 1)]
        after = [whole.shape[axis] - self.shape[axis] - before[axis] for axis in (0, 1)]
        lead = [(0, 0)] * (array.ndim - 3)
        return np.pad(array, [*lead, (before[0], after[0]), (before[1], after[1]), (0, 0)], constant_values=fill)
