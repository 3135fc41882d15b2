"""Radiographs and other single DICOM pictures: grey scale, orientation as shown, and where millimetres come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.scan import FRONTAL_AFFINE, Array, Modality, Scan, SpacingSource
from pipeline.core.study import Ingest
from pipeline.formats.dicom.image import Instance
from pipeline.formats.dicom.pixels import read_stored
from pipeline.formats.exact import linear, smallest_exact
from pipeline.formats.pictures.borders import crop_borders

#: Unit vectors in RAS of the letters of PatientOrientation, which speak of the patient's sides (LPS letters).
TOWARDS = {"L": (-1, 0, 0), "R": (1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}


def read_picture(instance: Instance, modality: Modality, options: Ingest) -> Scan:
    """Read a CR, DX, MG, XA or secondary-capture object as a picture.

    Stored values go through the modality LUT or rescale, then the grey window if the study asks for one, then
    MONOCHROME1 is turned over against the whole stored range, so that bright means dense whatever the image's own
    maximum.

    Returns:
        ``(C, X, Y, 1)``.

    Raises:
        InputError: The pixels cannot be decoded, or there are several frames.
    """
    if instance.shape[0] > 1:
        raise InputError(f"holds {instance.shape[0]} frames, which are a film and not a picture")
    stored = read_stored(instance)[0]
    notes: dict[str, Any] = {"format": "dicom", "placed": False}
    if instance.text("BurnedInAnnotation").upper() == "YES":
        notes["burned_in_annotation"] = True
    photometric = instance.text("PhotometricInterpretation").upper()
    if photometric == "PALETTE COLOR":
        stored = _coloured(stored[..., 0], instance)
    if stored.shape[-1] >= 3:
        from pipeline.formats.pictures.reader import grey

        pixels, notes["colour"] = (stored[..., :3], "colour") if modality == "photo" else grey(stored)
    else:
        pixels = _grey_scale(stored[..., 0], instance, photometric == "MONOCHROME1", options, notes)[..., None]
        if modality == "photo":
            pixels = np.repeat(pixels, 3, axis=2)
    spacing, source = picture_spacing(instance)
    affine = _placed(instance, spacing, notes)
    scan = Scan(pixels.transpose(2, 1, 0)[..., None], affine, modality, source, notes=notes)
    return crop_borders(scan) if options.crop_borders and modality == "xray" else scan


def _coloured(stored: NDArray[Any], instance: Instance) -> NDArray[Any]:
    """Colours of a picture of numbers that a palette explains."""
    from pydicom.pixels import apply_color_lut

    from pipeline.formats.dicom.header import lenient

    with lenient():
        return smallest_exact(apply_color_lut(stored, instance.dataset))


def picture_spacing(instance: Instance) -> tuple[tuple[float, float], SpacingSource]:
    """Spacing along X (columns) and Y (rows), and where it comes from.

    PixelSpacing is true in the patient if it was calibrated or differs from ImagerPixelSpacing (DICOM PS3.3, 10.7.1.3);
    ImagerPixelSpacing is, once divided by the magnification factor. Both at the detector otherwise.
    """
    pixel = _pair(instance, "PixelSpacing")
    imager = _pair(instance, "ImagerPixelSpacing")
    factor = instance.number("EstimatedRadiographicMagnificationFactor")
    magnified = factor if factor is not None and 1.0 <= factor < 10.0 else None
    if pixel is not None:
        raw = imager is not None and np.allclose(pixel, imager, rtol=1e-6)
        if not raw or instance.text("PixelSpacingCalibrationType"):
            return pixel, "patient"
    if imager is not None:
        if magnified is not None:
            return (imager[0] / magnified, imager[1] / magnified), "patient"
        return imager, "detector"
    nominal = _pair(instance, "NominalScannedPixelSpacing")
    return (nominal, "detector") if nominal is not None else ((1.0, 1.0), "unknown")


def _pair(instance: Instance, name: str) -> tuple[float, float] | None:
    """A spacing of (rows, columns) as (X, Y); zero, as some devices write for unknown, is none."""
    values = instance.numbers(name)
    return (values[1], values[0]) if len(values) == 2 and min(values) > 0 else None


def _grey_scale(
    stored: NDArray[Any], instance: Instance, inverted: bool, options: Ingest, notes: dict[str, Any]
) -> NDArray[Any]:
    """Modality LUT or rescale, window, polarity."""
    values, low, high = modality_values(stored, instance)
    if options.window == "voi":
        values, low, high = _windowed(values, low, high, instance, notes)
    elif options.window != "none":
        centre, width = options.window
        notes["window"] = [centre, width]
        values = np.clip((values.astype(np.float64) - (centre - width / 2)) / width, 0, 1).astype(np.float32)
        low, high = 0.0, 1.0
    if inverted:
        notes["inverted"] = True
        values = _turned_over(values, low + high)
    return values


def _turned_over(values: NDArray[Any], ends: float) -> NDArray[Any]:
    """``ends - values``, where ``ends`` is the sum of the smallest and the largest that values can be."""
    kind = values.dtype
    if kind.kind in "iu" and np.iinfo(kind).min <= ends <= np.iinfo(kind).max:
        return np.asarray(kind.type(int(ends)) - values)  # stays within the two ends
    return np.asarray(ends - values.astype(np.float64 if kind.kind == "f" else np.int64)).astype(kind)


def modality_values(stored: NDArray[Any], instance: Instance) -> tuple[NDArray[Any], float, float]:
    """Stored values through the modality LUT or rescale, with the ends of the range that they can take."""
    low, high = instance.stored_range
    if instance.has("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        from pipeline.formats.dicom.header import lenient

        with lenient():
            try:
                values = smallest_exact(apply_modality_lut(stored, instance.dataset))
                table = _lut_values(instance.dataset["ModalityLUTSequence"][0], int(values.max()))
            except (IndexError, KeyError, ValueError, TypeError, AttributeError, NotImplementedError):
                raise InputError("the modality LUT is damaged") from None
        return values, table[0], table[1]
    slope, intercept = instance.rescale
    ends = sorted((slope * low + intercept, slope * high + intercept))
    return linear(smallest_exact(stored), slope, intercept, (low, high)), ends[0], ends[1]


def _lut_values(item: Any, highest: int) -> tuple[float, float]:
    """The ends of what a lookup table gives; tables often fill less than the bits that they claim."""
    data = item["LUTData"].value
    if isinstance(data, (bytes, bytearray)):
        wide = int(item["LUTDescriptor"].value[2]) > 8
        data = np.frombuffer(data, "<u2" if wide else "u1")
    table = np.asarray(data)
    return float(table.min()), float(max(int(table.max()), highest))


def _windowed(
    values: NDArray[Any], low: float, high: float, instance: Instance, notes: dict[str, Any]
) -> tuple[NDArray[Any], float, float]:
    """Values, which lie between ``low`` and ``high``, through the file's grey window, as float32 in 0…1."""
    table = instance.has("VOILUTSequence")
    if not table and not (instance.number("WindowWidth") or 0) >= 1:
        notes["window"] = "the file has none"
        return values, low, high
    from pydicom.pixels import apply_voi_lut

    from pipeline.formats.dicom.header import element_numbers, lenient

    header = instance.dataset
    with lenient():
        try:
            shown = np.asarray(apply_voi_lut(values, header), np.float64)
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, NotImplementedError):
            raise InputError("the grey window of the file is damaged") from None
    notes["window"] = "voi"
    if table:
        bottom, top = 0.0, float((1 << int(element_numbers(header["VOILUTSequence"][0], "LUTDescriptor")[2])) - 1)
    else:
        bottom, top = min(float(shown.min()), low), max(float(shown.max()), high)
    return ((shown - bottom) / max(top - bottom, 1e-9)).astype(np.float32), 0.0, 1.0


def _placed(instance: Instance, spacing: tuple[float, float], notes: dict[str, Any]) -> Array:
    """Affine of a picture: as PatientOrientation says where it does, else as a frontal view is shown."""
    affine = FRONTAL_AFFINE.copy()
    letters = [word.upper()[:1] for word in instance.words("PatientOrientation")]
    if len(letters) == 2 and all(letter in TOWARDS for letter in letters):
        row, column = (np.asarray(TOWARDS[letter], float) for letter in letters)
        if row @ column == 0:
            affine[:3, 0], affine[:3, 1], affine[:3, 2] = row, column, np.cross(column, row)
            if letters != ["L", "F"]:
                notes["patient_orientation"] = "".join(letters)
    affine[:3, 0] *= spacing[0]
    affine[:3, 1] *= spacing[1]
    return affine
