"""Two scans: one with masks of femur and tibia, one with a mask of the femur alone."""

from pathlib import Path

from tests.field.making import grey, labels, write_nifti, write_study


def make(folder: Path) -> None:
    """The cell of b's tibia is empty."""
    rows = []
    for number, name in enumerate("ab"):
        write_nifti(folder / "data" / f"{name}.nii.gz", grey(seed=number))
        row = {"scan_id": name, "patient_id": f"p{number}", "image": f"{name}.nii.gz"}
        for value, organ in enumerate(("femur", "tibia"), 1):
            if (name, organ) != ("b", "tibia"):
                row[f"mask_{organ}"] = f"{name}_{organ}.nii.gz"
                write_nifti(folder / "data" / row[f"mask_{organ}"], (labels() == value).astype("uint8"))
        rows.append(row)
    write_study(folder, rows, ingest={"empty_mask_cell": "not_annotated"})
