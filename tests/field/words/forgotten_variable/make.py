"""A study of two scans, and another folder that holds none of them."""

from pathlib import Path

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """The study ``s``, its data in ``scans``, and a folder ``data`` of something else."""
    rows = []
    for name in "ab":
        write_nifti(folder / "scans" / f"{name}.nii.gz", grey())
        write_nifti(folder / "scans" / f"{name}_m.nii.gz", labels())
        rows.append({"scan_id": name, "patient_id": name, "image": f"{name}.nii.gz", "mask": f"{name}_m.nii.gz"})
    write_nifti(folder / "data" / "other.nii.gz", grey())
    write_study(folder, rows)
