"""Bring intensities of scans from any machine onto one scale, by the rule that the plan chose for the modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.scan import Array

#: Share of the way from a scan's darkest to its brightest voxels below which an MRI shows air.
AIR = 0.1
#: Voxels that order statistics are taken from at most; a fixed stride thins out larger scans.
SAMPLE = 2_000_000
FULL_SCALE = {"u1": 255.0, "u2": 65535.0}


def normalise(voxels: Array, spec: Mapping[str, Any], *, full_scale: float = 1.0) -> NDArray[np.float32]:
    """Normalise a scan.

    Args:
        voxels: ``(C, X, Y, Z)``.
        spec: ``name`` of the rule and its parameters, as in the plan.
        full_scale: Value of a white pixel, which the rule ``encoder`` divides by.

    Returns:
        ``(C, X, Y, Z)`` float32, finite.

    Raises:
        InputError: There is no such rule.
    """
    options = {key: value for key, value in spec.items() if key != "name"}
    if spec.get("name") == "encoder":
        options["full_scale"] = full_scale
    rule = RULES.get(str(spec.get("name")))
    if rule is None:
        raise InputError(
            f"there is no normalisation {spec.get('name')!r}",
            where="normalisation",
            remedy=f"Normalisations: {', '.join(RULES)}.",
        )
    clean = np.nan_to_num(np.asarray(voxels, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    try:
        return rule(clean, **options)
    except TypeError:
        raise InputError(
            f"{spec['name']} does not take {', '.join(map(repr, options))}", where="normalisation"
        ) from None


def _thinned(values: Array) -> Array:
    flat = values.reshape(-1)
    return flat[:: -(-flat.size // SAMPLE)] if flat.size > SAMPLE else flat


def _standardised(channel: Array, inside: Array, clip: tuple[float, float]) -> Array:
    """Clip to percentiles of ``inside``, then give ``inside`` mean 0 and standard deviation 1."""
    sample = _thinned(inside)
    low, high = np.percentile(sample, clip)
    kept = np.clip(sample, low, high)
    spread = float(kept.std(dtype=np.float64))
    centre = float(kept.mean(dtype=np.float64))
    return ((np.clip(channel, low, high) - centre) / (spread if spread > 0 else 1.0)).astype(np.float32)


def region_of(channel: Array, region: str) -> NDArray[np.bool_]:
    """Where an MRI channel's statistics are taken.

    Args:
        channel: ``(X, Y, Z)``.
        region: ``all``; ``nonzero`` (a brain cut out on zeros); ``head`` (brighter than air).

    Raises:
        InputError: There is no such region.
    """
    if region == "all":
        return np.ones(channel.shape, bool)
    if region == "nonzero":
        return np.asarray(channel != 0)
    if region == "head":
        low, high = np.percentile(_thinned(channel), (1, 99))
        return np.asarray(channel > low + AIR * (high - low))
    raise InputError(f"region is {region!r}", where="normalisation", remedy="Take all, nonzero or head.")


def zscore_foreground(
    voxels: Array, *, region: str = "all", clip: tuple[float, float] = (0.5, 99.5)
) -> NDArray[np.float32]:
    """MRI: each channel by itself, mean 0 and standard deviation 1 inside ``region``.

    Args:
        voxels: ``(C, X, Y, Z)``.
        region: As in :func:`region_of`.
        clip: Percentiles that intensities are clipped to first.
    """
    result = np.empty(voxels.shape, np.float32)
    for index, channel in enumerate(voxels):
        inside = channel[region_of(channel, region)]
        # A constant channel has no region brighter than itself.
        result[index] = _standardised(channel, inside if inside.size else channel, clip)
    return result


def percentile_zscore(voxels: Array, *, clip: tuple[float, float] = (0.5, 99.5)) -> NDArray[np.float32]:
    """Radiographs: clip to percentiles of the picture, then mean 0 and standard deviation 1."""
    return np.stack([_standardised(channel, channel, clip) for channel in voxels])


def ct_window(voxels: Array, *, low: float, high: float, mean: float, deviation: float) -> NDArray[np.float32]:
    """CT: Hounsfield units mean the same everywhere, so one window and one scale of the training set's organs.

    Args:
        voxels: ``(C, X, Y, Z)`` HU.
        low: Lower end of the window, HU.
        high: Upper end of the window, HU.
        mean: Mean inside the window, HU.
        deviation: Standard deviation inside the window, HU.
    """
    return ((np.clip(voxels, low, high) - mean) / max(deviation, 1e-6)).astype(np.float32)


def encoder(
    voxels: Array,
    *,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    deviation: tuple[float, ...] = (0.229, 0.224, 0.225),
    full_scale: float = 1.0,
) -> NDArray[np.float32]:
    """Colour: the statistics that ImageNet encoders were trained with, of pictures whose white is 1."""
    count = voxels.shape[0]
    centre, spread = np.resize(mean, count), np.resize(deviation, count)
    scaled = voxels / np.float32(full_scale)
    return ((scaled - centre[:, None, None, None]) / spread[:, None, None, None]).astype(np.float32)


def full_scale_of(voxels: Array) -> float:
    """Value of a white pixel: that of the integer type, or of the range 0 to 1 or 0 to 255 of floating point."""
    kind = f"{voxels.dtype.kind}{voxels.dtype.itemsize}"
    if kind in FULL_SCALE:
        return FULL_SCALE[kind]
    return 1.0 if float(voxels.max(initial=0)) <= 1.0 else 255.0


RULES: dict[str, Callable[..., NDArray[np.float32]]] = {
    "zscore_foreground": zscore_foreground,
    "percentile_zscore": percentile_zscore,
    "ct_window": ct_window,
    "encoder": encoder,
}
