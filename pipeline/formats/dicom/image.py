"""DICOM image objects: the header fields that readers need, and the pixels, with every damage named."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import InputError, UserError, raise_passing
from pipeline.core.limits import check_size
from pipeline.core.scan import Array
from pipeline.core.study import Ingest
from pipeline.formats.dicom.elements import (
    NATIVE,
    TAGS,
    Elements,
    finite,
    numbers_of,
    read_elements,
    words_of,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Defined terms of Modality (DICOM PS3.3, C.7.3.1.1.1) that occur with images or in their company.
MODALITIES = {
    "CR", "DX", "MG", "IO", "PX", "XA", "RF", "RG", "DR", "XR", "MR", "CT", "PT", "NM", "US", "OT", "XC", "SC", "SEG",
    "RTDOSE", "RTPLAN", "RTSTRUCT", "RTIMAGE", "SR", "PR", "KO", "DOC", "REG", "ES", "OP", "GM", "SM", "OPT", "ECG",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM image object without its pixels.

    Attributes:
        path: The file.
        header: What stands before the pixels, and where they lie.
    """

    path: Path
    header: Elements

    @cached_property
    def dataset(self) -> Dataset:
        """The elements as pydicom has them, sequences included; read when first asked for."""
        from pipeline.formats.dicom.header import read_header

        with damage_named():
            return read_header(self.path)

    def has(self, name: str) -> bool:
        """Whether an element is there and not empty."""
        if TAGS[name][0] not in self.header.found:
            return False
        with damage_named():
            return bool(self.dataset.get(name))

    def text(self, name: str) -> str:
        """An element as text; empty where it is absent."""
        return "\\".join(self.words(name))

    def words(self, name: str) -> tuple[str, ...]:
        """The values of an element of text; empty where it is absent."""
        raw = self.header.found.get(TAGS[name][0])
        return () if raw is None else words_of(raw)

    def number(self, name: str | int) -> float | None:
        """An element as a finite number, the first of several; ``None`` where it is absent or empty."""
        values = self.numbers(name)
        return values[0] if values else None

    def numbers(self, name: str | int) -> tuple[float, ...]:
        """An element, by its keyword or tag, as finite numbers.

        Raises:
            InputError: It holds something else.
        """
        raw = self.header.found.get(TAGS[name][0] if isinstance(name, str) else name)
        if raw is None:
            return ()
        label = name if isinstance(name, str) else f"element {name:08X}"
        try:
            return finite(numbers_of(raw), label)
        except ValueError:
            raise InputError(f"{label} is not a number") from None

    def whole(self, name: str, default: int | None = None) -> int:
        """An element as a whole number.

        Raises:
            InputError: It holds something else, or is absent where there is no default.
        """
        value = self.number(name)
        if value is None and default is None:
            raise InputError(f"{name} is missing")
        if value is not None and not value.is_integer():
            raise InputError(f"{name} is {value}")
        return default if value is None else int(value)  # type: ignore[return-value]

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """``(frames, rows, columns, samples)``."""
        frames, samples = max(self.whole("NumberOfFrames", 1), 1), self.whole("SamplesPerPixel", 1)
        return frames, self.whole("Rows"), self.whole("Columns"), samples

    @cached_property
    def bits(self) -> tuple[int, int, int]:
        """``(allocated, stored, high bit)``."""
        allocated = self.whole("BitsAllocated")
        stored = self.whole("BitsStored", allocated)
        return allocated, stored, self.whole("HighBit", stored - 1)

    @cached_property
    def signed(self) -> bool:
        """Whether stored values are signed."""
        return self.whole("PixelRepresentation", 0) == 1

    @property
    def compressed(self) -> bool:
        """Whether the pixels are encapsulated."""
        return self.header.syntax not in NATIVE

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
    def rescale(self) -> tuple[float, float]:
        """RescaleSlope and RescaleIntercept; a slope of 0 is none."""
        return self.number("RescaleSlope") or 1.0, self.number("RescaleIntercept") or 0.0

    @property
    def is_rescaled(self) -> bool:
        """Whether the object says how its stored values become those of the modality."""
        return self.number("RescaleSlope") is not None or self.number("RescaleIntercept") is not None

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


@lru_cache(maxsize=256)
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
    found = pair / lengths[:, None]
    found.flags.writeable = False  # shared by all slices that say the same
    return found


def read_instance(path: Path, options: Ingest) -> Instance:
    """Read the header of a DICOM file, with or without preamble and meta information.

    Raises:
        NoImageError: It is readable and holds no pixels.
        InputError: It is damaged, or promises too much.
    """
    with damage_named():
        with open(path, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            found = read_elements(stream)
        return _checked(Instance(path, found), size, options) if found else _by_pydicom(path, size, options)


@contextmanager
def damage_named() -> Iterator[None]:
    """pydicom raises almost anything on a damaged file: struct, key, type, recursion and assertion errors."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise_passing(error)
        raise InputError(f"the DICOM header is damaged ({type(error).__name__})") from None


def _by_pydicom(path: Path, size: int, options: Ingest) -> Instance:
    from pipeline.formats.dicom.header import kind_of_object, read_elements_anyhow

    with open(path, "rb") as stream:
        found, dataset = read_elements_anyhow(stream)
    if not found.keyword:
        word = str(dataset.get("Modality") or "").upper()
        kind = kind_of_object(dataset) or (word if word in MODALITIES else "")
        raise NoImageError(f"holds no image ({kind})" if kind else "holds no image")
    instance = _checked(Instance(path, found), size, options)
    instance.__dict__["dataset"] = dataset  # what the property would read once more
    return instance


def _checked(instance: Instance, size: int, options: Ingest) -> Instance:
    """The object of a file of ``size`` bytes: its size and bits fit each other, and native pixels are all there."""
    shape, (allocated, stored, high) = instance.shape, instance.bits
    if allocated not in (1, 8, 16, 32, 64) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(f"bits allocated, stored and high bit do not fit each other ({allocated}, {stored}, {high})")
    if shape[3] not in (1, 3, 4):
        raise InputError(f"SamplesPerPixel is {shape[3]}")
    check_size(shape, max(allocated // 8, 1), options, size)
    _ = instance.signed
    length, offset = instance.header.length, instance.header.offset
    if length is None or offset < 0 or instance.compressed:
        return instance
    needed = (math.prod(shape) * allocated + 7) // 8
    if instance.text("PhotometricInterpretation").upper() == "YBR_FULL_422":
        needed = needed * 2 // 3
    there = min(length, size - offset)
    if there < needed:
        raise InputError(f"the pixels end early: {there:,} of {needed:,} bytes")
    return instance
