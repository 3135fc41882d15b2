"""Stored values of DICOM objects, out of any transfer syntax that has a decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.decoders import Decoded, decode
from pipeline.formats.dicom.elements import BIG_ENDIAN
from pipeline.formats.dicom.image import Instance

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}


def read_stored(instance: Instance) -> NDArray[Any]:
    """Stored values, ``(frames, rows, columns, samples)``, colours as RGB, unused high bits cleared.

    Raises:
        InputError: The pixels are damaged, cut short, or in a transfer syntax without a decoder.
    """
    if instance.compressed and instance.header.offset >= 0:
        pixels = _decompressed(instance)
    elif _is_plain(instance):
        pixels = _plain(instance)
    else:
        pixels = _decompressed(instance)
    return _clear_unused(pixels.reshape(instance.shape), instance)


def _is_plain(instance: Instance) -> bool:
    """Whether the pixels lie in the file as whole numbers or floats of one sample."""
    return instance.header.offset >= 0 and instance.shape[3] == 1 and instance.bits[0] >= 8


def _plain(instance: Instance) -> NDArray[Any]:
    kinds = {"FloatPixelData": "f", "DoubleFloatPixelData": "f"}
    kind = kinds.get(instance.header.keyword, "i" if instance.signed else "u")
    order = ">" if instance.header.syntax == BIG_ENDIAN else "<"
    dtype = np.dtype(f"{order}{kind}{instance.bits[0] // 8}")
    count = math.prod(instance.shape)
    pixels = np.fromfile(instance.path, dtype, count, offset=instance.header.offset)
    if pixels.size < count:
        raise InputError("the file was cut short while it was read")
    return pixels.astype(dtype.newbyteorder("="), copy=False)


def _decompressed(instance: Instance) -> NDArray[Any]:
    """Pixels that need one of pydicom's decoders."""
    about = {
        "path": str(instance.path),
        "offset": instance.header.offset,
        "length": instance.header.length,
        "syntax": instance.header.syntax,
        "compressed": instance.compressed,
        "bits": instance.bits[1],
        "options": _decoder_options(instance),
    }
    return decode("pipeline.formats.dicom.pixels:decompressed", about)[0]


def decompressed(
    path: str, offset: int, length: int | None, syntax: str, compressed: bool, bits: int, options: dict[str, Any]
) -> Decoded:
    """Pixels of one object, by one of pydicom's decoders; the arguments are those of an :class:`Instance`.

    Args:
        path: The file.
        offset: Where the pixels start; -1 where the file is deflated as a whole.
        length: Their bytes, where they are native.
        syntax: UID of the transfer syntax.
        compressed: Whether they are encapsulated.
        bits: Bits that a sample takes.
        options: What the decoder is told.

    Raises:
        InputError: They are damaged, or there is no decoder.
    """
    import pydicom
    from pydicom.pixels import get_decoder

    from pipeline.formats.dicom.header import lenient

    name = _name(syntax)
    try:
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError):
        raise InputError(f"no decoder for transfer syntax {name}") from None
    if compressed and not decoder.is_available and offset >= 0:
        raise InputError(f"no decoder for transfer syntax {name} is installed")
    plugin = _plugin(syntax, bits, decoder.available_plugins)
    try:
        with lenient(), open(path, "rb") as stream:
            if offset < 0:
                pixels, _ = decoder.as_array(pydicom.dcmread(stream, force=True))
                return np.asarray(pixels), {}
            stream.seek(offset)
            source = stream.read(length if length is not None else -1)
            pixels, _ = decoder.as_array(source, decoding_plugin=plugin, **options)
            return np.asarray(pixels), {}
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f"the pixels are damaged or cut short ({name}, {type(error).__name__})") from None


def _plugin(syntax: str, bits: int, available: Sequence[str]) -> str:
    """The decoder to take where it matters; empty to let pydicom try all.

    Raises:
        InputError: Those that are there cannot decode this.
    """
    if syntax in _JPEG_2000 and "pylibjpeg" in available:
        return "pylibjpeg"  # OpenJPEG itself; through GDCM it takes half as long again
    if syntax == _JPEG_EXTENDED and bits > 8 and "pylibjpeg" not in available:
        raise InputError("no decoder for JPEG of 12 bits is installed", remedy="Install pylibjpeg-libjpeg (GPL-3).")
    return ""


def _name(syntax: str) -> str:
    """A transfer syntax in words; an unregistered one is a private UID, which may identify."""
    from pydicom.uid import UID

    name = UID(syntax).name
    return "that is not registered" if name == syntax else str(name)


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
        "pixel_keyword": instance.header.keyword,
    }


def _clear_unused(pixels: NDArray[Any], instance: Instance) -> NDArray[Any]:
    """Clear bits outside the stored ones, where old files keep overlays, and extend the sign."""
    allocated, stored, high = instance.bits
    width = pixels.dtype.itemsize * 8
    if pixels.dtype.kind not in "iu" or stored >= width or allocated == 1:
        return pixels
    if high + 1 > stored and not instance.compressed:
        pixels = pixels >> (high + 1 - stored)
    if pixels.dtype.kind == "u":
        top = (1 << stored) - 1
        return pixels & pixels.dtype.type(top) if pixels.size and int(pixels.max()) > top else pixels
    shift = width - stored
    return (pixels << shift) >> shift
