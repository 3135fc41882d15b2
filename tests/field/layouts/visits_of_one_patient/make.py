from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:

    for number, name in enumerate(("p07_visit1", "p07_visit2", "p08_visit1")):
        write_nifti(folder / f"data/images/{name}.nii.gz", grey(seed=number))
        write_nifti(folder / f"data/masks/{name}.nii.gz", labels())
