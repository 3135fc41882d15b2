"""The elements that readers need out of a DICOM header, in a fifth of the time that pydicom takes.

A series has thousands of headers, nearly all of one plain form: preamble, little endian, elements in order. Those are
read here. Whatever deviates is left to pydicom, and the tests hold both to the same elements.

Why not pydicom alone, told which elements to read: it takes 0.7 ms a file instead of 0.09 for the plainest headers, 2.0
instead of 0.2 for a Siemens series, and 0.28 s to load. 20 series of 24 slices then took 3.5 s instead of 2.6, and
``dcm2niix -z y`` 2.3 (medians of five runs in turn on two busy cores, files of ``tests/benchmarks/ingest_series.py``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from pipeline.core.errors import InputError

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
#: Transfer syntaxes whose pixels lie in the data set as they are.
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}
#: Elements that hold pixels, and how they are called.
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}

#: What is read of a header: tag and VR. Nothing that names a person, a date or a place is among it.
TAGS: dict[str, tuple[int, str]] = {
    "ImageType": (0x00080008, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "AcquisitionDateTime": (0x0008002A, "DT"),
    "AcquisitionTime": (0x00080032, "TM"),
    "ContentTime": (0x00080033, "TM"),
    "Modality": (0x00080060, "CS"),
    "SliceThickness": (0x00180050, "DS"),
    "EchoTime": (0x00180081, "DS"),
    "InversionTime": (0x00180082, "DS"),
    "EchoNumbers": (0x00180086, "IS"),
    "SpacingBetweenSlices": (0x00180088, "DS"),
    "TriggerTime": (0x00181060, "DS"),
    "EstimatedRadiographicMagnificationFactor": (0x00181114, "DS"),
    "ImagerPixelSpacing": (0x00181164, "DS"),
    "NominalScannedPixelSpacing": (0x00182010, "DS"),
    "DiffusionBValue": (0x00189087, "FD"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "AcquisitionNumber": (0x00200012, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
    "PatientOrientation": (0x00200020, "CS"),
    "ImagePositionPatient": (0x00200032, "DS"),
    "ImageOrientationPatient": (0x00200037, "DS"),
    "FrameOfReferenceUID": (0x00200052, "UI"),
    "TemporalPositionIdentifier": (0x00200100, "IS"),
    "SamplesPerPixel": (0x00280002, "US"),
    "PhotometricInterpretation": (0x00280004, "CS"),
    "PlanarConfiguration": (0x00280006, "US"),
    "NumberOfFrames": (0x00280008, "IS"),
    "Rows": (0x00280010, "US"),
    "Columns": (0x00280011, "US"),
    "PixelSpacing": (0x00280030, "DS"),
    "BitsAllocated": (0x00280100, "US"),
    "BitsStored": (0x00280101, "US"),
    "HighBit": (0x00280102, "US"),
    "PixelRepresentation": (0x00280103, "US"),
    "BurnedInAnnotation": (0x00280301, "CS"),
    "PixelSpacingCalibrationType": (0x00280A02, "CS"),
    "WindowCenter": (0x00281050, "DS"),
    "WindowWidth": (0x00281051, "DS"),
    "RescaleIntercept": (0x00281052, "DS"),
    "RescaleSlope": (0x00281053, "DS"),
    "VOILUTFunction": (0x00281056, "CS"),
    "RedPaletteColorLookupTableDescriptor": (0x00281101, "US or SS"),
    "GreenPaletteColorLookupTableDescriptor": (0x00281102, "US or SS"),
    "BluePaletteColorLookupTableDescriptor": (0x00281103, "US or SS"),
    "RedPaletteColorLookupTableData": (0x00281201, "OW"),
    "GreenPaletteColorLookupTableData": (0x00281202, "OW"),
    "BluePaletteColorLookupTableData": (0x00281203, "OW"),
    "LossyImageCompression": (0x00282110, "CS"),
    "ModalityLUTSequence": (0x00283000, "SQ"),
    "VOILUTSequence": (0x00283010, "SQ"),
    "SegmentationType": (0x00620001, "CS"),
    "SegmentSequence": (0x00620002, "SQ"),
    "MaximumFractionalValue": (0x0062000E, "US"),
    "SharedFunctionalGroupsSequence": (0x52009229, "SQ"),
    "PerFrameFunctionalGroupsSequence": (0x52009230, "SQ"),
}
#: Private elements: Siemens' mosaic's tiles, b-value and CSA header, GE's b-value.
SIEMENS_TILES, SIEMENS_B, SIEMENS_CSA, GE_B = 0x0019100A, 0x0019100C, 0x00291010, 0x00431039
#: VR of every element wanted, for files that do not say it.
WANTED: dict[int, str] = {**dict(TAGS.values()), SIEMENS_TILES: "US", SIEMENS_B: "IS", SIEMENS_CSA: "OB", GE_B: "IS"}

#: How values are read: numbers as text, numbers as bytes with their struct codes and sizes, and words.
_TEXT_NUMBERS = {"DS", "IS"}
_BYTE_NUMBERS = {"US": ("H", 2), "SS": ("h", 2), "UL": ("I", 4), "SL": ("i", 4), "FL": ("f", 4), "FD": ("d", 8)}
_TEXTS = {"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UI"}
#: VRs whose length takes 16 bits, and those where it takes 32.
_SHORT = {vr.encode(): vr for vr in (*_TEXT_NUMBERS, *_BYTE_NUMBERS, *_TEXTS, "AT", "LT", "PN", "ST")}
_LONG = {vr.encode(): vr for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")}
#: VRs that say how a value is read.
_TELLING = {"SQ", *_TEXT_NUMBERS, *_BYTE_NUMBERS, *_TEXTS}
_FIRST_GROUP = 0x0008
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
#: Headers are read in pieces of this many bytes, the next only where the pixels do not begin in the one before.
_PIECES = (1 << 14, 1 << 18, 1 << 22)
_DEEPEST = 16

_two_words: Callable[[bytes, int], tuple[int, int]] = struct.Struct("<HH").unpack_from  # type: ignore[assignment]
_word: Callable[[bytes, int], tuple[int]] = struct.Struct("<H").unpack_from  # type: ignore[assignment]
_long: Callable[[bytes, int], tuple[int]] = struct.Struct("<I").unpack_from  # type: ignore[assignment]


class Raw(NamedTuple):
    """An element as it lies in the file; ``value`` is ``None`` where it is empty or a sequence."""

    vr: str
    value: bytes | None
    little: bool = True

    @classmethod
    def of(cls, tag: int, vr: str | None, value: bytes | None, little: bool = True) -> Raw:
        """An element with the standard's VR where the file's says nothing of how it is read."""
        return cls(vr if vr in _TELLING else WANTED.get(tag, "UN"), value, little)


@dataclass(frozen=True, slots=True)
class Elements:
    """What stands before the pixels.

    Attributes:
        syntax: Transfer syntax.
        found: The elements wanted, by tag.
        offset: Where the value of the pixel data starts in the file, in bytes.
        length: Bytes of native pixel data; ``None`` where they are encapsulated.
        keyword: Name of the element that holds the pixels.
    """

    syntax: str
    found: dict[int, Raw]
    offset: int
    length: int | None
    keyword: str


@lru_cache(maxsize=4096)
def numbers_of(raw: Raw) -> tuple[float, ...]:
    """An element as numbers; the slices of a series share most of theirs.

    Raises:
        ValueError: It holds something else.
    """
    if raw.value is None:
        return ()
    if raw.vr not in _BYTE_NUMBERS:
        texts = raw.value.decode("ascii").replace("\0", " ").split("\\")
        return tuple(float(text) for text in texts if text.strip())
    code, size = _BYTE_NUMBERS[raw.vr]
    count, rest = divmod(len(raw.value), size)
    if rest:
        raise ValueError("the length is no multiple of a number's")
    return tuple(map(float, struct.unpack(f"{'<' if raw.little else '>'}{count}{code}", raw.value)))


def finite(numbers: tuple[float, ...], name: str) -> tuple[float, ...]:
    """The numbers themselves.

    Raises:
        InputError: One is infinite or none at all.
    """
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{name} is not finite")
    return numbers


@lru_cache(maxsize=4096)
def words_of(raw: Raw) -> tuple[str, ...]:
    """An element of text as its values."""
    text = (raw.value or b"").decode("latin-1").strip(" \0")
    return tuple(word.strip() for word in text.split("\\")) if text else ()


class _OddError(Exception):
    """The header is not of the plain form."""


class _ShortError(Exception):
    """The header goes on behind what was read of it."""


def read_elements(stream: BinaryIO) -> Elements | None:
    """Read a header of the plain form from a stream that stands at its start.

    Returns:
        Its elements; ``None`` where it is not of that form or holds no pixels, and pydicom must look at it.
    """
    data = b""
    for piece in _PIECES:
        data += stream.read(piece - len(data))
        try:
            return _parsed(data)
        except _OddError:
            return None
        except (_ShortError, struct.error):
            if len(data) < piece:
                return None
    return None


def _parsed(data: bytes) -> Elements:
    if data[128:132] != b"DICM":
        raise _OddError
    syntax, at = _meta(data)
    if not syntax or syntax in (DEFLATED, BIG_ENDIAN):
        raise _OddError
    explicit = syntax != IMPLICIT
    if not explicit and data[at + 4 : at + 6].isalpha():
        raise _OddError  # looks like a VR, whatever the meta information says
    found: dict[int, Raw] = {}
    last = 0
    while True:
        tag, vr, length, start = _head(data, at, explicit)
        if tag <= last or tag >> 16 < _FIRST_GROUP:
            raise _OddError
        last = tag
        if tag in PIXELS:
            return Elements(syntax, found, start, None if length == _UNDEFINED else length, PIXELS[tag])
        if length == _UNDEFINED:
            if explicit and vr != "SQ":
                raise _OddError
            at = _behind_items(data, start, explicit, 0)
            if tag in WANTED:
                found[tag] = Raw("SQ", None)
            continue
        at = start + length
        if tag in WANTED:
            if at > len(data):
                raise _ShortError
            found[tag] = Raw.of(tag, vr, data[start:at])


def _meta(data: bytes) -> tuple[str, int]:
    """Transfer syntax of the meta information, and where the data set starts."""
    at, syntax = 132, ""
    while _word(data, at)[0] == 0x0002:
        tag, vr, length, start = _head(data, at, True)
        at = start + length
        if tag == 0x00020010 and vr == "UI":
            if at > len(data):
                raise _ShortError
            syntax = data[start:at].decode("latin-1").rstrip("\0 ")
    return syntax, at


def _head(data: bytes, at: int, explicit: bool) -> tuple[int, str, int, int]:
    """Tag, VR, length and start of the value of the element at an offset."""
    group, element = _two_words(data, at)
    tag = group << 16 | element
    if not explicit:
        return tag, "", _long(data, at + 4)[0], at + 8
    code = data[at + 4 : at + 6]
    short = _SHORT.get(code)
    if short is not None:
        return tag, short, _word(data, at + 6)[0], at + 8
    long = _LONG.get(code)
    if long is None:
        raise _ShortError if at + 6 > len(data) else _OddError
    return tag, long, _long(data, at + 8)[0], at + 12


def _behind_items(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Where a sequence of undefined length ends."""
    if depth > _DEEPEST:
        raise _OddError
    while True:
        tag, _, length, at = _head(data, at, False)
        if tag == _SEQUENCE_END and not length:
            return at
        if tag != _ITEM:
            raise _OddError
        at = _behind_item(data, at, explicit, depth) if length == _UNDEFINED else at + length


def _behind_item(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Where an item of undefined length ends."""
    while True:
        group, element = _two_words(data, at)
        if group << 16 | element == _ITEM_END:
            return at + 8
        _, vr, length, at = _head(data, at, explicit)
        if length != _UNDEFINED:
            at += length
        elif explicit and vr != "SQ":
            raise _OddError
        else:
            at = _behind_items(data, at, explicit, depth + 1)
