"""Stored values of DICOM objects, out of any transfer syntax that has a decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRBigEndian

from pipeline.core.errors import InputError
from pipeline.formats.dicom import Instance, lenient


def read_stored(instance: Instance) -> NDArray[Any]:
    """Stored values, ``(frames, rows, columns, samples)``, colours as RGB, unused high bits cleared.

    Raises:
        InputError: The pixels are damaged, cut short, or in a transfer syntax without a decoder.
    """
    if instance.syntax.is_compressed and instance.offset >= 0:
        pixels = _decompressed(instance)
    elif _is_plain(instance):
        pixels = _plain(instance)
    else:
        pixels = _decompressed(instance)
    return _clear_unused(pixels.reshape(instance.shape), instance)


def _is_plain(instance: Instance) -> bool:
    """Whether the pixels lie in the file as whole numbers or floats of one sample."""
    return instance.offset >= 0 and instance.shape[3] == 1 and instance.bits[0] >= 8


def _plain(instance: Instance) -> NDArray[Any]:
    kinds = {"FloatPixelData": "f", "DoubleFloatPixelData": "f"}
    kind = kinds.get(instance.keyword, "i" if instance.signed else "u")
    order = ">" if instance.syntax == ExplicitVRBigEndian else "<"
    dtype = np.dtype(f"{order}{kind}{instance.bits[0] // 8}")
    count = int(np.prod(instance.shape))
    pixels = np.fromfile(instance.path, dtype, count, offset=instance.offset)
    if pixels.size < count:
        raise InputError("the file was cut short while it was read")
    return pixels.astype(dtype.newbyteorder("="), copy=False)


def _decompressed(instance: Instance) -> NDArray[Any]:
    """Pixels that need one of pydicom's decoders."""
    try:
        decoder = get_decoder(instance.syntax)
    except (NotImplementedError, ValueError):
        raise InputError(f"no decoder for transfer syntax {instance.syntax.name}") from None
    if instance.syntax.is_compressed and not decoder.is_available and instance.offset >= 0:
        raise InputError(f"no decoder for transfer syntax {instance.syntax.name} is installed")
    try:
        with lenient(), open(instance.path, "rb") as stream:
            if instance.offset < 0:
                whole = pydicom.dcmread(stream, force=True)
                pixels, _ = decoder.as_array(whole)
                return np.asarray(pixels)
            stream.seek(instance.offset)
            source = stream.read(instance.length if instance.length is not None else -1)
            pixels, _ = decoder.as_array(source, **_decoder_options(instance))
            return np.asarray(pixels)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"the pixels are damaged or cut short ({instance.syntax.name}, {type(error).__name__})"
        ) from None


def _decoder_options(instance: Instance) -> dict[str, Any]:
    frames, rows, columns, samples = instance.shape
    return {
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": samples,
        "number_of_frames": frames,
        "bits_allocated": instance.bits[0],
        "bits_stored": instance.bits[1],
        "pixel_representation": int(instance.signed),
        "photometric_interpretation": instance.text("PhotometricInterpretation") or "MONOCHROME2",
        "planar_configuration": int(instance.number("PlanarConfiguration") or 0),
        "pixel_keyword": instance.keyword,
    }


def _clear_unused(pixels: NDArray[Any], instance: Instance) -> NDArray[Any]:
    """Clear bits outside the stored ones, where old files keep overlays, and extend the sign."""
    allocated, stored, high = instance.bits
    width = pixels.dtype.itemsize * 8
    if pixels.dtype.kind not in "iu" or stored >= width or allocated == 1:
        return pixels
    if high + 1 > stored and not instance.syntax.is_compressed:
        pixels = pixels >> (high + 1 - stored)
    if pixels.dtype.kind == "u":
        top = (1 << stored) - 1
        return pixels & pixels.dtype.type(top) if pixels.size and int(pixels.max()) > top else pixels
    shift = width - stored
    return (pixels << shift) >> shift
