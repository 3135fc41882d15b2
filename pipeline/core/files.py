"""Writes that are whole or absent, small tables, and checksums of files and folders."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import math
import os
import platform
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.errors import InputError

#: One row of a table as text: column → cell, empty where nothing is known.
Cells = dict[str, str]


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on leaving without an error it is synced and renamed into place.

    A process killed at any moment leaves either the old file or the new one, never a part. The temporary name keeps
    the suffixes of ``path``, because many writers choose the format by them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield part
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sweep_parts(folder: Path) -> int:
    """Remove what writers of this machine that were killed left beside their targets.

    Returns:
        How many files were removed.
    """
    swept = 0
    for part in folder.rglob(f".part-{_host()}-*"):
        process = part.name.split("-")[2]
        if part.is_file() and process.isdecimal() and not _alive(int(process)):
            part.unlink(missing_ok=True)
            swept += 1
    return swept


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(data)


def write_if_changed(path: str | Path, text: str) -> bool:
    """Write text only where it differs from what is there, so that modification times mean something.

    Returns:
        Whether the file was written.
    """
    path = Path(path)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON that a person can read, with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file is absent or is not JSON.
    """
    return _read_as("JSON", json.loads, path)


def write_yaml(path: str | Path, value: Any) -> None:
    """Write YAML with the keys in the order given."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110))


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file.

    Raises:
        InputError: The file is absent or is not YAML.
    """
    return _read_as("YAML", yaml.safe_load, path)


class OddFileError(InputError):
    """A pipe, socket or device where a file was expected."""


def check_regular(path: str | Path) -> Path:
    """A file's path, where there is a file to be read to its end: pipes, sockets and devices may have none.

    Raises:
        InputError: Nothing is there, or a folder, or it cannot be looked at.
        OddFileError: There is something else.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError("the file does not exist", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", where=str(path)) from None
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "no ordinary file")
        raise (InputError if stat.S_ISDIR(mode) else OddFileError)(f"is {kind}, not a file", where=str(path))
    return path


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _read_as(form: str, parse: Callable[[str], Any], path: str | Path) -> Any:
    try:
        return parse(check_regular(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise InputError(f"is nested too deeply for {form}", where=str(path)) from None
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"is not readable as {form} ({error})", where=str(path)) from None


def format_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Format rows as CSV text with these columns; absent and ``None`` values are empty cells."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if row.get(name) is None else row[name] for name in columns})
    return buffer.getvalue()


def write_table(path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as a CSV file with these columns, whole or not at all."""
    write_text(path, format_table(rows, columns))


def read_table(path: str | Path, note: Callable[[str], None] | None = None) -> list[Cells]:
    """Read a CSV file with a header, every cell as text (empty cells as empty text).

    Spreadsheets write many: cells are parted by the commonest of comma, semicolon and tab in the header; a byte order
    mark and blanks around column names are dropped; what is not UTF-8 is read as Windows-1252. Text is brought to one
    form of accents (NFC), as names are that this program compares.

    Args:
        path: The file.
        note: Takes a sentence where something was assumed.

    Raises:
        InputError: The file is absent, is no text, has no header, two columns of one name, or a row with more or fewer
            cells than the header.
    """
    path = check_regular(path)
    text, assumed = _decoded(path.read_bytes(), path)
    if assumed and note is not None:
        note(f"{path}: {assumed}")
    lines = io.StringIO(unicodedata.normalize("NFC", text), newline="")
    delimiter = delimiter_of(lines.readline())
    lines.seek(0)
    try:
        records = csv.reader(lines, delimiter=delimiter, strict=False)
        header = [name.strip() for name in next(records, [])]
        if not any(header):
            raise InputError("the table is empty", where=str(path), remedy="Give it a header row.")
        doubled = [name for name in header if name and header.count(name) > 1]
        if doubled:
            raise InputError(f"has two columns named {doubled[0]!r}", where=str(path), remedy="Rename or remove one.")
        rows = []
        for cells in records:
            if len(cells) > len(header) and any(cells[len(header) :]):
                raise InputError(
                    "the row has more cells than the header",
                    where=f"{path}, line {records.line_num}",
                    remedy=f"Quote cells that hold {_NAMED[delimiter]}.",
                )
            if cells:
                rows.append(dict(zip(header, [*cells, *[""] * len(header)], strict=False)))
        return rows
    except csv.Error as error:
        raise InputError(f"is not a readable table ({error})", where=str(path)) from None


_NAMED = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def delimiter_of(header: str) -> str:
    """The commonest of comma, semicolon and tab in a table's header."""
    return max(_NAMED, key=header.count)


def _decoded(content: bytes, path: Path) -> tuple[str, str]:
    """A table's text, and what was assumed to read it."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    known = [("utf-16", "")] if wide else [("utf-8-sig", "")]
    if not wide and b"\0" not in content:
        known.append(("cp1252", "is not UTF-8, and was read as Windows-1252"))
    for encoding, assumed in known:
        with suppress(UnicodeDecodeError):
            return content.decode(encoding), assumed
    raise InputError("is not UTF-8 text", where=str(path), remedy="Save it as UTF-8.")


def number(cell: str | float | None) -> float:
    """A cell's number; NaN where it is empty or no finite number."""
    if cell is None or cell == "":
        return math.nan
    value = float(cell)
    return value if math.isfinite(value) else math.nan


def digest_of(value: Any, length: int = 12) -> str:
    """Hash a JSON-like value; equal values give equal digests whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def sha256_of(path: str | Path) -> str:
    """Checksum of a file; of a folder, that of its files' relative names and checksums in sorted order.

    Hidden files do not count: file managers and the workflow leave some of their own in folders.

    Raises:
        InputError: Nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        outer = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
            outer.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
        return outer.hexdigest()
    with open(check_regular(path), "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
