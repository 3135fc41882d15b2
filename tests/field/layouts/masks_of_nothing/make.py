from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:

    for number in range(3):
        write_nifti(folder / f"data/images/a{number}.nii.gz", grey(seed=number))
        write_nifti(folder / f"data/masks/a{number}.nii.gz", labels())
        write_nifti(folder / f"data/old/masks/b{number}x.nii.gz", labels())
    (folder / "data/notes.txt").write_text("read me")
    (folder / "data/._a0.nii.gz").write_bytes(b"x")
