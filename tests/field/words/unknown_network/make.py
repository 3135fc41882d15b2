"""A study whose model is misspelt."""

from pathlib import Path

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """One scan ``a``; the network ``unnet`` and a plan with the key ``bach``."""
    write_nifti(folder / "data" / "a.nii.gz", grey())
    write_nifti(folder / "data" / "m.nii.gz", labels())
    row = {"scan_id": "a", "patient_id": "p", "image": "a.nii.gz", "mask": "m.nii.gz"}
    write_study(folder, [row], models={"unnet": {}})
