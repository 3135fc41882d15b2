"""A scan, its label volume, and run lengths of an organ whose name has a slash."""

from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:
    """``a.nii.gz``, ``m.nii.gz`` and ``m.csv``."""
    write_nifti(folder / "a.nii.gz", grey())
    write_nifti(folder / "m.nii.gz", labels())
    (folder / "m.csv").write_text("id,organ,rle,width,height\na,left/lung,1 3,10,10\na,heart,20 3,10,10\n")
