"""A volume whose header says 30 × 30 × 80 mm where 30 × 30 × 80 µm were meant, and one of a usual size."""

from pathlib import Path

from tests.field.making import grey, write_nifti, write_study


def make(folder: Path) -> None:
    """Two scans, ``a`` in micrometres and ``b`` in millimetres."""
    write_nifti(folder / "data" / "a.nii.gz", grey((32, 30, 20)), (30.0, 30.0, 80.0))
    write_nifti(folder / "data" / "b.nii.gz", grey((32, 30, 20)), (1.0, 1.0, 3.0))
    write_study(folder, [{"scan_id": name, "patient_id": name, "image": f"{name}.nii.gz"} for name in "ab"])
