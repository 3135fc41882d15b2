"""Label volumes with the source's own values: painted in the config's order, read back, and refused where they lie."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.organs import painting_order
from pipeline.core.study import Ingest, Study, parse_study
from pipeline.export.regions import write_source_labels
from pipeline.formats.masks import read_masks
from tests.predict.studies import phantom

ORDER = ["whole", "core", "enhancing"]
REGIONS = {"whole": {"values": [1, 2, 4]}, "core": {"values": [1, 4]}, "enhancing": {"values": [4]}}


def study(order: list[str] | None = None, **changes: object) -> Study:
    export = {"formats": ["source_labels"], "source_order": ORDER if order is None else order}
    return parse_study({"modality": "mri", "organs": REGIONS, "export": export, **changes}, "s.yaml")


def found(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    masks = {name: np.zeros(shape, bool) for name in ORDER}
    masks["whole"][2:12, 2:10, 1:4] = True
    masks["core"][4:10, 3:8, 1:3] = True
    masks["enhancing"][5:8, 4:6, 1:2] = True
    return masks


def test_the_source_s_values_are_written_and_read_again(tmp_path: Path) -> None:
    scan, _ = phantom(1)
    masks = found(scan.shape)
    labels = LabelMap.from_masks(masks, scan.affine, ORDER, overlapping=True)
    rows = write_source_labels(study(), tmp_path, "a", scan, labels)
    assert [(row["organ"], row["status"], row["reason"]) for row in rows] == [(name, "ok", "") for name in ORDER]
    file = tmp_path / "source_labels" / "a.nii.gz"
    wanted = np.where(masks["enhancing"], 4, np.where(masks["core"], 1, np.where(masks["whole"], 2, 0)))
    np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj), scan.to_stored(wanted.astype(np.uint8)))
    again = read_masks(file, scan, study().organs, Ingest(), overlapping=True)
    np.testing.assert_array_equal(again.data, labels.data)


def test_what_a_network_found_outside_its_outer_region_is_said(tmp_path: Path) -> None:
    scan, _ = phantom(1)
    masks = found(scan.shape)
    masks["core"][13, 2, 1] = True
    labels = LabelMap.from_masks(masks, scan.affine, ORDER, overlapping=True)
    rows = write_source_labels(study(), tmp_path, "a", scan, labels)
    assert {row["status"] for row in rows} == {"ok"}
    assert rows[0]["reason"].startswith("1 voxels of what whole contains lay outside it")


def test_an_order_that_loses_voxels_is_found_out(tmp_path: Path) -> None:
    crossing = {"left": {"values": [1, 3]}, "right": {"values": [2, 3]}}
    own = study(["left=1", "right=2"], organs=crossing)
    scan, _ = phantom(1)
    masks = {name: np.zeros(scan.shape, bool) for name in crossing}
    masks["left"][2:8, 2:8, 1:4] = True
    masks["right"][6:12, 2:8, 1:4] = True
    labels = LabelMap.from_masks(masks, scan.affine, list(crossing), overlapping=True)
    rows = write_source_labels(own, tmp_path, "a", scan, labels)
    assert {row["organ"]: row["status"] for row in rows} == {"left": "failed", "right": "ok"}
    assert not (tmp_path / "source_labels" / "a.nii.gz").exists()
    assert (tmp_path / "failed" / "source_labels" / "a.nii.gz").exists()


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ([], "organs share values"),
        (["core", "enhancing"], "name each organ once"),
        (["enhancing", "core", "whole"], "no value of its own is left"),
        (["whole=4", "core", "enhancing"], "no value of its own is left"),
    ],
)
def test_orders_that_do_not_fit_are_refused_before_any_work(order: list[str], said: str) -> None:
    with pytest.raises(InputError, match=r"export\.source_order") as caught:
        study(order)
    assert said in str(caught.value)


def test_an_organ_of_several_values_names_the_one_it_is_written_with() -> None:
    organs = {"bone": {"values": [1, 3]}, "skin": {"values": [2]}}
    with pytest.raises(InputError, match="1 and 3 would both do"):
        study(["bone", "skin"], organs=organs)
    assert painting_order(study(["bone=3", "skin"], organs=organs).organs, ["bone=3", "skin"]) == [
        ("bone", 3),
        ("skin", 2),
    ]
