"""DICOM headers by pydicom: those of an uncommon form, and the sequences of any."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from pipeline.core.errors import InputError
from pipeline.formats.dicom.elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    PIXELS,
    WANTED,
    Elements,
    Raw,
    finite,
    numbers_of,
)

_WANTED: list[BaseTag | int] = [Tag(tag) for tag in WANTED]


@contextmanager
def lenient() -> Iterator[None]:
    """Let pydicom read values that break the standard, without its warnings: what matters is checked here."""
    if pydicom.config.settings.reading_validation_mode == pydicom.config.IGNORE:
        yield
        return
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path) -> Dataset:
    """The elements that readers need, up to the pixels, sequences included."""
    with lenient(), open(path, "rb") as stream:
        return _header(stream)


def _header(stream: BinaryIO) -> Dataset:
    return read_partial(stream, _at_pixels, force=True, specific_tags=_WANTED)


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    """Where reading stops."""
    return tag in PIXELS


def read_elements_anyhow(stream: BinaryIO) -> tuple[Elements, Dataset]:
    """A header of any form, from a stream that stands at its start, as elements and as a data set.

    ``keyword`` is empty where there are no pixels; ``offset`` is -1 where the whole data set is deflated and positions
    in the file mean nothing.
    """
    with lenient():
        header = _header(stream)
        syntax = _syntax(header)
        offset, length, keyword = _pixel_place(stream, syntax)
        found = {int(tag): _raw(header, tag) or Raw("SQ", None) for tag in header.keys()}  # noqa: SIM118 - a Dataset
    return Elements(syntax, found, offset, length, keyword), header


def _raw(header: Dataset, tag: BaseTag) -> Raw | None:
    """An element that pydicom has not converted yet."""
    item = header.get_item(tag)
    if not isinstance(item, RawDataElement) or not isinstance(item.value, bytes):
        return None
    return Raw.of(int(tag), item.VR, item.value, item.is_little_endian)


def _syntax(header: Dataset) -> str:
    """Transfer syntax by the meta information, else by how the data set was read."""
    meta = getattr(header, "file_meta", None)
    named = meta.get("TransferSyntaxUID") if meta is not None else None
    if named:
        return str(named)
    implicit, little = header.original_encoding
    if implicit or implicit is None:
        return IMPLICIT
    return EXPLICIT if little else BIG_ENDIAN


def _pixel_place(stream: BinaryIO, syntax: str) -> tuple[int, int | None, str]:
    """Offset, length and name of the pixel data in a stream that stands at their tag; no name where there are none."""
    if syntax == DEFLATED:
        return -1, None, "PixelData"
    order = ">" if syntax == BIG_ENDIAN else "<"
    start = stream.tell()
    head = stream.read(12)
    if len(head) < 8:
        return start, None, ""
    group, element = np.frombuffer(head[:4], f"{order}u2")
    keyword = PIXELS.get(int(group) << 16 | int(element), "")
    at = 4 if syntax == IMPLICIT else 8
    if not keyword or len(head) < at + 4:
        return start, None, ""
    length = int(np.frombuffer(head[at : at + 4], f"{order}u4")[0])
    return start + at + 4, None if length == 0xFFFFFFFF else length, keyword


def kind_of_object(header: Dataset) -> str:
    """What an object is, by its class; empty where that is not known."""
    uid = str(header.get("SOPClassUID") or "")
    name = UID(uid).name
    return "" if name == uid else str(name)


def element_numbers(header: Dataset, name: str) -> tuple[float, ...]:
    """An element of a sequence's item as finite numbers; empty where it is absent or empty.

    Raises:
        InputError: It holds something else.
    """
    tag = pydicom.datadict.tag_for_keyword(name)
    raw = _raw(header, BaseTag(tag)) if tag is not None and tag in header else None
    try:
        if raw is not None:
            numbers = numbers_of(raw)
        else:
            with lenient():
                value = header.get(name)
                if value is None or value == "":
                    return ()
                many = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
                numbers = tuple(float(v) for v in many if v is not None and v != "")
    except (ValueError, TypeError, OverflowError, ArithmeticError, AttributeError, NotImplementedError):
        raise InputError(f"{name} is not a number") from None
    return finite(numbers, name)
