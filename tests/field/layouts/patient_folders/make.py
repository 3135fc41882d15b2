from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:

    for number in range(3):
        write_nifti(folder / f"data/patient{number}/image.nii.gz", grey(seed=number))
        write_nifti(folder / f"data/patient{number}/mask.nii.gz", labels())
