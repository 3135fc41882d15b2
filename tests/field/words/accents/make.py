"""Names with accents written as one sign in the manifest and as two on the disk, as between systems."""

import unicodedata
from pathlib import Path

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """One scan in ``Säle/`` with a mask of the organ ``Schädel``."""
    data = folder / "data" / unicodedata.normalize("NFD", "S\u00e4le")
    write_nifti(data / "a.nii.gz", grey())
    write_nifti(data / "m.nii.gz", labels(values=(1,)))
    row = {"scan_id": "a", "patient_id": "p", "image": "S\u00e4le/a.nii.gz", "mask_Sch\u00e4del": "S\u00e4le/m.nii.gz"}
    write_study(folder, [row], organs=[unicodedata.normalize("NFD", "Sch\u00e4del")])
