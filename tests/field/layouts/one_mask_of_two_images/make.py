from pathlib import Path

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:

    from tests.field.making import write_study

    for name in ("a", "b"):
        write_nifti(folder / f"data/{name}.nii.gz", grey())
    write_nifti(folder / "data/mask.nii.gz", labels())
    rows = [{"scan_id": n, "patient_id": n, "image": f"{n}.nii.gz", "mask": "mask.nii.gz"} for n in ("a", "b")]
    write_study(folder, rows)
