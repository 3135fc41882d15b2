from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:

    for site in ("siteA", "siteB"):
        for number in ("000", "001"):
            write_nifti(folder / "data" / site / f"images/{number}.nii.gz", grey(seed=int(number)))
            write_nifti(folder / "data" / site / f"masks/{number}.nii.gz", labels())
