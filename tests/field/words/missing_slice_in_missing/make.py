"""A series that lacks a slice, in folders called as our own words are."""

from pathlib import Path

from tests.field.making import grey, write_series


def make(folder: Path) -> None:
    """Seven slices of eight under ``missing/slice``."""
    write_series(folder / "missing" / "slice", grey((12, 10, 8)), 2.0)
    (folder / "missing" / "slice" / "IM004.dcm").unlink()
