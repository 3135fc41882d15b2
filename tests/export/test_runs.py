"""A decoded prediction is the exported NIfTI file, voxel for voxel."""

from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest

from pipeline import export
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.rle import EntryReader, rle_table
from pipeline.formats.rle.pictures import unpack

Make = Callable[..., tuple[Study, StudyPaths]]


@pytest.mark.parametrize("dialect", ["organseg", "uw-madison"])
def test_decoded_predictions_are_the_exported_files(
    predicted: Callable[..., tuple[Study, StudyPaths]], dialect: str
) -> None:
    study, paths = predicted(formats=["nifti", "rle"], export={"formats": ["nifti", "rle"], "rle_dialect": dialect})
    export.run(study, paths)
    table = paths.exports / "rle" / "masks.csv"
    values = {organ: number for number, organ in enumerate(study.organ_names(), 1)}
    for path in sorted((paths.exports / "nifti").glob("*.nii.gz")):
        image = nib.load(path)
        scan_id, data = path.name.removesuffix(".nii.gz"), np.asarray(image.dataobj)
        masks = rle_table(table, dialect).masks(scan_id, list(values), data.shape)
        for organ, value in values.items():
            assert np.array_equal(masks[organ], data == value), (scan_id, organ)
            assert (data == value).any()
    if dialect == "organseg":
        written = list(unpack(EntryReader(table, dialect), paths.exports / "back"))
        assert written
        for path in written:
            scan_id, organ = path.name.removesuffix(".nii.gz").split("__")
            exported = nib.load(paths.exports / "nifti" / f"{scan_id}.nii.gz")
            back = nib.load(path)
            assert np.array_equal(np.asarray(back.dataobj) != 0, np.asarray(exported.dataobj) == values[organ])
            assert np.allclose(back.affine, exported.affine, atol=1e-5)
