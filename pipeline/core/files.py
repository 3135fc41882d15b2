"""Writes that are whole or absent, small tables, and checksums of files and folders."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import platform
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def read_table(path: str | Path) -> list[Cells]:
    """Read a CSV file with a header, every cell as text (empty cells as empty text).

    A byte order mark and blanks around column names are dropped; both occur in files saved by spreadsheets.

    Raises:
        InputError: The file is absent, is not UTF-8, has no header or a row with more cells than the header.
    """
    path = check_regular(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            if reader.fieldnames is None:
                raise InputError("the table is empty", where=str(path), remedy="Give it a header row.")
            reader.fieldnames = [name.strip() for name in reader.fieldnames]
            rows = []
            for row in reader:
                if None in row:
                    raise InputError(
                        "the row has more cells than the header",
                        where=f"{path}, line {reader.line_num}",
                        remedy="Quote cells that hold a comma.",
                    )
                rows.append({name: value or "" for name, value in row.items()})
            return rows
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason})", where=str(path), remedy="Save it as UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"is not a readable table ({error})", where=str(path)) from None


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
