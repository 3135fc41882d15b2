"""Tables that are larger than memory: CSV and Parquet, gzipped or not, row by row in and out."""

from __future__ import annotations

import gzip
import io
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
from isal import igzip, isal_zlib

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.formats.rle.records import Record, delimiter_of, join, read_records

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
#: Rows and characters of a Parquet file that are held at a time.
_BATCH = 2048
_CHARACTERS = 16_000_000
_BUFFER = 1 << 20
#: ISA-L packs runs 3 % larger than zlib at its level 6, in a twentieth of the time.
_LEVEL = 2
#: What a packed file that is damaged or cut short may raise.
DAMAGED: tuple[type[BaseException], ...] = (EOFError, gzip.BadGzipFile, cast(type[Exception], isal_zlib.error))
_UNREADABLE: tuple[type[BaseException], ...] = (*DAMAGED, UnicodeDecodeError)


@dataclass
class Table:
    """An open table.

    Attributes:
        path: The file.
        columns: Names without blanks around them.
        records: Row after row; the header is row 1, as in a spreadsheet. In Parquet no row has a place.
        delimiter: What parts the cells of a CSV file.
        done: Share of the file that was read so far, 0 to 1.
    """

    path: Path
    columns: list[str]
    records: Iterator[Record]
    delimiter: str = ""
    done: Callable[[], float] = lambda: 1.0

    def column(self, names: Sequence[str]) -> int | None:
        """Index of the first of these columns that the table has; then without regard to case and blanks."""
        for name in names:
            if name in self.columns:
                return self.columns.index(name)
        plain = [re.sub(r"[\s_]", "", name).lower() for name in self.columns]
        for name in names:
            key = re.sub(r"[\s_]", "", name).lower()
            if key in plain:
                return plain.index(key)
        return None

    def columns_of(self, names: Sequence[str]) -> list[int]:
        """Indices of all columns that go by one of these names, without regard to case and blanks."""
        keys = {re.sub(r"[\s_]", "", name).lower() for name in names}
        return [index for index, name in enumerate(self.columns) if re.sub(r"[\s_]", "", name).lower() in keys]

    def needed(self, names: Sequence[str], what: str) -> int:
        """As :meth:`column`, of columns that must be there.

        Raises:
            InputError: There is none of them.
        """
        index = self.column(names)
        if index is None:
            raise InputError(
                f"has no column of {what}: {', '.join(names[:6])}",
                where=str(self.path),
                remedy=f"Its columns are {', '.join(self.columns)}; the dialect may be another one.",
            )
        return index


@contextmanager
def open_table(path: str | Path) -> Iterator[Table]:
    """Open a CSV or Parquet file by its content; the header may begin with a byte order mark.

    Raises:
        InputError: The file is absent, is empty, is not UTF-8 or not a table; while rows are read, a row with more or
            fewer cells than the header.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(open(path, "rb"))
            head = raw.read(4)
            raw.seek(0)
        except FileNotFoundError:
            raise InputError("the file does not exist", where=str(path)) from None
        except IsADirectoryError:
            raise InputError("is a folder, not a table", where=str(path)) from None
        if head == _PARQUET:
            yield _open_parquet(path, stack)
            return
        yield _open_csv(path, raw, head.startswith(_GZIP), stack)


def head_of(path: str | Path, count: int) -> bytes:
    """The first bytes of a file, unpacked, without a byte order mark and blanks before them.

    Raises:
        InputError: The file is absent or cannot be unpacked.
    """
    try:
        with open_bytes(path) as handle:
            return handle.read(count).lstrip(b"\xef\xbb\xbf \t\r\n")
    except DAMAGED as error:
        raise InputError(f"cannot be unpacked ({error})", where=str(path)) from None


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading, through gzip where its content says so.

    Raises:
        InputError: There is no such file.
    """
    if not Path(path).is_file():
        raise InputError("the file does not exist", where=str(path))
    with open(path, "rb") as handle:
        packed = handle.read(2) == _GZIP
    return igzip.open(path, "rb") if packed else open(path, "rb")


def _open_csv(path: Path, raw: IO[bytes], packed: bool, stack: ExitStack) -> Table:
    size = max(path.stat().st_size, 1)
    unpacked: Any = stack.enter_context(igzip.IGzipFile(fileobj=raw)) if packed else raw
    stream = stack.enter_context(io.BufferedReader(unpacked, _BUFFER))
    try:
        head = stream.peek(_BUFFER)
        lines: Iterator[bytes] = iter(stream)
        if b"\r" in head and b"\n" not in head:
            # Lines that end as they did on old Macintoshes, which some spreadsheets still write.
            lines = (line.encode() for line in io.TextIOWrapper(stream, "utf-8", newline=""))
        first = next(lines, b"")
    except _UNREADABLE as error:
        raise InputError(f"is not readable as a table ({error})", where=str(path)) from None
    if not first.removeprefix(b"\xef\xbb\xbf").strip():
        raise InputError("the table is empty", where=str(path), remedy="Give it a header row.")
    delimiter = delimiter_of(first)
    records = _even(path, read_records(path, chain([first], lines), delimiter))
    columns = [name.strip() for name in next(records)[3]]
    doubled = sorted({name for name in columns if name and columns.count(name) > 1})
    if doubled:
        raise InputError(f"has two columns named {doubled[0]!r}", where=str(path))
    return Table(path, columns, records, delimiter, lambda: min(raw.tell() / size, 1.0))


def _even(path: Path, records: Iterator[Record]) -> Iterator[Record]:
    """Records as long as the header; those that are empty are passed over."""
    number = width = 0
    try:
        for record in records:
            number, cells = record[0], record[3]
            width = width or len(cells)
            if len(cells) == width:
                yield record
            elif cells:
                raise InputError(
                    f"has {len(cells)} cells, the header {width}",
                    where=f"{path}, row {number}",
                    remedy="Quote cells that hold a comma; the file may have been cut short.",
                )
    except _UNREADABLE as error:
        raise InputError(f"is not readable as a table ({error})", where=f"{path}, row {number + 1}") from None


def _open_parquet(path: Path, stack: ExitStack) -> Table:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = stack.enter_context(parquet.ParquetFile(path))
    except pyarrow.ArrowException as error:
        raise InputError(f"is not readable as Parquet ({error})", where=str(path)) from None
    total = max(file.metadata.num_rows, 1)
    read = 0

    def records() -> Iterator[Record]:
        nonlocal read
        for batch in file.iter_batches(batch_size=_rows_at_a_time(file.metadata)):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                read += 1
                yield read + 1, 0, 0, ["" if cell is None else str(cell) for cell in cells]

    return Table(path, [name.strip() for name in file.schema_arrow.names], records(), done=lambda: read / total)


def _rows_at_a_time(metadata: Any) -> int:
    """As many rows as fit into the memory meant for them, by their mean size."""
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    return int(np.clip(_CHARACTERS * metadata.num_rows // max(size, 1), 1, _BATCH))


class Places:
    """Where the rows of each image lie: four numbers a row, so that an index of a million rows stays small.

    Attributes:
        last: Image → the place, in the order of the file, of its last row.
    """

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self._numbers = array("q")

    def add(self, name: str, record: Record) -> None:
        """Append a row of an image."""
        row, offset, length, _ = record
        self._numbers.extend((row, offset, length, self.last.get(name, -1)))
        self.last[name] = len(self._numbers) // 4 - 1

    def of(self, name: str) -> list[tuple[int, int, int]]:
        """Row number, first byte and bytes of each row of an image, in the order of the file."""
        found: list[tuple[int, int, int]] = []
        at = self.last[name]
        while at >= 0:
            row, offset, length, at = self._numbers[4 * at : 4 * at + 4]
            found.append((row, offset, length))
        return found[::-1]


def is_plain_csv(path: str | Path) -> bool:
    """Whether a file is text that can be read from any place in it, so neither packed nor Parquet."""
    with open(path, "rb") as handle:
        head = handle.read(4)
    return head != _PARQUET and not head.startswith(_GZIP)


def read_record(handle: IO[bytes], place: tuple[int, int, int], delimiter: str) -> Record:
    """The row of a CSV file at a place."""
    row, offset, length = place
    handle.seek(offset)
    return row, offset, length, next(read_records("", [handle.read(length)], delimiter))[3]


class RowWriter(Protocol):
    """Takes rows, some at a time."""

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows; ``None`` becomes an empty cell."""


class _CsvWriter:
    def __init__(self, text: IO[str], columns: Sequence[str]) -> None:
        # Rows end in a bare line feed, as everywhere in the results, so that equal tables are equal files.
        self._text = text
        self.write([columns])

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        self._text.write(join(rows))


class _ParquetWriter:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        self._schema = pyarrow.schema([(name, pyarrow.string()) for name in columns])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[list[str]] = []
        self._held = 0

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        for cells in rows:
            texts = ["" if cell is None else str(cell) for cell in cells]
            self._rows.append(texts)
            self._held += sum(map(len, texts))
            if len(self._rows) >= _BATCH or self._held > _CHARACTERS:
                self.flush()

    def flush(self) -> None:
        import pyarrow

        if self._rows:
            columns = [pyarrow.array(column, pyarrow.string()) for column in zip(*self._rows, strict=True)]
            self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
            self._rows, self._held = [], 0

    def close(self) -> None:
        self.flush()
        self._writer.close()


@contextmanager
def write_rows(path: str | Path, columns: Sequence[str]) -> Iterator[RowWriter]:
    """Write a table row by row, whole or not at all; the suffix chooses ``.csv``, ``.csv.gz`` or ``.parquet``.

    Raises:
        InputError: The suffix is another one.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".parquet"):
        with whole_file(path) as part:
            writer = _ParquetWriter(part, columns)
            try:
                yield writer
            finally:
                writer.close()
    elif name.endswith((".csv", ".csv.gz")):
        with whole_file(path) as part, ExitStack() as stack:
            text = stack.enter_context(open_text_for_writing(part, packed=name.endswith(".gz")))
            yield _CsvWriter(text, columns)
    else:
        raise InputError(
            f"tables are written as .csv, .csv.gz or .parquet, not {path.suffix or 'without a suffix'}", where=str(path)
        )


@contextmanager
def open_text_for_writing(path: Path, *, packed: bool) -> Iterator[IO[str]]:
    """Open UTF-8 text for writing, gzipped without a name or a time, so that equal text gives equal bytes."""
    with ExitStack() as stack:
        raw: Any = stack.enter_context(open(path, "wb"))
        if packed:
            packer = igzip.IGzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_LEVEL, mtime=0)
            raw = io.BufferedWriter(stack.enter_context(packer), _BUFFER)
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
