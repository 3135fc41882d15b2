from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:

    for patient in ("10001", "10002"):
        for kind in ("orig", "pre"):
            write_nifti(folder / "data" / patient / kind / "TOF.nii.gz", grey())
        write_nifti(folder / "data" / patient / "aneurysms.nii.gz", labels())
