"""The masks of a file, decoded: cells → entries, with a list of what was repaired and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DAMAGED_PICTURE, InputError
from pipeline.formats.rle.cell import Cell, Size
from pipeline.formats.rle.cells import Progress, known_dialect, read_cells
from pipeline.formats.rle.codec import read_text, read_texts
from pipeline.formats.rle.dialects import Dialect
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.volume import Entry, checksums

#: Cells and characters that are decoded at once.
_CELLS = 512
_CHARACTERS = 500_000


class EntryReader:
    """Reads the masks of one file.

    Args:
        path: CSV, Parquet or (COCO) JSON, gzipped or not.
        dialect: How to read it; may be left out where the file names its own.
        size: ``(height, width)`` of pictures whose size the file does not say.
        images: Folder of the pictures, whose sizes win over ``size``.
        lenient: Repair what can be repaired.
        report: Takes one line for each repair, with file, row and column.
        columns: In the wide layout, the columns that hold masks; by default all that are not known to hold something
            else.
        progress: Called now and then with the share of the file that was read.

    Attributes:
        path: The file.
        dialect: Its dialect.

    Raises:
        InputError: No dialect is given, and the file names none; or there is no picture in ``images``.
    """

    def __init__(
        self,
        path: str | Path,
        dialect: str | Dialect | None = None,
        *,
        size: Size | None = None,
        images: str | Path | None = None,
        lenient: bool = False,
        report: Callable[[str], None] = lambda line: None,
        columns: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.path = path
        self.dialect = known_dialect(path, dialect)
        self._size = size
        self._sizes = {} if images is None else picture_sizes(images)[0]
        self._lenient = lenient
        self._report = report
        self._columns = columns
        self._progress = progress
        self._last: Size | None = None

    def organs(self) -> list[str]:
        """The organs of the file, in the order in which it names them; the file is read through for it."""
        return list(dict.fromkeys(cell.organ for cell in read_cells(self.path, self.dialect, columns=self._columns)))

    def entries(self, cells: Iterable[Cell] | None = None) -> Iterator[tuple[Cell, Entry]]:
        """Decode cells one after the other.

        Args:
            cells: By default all of the file.

        Raises:
            InputError: As :meth:`read`, after all cells before the wrong one were given.
        """
        return chain.from_iterable(self.batches(cells))

    def batches(self, cells: Iterable[Cell] | None = None) -> Iterator[list[tuple[Cell, Entry]]]:
        """As :meth:`entries`, as many at a time as are worth a call of NumPy and take little memory."""
        if cells is None:
            cells = read_cells(self.path, self.dialect, columns=self._columns, progress=self._progress)
        if self._lenient:
            cells = self._readable(cells)
        for group in _groups(cells):
            together = self._together(group)
            if together is not None:
                yield list(zip(group, together, strict=True))
                continue
            single: list[tuple[Cell, Entry]] = []
            try:
                for cell in group:
                    single.append((cell, self.read(cell)))
            except InputError:
                if single:
                    yield single
                raise
            yield single

    def _readable(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """Cells without those that are no masks, which are reported."""
        for cell in cells:
            if cell.fault is None:
                yield cell
            else:
                self._report(f"{cell.where(self.path, cell.fault.where)}: left out: it {cell.fault.what}")

    def read(self, cell: Cell) -> Entry:
        """Decode one cell, and compare it with its checksum where it has one.

        Raises:
            InputError: It cannot be decoded, or not without repairs and none are asked for; or its checksum is that
                of another mask.
        """
        if cell.fault is not None:
            raise InputError(cell.fault.what, where=cell.where(self.path, cell.fault.where), remedy=cell.fault.remedy)
        default = self._sizes.get(cell.scan_id, self._size)
        if cell.height is not None and cell.width is not None:
            self._last = (cell.height, cell.width)
        elif default is None and cell.dialect.size is None and self._lenient and self._last is not None:
            default = self._last
            self._report(f"{cell.where(self.path)}: took the size of the rows before, {default[0]}×{default[1]}")
        size = cell.flat_size(self.path, default)
        try:
            runs, repairs = read_text(cell.text, *size, cell.dialect, lenient=self._lenient)
        except InputError as error:
            raise InputError(error.what, where=cell.where(self.path, error.where), remedy=error.remedy) from None
        for repair in repairs:
            self._report(f"{cell.where(self.path)}: {repair}")
        entry = self._entry(cell, runs)
        given = cell.extra.get("checksum", "")
        if given and given != (found := checksums([entry])[0]):
            fault = InputError(
                f"the mask's checksum is {found}, the row says {given[:40]}",
                where=f"{self.path}, row {cell.row}, column 'checksum'",
                remedy="The row was changed after it was written.",
            )
            if not self._lenient:
                raise fault
            self._report(f"{fault.where}: {fault.what}; kept the mask")
        return entry

    def _together(self, group: list[Cell]) -> list[Entry] | None:
        """Decode cells of one dialect at once, or none of them where one would be refused or repaired."""
        if [cell for cell in group if cell.fault is not None]:
            return None
        try:
            sizes = [cell.flat_size(self.path, self._sizes.get(cell.scan_id, self._size)) for cell in group]
            heights, widths = zip(*sizes, strict=True)
            runs = read_texts([cell.text for cell in group], heights, widths, group[0].dialect)
            if runs is None:
                return None
            entries = [self._entry(cell, one) for cell, one in zip(group, runs, strict=True)]
        except InputError:
            # Cells before this one may be wrong in other ways: the first is found one by one.
            return None
        given = [cell.extra.get("checksum", "") for cell in group]
        if any(given) and any(one and one != other for one, other in zip(given, checksums(entries), strict=True)):
            return None
        for cell in reversed(group):
            if cell.height is not None and cell.width is not None:
                self._last = (cell.height, cell.width)
                break
        return entries

    def _entry(self, cell: Cell, runs: Runs) -> Entry:
        place = (cell.scan_id, cell.organ, runs, cell.axis, cell.index, cell.depth)
        if not cell.extra:
            return Entry(*place)
        steps, affine = self._numbers(cell, "spacing", 3), self._numbers(cell, "affine", 12)
        spacing = None if steps is None else (steps[0], steps[1], steps[2])
        return Entry(*place, spacing, cell.extra.get("unit", ""), None if affine is None else _matrix(affine))

    def _numbers(self, cell: Cell, name: str, count: int) -> tuple[float, ...] | None:
        text = cell.extra.get(name, "")
        if not text:
            return None
        values = _finite(text)
        if len(values) != count:
            raise InputError(
                f"{text[:40]!r} is not {count} numbers", where=f"{self.path}, row {cell.row}, column {name!r}"
            )
        return values


def picture_sizes(folder: str | Path) -> tuple[dict[str, Size], dict[str, Path]]:
    """Sizes and paths of the pictures in a folder, by file name and by name without suffix; only headers are read.

    Raises:
        InputError: There is no such folder, or it holds no picture.
    """
    from PIL import Image

    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("the folder does not exist", where=str(folder))

    sizes: dict[str, Size] = {}
    paths: dict[str, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except DAMAGED_PICTURE:
            continue
        for key in (path.relative_to(folder).as_posix(), path.name, path.stem):
            sizes.setdefault(key, (height, width))
            paths.setdefault(key, path)
    if not sizes:
        raise InputError("there is no picture", where=str(folder))
    return sizes, paths


def _groups(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Cells of one dialect that follow each other, a few hundred at a time."""
    group: list[Cell] = []
    characters = 0
    stream = iter(cells)
    while True:
        try:
            cell = next(stream, None)
        except InputError:
            # What is wrong further down must not hide what is wrong here.
            if group:
                yield group
            raise
        full = len(group) >= _CELLS or characters > _CHARACTERS
        if group and (cell is None or full or cell.dialect is not group[0].dialect):
            yield group
            group, characters = [], 0
        if cell is None:
            return
        group.append(cell)
        characters += len(cell.text)


@lru_cache(maxsize=64)
def _matrix(values: tuple[float, ...]) -> NDArray[np.float64]:
    """A 4×4 affine, one for all rows of a scan."""
    matrix = np.array((*values, 0.0, 0.0, 0.0, 1.0)).reshape(4, 4)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=1024)
def _finite(text: str) -> tuple[float, ...]:
    """The numbers of a text, none where one is no number or not finite; the rows of one scan have the same."""
    try:
        values = tuple(float(part) for part in text.split())
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()
