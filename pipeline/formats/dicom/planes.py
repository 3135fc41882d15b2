"""Planes: every cross-section that a DICOM object holds, whether one a file, many frames or tiles of a mosaic."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.scan import Array
from pipeline.formats.dicom.elements import GE_B, SIEMENS_B
from pipeline.formats.dicom.image import Instance


@dataclass(frozen=True)
class Plane:
    """One cross-section.

    Attributes:
        instance: The object that holds it.
        frame: Frame of the object, counted from 0.
        tile: ``(first row, first column)`` of a mosaic's tile.
        shape: ``(rows, columns)``.
        position: Centre of the first voxel, LPS mm.
        directions: Unit vectors along the rows and along the columns, LPS ``(2, 3)``.
        spacing: mm along X (columns) and Y (rows).
        step: Distance to the next slice that the header claims, mm; only used where there is one slice.
        scale: ``(slope, intercept)``.
        scaled: Whether the header gives a slope or an intercept.
        keys: What may tell volumes of one series apart, such as echo or time.
        number: Order in time.
    """

    instance: Instance
    frame: int
    tile: tuple[int, int]
    shape: tuple[int, int]
    position: Array
    directions: Array
    spacing: tuple[float, float]
    step: float | None
    scale: tuple[float, float]
    keys: dict[str, Any] = field(default_factory=dict)
    number: float = 0.0
    scaled: bool = True

    @property
    def normal(self) -> Array:
        """Unit vector across the slices, LPS."""
        return np.cross(self.directions[0], self.directions[1])


def plane_of(instance: Instance) -> Plane | None:
    """The plane of an ordinary single-frame object; ``None`` where it has no place in space.

    Raises:
        InputError: It has a position and orientation and no pixel spacing.
    """
    position, orientation = instance.position, instance.orientation
    if position is None or orientation is None or instance.shape[0] != 1:
        return None
    return Plane(
        instance,
        0,
        (0, 0),
        instance.shape[1:3],
        position,
        orientation,
        in_plane(instance.numbers("PixelSpacing")),
        step_of(instance.number("SpacingBetweenSlices"), instance.number("SliceThickness")),
        instance.rescale,
        separators(instance),
        instance.number("InstanceNumber") or 0.0,
        instance.is_rescaled,
    )


def in_plane(values: tuple[float, ...]) -> tuple[float, float]:
    """PixelSpacing, (rows, columns), as mm along X and Y.

    Raises:
        InputError: It is absent or not positive.
    """
    if len(values) != 2 or min(values) <= 0:
        raise InputError("PixelSpacing is missing or not positive")
    return values[1], values[0]


def step_of(between: float | None, thickness: float | None) -> float | None:
    """Distance between slices as the header has it: spacing, else thickness."""
    return next((abs(v) for v in (between, thickness) if v is not None and v != 0), None)


def separators(instance: Instance) -> dict[str, Any]:
    """What may tell apart volumes whose slices lie at the same places, in the order in which it is tried."""
    keys: dict[str, Any] = {
        "image type": "/".join(instance.image_type),
        "echo": instance.number("EchoNumbers"),
        "echo time": instance.number("EchoTime"),
        "inversion time": instance.number("InversionTime"),
        "b-value": _b_value(instance),
        "time point": instance.number("TemporalPositionIdentifier"),
        "trigger time": instance.number("TriggerTime"),
        "acquisition": instance.number("AcquisitionNumber"),
        "acquisition time": instance.text("AcquisitionTime"),
        "content time": instance.text("ContentTime"),
    }
    return {name: value for name, value in keys.items() if value not in (None, "")}


def _b_value(instance: Instance) -> float | None:
    """The b-value; private ones are text, and of GE's, which carries a mark, counts what is left modulo 10⁹."""
    standard = instance.number("DiffusionBValue")
    if standard is not None:
        return standard
    for tag in (SIEMENS_B, GE_B):
        with suppress(InputError):
            value = instance.number(tag)
            if value is not None:
                return value % 1e9
    return None
