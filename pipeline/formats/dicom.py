"""DICOM image objects: the header fields that readers need, and the pixels, with every damage named."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from pipeline.core.errors import InputError
from pipeline.core.scan import Array
from pipeline.core.study import Ingest
from pipeline.formats.limits import check_size

_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = {0x7FE00008: "f4", 0x7FE00009: "f8"}
#: What is read of a header. Nothing that names a person, a date or a place is among it.
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "SeriesInstanceUID", "FrameOfReferenceUID",
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "EchoTime", "InversionTime",
    "DiffusionBValue", "TriggerTime", "AcquisitionTime", "ContentTime", "AcquisitionDateTime", "ImagePositionPatient",
    "ImageOrientationPatient", "PatientOrientation", "PixelSpacing", "PixelSpacingCalibrationType",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor", "SliceThickness",
    "SpacingBetweenSlices", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth",
    "BurnedInAnnotation", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "SegmentSequence", "SegmentationType", "MaximumFractionalValue", "LossyImageCompression",
    0x00190010, 0x0019100A, 0x0019100C, 0x00290010, 0x00291010, 0x00431039,
]  # fmt: skip
_WANTED: list[BaseTag | int] = [Tag(tag) for tag in _TAGS]
#: Numbers as text, and numbers as bytes with their numpy types: read directly, because a series has thousands of them.
_TEXT_NUMBERS = {"DS", "IS"}
_BYTE_NUMBERS = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}
_TEXTS = {"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UI"}


#: Defined terms of Modality (DICOM PS3.3, C.7.3.1.1.1) that occur with images or in their company.
MODALITIES = {
    "CR", "DX", "MG", "IO", "PX", "XA", "RF", "RG", "DR", "XR", "MR", "CT", "PT", "NM", "US", "OT", "XC", "SC", "SEG",
    "RTDOSE", "RTPLAN", "RTSTRUCT", "RTIMAGE", "SR", "PR", "KO", "DOC", "REG", "ES", "OP", "GM", "SM", "OPT", "ECG",
}  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """One DICOM image object without its pixels.

    Attributes:
        path: The file.
        syntax: Transfer syntax.
        header: The elements that readers need.
        offset: Where the value of the pixel data starts, in bytes; -1 where the file is deflated as a whole.
        length: Bytes of native pixel data; ``None`` where they are encapsulated.
        keyword: Name of the element that holds the pixels.
        shape: ``(frames, rows, columns, samples)``.
        bits: ``(allocated, stored, high bit)``.
        signed: Whether stored values are signed.
    """

    path: Path
    syntax: UID
    header: Dataset
    offset: int
    length: int | None
    keyword: str
    shape: tuple[int, int, int, int]
    bits: tuple[int, int, int]
    signed: bool

    def text(self, name: str) -> str:
        """An element as text; empty where it is absent."""
        return "\\".join(self.words(name))

    def words(self, name: str) -> tuple[str, ...]:
        """The values of an element of text; empty where it is absent."""
        raw = _raw(self.header, name)
        if raw is not None and raw[0] in _TEXTS:
            text = raw[1].decode("latin-1").strip(" \0")
            return tuple(word.strip() for word in text.split("\\")) if text else ()
        with lenient():
            value = self.header.get(name)
        if value is None or value == "":
            return ()
        many = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
        return tuple(str(word).strip() for word in many)

    def number(self, name: str) -> float | None:
        """An element as a finite number, the first of several; ``None`` where it is absent or empty."""
        values = self.numbers(name)
        return values[0] if values else None

    def numbers(self, name: str) -> tuple[float, ...]:
        """An element as finite numbers.

        Raises:
            InputError: It holds something else.
        """
        return element_numbers(self.header, name)

    @property
    def modality(self) -> str:
        """Modality, if it is one of DICOM's; free text may name a person."""
        word = self.text("Modality").upper()
        return word if word in MODALITIES else ""

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType as words."""
        return self.words("ImageType")

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest value that the stored bits can hold."""
        stored = self.bits[1]
        return (-(1 << stored - 1), (1 << stored - 1) - 1) if self.signed else (0, (1 << stored) - 1)

    @property
    def position(self) -> Array | None:
        """ImagePositionPatient, LPS mm."""
        values = self.numbers("ImagePositionPatient")
        return np.asarray(values) if len(values) == 3 else None

    @property
    def orientation(self) -> Array | None:
        """Direction of the rows, then of the columns, LPS unit vectors ``(2, 3)``."""
        return directions(self.numbers("ImageOrientationPatient"))


class NoImageError(InputError):
    """The object is readable and holds no image: a report, a plan, a presentation state."""


def element_numbers(header: Dataset, name: str | int) -> tuple[float, ...]:
    """An element of any dataset as finite numbers; empty where it is absent or empty.

    Raises:
        InputError: It holds something else.
    """
    raw = _raw(header, name)
    try:
        if raw is not None and raw[0] in _TEXT_NUMBERS:
            texts = raw[1].decode("ascii").replace("\0", " ").split("\\")
            return _finite(tuple(float(text) for text in texts if text.strip()), name)
        if raw is not None and raw[0] in _BYTE_NUMBERS:
            dtype = np.dtype(_BYTE_NUMBERS[raw[0]]).newbyteorder("<" if raw[2] else ">")
            return _finite(tuple(float(number) for number in np.frombuffer(raw[1], dtype)), name)
        with lenient():
            value = header.get(name)
            if value is None or value == "":
                return ()
            many = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
            numbers = tuple(float(v) for v in many if v is not None and v != "")
    except (ValueError, TypeError, OverflowError, ArithmeticError, AttributeError, NotImplementedError):
        raise InputError(f"{_label(name)} is not a number") from None
    return _finite(numbers, name)


def _finite(numbers: tuple[float, ...], name: str | int) -> tuple[float, ...]:
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{_label(name)} is not finite")
    return numbers


def _raw(header: Dataset, name: str | int) -> tuple[str, bytes, bool] | None:
    """VR, bytes and byte order of an element that pydicom has not converted yet."""
    tag = _tag(name)
    if tag is None or tag not in header:
        return None
    item = header.get_item(tag)
    if not isinstance(item, RawDataElement) or not isinstance(item.value, bytes):
        return None
    return item.VR or _vr(tag), item.value, item.is_little_endian


@cache
def _tag(name: str | int) -> BaseTag | None:
    number = tag_for_keyword(name) if isinstance(name, str) else name
    return None if number is None else BaseTag(number)


@cache
def _vr(tag: BaseTag) -> str:
    """VR of an element of an implicit file."""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def _label(name: str | int) -> str:
    return name if isinstance(name, str) else f"element {name:08X}"


def directions(values: tuple[float, ...]) -> Array | None:
    """Six direction cosines as two unit vectors ``(2, 3)``; ``None`` where there are not six.

    Raises:
        InputError: The two are not at right angles, or one is zero.
    """
    if len(values) != 6:
        return None
    pair = np.asarray(values).reshape(2, 3)
    lengths = np.linalg.norm(pair, axis=1)
    if (np.abs(lengths - 1) > 0.05).any() or abs(pair[0] @ pair[1]) > 0.01:
        raise InputError("ImageOrientationPatient does not hold two directions at right angles")
    return pair / lengths[:, None]


def lenient() -> AbstractContextManager[None]:
    """Let pydicom read values that break the standard, without its warnings: what matters is checked here."""
    if pydicom.config.settings.reading_validation_mode == pydicom.config.IGNORE:
        return nullcontext()
    return _without_warnings()


@contextmanager
def _without_warnings() -> Iterator[None]:
    settings = pydicom.config.settings
    before = settings.reading_validation_mode
    settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.reading_validation_mode = before


def read_instance(path: Path, options: Ingest) -> Instance:
    """Read the header of a DICOM file, with or without preamble and meta information.

    Raises:
        NoImageError: It is readable and holds no pixels.
        InputError: It is damaged, or promises too much.
    """
    try:
        with lenient(), open(path, "rb") as stream:
            header = read_partial(stream, _at_pixels, force=True, specific_tags=_WANTED)
            syntax = _syntax(header)
            offset, length, keyword = _pixel_place(stream, syntax)
            if not keyword:
                raise NoImageError(_what(header))
            shape, bits, signed = _pixel_module(header, options)
            instance = Instance(path, syntax, header, offset, length, keyword, shape, bits, signed)
            _check_length(instance, os.fstat(stream.fileno()).st_size)
            return instance
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        # pydicom raises almost anything on a damaged file: struct, key, type, recursion and assertion errors.
        raise InputError(f"the DICOM header is damaged ({type(error).__name__})") from None


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    """Where reading stops."""
    return tag == _PIXEL_DATA or tag in _FLOAT_PIXEL_DATA


def _syntax(header: Dataset) -> UID:
    """Transfer syntax by the meta information, else by how the data set was read."""
    meta = getattr(header, "file_meta", None)
    named = meta.get("TransferSyntaxUID") if meta is not None else None
    if named:
        return UID(str(named))
    implicit, little = header.original_encoding
    if implicit or implicit is None:
        return ImplicitVRLittleEndian
    return UID("1.2.840.10008.1.2.1") if little else ExplicitVRBigEndian


def _pixel_place(stream: BinaryIO, syntax: UID) -> tuple[int, int | None, str]:
    """Offset, length and name of the pixel data in a stream that stands at their tag; no name where there are none.

    The offset is -1 where the whole data set is deflated and positions in the file mean nothing.
    """
    if syntax == DeflatedExplicitVRLittleEndian:
        return -1, None, "PixelData"
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    start = stream.tell()
    head = stream.read(12)
    if len(head) < 8:
        return start, None, ""
    group, element = np.frombuffer(head[:4], f"{order}u2")
    tag = int(group) << 16 | int(element)
    if tag == _PIXEL_DATA:
        keyword = "PixelData"
    elif tag in _FLOAT_PIXEL_DATA:
        keyword = "FloatPixelData" if tag == 0x7FE00008 else "DoubleFloatPixelData"
    else:
        return start, None, ""
    implicit = syntax == ImplicitVRLittleEndian
    at = 4 if implicit else 8
    if not implicit and len(head) < 12:
        return start, None, ""
    length = int(np.frombuffer(head[at : at + 4], f"{order}u4")[0])
    return start + at + 4, None if length == 0xFFFFFFFF else length, keyword


def _what(header: Dataset) -> str:
    """What an object without pixels is."""
    uid = str(header.get("SOPClassUID") or "")
    name = UID(uid).name
    name = "" if name == uid else name
    word = str(header.get("Modality") or "").upper()
    kind = name or (word if word in MODALITIES else "")
    return f"holds no image ({kind})" if kind else "holds no image"


def _pixel_module(header: Dataset, options: Ingest) -> tuple[tuple[int, int, int, int], tuple[int, int, int], bool]:
    """Shape, bits and sign, checked."""

    def whole(name: str, default: int | None = None) -> int:
        values = element_numbers(header, name)
        if not values:
            if default is None:
                raise InputError(f"{name} is missing")
            return default
        if not values[0].is_integer():
            raise InputError(f"{name} is {values[0]}")
        return int(values[0])

    shape = (
        max(whole("NumberOfFrames", 1), 1),
        whole("Rows"),
        whole("Columns"),
        whole("SamplesPerPixel", 1),
    )
    allocated = whole("BitsAllocated")
    stored = whole("BitsStored", allocated)
    high = whole("HighBit", stored - 1)
    if allocated not in (1, 8, 16, 32, 64) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(f"bits allocated, stored and high bit do not fit each other ({allocated}, {stored}, {high})")
    if shape[3] not in (1, 3, 4):
        raise InputError(f"SamplesPerPixel is {shape[3]}")
    check_size(shape, max(allocated // 8, 1), options)
    return shape, (allocated, stored, high), whole("PixelRepresentation", 0) == 1


def _check_length(instance: Instance, size: int) -> None:
    """Refuse native pixels that are cut short, before anything relies on them."""
    if instance.length is None or instance.offset < 0 or instance.syntax.is_compressed:
        return
    needed = (math.prod(instance.shape) * instance.bits[0] + 7) // 8
    if instance.text("PhotometricInterpretation").upper() == "YBR_FULL_422":
        needed = needed * 2 // 3
    there = min(instance.length, size - instance.offset)
    if there < needed:
        raise InputError(f"the pixels end early: {there:,} of {needed:,} bytes")
