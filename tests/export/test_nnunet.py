"""The nnU-Net raw folder: overlaps become regions, ignored voxels its ignore label."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.formats.nnunet import NnunetFolder
from tests.predict.studies import ORGANS, phantom


def test_overlaps_become_regions(tmp_path: Path) -> None:
    scan, masks = phantom(1, flat=True)
    both = {"left": masks["left"], "right": masks["right"] | masks["left"]}
    folder = NnunetFolder(tmp_path, ORGANS, overlapping=True)
    folder.add("s1", scan, LabelMap.from_masks(both, scan.affine, ORGANS, overlapping=True), training=True)
    folder.add("s2", scan, None, training=False)
    folder.close()
    dataset = json.loads((tmp_path / "dataset.json").read_text())
    data = np.asarray(nib.load(tmp_path / "labelsTr" / "s1.nii.gz").dataobj)
    for organ, mask in both.items():
        np.testing.assert_array_equal(np.isin(data, dataset["labels"][organ]), mask)
    assert dataset["regions_class_order"] == [1, 2]
    assert dataset["numTraining"] == 1
    assert (tmp_path / "imagesTs" / "s2_0000.nii.gz").is_file()


def test_ignored_voxels(tmp_path: Path) -> None:
    scan, masks = phantom(1)
    ignore = np.zeros(scan.shape, bool)
    ignore[0] = True
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False, ignore=ignore)
    folder = NnunetFolder(tmp_path, ORGANS, overlapping=False)
    folder.add("s1", scan, labels, training=True)
    folder.close()
    assert json.loads((tmp_path / "dataset.json").read_text())["labels"]["ignore"] == 3
    image = nib.load(tmp_path / "labelsTr" / "s1.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj) == 3, scan.to_stored(ignore))
