"""A layout by example: paths in which ``{…}`` stands for what varies, and a small tree of files made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK
from PIL import Image

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


@dataclass
class Layout:
    """A data set's layout.

    Attributes:
        scan: Path of a scan; channels are separated by ``;``.
        masks: Organ → path of its mask; ``""`` is a mask of all organs.
        patient: What names the patient.
        values: What each ``{…}`` of the paths stands for; every combination is a scan.
        without: Scans that have no mask.
        others: Recordings that are in no row.
        looks_like_masks: Drawings that are in no row.
        refused: A text of the message, where the layout is refused.
        values_of: Organs in a mask's file.
    """

    scan: str = ""
    masks: dict[str, str] = field(default_factory=dict)
    patient: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)
    without: list[dict[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    looks_like_masks: list[str] = field(default_factory=list)
    refused: str = ""
    values_of: int = 1

    def cases(self) -> list[dict[str, str]]:
        """Every combination of the values."""
        return [dict(zip(self.values, some, strict=True)) for some in product(*self.values.values())]

    def expected(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Image cell → column → mask, and image cell → patient."""
        masks, patients = {}, {}
        for case in self.cases():
            image = self.scan.format(**case)
            masks[image] = {
                "mask" if not organ else f"mask_{organ}": path.format(**case) for organ, path in self.masks.items()
            }
            patients[image] = self.patient.format(**case)
        for case in self.without:
            masks[self.scan.format(**case)] = {}
            patients[self.scan.format(**case)] = self.patient.format(**case)
        return masks, patients

    def make(self, folder: Path) -> None:
        """Write the files."""
        masks, _ = self.expected()
        for image, drawn in masks.items():
            for path in image.split(";"):
                write(folder / path, recorded=True)
            for path in drawn.values():
                write(folder / path, recorded=False, organs=self.values_of)
        for path in self.others:
            write(folder / path, recorded=True)
        for path in self.looks_like_masks:
            write(folder / path, recorded=False)


def write(path: Path, *, recorded: bool, organs: int = 1, shape: tuple[int, int, int] = (12, 10, 6)) -> None:
    """Write an image or a mask of a few pixels, in the form that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(str(path)))
    flat = path.name.lower().endswith(_PICTURES)
    size = (40, 32) if flat else shape
    values = random.integers(0, 256 if flat else 900, size) if recorded else np.zeros(size, int)
    if not recorded:
        for organ in range(1, organs + 1):
            values[organ * 2 : organ * 2 + 2, 2:6] = organ if organs > 1 or not flat else 255
    if flat:
        Image.fromarray(values.astype(np.uint8)).save(path)
    elif path.name.endswith((".nii", ".nii.gz", ".hdr")):
        kind = nib.Nifti1Pair if path.name.endswith(".hdr") else nib.Nifti1Image
        nib.save(kind(values.astype(np.int16 if recorded else np.uint8), np.eye(4)), path)
    elif path.name.endswith((".mha", ".mhd", ".nrrd")):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.astype(np.int16 if recorded else np.uint8)), str(path))
    else:
        path.write_text("text")
