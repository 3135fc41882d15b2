"""A DICOM series with a slope of 2 that one slice lacks."""

from pathlib import Path

from tests.field.making import grey, write_series


def make(folder: Path) -> None:
    """Twelve slices under ``series``; the fifth has no slope."""
    write_series(folder / "series", grey((24, 20, 12)), 2.0, slope=2.0, without_slope=(5,))
