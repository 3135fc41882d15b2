"""Reads run lengths back, in every dialect that is written, by what the people who use it say of it.

CSV and JSON come from Python's own modules and the pixels from NumPy: nothing here knows the codec that wrote the file.
A file is read once, scan after scan, in the order in which it was written.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Array
from pipeline.export.checks import Measured, measured

Mask = NDArray[np.bool_]
LONGEST_CELL = 2**31 - 1  # characters; Python's csv refuses more than 131,072 unless told


@dataclass(frozen=True)
class Convention:
    """How a community counts pixels, and what its tables look like.

    Attributes:
        down: Whether the flat index runs down the columns of the picture, or else along its rows.
        first: Number of the first pixel.
        runs: ``pairs`` of start and length, ``gaps`` (starts counted from the end of the run before) and lengths, or
            COCO's ``counts`` in a JSON object with the size.
        columns: Names of the columns of image, organ (where there is one) and runs; of the image alone where each organ
            has a column.
        nothing: Cells that mean no pixel.
    """

    down: bool
    first: int
    columns: tuple[str, ...]
    runs: Literal["pairs", "gaps", "counts"] = "pairs"
    nothing: tuple[str, ...] = ("",)


#: Sources: the evaluation pages of the Kaggle competitions, the data dictionary of CheXmask (PhysioNet), and
#: pycocotools' ``mask.py``. Ours is described in the column names of its own files.
CONVENTIONS = {
    "organseg": Convention(False, 0, ("scan_id", "organ", "rle")),
    "kaggle": Convention(True, 1, ("ImageId", "EncodedPixels"), nothing=("", "-")),
    "airbus": Convention(True, 1, ("ImageId", "EncodedPixels"), nothing=("", "-")),
    "tgs": Convention(True, 1, ("id", "rle_mask"), nothing=("", "-")),
    "severstal": Convention(True, 1, ("ImageId", "ClassId", "EncodedPixels"), nothing=("", "-")),
    "hubmap": Convention(True, 1, ("id", "rle"), nothing=("", "-")),
    "uw-madison": Convention(False, 1, ("id", "class", "segmentation"), nothing=("", "nan")),
    "vesuvius": Convention(False, 1, ("Id", "Predicted")),
    "chexmask": Convention(False, 1, ("image_id",)),
    "siim": Convention(True, 0, ("ImageId", "EncodedPixels"), "gaps", ("-1",)),
    "coco": Convention(True, 0, ("image_id", "category", "segmentation"), "counts", ()),
    "coco-list": Convention(True, 0, ("image_id", "category", "segmentation"), "counts", ()),
}


class RunTable:
    """A CSV of run lengths, read scan by scan.

    Args:
        path: The file.
        dialect: Its dialect.
        organs: The study's organs.

    Raises:
        InputError: A column that the dialect has is not there.
    """

    def __init__(self, path: Path, dialect: str, organs: Sequence[str]) -> None:
        self.dialect = dialect
        self.convention = CONVENTIONS[dialect]
        self.organs = tuple(organs)
        csv.field_size_limit(LONGEST_CELL)
        # Held open until the last row was taken.
        self._file = open(path, encoding="utf-8", newline="")  # noqa: SIM115
        reader = csv.DictReader(self._file)
        absent = set(self.convention.columns) - set(reader.fieldnames or ())
        if absent:
            raise InputError(f"read back, the table has no column {min(absent)}")
        self._rows: Iterator[dict[str, str]] = iter(reader)
        self._next = next(self._rows, None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def left(self) -> int:
        """How many rows belong to no scan that was asked for."""
        return 0 if self._next is None else 1 + sum(1 for _ in self._rows)

    def read(self, scan_id: str, labels: LabelMap) -> dict[str, Measured]:
        """Organs of the next scan of the file.

        Args:
            scan_id: The scan.
            labels: What was to be written, for size and place of the pictures where the file does not say them.

        Raises:
            InputError: A row cannot be right.
        """
        masks: dict[str, Mask] = {}
        affine = np.asarray(labels.affine, float)
        while self._next is not None and (at := self._slice(self._next, scan_id, labels)) is not None:
            row, self._next = self._next, next(self._rows, None)
            if self.dialect == "organseg":
                affine = _own_affine(row)
            for organ, text in self._cells(row):
                mask = masks.setdefault(organ, np.zeros(labels.data.shape, bool))
                picture = self._picture(row, text, (mask.shape[1], mask.shape[0]))
                if not 0 <= at < mask.shape[2]:
                    raise InputError(f"read back, {organ} lies in slice {at} of {mask.shape[2]}")
                mask[:, :, at] |= picture.T
        return {organ: measured(mask, affine) for organ, mask in masks.items()}

    def _slice(self, row: Mapping[str, str], scan_id: str, labels: LabelMap) -> int | None:
        """The slice that a row holds of a scan, from 0; ``None`` if it is another scan's."""
        if self.dialect == "organseg":
            return int(row["slice"]) if row["scan_id"] == scan_id and row["axis"] == "z" else None
        return slice_of(row[self.convention.columns[0]], scan_id, labels.data.shape[2])

    def _cells(self, row: Mapping[str, str]) -> list[tuple[str, str]]:
        """Organs and their runs in a row."""
        columns = self.convention.columns
        if len(columns) == 3:
            return [(row[columns[1]], row[columns[2]])]
        if len(columns) == 2:
            return [(self.organs[0], row[columns[1]])]
        plain = {_plain(name): text for name, text in row.items()}
        absent = [organ for organ in self.organs if _plain(organ) not in plain]
        if absent:
            raise InputError(f"read back, the table has no column of {absent[0]}")
        return [(organ, plain[_plain(organ)]) for organ in self.organs]

    def _picture(self, row: Mapping[str, str], text: str, size: tuple[int, int]) -> Mask:
        """Decode one cell into ``(rows, columns)``."""
        convention = self.convention
        if self.dialect == "organseg":  # each row says how it counts
            convention = replace(convention, down=row["order"] == "column", first=int(row["base"]))
        if convention.runs == "counts":
            value = json.loads(text)
            if tuple(value["size"]) != size:
                raise InputError(f"read back, a picture has the size {value['size']}, not {list(size)}")
            return paint_counts(value["counts"], size)
        said = {key: row[key] for key in ("height", "width", "Height", "Width") if key in row}
        if said and tuple(int(value) for value in said.values()) != size:
            raise InputError(f"read back, a picture has the size {list(said.values())}, not {list(size)}")
        text = text.strip()
        numbers = [] if text in convention.nothing else _numbers(text)
        picture = paint_pairs(numbers, size, convention)
        if self.dialect == "organseg" and row["checksum"] != _checksum(picture):
            raise InputError("read back, a row's checksum is not that of its mask")
        return picture


class CocoFile:
    """A COCO annotation file with run lengths, parsed once."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        self._names = {item["id"]: item["name"] for item in content["categories"]}
        self._images = {item["file_name"]: item["id"] for item in content["images"]}
        self._found: dict[int, list[dict[str, Any]]] = {}
        for item in content["annotations"]:
            self._found.setdefault(item["image_id"], []).append(item)

    def close(self) -> None:
        """Nothing is open."""

    def left(self) -> int:
        """How many annotations belong to no scan that was asked for."""
        return sum(len(items) for items in self._found.values())

    def read(self, scan_id: str, labels: LabelMap) -> dict[str, Measured]:
        """Organs of one scan, which are then forgotten.

        Raises:
            InputError: A picture has another size, or an annotation another area than it says.
        """
        x, y, z = labels.data.shape
        names = [scan_id] if z == 1 else [f"{scan_id}_slice_{number:04d}" for number in range(1, z + 1)]
        masks: dict[str, Mask] = {}
        for at, name in enumerate(names):
            for item in self._found.pop(self._images.get(name, 0), []):
                value = item["segmentation"]
                if value["size"] != [y, x]:
                    raise InputError(f"read back, a picture has the size {value['size']}, not {[y, x]}")
                picture = paint_counts(value["counts"], (y, x))
                if item["area"] != picture.sum():
                    raise InputError(f"read back, an area is {item['area']}, and its runs have {picture.sum()} pixels")
                masks.setdefault(self._names[item["category_id"]], np.zeros((x, y, z), bool))[:, :, at] |= picture.T
        return {organ: measured(mask, labels.affine) for organ, mask in masks.items()}


def slice_of(image: str, scan_id: str, depth: int) -> int | None:
    """The slice, from 0, that an image's name says of a scan: ``<scan_id>_slice_0001``; ``None`` for another scan."""
    if depth == 1:
        return 0 if image == scan_id else None
    found = re.fullmatch(re.escape(scan_id) + r"_slice_(\d{4,})", image)
    return int(found[1]) - 1 if found else None


def paint_pairs(numbers: Sequence[int], size: tuple[int, int], convention: Convention) -> Mask:
    """Starts (or gaps) and lengths as a picture ``(rows, columns)`` of a size.

    Raises:
        InputError: The runs do not lie in the picture one after the other.
    """
    pairs = np.asarray(numbers, np.int64)
    if pairs.size % 2:
        raise InputError("read back, a run has a start and no length")
    starts, lengths = pairs[0::2], pairs[1::2]
    if convention.runs == "gaps":
        starts = np.cumsum(starts) + np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)[: starts.size]
    starts = starts - convention.first
    edges = np.stack([starts, starts + lengths], 1).ravel()
    # Lengths of background and organ in turn.
    turns = np.diff(edges, prepend=0, append=size[0] * size[1])
    if turns.min() < 0 or (lengths < 1).any():
        raise InputError(f"read back, runs overlap, or leave a picture of {size[1]} × {size[0]}")
    return _shaped(np.repeat(np.arange(turns.size) % 2 == 1, turns), size, down=convention.down)


def paint_counts(counts: str | Sequence[int], size: tuple[int, int]) -> Mask:
    """COCO's counts, listed or compressed, as a picture ``(rows, columns)`` of a size.

    Raises:
        InputError: The counts do not add up to the picture.
    """
    runs = expanded(counts) if isinstance(counts, str) else list(counts)
    if sum(runs) != size[0] * size[1] or any(run < 0 for run in runs):
        raise InputError(f"read back, counts add up to {sum(runs)} pixels of {size[0] * size[1]}")
    return _shaped(np.repeat(np.arange(len(runs)) % 2 == 1, runs), size, down=True)


def expanded(text: str) -> list[int]:
    """COCO's compressed counts: five bits a character, differences to the count before the last from the fourth on."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            letter = ord(text[position]) - 48
            value |= (letter & 0x1F) << shift
            more = bool(letter & 0x20)
            position += 1
            shift += 5
            if not more and letter & 0x10:
                value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def _shaped(flat: Mask, size: tuple[int, int], *, down: bool) -> Mask:
    return flat.reshape(size[::-1]).T if down else flat.reshape(size)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split()]
    except ValueError:
        raise InputError("read back, a cell holds something that is no number") from None


def _plain(name: str) -> str:
    """Columns of organs have blanks and capitals where organs have underscores: ``Left Lung`` is ``left_lung``."""
    return re.sub(r"[\s_-]", "", name).lower()


def _own_affine(row: Mapping[str, str]) -> Array:
    """The affine that a row of our own dialect states, which its spacing must agree with."""
    affine = np.vstack([np.array(_floats(row["affine"])).reshape(3, 4), [0, 0, 0, 1]])
    if not np.allclose(np.linalg.norm(affine[:3, :3], axis=0), _floats(row["spacing"]), rtol=1e-6):
        raise InputError("read back, a row's spacing is not that of its affine")
    return affine


def _floats(text: str) -> list[float]:
    return [float(word) for word in text.split()]


def _checksum(picture: Mask) -> str:
    """SHA-256 of ``1xROWSxCOLUMNS:`` and the pixels by rows, eight to a byte; its first 16 digits."""
    head = f"1x{picture.shape[0]}x{picture.shape[1]}:"
    return hashlib.sha256(head.encode() + np.packbits(picture.ravel()).tobytes()).hexdigest()[:16]
