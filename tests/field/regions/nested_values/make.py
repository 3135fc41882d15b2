"""A whole tumour that contains a core that contains what enhances, as three values of one label volume."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, write_nifti, write_study


def make(folder: Path) -> None:
    """One scan; ``truth.npy`` has a bit an organ: whole 1, core 2, enhancing 4."""
    source = np.zeros((24, 20, 6), np.uint8)
    source[3:18, 4:15, 1:5] = 2
    source[5:14, 6:13, 1:4] = 1
    source[6:10, 7:9, 2:3] = 4
    write_nifti(folder / "data" / "a.nii.gz", grey())
    write_nifti(folder / "data" / "a_seg.nii.gz", source)
    np.save(folder / "truth.npy", (source > 0) + 2 * ((source == 1) | (source == 4)) + 4 * (source == 4))
    organs = {"whole": {"values": [1, 2, 4]}, "core": {"values": [1, 4]}, "enhancing": {"values": [4]}}
    row = {"scan_id": "a", "patient_id": "p", "image": "a.nii.gz", "mask": "a_seg.nii.gz"}
    write_study(folder, [row], organs=organs)
