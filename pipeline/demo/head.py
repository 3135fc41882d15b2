"""A head in three dimensions, and its MRI: tissues as warped solids, signal, bias field, noise and true labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.demo.rays import Array, smooth_noise, turn

ORGANS = ("ventricles", "cerebellum", "tumour")

TISSUES = ("air", "fat", "bone", "muscle", "csf", "grey", "white", "oedema", "rim", "core")
AIR, FAT, BONE, MUSCLE, CSF, GREY, WHITE, OEDEMA, RIM, CORE = range(len(TISSUES))

#: Signal of each tissue, in the order of ``TISSUES``, relative to the brightest.
SIGNAL = {
    "T1": (0.01, 0.92, 0.10, 0.38, 0.15, 0.52, 0.76, 0.58, 1.00, 0.34),
    "FLAIR": (0.01, 0.66, 0.07, 0.26, 0.13, 0.62, 0.46, 0.84, 0.98, 0.74),
}

FIELD = 48
FIELD_MM = 4.6


@dataclass(frozen=True)
class Tumour:
    """An ellipsoid blob: centre and half axes in mm in the head, its rotation, and the width of the swelling."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    rotation: Array
    swelling: float


@dataclass(frozen=True)
class Acquisition:
    """How a volume was acquired.

    Attributes:
        shape: Columns, rows and slices.
        affine: 4×4, voxel index → RAS+ mm.
        contrast: A key of ``SIGNAL``.
        noise: Standard deviation of the noise, relative to the brightest tissue.
        bias: Depth of the bias field, as a fraction.
        gain: Stored units of the brightest tissue.
    """

    shape: tuple[int, int, int]
    affine: Array
    contrast: str
    noise: float
    bias: float
    gain: float


class Head:
    """A person's head, fixed in RAS+ mm around the middle of the brain."""

    def __init__(self, rng: np.random.Generator, *, tumour: bool) -> None:
        self.size = np.clip(rng.normal(1, 0.04, 3), 0.9, 1.1)
        self.ventricle = float(np.clip(rng.normal(1.3, 0.2), 0.95, 1.8))
        self.sulcus = float(np.clip(rng.normal(1.0, 0.25), 0.5, 1.6))
        self.cerebellum = rng.normal(1, 0.06, 3)
        self._folds = smooth_noise(rng, (FIELD,) * 3, 1.25)
        self._warp = [smooth_noise(rng, (FIELD,) * 3, 5.0) * 2.0 for _ in range(3)]
        self._detail = smooth_noise(rng, (FIELD,) * 3, 2.0)
        self.tumour = self._draw_tumour(rng) if tumour else None

    def _draw_tumour(self, rng: np.random.Generator) -> Tumour:
        side = rng.choice([-1, 1])
        centre = (side * rng.uniform(27, 42), rng.uniform(-42, 42), rng.uniform(4, 34))
        radius = rng.uniform(17, 23)
        axes = tuple(float(a) for a in radius * rng.uniform(0.8, 1.25, 3))
        rotation = turn(2, rng.uniform(0, 180)) @ turn(0, rng.uniform(0, 90))
        return Tumour(centre, axes, rotation, float(rng.uniform(2, 9)))  # type: ignore[arg-type]

    def _sample(self, field: Array, points: Array, order: int = 1) -> Array:
        return np.asarray(ndimage.map_coordinates(field, points / np.float32(FIELD_MM), np.float32, order, "grid-wrap"))

    def tissues(self, points: Array) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Look up the tissue and the organ at ``(3, …)`` points in RAS+ mm.

        Returns:
            Index into ``TISSUES``, and 0 or 1 + index into ``ORGANS``, both of the shape of the points.
        """
        scaled = points / self.size.reshape(3, *[1] * (points.ndim - 1)).astype(np.float32)
        warped = scaled + np.stack([self._sample(field, scaled) for field in self._warp])
        x, y, z = warped
        tissue = self._envelope(scaled, warped)
        cerebrum = _radius(warped, (0, 2, 8), (67, 84, 60)) < 1
        # The tentorium: the cerebrum ends on a slope above the cerebellum.
        cerebrum &= (z > -25 - 0.28 * (y + 20)) | ((y > -20) & (z > -42))
        folds = self._sample(self._folds, scaled)
        self._paint_cerebrum(tissue, warped, folds, cerebrum)
        organ = np.zeros(tissue.shape, np.uint8)
        behind = self._cerebellum(warped)
        basin = _radius(np.stack([np.abs(x), y, z]), (22, -48, -38), (36, 37, 32)) < 1
        tissue[(tissue == CSF) & ~cerebrum & (z < -34) & ~basin] = MUSCLE
        for side in (-1, 1):
            tissue[_radius(scaled, (side * 31, 72, -34), (12.5, 12.5, 12.5)) < 1] = CSF
        leaf = np.sin((_radius(warped, (0, -34, -34), (26, 26, 20)) * 17) + 1.6 * folds)
        tissue[behind] = np.where(leaf[behind] > 0.93, CSF, GREY)
        marrow = _radius(np.stack([np.abs(x) - 17, y + 50, z + 40]), (0, 0, 0), (15, 16, 9)) < 1
        tissue[behind & marrow & (leaf < 0.5)] = WHITE
        organ[behind] = 1 + ORGANS.index("cerebellum")
        stem = (np.hypot(x / 12, (y + 20 + 0.25 * (z + 30)) / 13) < 1) & (z < -8) & (z > -95)
        tissue[stem & ~behind] = WHITE
        hollow = self._ventricles(warped)
        tissue[hollow] = CSF
        organ[hollow] = 1 + ORGANS.index("ventricles")
        if self.tumour is not None:
            self._paint_tumour(self.tumour, tissue, organ, scaled, cerebrum)
        return tissue, organ

    def _envelope(self, scaled: Array, warped: Array) -> NDArray[np.uint8]:
        """Scalp, skull and the fluid inside; muscle and air below the skull's base."""
        _, y, z = warped
        outer = _radius(scaled, (0, 2, 0), (82, 100, 78))
        neck = (np.hypot(scaled[0] / 62, (scaled[1] + 12) / 66) < 1) & (scaled[2] < -20)
        tissue = np.zeros(outer.shape, np.uint8)
        tissue[(outer < 1) | neck] = FAT
        tissue[(outer < 0.955) | (neck & (_radius(scaled, (0, -12, -60), (56, 60, 90)) < 1))] = MUSCLE
        vault = (outer < 0.955) & (z > -38 - 0.22 * y)
        tissue[vault] = BONE
        tissue[_radius(warped, (0, 2, 6), (70.5, 87.5, 65)) < 1] = CSF
        base = (z < -36 + 0.25 * (y - 20)) & (y > 12) & (outer < 0.97)
        tissue[base] = np.where(self._sample(self._detail, scaled)[base] > 0.4, BONE, MUSCLE)
        sinus = _radius(scaled, (0, 66, -44), (13, 16, 15)) < 1
        tissue[sinus] = AIR
        return tissue

    def _paint_cerebrum(
        self, tissue: NDArray[np.uint8], warped: Array, folds: Array, cerebrum: NDArray[np.bool_]
    ) -> None:
        """White matter, a folded grey ribbon and fluid in the sulci; deep grey nuclei."""
        x, y, z = warped
        depth = _radius(warped, (0, 2, 8), (67, 84, 60))
        opening = np.clip((depth - 0.70) / 0.30, 0, 1) * self.sulcus
        furrow = np.abs(folds)
        tissue[cerebrum] = WHITE
        ribbon = (depth > 0.90) | ((depth > 0.62) & (furrow < 0.42 + 0.40 * opening))
        insula = np.abs(np.hypot((np.abs(x) - 47) / 1.0, (z - 2) / 3.0) - 3) < 4
        tissue[cerebrum & (ribbon | (insula & (np.abs(y) < 26)))] = GREY
        tissue[cerebrum & (depth > 0.70) & (furrow < 0.24 * opening)] = CSF
        callosum = _radius(warped, (0, 0, 12), (30, 46, 20)) < 1
        cleft = np.abs(x + 1.2 * folds)
        tissue[cerebrum & ~callosum & (cleft < 5.2)] = GREY
        tissue[cerebrum & ~callosum & (cleft < 1.6)] = CSF
        mirrored = np.stack([np.abs(x), y, z])
        for centre, axes in (((11, -10, 4), (8, 14, 9)), ((25, 4, 3), (6, 17, 10)), ((13, 18, 8), (5, 9, 8))):
            tissue[cerebrum & (_radius(mirrored, centre, axes) < 1)] = GREY

    def _cerebellum(self, warped: Array) -> NDArray[np.bool_]:
        x, y, z = warped
        a, b, c = self.cerebellum
        lobes = _radius(np.stack([np.abs(x), y, z]), (22, -50, -38), (30 * a, 31 * b, 25 * c)) < 1
        vermis = _radius(warped, (0, -50, -34), (10, 26, 24)) < 1
        return np.asarray((lobes | vermis) & (z < -24 - 0.28 * (y + 20)))

    def _ventricles(self, warped: Array) -> NDArray[np.bool_]:
        """Lateral ventricles as a row of balls along their arc, the third, and the fourth."""
        x, y, z = warped
        near = (np.abs(x) < 46) & (np.abs(y + 8) < 62) & (z > -60) & (z < 42)
        points = np.stack([np.abs(x), y, z])[:, near]
        arc = np.array(
            [
                [9, 36, 8, 4.4], [10, 30, 13, 6.0], [10, 20, 18, 6.4], [10, 8, 20.5, 6.0], [11, -4, 21, 5.8],
                [14, -16, 20, 6.2], [19, -27, 16, 7.4], [24, -35, 9, 7.8], [23, -45, 7, 5.2], [20, -54, 6, 3.6],
                [28, -34, 0, 5.6], [31, -26, -8, 4.6], [32, -16, -14, 4.0], [31, -6, -18, 3.4],
            ]
        )  # fmt: skip
        fine = np.concatenate([arc[:1], *(a + (b - a) * np.array([[0.5], [1.0]]) for a, b in _pairs(arc))])
        inside = np.zeros(points.shape[1], bool)
        for cx, cy, cz, radius in fine:
            offset = (points[0] - cx) ** 2 + (points[1] - cy) ** 2 + (points[2] - cz) ** 2
            inside |= offset < (radius * self.ventricle) ** 2
        hollow = np.zeros(x.shape, bool)
        hollow[near] = inside & (points[0] > 1.6)
        wide = 1.6 + 1.6 * self.ventricle
        hollow |= _radius(warped, (0, -4, -1), (wide, 13, 11)) < 1
        hollow |= _radius(warped, (0, -33, -36), (4.5 + 3 * self.ventricle, 5 + 2 * self.ventricle, 10)) < 1
        return hollow

    def _paint_tumour(
        self,
        lump: Tumour,
        tissue: NDArray[np.uint8],
        organ: NDArray[np.uint8],
        scaled: Array,
        cerebrum: NDArray[np.bool_],
    ) -> None:
        offset = scaled - np.array(lump.centre, np.float32).reshape(3, *[1] * (scaled.ndim - 1))
        local = np.einsum(
            "ij,j...->i...", (np.diag(1 / np.array(lump.axes)) @ lump.rotation.T).astype(np.float32), offset
        )
        radius = np.sqrt((local**2).sum(0)) * (1 + 0.10 * self._sample(self._detail, scaled))
        mean = float(np.mean(lump.axes))
        swollen = cerebrum & (radius < 1 + lump.swelling / mean) & (tissue == WHITE)
        tissue[swollen] = OEDEMA
        inside = cerebrum & (radius < 1)
        tissue[inside] = np.where(radius[inside] < 1 - 5.0 / mean, CORE, RIM)
        organ[inside] = 1 + ORGANS.index("tumour")

    def acquire(
        self, acquisition: Acquisition, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Make a volume: partial volume in plane and across slices, bias field, and Rician noise.

        Returns:
            ``(X, Y, Z)`` stored intensities and labels on the grid of the acquisition; a voxel has the label that
            fills at least half of it.
        """
        shape, parts = acquisition.shape, (2, 2, 1)
        axes = [(np.arange(n * p, dtype=np.float32) + 0.5) / p - 0.5 for n, p in zip(shape, parts, strict=True)]
        index = np.stack(np.meshgrid(*axes, indexing="ij"))
        rotation = acquisition.affine[:3, :3].astype(np.float32)
        points = np.tensordot(rotation, index, 1) + acquisition.affine[:3, 3].astype(np.float32)[:, None, None, None]
        tissue, organ = self.tissues(points)
        table = np.array(SIGNAL[acquisition.contrast]) * rng.uniform(0.93, 1.07, len(TISSUES))
        signal = _average(table.astype(np.float32)[tissue], parts)
        labels = np.zeros(shape, np.uint8)
        for value in range(1, len(ORGANS) + 1):
            labels[_average((organ == value).astype(np.float32), parts) >= 0.5] = value
        texture = 1 + 0.03 * smooth_noise(rng, shape, 0.8)
        signal = signal * texture * self._bias(shape, acquisition.bias, rng)
        real = signal + rng.normal(0, acquisition.noise, shape)
        magnitude = np.hypot(real, rng.normal(0, acquisition.noise, shape))
        return np.clip(np.round(magnitude * acquisition.gain), 0, 32767).astype(np.uint16), labels

    @staticmethod
    def _bias(shape: tuple[int, int, int], depth: float, rng: np.random.Generator) -> Array:
        """A smooth field of coil sensitivity: the exponential of a random polynomial of degree two."""
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        terms = np.stack([x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])
        field = np.tensordot(rng.normal(0, 1, len(terms)), terms, 1)
        field -= field.mean()
        return np.asarray(np.exp(depth * field / np.abs(field).max()))


def _pairs(rows: Array) -> list[tuple[Array, Array]]:
    return list(pairwise(rows))


def _radius(points: Array, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Array:
    """Distance from the centre of an ellipsoid, 1 on its surface."""
    x, y, z = ((points[i] - np.float32(centre[i])) / np.float32(axes[i]) for i in range(3))
    return np.asarray(np.sqrt(x * x + y * y + z * z))


def _average(fine: Array, parts: tuple[int, int, int]) -> Array:
    """Mean over blocks of ``parts`` voxels."""
    x, y, z = (n // p for n, p in zip(fine.shape, parts, strict=True))
    return np.asarray(fine.reshape(x, parts[0], y, parts[1], z, parts[2]).mean((1, 3, 5)))
