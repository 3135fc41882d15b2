"""Tables that are larger than memory: CSV and Parquet, gzipped or not, row by row in and out."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_BATCH = 2048

#: Long cells are the rule here: a mask of noise of 4096² is 80 MB of text.
_LONGEST_CELL = min(sys.maxsize, 2**31 - 1)


@dataclass
class Table:
    """An open table.

    Attributes:
        columns: Names without blanks around them.
        rows: ``(row number, cells as text)``; the header is row 1, as in a spreadsheet.
        done: Share of the file that was read so far, 0 to 1.
    """

    columns: list[str]
    rows: Iterator[tuple[int, list[str]]]
    done: Callable[[], float]


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


def starts_like_json(path: str | Path) -> bool:
    """Whether a file, gzipped or not, begins with a brace or a bracket.

    Raises:
        InputError: The file is absent or cannot be unpacked.
    """
    try:
        with open_bytes(path) as handle:
            head = handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    except (EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"cannot be unpacked ({error})", where=str(path)) from None
    return head[:1] in (b"{", b"[")


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading, through gzip where its content says so.

    Raises:
        InputError: There is no such file.
    """
    if not Path(path).is_file():
        raise InputError("the file does not exist", where=str(path))
    with open(path, "rb") as handle:
        packed = handle.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def _open_csv(path: Path, raw: IO[bytes], packed: bool, stack: ExitStack) -> Table:
    size = max(path.stat().st_size, 1)
    stream: Any = stack.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw
    text = stack.enter_context(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
    try:
        first = text.readline()
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"is not readable as a table ({error})", where=str(path)) from None
    if not first.strip():
        raise InputError("the table is empty", where=str(path), remedy="Give it a header row.")
    delimiter = _delimiter(first)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    doubled = sorted({name for name in columns if name and columns.count(name) > 1})
    if doubled:
        raise InputError(f"has two columns named {doubled[0]!r}", where=str(path))
    return Table(columns, _csv_rows(path, text, delimiter, len(columns)), lambda: min(raw.tell() / size, 1.0))


def _csv_rows(path: Path, text: IO[str], delimiter: str, width: int) -> Iterator[tuple[int, list[str]]]:
    # The limit is one for the whole process, and a cell beyond it is an error: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    number = 1
    try:
        for cells in csv.reader(text, delimiter=delimiter):
            number += 1
            if len(cells) == width:
                yield number, cells
            elif cells:
                raise _uneven(path, number, len(cells), width)
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"is not readable as a table ({error})", where=f"{path}, row {number + 1}") from None


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _cells(path: Path, row: int, record: bytes, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([record.decode("utf-8")], delimiter=delimiter), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is not readable as a table ({error})", where=f"{path}, row {row}") from None


def _uneven(path: Path, row: int, cells: int, width: int) -> InputError:
    return InputError(
        f"has {cells} cells, the header {width}",
        where=f"{path}, row {row}",
        remedy="Quote cells that hold a comma; the file may have been cut short.",
    )


def _open_parquet(path: Path, stack: ExitStack) -> Table:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = stack.enter_context(parquet.ParquetFile(path))
    except pyarrow.ArrowException as error:
        raise InputError(f"is not readable as Parquet ({error})", where=str(path)) from None
    total = max(file.metadata.num_rows, 1)
    read = 0

    def rows() -> Iterator[tuple[int, list[str]]]:
        nonlocal read
        for batch in file.iter_batches(batch_size=_BATCH):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                read += 1
                yield read + 1, ["" if cell is None else str(cell) for cell in cells]

    return Table([name.strip() for name in file.schema_arrow.names], rows(), lambda: read / total)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies in a plain CSV file, in bytes."""

    offset: int
    length: int
    delimiter: str


def is_plain_csv(path: str | Path) -> bool:
    """Whether a file is text that can be read from any place in it, so neither packed nor Parquet nor JSON."""
    with open(path, "rb") as handle:
        head = handle.read(4)
    return head != _PARQUET and not head.startswith(_GZIP) and not starts_like_json(path)


@contextmanager
def open_records(path: str | Path) -> Iterator[Iterator[tuple[int, Place, list[str]]]]:
    """Read a plain CSV file as ``(row number, place, cells)``, without the header.

    Raises:
        InputError: While rows are read, as :func:`open_table`.
    """
    with open(path, "rb") as handle:
        yield _records(Path(path), handle)


def _records(path: Path, handle: IO[bytes]) -> Iterator[tuple[int, Place, list[str]]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    offset, row, width, delimiter = 0, 0, 0, ","
    held = b""
    for line in handle:
        held += line
        # A row goes on where a quote is still open; quotes inside quotes are doubled.
        if held.count(b'"') % 2:
            continue
        row += 1
        place = Place(offset, len(held), delimiter)
        offset += len(held)
        if row == 1:
            delimiter = _delimiter(held.decode("utf-8"))
        cells = _cells(path, row, held, delimiter)
        held = b""
        if row == 1:
            width = len(cells)
        elif cells and len(cells) != width:
            raise _uneven(path, row, len(cells), width)
        elif cells:
            yield row, place, cells
    if held:
        raise InputError("ends inside quotes", where=f"{path}, row {row + 1}", remedy="The file was cut short.")


def read_record(handle: IO[bytes], place: Place) -> list[str]:
    """The cells of the row at a place."""
    handle.seek(place.offset)
    return next(csv.reader([handle.read(place.length).decode("utf-8")], delimiter=place.delimiter))


class RowWriter(Protocol):
    """Takes rows one by one."""

    def write(self, cells: Sequence[object]) -> None:
        """Append a row; ``None`` becomes an empty cell."""


class _CsvWriter:
    def __init__(self, text: IO[str], columns: Sequence[str]) -> None:
        # Rows end in a bare line feed, as everywhere in the results, so that equal tables are equal files.
        self._writer = csv.writer(text, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, cells: Sequence[object]) -> None:
        self._writer.writerow(cells)


class _ParquetWriter:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        self._schema = pyarrow.schema([(name, pyarrow.string()) for name in columns])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[list[str]] = []

    def write(self, cells: Sequence[object]) -> None:
        self._rows.append(["" if cell is None else str(cell) for cell in cells])
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        import pyarrow

        if self._rows:
            columns = [pyarrow.array(column, pyarrow.string()) for column in zip(*self._rows, strict=True)]
            self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
            self._rows = []

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
            raw = stack.enter_context(gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0))
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
