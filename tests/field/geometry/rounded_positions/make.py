"""A DICOM series of slices 0.625 mm apart whose positions were written to one decimal."""

from pathlib import Path

from tests.field.making import grey, write_series


def make(folder: Path) -> None:
    """Twelve slices under ``series``."""
    write_series(folder / "series", grey((24, 20, 12)), 0.625, decimals=1)
