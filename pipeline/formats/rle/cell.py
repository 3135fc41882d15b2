"""One mask of a file: where it stands, how large its picture is, and the text that is not decoded yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.rle.dialects import Dialect

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
        fault: What keeps this mask from being read; it is raised where the mask is asked for.
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
    fault: InputError | None = None
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
            known = "" if self.width is None else f"; its landmarks lie right in one that is {self.width} wide"
            raise InputError(
                f"the file does not say how large the picture is{known}",
                where=self.where(path),
                remedy="Give --size HEIGHTxWIDTH, or --images with the pictures.",
            )
        if self.width not in (None, size[1]) or self.height not in (None, size[0]):
            raise InputError(
                f"the picture is {size[0]}×{size[1]}, the row's is {self.height or '?'}×{self.width or '?'}",
                where=self.where(path),
                remedy="Give the size of the picture that the mask was drawn on.",
            )
        return size

    def flat_size(self, path: str | Path, default: Size | None = None) -> Size:
        """Height and width of the picture that the runs count in: that of a volume holds all its slices.

        Raises:
            InputError: As :meth:`size`.
        """
        height, width = self.size(path, default)
        if self.axis != "volume":
            return height, width
        return (height * self.depth, width) if self.dialect.order == "row" else (height, width * self.depth)
