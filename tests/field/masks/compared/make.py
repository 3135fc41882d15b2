"""Two segmentations that number the same organs otherwise, a label volume, and a mask as two pictures."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_nifti, write_picture
from tests.field.masks.segments_by_name.make import write_segments


def make(folder: Path) -> None:
    """Write the files side by side."""
    truth = labels()
    write_nifti(folder / "scan.nii.gz", grey())
    write_segments(folder / "ref.seg.nrrd", truth[None], {"femur": (0, 1), "tibia": (0, 2)})
    swapped = np.array([0, 2, 1], np.uint8)[truth]
    write_segments(folder / "swapped.seg.nrrd", swapped[None], {"tibia": (0, 1), "femur": (0, 2)})
    layers = np.stack([truth == 2, truth == 1]).astype(np.uint8)
    write_segments(folder / "layers.seg.nrrd", layers, {"tibia": (0, 1), "femur": (1, 1)})
    write_nifti(folder / "ref.nii.gz", truth)
    shown = (labels((24, 20))[:, :].T == 1).astype(np.uint8) * 255
    write_picture(folder / "grey.png", shown)
    write_picture(folder / "alpha.png", np.dstack([np.full((*shown.shape, 3), 255, np.uint8), shown]))
