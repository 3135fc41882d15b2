"""One mask of a file: where it stands, how large its picture is, and the text that is not decoded yet."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.formats.rle.codec import read_cell
from pipeline.formats.rle.dialects import DIALECTS, Dialect
from pipeline.formats.rle.runs import Runs

#: What an object is called in files that name no organ.
UNNAMED = "mask"

Size = tuple[int, int]


@dataclass(slots=True)
class Cell:
    """One mask of a file, not decoded yet.

    Attributes:
        row: Number of its row; the header is row 1. In JSON, the number of the annotation.
        column: Name of its column.
        scan_id: Image it belongs to.
        organ: Organ, or ``mask`` where the file names none.
        text: The run lengths.
        height: Rows of the picture, where known.
        width: Columns of the picture, where known.
        dialect: How to read the text.
        axis: Array axis that a volume was sliced along, or ``volume`` where the runs go through all slices.
        index: 0-based slice.
        depth: Slices of the volume along the axis.
        extra: Further cells of our own dialect: ``spacing``, ``unit``, ``affine``, ``checksum``.
    """

    row: int
    column: str
    scan_id: str
    organ: str
    text: str
    height: int | None
    width: int | None
    dialect: Dialect
    axis: str = "z"
    index: int = 0
    depth: int = 1
    extra: dict[str, str] = field(default_factory=dict)

    def where(self, path: str | Path, token: str | None = None) -> str:
        """File, row, column and token, for an error."""
        return f"{path}, row {self.row}, column {self.column!r}" + (f", {token}" if token else "")

    def size(self, path: str | Path, default: Size | None = None) -> Size:
        """Height and width of the picture.

        Raises:
            InputError: Neither the file nor the caller nor the dialect says.
        """
        if self.height is not None and self.width is not None:
            return self.height, self.width
        size = default or self.dialect.size
        if size is None:
            raise InputError(
                "the file does not say how large the picture is",
                where=self.where(path),
                remedy="Give --size HEIGHTxWIDTH, or --images with the pictures.",
            )
        return size

    def runs(self, path: str | Path, size: Size | None = None, *, lenient: bool = False) -> tuple[Runs, list[str]]:
        """Decode into runs; those of a whole volume lie in a picture of all slices one after the other.

        Returns:
            The runs and the repairs that were made.

        Raises:
            InputError: As :func:`pipeline.formats.rle.codec.read_cell`, with file, row, column and token.
        """
        height, width = self.size(path, size)
        if self.axis == "volume" and self.dialect.order == "row":
            height *= self.depth
        elif self.axis == "volume":
            width *= self.depth
        try:
            return read_cell(self.text, height, width, self.dialect, lenient=lenient)
        except InputError as error:
            raise InputError(error.what, where=self.where(path, error.where), remedy=error.remedy) from None


def coco_cell(cell: Cell, segmentation: Any, path: str | Path) -> Cell:
    """Fill a cell from COCO's ``{"size": [h, w], "counts": …}``, given as JSON text or as an object.

    Raises:
        InputError: It is a polygon, or neither form of run lengths.
    """
    value = segmentation
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise InputError(f"is not JSON ({error})", where=cell.where(path)) from None
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        raise InputError(
            "is a polygon, not run lengths",
            where=cell.where(path),
            remedy="Convert it with pycocotools' annToRLE first.",
        )
    counts: Any = value
    if isinstance(value, dict):
        try:
            counts = value["counts"]
            height, width = (int(side) for side in value["size"])
        except (KeyError, TypeError, ValueError):
            raise InputError("lacks counts or size", where=cell.where(path)) from None
        cell = replace(cell, height=height, width=width)
    if isinstance(counts, list):
        text = " ".join(str(count) for count in counts)
        return replace(cell, text=text, dialect=DIALECTS["coco-list"])
    text = str(counts).strip()
    listed = bool(re.fullmatch(r"[0-9 ]*", text)) and cell.dialect.kind == "counts"
    return replace(cell, text=text, dialect=DIALECTS["coco-list" if listed else "coco"])
