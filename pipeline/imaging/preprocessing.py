"""From a scan to what the network sees, and from its probabilities back to the scan; the same for training and use.

Arrays stay ``(C, X, Y, Z)`` on the canonical axes throughout; pictures have ``Z == 1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.limits import check_resampled
from pipeline.core.plan import Plan
from pipeline.core.scan import Array, Grid, Scan
from pipeline.imaging.normalisation import full_scale_of, normalise
from pipeline.imaging.resampling import resample, resampled_grid


@dataclass(frozen=True)
class Prepared:
    """A scan on the plan's grid.

    Attributes:
        image: ``(C, X', Y', Z')`` float32, normalised.
        grid: The plan's grid, filling the same box as the scan.
        source: The scan's own canonical grid, that probabilities are resampled back to.
    """

    image: NDArray[np.float32]
    grid: Grid
    source: Grid


def prepared_shape(grid: Grid, plan: Plan) -> tuple[int, int, int]:
    """Voxels of a scan on the plan's grid.

    Pictures are fitted into ``plan.size`` with their aspect kept; volumes take ``plan.spacing``.

    Raises:
        InputError: The scan would have too many voxels (:func:`~pipeline.core.limits.check_resampled`).
    """
    x, y, z = grid.shape
    shape = (x, y, z)
    if z == 1 and plan.size is not None:
        factor = min(plan.size[0] / x, plan.size[1] / y)
        shape = (max(round(x * factor), 1), max(round(y * factor), 1), 1)
    elif z > 1 and plan.spacing is not None:
        extent = np.array(grid.shape) * np.array(grid.spacing)
        rounded = np.maximum(np.rint(extent / np.array(plan.spacing)), 1)
        check_resampled(shape, grid.spacing, rounded)
        shape = (int(rounded[0]), int(rounded[1]), int(rounded[2]))
    return shape


def prepare(scan: Scan, plan: Plan) -> Prepared:
    """Bring a scan onto the plan's grid and normalise it.

    Args:
        scan: The scan; it is brought to canonical axes if it is not there yet.
        plan: The plan of the model that will see it.

    Raises:
        InputError: The scan has other channels, is a picture where volumes are needed (or the other way round), or
            would become too large.
    """
    scan = scan.canonical()
    channels = scan.voxels.shape[0]
    if channels != plan.in_channels:
        raise InputError(
            f"the scan has {channels} channel{'s' if channels > 1 else ''}, the model needs {plan.in_channels}",
            remedy="Give scans of the kind that the model was trained on.",
        )
    if scan.is_flat and (plan.spatial_dims == 3 or plan.slice_axis is not None):
        raise InputError("the scan is a picture, the model needs a volume")
    if not scan.is_flat and plan.spatial_dims == 2 and plan.slice_axis is None:
        raise InputError("the scan is a volume, the model needs a picture")
    shape = prepared_shape(scan.grid, plan)
    image = normalise(resample(scan.voxels, shape), plan.normalisation, full_scale=full_scale_of(scan.voxels))
    return Prepared(image, resampled_grid(scan.grid, shape), scan.grid)


def prepare_labels(labels: LabelMap, plan: Plan, prepared: Prepared) -> LabelMap:
    """Bring a label map onto the grid of its prepared scan.

    Organs are resampled one by one as shares of a voxel. Exclusive: the largest share wins, background among them.
    Overlapping: half a voxel is enough.

    Raises:
        InputError: The label map has other organs than the plan, or another shape than the scan.
    """
    if list(labels.organs) != plan.organs or labels.overlapping != plan.overlapping:
        raise InputError(
            f"the label map holds {', '.join(labels.organs)}, the plan {', '.join(plan.organs)}",
            remedy="Ingest the scans again.",
        )
    if labels.data.shape != prepared.source.shape:
        raise InputError(f"the label map has shape {labels.data.shape}, its scan {prepared.source.shape}")
    shape = prepared.grid.shape
    if shape == prepared.source.shape:
        data = labels.data
    else:
        shares = np.stack([resample(labels.mask(organ), shape) for organ in labels.organs])
        background = [] if labels.overlapping else [np.maximum(1 - shares.sum(axis=0), 0)[None]]
        data = decide(np.concatenate([*background, shares]), labels)
        ignored = resample(labels.ignored(), shape) >= 0.5
        data[ignored] = _ignore_mark(labels)
    return LabelMap(data, prepared.grid.affine, labels.organs, labels.overlapping, labels.annotated)


def _ignore_mark(labels: LabelMap) -> int:
    info = np.iinfo(labels.data.dtype)
    return 1 << (info.bits - 1) if labels.overlapping else int(info.max)


def pack_bits(masks: Array, dtype: np.dtype[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """``(K, X, Y, Z)`` boolean → ``(X, Y, Z)`` with bit *k* set where mask *k* is."""
    data = np.zeros(masks.shape[1:], dtype)
    for index, mask in enumerate(masks):
        data |= np.left_shift(mask.astype(dtype), dtype.type(index))
    return data


def decide(
    probabilities: Array, of: Plan | LabelMap, thresholds: Mapping[str, float] | None = None
) -> NDArray[np.unsignedinteger]:
    """Turn probabilities into the data of a :class:`~pipeline.core.labels.LabelMap`.

    Args:
        probabilities: ``(K, X, Y, Z)``. Exclusive: background, then the organs. Overlapping: the organs.
        of: Says which organs these are, and whether they overlap.
        thresholds: Organ → least probability that it needs, where it is not 0.5 (overlapping) or merely the largest
            (exclusive).

    Returns:
        ``(X, Y, Z)`` unsigned integers, in the reading of ``LabelMap.data``.
    """
    thresholds = thresholds or {}
    dtype = LabelMap.dtype_for(len(of.organs), of.overlapping)
    if of.overlapping:
        least = np.array([thresholds.get(organ, 0.5) for organ in of.organs], np.float32)
        return pack_bits(np.asarray(probabilities) >= least[:, None, None, None], dtype)
    if not thresholds:
        return np.asarray(probabilities).argmax(axis=0).astype(dtype)
    allowed = np.array(probabilities, np.float32)
    for index, organ in enumerate(of.organs, 1):
        if organ in thresholds:
            allowed[index][allowed[index] < thresholds[organ]] = -1
    return allowed.argmax(axis=0).astype(dtype)
