"""Enhanced multi-frame objects: their functional groups as planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from pipeline.core.errors import InputError
from pipeline.formats.dicom.header import element_numbers, lenient
from pipeline.formats.dicom.image import Instance, directions
from pipeline.formats.dicom.planes import Plane, in_plane, step_of


def enhanced_planes(instance: Instance) -> list[Plane]:
    """The planes of a multi-frame object, from its shared and per-frame functional groups (DICOM PS3.3, C.7.6.16).

    Raises:
        InputError: A frame has no position, orientation or spacing, or there are fewer groups than frames.
    """
    return [_plane(instance, index, groups) for index, groups in enumerate(functional_groups(instance))]


@dataclass(frozen=True)
class Groups:
    """The functional groups of a frame: its own, and those that it shares with all."""

    own: Dataset
    shared: Dataset | None

    def macro(self, name: str) -> Dataset:
        """The item of a functional group; empty where there is none."""
        with lenient():
            return _first(self.own, name) or _first(self.shared, name) or Dataset()


def functional_groups(instance: Instance) -> list[Groups]:
    """The functional groups of each frame.

    Raises:
        InputError: There are none, or not as many as frames.
    """
    frames = instance.shape[0]
    with lenient():
        shared = _first(instance.dataset, "SharedFunctionalGroupsSequence")
        per_frame = list(instance.dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if not per_frame:
        raise InputError(f"holds {frames} frames without positions (no functional groups)")
    if len(per_frame) != frames:
        raise InputError(f"holds {frames} frames and positions of {len(per_frame)}")
    return [Groups(group, shared) for group in per_frame]


def _first(dataset: Dataset | None, name: str) -> Dataset | None:
    """First item of a sequence."""
    if dataset is None:
        return None
    sequence = dataset.get(name)
    try:
        return sequence[0] if sequence else None
    except (TypeError, IndexError, KeyError):
        raise InputError(f"{name} is damaged") from None


def _plane(instance: Instance, index: int, groups: Groups) -> Plane:
    macro = groups.macro

    def number(name: str, element: str) -> float | None:
        values = element_numbers(macro(name), element)
        return values[0] if values else None

    position = element_numbers(macro("PlanePositionSequence"), "ImagePositionPatient")
    orientation = directions(element_numbers(macro("PlaneOrientationSequence"), "ImageOrientationPatient"))
    if len(position) != 3 or orientation is None:
        raise InputError(f"frame {index + 1} has no position in the patient")
    slope = number("PixelValueTransformationSequence", "RescaleSlope")
    intercept = number("PixelValueTransformationSequence", "RescaleIntercept")
    scale = instance.rescale if slope is None else (slope or 1.0, intercept or 0.0)
    return Plane(
        instance,
        index,
        (0, 0),
        instance.shape[1:3],
        np.asarray(position),
        orientation,
        in_plane(element_numbers(macro("PixelMeasuresSequence"), "PixelSpacing")),
        step_of(
            number("PixelMeasuresSequence", "SpacingBetweenSlices"), number("PixelMeasuresSequence", "SliceThickness")
        ),
        scale,
        _separators(macro, number),
        (instance.number("InstanceNumber") or 0.0) + index / 1e6,
        slope is not None or instance.is_rescaled,
    )


def _separators(macro: Any, number: Any) -> dict[str, Any]:
    """As :func:`pipeline.formats.dicom.planes.separators`, from the functional groups."""
    kind = macro("MRImageFrameTypeSequence").get("FrameType") or ()
    keys: dict[str, Any] = {
        "image type": kind if isinstance(kind, str) else "/".join(str(word) for word in kind),
        "stack": macro("FrameContentSequence").get("StackID"),
        "echo time": number("MREchoSequence", "EffectiveEchoTime"),
        "b-value": number("MRDiffusionSequence", "DiffusionBValue"),
        "time point": number("FrameContentSequence", "TemporalPositionIndex"),
        "trigger time": number("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    }
    return {name: value for name, value in keys.items() if value not in (None, "")}
