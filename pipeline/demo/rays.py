"""X-rays through simple solids: where each ray enters and leaves, and where a point casts its shadow.

Coordinates are the patient's, in mm: x to the left, y to the back, z to the head (the axes of DICOM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Chord:
    """The stretch of every ray that lies inside a convex solid.

    Attributes:
        start: ``(rows, columns)`` mm from the source.
        stop: ``(rows, columns)`` mm from the source; not above ``start`` where the ray misses the solid.
    """

    start: Array
    stop: Array

    @property
    def length(self) -> Array:
        """``(rows, columns)`` mm inside the solid."""
        return np.maximum(self.stop - self.start, 0)

    @property
    def hit(self) -> NDArray[np.bool_]:
        """``(rows, columns)`` whether the ray meets the solid: its silhouette."""
        return np.asarray(self.stop > self.start)


def common(*parts: Chord) -> Chord:
    """What several convex solids share."""
    start, stop = parts[0].start, parts[0].stop
    for part in parts[1:]:
        start, stop = np.maximum(start, part.start), np.minimum(stop, part.stop)
    return Chord(start, stop)


def union_length(parts: Sequence[Chord]) -> Array:
    """Millimetres inside any of a few convex solids, by inclusion and exclusion."""
    total = np.zeros_like(parts[0].start)
    for size in range(1, len(parts) + 1):
        for chosen in combinations(parts, size):
            total += (1 if size % 2 else -1) * common(*chosen).length
    return total


def length_without(solid: Chord, holes: Sequence[Chord]) -> Array:
    """Millimetres inside ``solid`` and outside all of ``holes``."""
    return solid.length - union_length([common(solid, hole) for hole in holes])


def turn(axis: int, degrees: float) -> Array:
    """3×3 rotation about x (0), y (1) or z (2), right-handed."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[a, a] = matrix[b, b] = cos
    matrix[a, b], matrix[b, a] = -sin, sin
    return matrix


@dataclass(frozen=True)
class Beam:
    """A point source and a flat detector, seen from the patient.

    Attributes:
        source: ``(3,)`` mm.
        corner: ``(3,)`` centre of the detector's upper left pixel as the picture is shown, mm.
        right: ``(3,)`` step from a pixel to the next column, mm.
        down: ``(3,)`` step from a pixel to the next row, mm.
        shape: Rows and columns.
    """

    source: Array
    corner: Array
    right: Array
    down: Array
    shape: tuple[int, int]

    @classmethod
    def aim(
        cls,
        shape: tuple[int, int],
        pixel_mm: float,
        source_mm: float,
        behind_mm: float,
        *,
        from_front: bool,
        pose: Array,
        shift: Sequence[float],
    ) -> Beam:
        """Set up a frontal view.

        Args:
            shape: Rows and columns of the detector.
            pixel_mm: Pitch of the detector's pixels.
            source_mm: Distance from source to detector.
            behind_mm: Distance from the middle of the patient to the detector.
            from_front: Source in front of the patient (AP) rather than at the back (PA).
            pose: 3×3 rotation of the patient against the room.
            shift: ``(3,)`` mm that the patient stands off the beam's axis.
        """
        toward = 1.0 if from_front else -1.0
        rows, columns = shape
        source = np.array([0, -toward * (source_mm - behind_mm), 0])
        corner = np.array([-(columns - 1) / 2 * pixel_mm, toward * behind_mm, (rows - 1) / 2 * pixel_mm])
        offset = np.asarray(shift, float)
        # Row vectors times the rotation are the inverse rotation: room → patient.
        return cls(
            (source - offset) @ pose,
            (corner - offset) @ pose,
            np.array([pixel_mm, 0, 0]) @ pose,
            np.array([0, 0, -pixel_mm]) @ pose,
            shape,
        )

    def directions(self) -> Array:
        """``(rows, columns, 3)`` unit vectors from the source to each pixel."""
        rows, columns = np.indices(self.shape, dtype=np.float32)
        ends = self.corner + rows[..., None] * self.down + columns[..., None] * self.right - self.source
        return np.asarray(ends / np.linalg.norm(ends, axis=-1, keepdims=True), np.float32)

    def shadow(self, points: Array) -> tuple[Array, Array, Array]:
        """Row, column and magnification at which each of ``(N, 3)`` points is cast on the detector."""
        normal = np.cross(self.right, self.down)
        normal /= np.linalg.norm(normal)
        away = points - self.source
        magnification = ((self.corner - self.source) @ normal) / (away @ normal)
        on_plate = away * magnification[:, None] + self.source - self.corner
        row = on_plate @ self.down / (self.down @ self.down)
        column = on_plate @ self.right / (self.right @ self.right)
        return row, column, magnification


class Scene:
    """The rays of one exposure, ready to be cut with solids and to collect the shadows of fine structures."""

    def __init__(self, beam: Beam) -> None:
        self.beam = beam
        self._directions = beam.directions()
        self._size = scipy.fft.next_fast_len(max(beam.shape) + 48, real=True)

    def ellipsoid(self, centre: Sequence[float] | Array, axes: Sequence[float], rotation: Array | None = None) -> Chord:
        """Cut with an ellipsoid.

        Args:
            centre: ``(3,)`` mm.
            axes: ``(3,)`` half axes, mm; an infinite one makes a cylinder.
            rotation: 3×3, turns the axes of the ellipsoid into the patient's.
        """
        to_unit = np.diag(1 / np.asarray(axes, float)) @ (np.eye(3) if rotation is None else rotation.T)
        origin = to_unit @ (self.beam.source - np.asarray(centre, float))
        along = self._directions @ to_unit.T.astype(np.float32)
        a = np.einsum("...i,...i", along, along)
        nearest = -(along @ origin.astype(np.float32)) / a
        # The point nearest to the centre first: the textbook discriminant cancels in single precision far away.
        miss = origin.astype(np.float32) + nearest[..., None] * along
        root = 1 - np.einsum("...i,...i", miss, miss)
        inside = root > 0
        depth = np.sqrt(np.where(inside, root, 0) / a)
        return Chord(np.where(inside, nearest - depth, np.inf), np.where(inside, nearest + depth, -np.inf))

    def half_space(self, point: Sequence[float], normal: Sequence[float]) -> Chord:
        """Cut with all that lies on the side of ``point`` that ``normal`` points to."""
        direction = np.asarray(normal, np.float32)
        speed = self._directions @ direction
        reach = (np.asarray(point, float) - self.beam.source) @ direction / np.where(speed == 0, 1e-9, speed)
        far = np.float32(1e6)
        return Chord(np.where(speed > 0, reach, -far), np.where(speed > 0, far, reach))

    def crossing(self, y: float) -> Array:
        """``(rows, columns)`` x of every ray where it crosses the frontal plane at ``y``, mm."""
        reach = (y - self.beam.source[1]) / self._directions[..., 1]
        return np.asarray(self.beam.source[0] + reach * self._directions[..., 0])

    def deposit(self, points: Array, volume_mm3: Array | float, radius_mm: float) -> Array:
        """Line integral of many small pieces of matter, each smeared over a disc.

        A row of discs has the profile of a round tube, so tubes are drawn as rows of points.

        Args:
            points: ``(N, 3)`` mm.
            volume_mm3: Volume of each piece.
            radius_mm: Radius of the disc, in the patient.

        Returns:
            ``(rows, columns)`` mm of that matter along each ray.
        """
        row, column, magnification = self.beam.shadow(points)
        pixel = float(np.linalg.norm(self.beam.right))
        value = np.broadcast_to(volume_mm3, row.shape) * (magnification / pixel) ** 2
        size = self._size
        spread = np.zeros(size * size)
        base_row, base_column = np.floor(row).astype(int), np.floor(column).astype(int)
        for step_row in (0, 1):
            for step_column in (0, 1):
                share = np.abs(1 - step_row - (row - base_row)) * np.abs(1 - step_column - (column - base_column))
                r, c = base_row + step_row + 24, base_column + step_column + 24
                fits = (r >= 0) & (r < size) & (c >= 0) & (c < size)
                spread += np.bincount((r * size + c)[fits], (share * value)[fits], size * size)
        radius = radius_mm * float(np.mean(magnification)) / pixel if len(points) else 1.0
        smeared = scipy.fft.irfft2(
            scipy.fft.rfft2(spread.reshape(size, size)) * scipy.fft.rfft2(_disc(radius, size)), s=(size, size)
        )
        rows, columns = self.beam.shape
        return np.asarray(smeared[24 : 24 + rows, 24 : 24 + columns])

    def tube(
        self, points: Array, radius_mm: float, *, weight: Array | float = 1.0, wall_mm: float | None = None
    ) -> Array:
        """Line integral through a round tube along an ``(N, 3)`` polyline with even steps; hollow with ``wall_mm``."""
        steps = np.linalg.norm(np.gradient(points, axis=0), axis=1) * weight
        filled = self.deposit(points, steps * np.pi * radius_mm**2, radius_mm)
        if wall_mm is None:
            return filled
        inner = radius_mm - wall_mm
        return filled - self.deposit(points, steps * np.pi * inner**2, inner)


def _disc(radius: float, size: int) -> Array:
    """A disc of sum 1 with a soft rim, centred on the origin of a periodic ``(size, size)`` grid."""
    reach = min(int(radius + 1), size // 2 - 1)
    axis = np.arange(-reach, reach + 1)
    disc = np.clip(radius + 0.5 - np.hypot(axis[:, None], axis[None]), 0, 1)
    grid = np.zeros((size, size))
    grid[np.ix_(axis, axis)] = disc / disc.sum()
    return grid


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Gaussian random field of unit variance whose features are about ``scale`` samples wide (periodic)."""
    spectrum = scipy.fft.rfftn(rng.standard_normal(shape).astype(np.float32))
    for axis, count in enumerate(shape):
        last = axis == len(shape) - 1
        frequency = scipy.fft.rfftfreq(count) if last else scipy.fft.fftfreq(count)
        damping = np.exp(-2 * (np.pi * frequency * scale) ** 2).astype(np.float32)
        spectrum *= damping.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    field = scipy.fft.irfftn(spectrum, s=shape)
    return np.asarray(field / field.std())
