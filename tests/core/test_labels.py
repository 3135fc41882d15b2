"""Label maps and how they and scans lie on disk."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Grid, Scan
from pipeline.formats.store import read_labels, read_scan, write_labels, write_scan

ORGANS = ("left_lung", "right_lung", "heart")


@given(hnp.arrays(bool, (3, 4, 5, 2)), hnp.arrays(bool, (4, 5, 2)))
def test_overlapping_masks_come_back(masks: np.ndarray, ignore: np.ndarray) -> None:
    labels = LabelMap.from_masks(
        dict(zip(ORGANS, masks, strict=True)), np.eye(4), ORGANS, overlapping=True, ignore=ignore
    )
    assert np.array_equal(labels.masks(), masks & ~ignore)
    assert np.array_equal(labels.ignored(), ignore)
    assert labels.present() == tuple(o for o, m in zip(ORGANS, masks, strict=True) if (m & ~ignore).any())


@given(hnp.arrays(bool, (3, 4, 5, 2)))
def test_exclusive_masks_let_the_later_organ_win(masks: np.ndarray) -> None:
    labels = LabelMap.from_masks(dict(zip(ORGANS, masks, strict=True)), np.eye(4), ORGANS, overlapping=False)
    assert np.array_equal(labels.mask("heart"), masks[2])
    assert np.array_equal(labels.mask("left_lung"), masks[0] & ~masks[1] & ~masks[2])
    assert not labels.ignored().any()


@pytest.mark.parametrize(
    ("count", "overlapping", "bits"), [(7, True, 8), (8, True, 16), (254, False, 8), (255, False, 16)]
)
def test_dtype_leaves_room_for_ignore(count: int, overlapping: bool, bits: int) -> None:
    assert np.iinfo(LabelMap.dtype_for(count, overlapping)).bits == bits


def test_not_annotated_is_not_absent() -> None:
    empty = np.zeros((2, 2, 2), bool)
    labels = LabelMap.from_masks({"heart": empty}, np.eye(4), ORGANS, overlapping=True)
    assert labels.annotated == {"heart"}
    assert labels.present() == ()
    none = LabelMap.from_masks({"heart": empty}, np.eye(4), ORGANS, overlapping=True, annotated=frozenset())
    assert none.annotated == frozenset()


@given(
    st.sampled_from([np.uint8, np.int16, np.uint16, np.float32]),
    st.sampled_from([(1, 4, 3, 2), (3, 4, 3, 1), (2, 3, 4, 5)]),
)
def test_scan_on_disk(tmp_path_factory: pytest.TempPathFactory, dtype: type, shape: tuple[int, ...]) -> None:
    path = tmp_path_factory.mktemp("store") / "a.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    scan = Scan(
        voxels, FRONTAL_AFFINE, "xray", "detector", ("a",) * shape[0], Grid((3, 4, 2), np.eye(4)), {"window": [1, 2]}
    )
    write_scan(path, scan)
    back = read_scan(path)
    assert back.voxels.dtype == dtype
    assert np.array_equal(back.voxels, voxels)
    assert np.array_equal(back.affine, scan.affine)
    assert (back.modality, back.spacing_source, back.channels) == ("xray", "detector", ("a",) * shape[0])
    assert back.stored is not None
    assert back.stored.shape == (3, 4, 2)
    assert back.notes == {"window": [1, 2]}


def test_stored_labels_name_their_bits_and_open_anywhere(tmp_path: Path) -> None:
    masks = {"heart": np.ones((3, 3, 1), bool), "left_lung": np.eye(3, dtype=bool)[..., None]}
    labels = LabelMap.from_masks(masks, FRONTAL_AFFINE, ORGANS, overlapping=True)
    path = tmp_path / "m.nii.gz"
    write_labels(path, labels)
    back = read_labels(path)
    assert np.array_equal(back.data, labels.data)
    assert back.organs == ORGANS
    assert back.annotated == {"heart", "left_lung"}
    plain = nib.load(path)
    assert np.array_equal(np.asarray(plain.dataobj), labels.data)
    assert b"bit 2 (value 4)" in plain.header.extensions[0].get_content()


def test_equal_scans_give_equal_files(tmp_path: Path) -> None:
    scan = Scan(np.ones((1, 3, 3, 3), np.int16), np.eye(4), "mri")
    write_scan(tmp_path / "a.nii.gz", scan)
    write_scan(tmp_path / "b.nii.gz", scan)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_foreign_and_broken_files_are_input_errors(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "foreign.nii.gz")
    with pytest.raises(InputError, match="not written by organseg"):
        read_scan(tmp_path / "foreign.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(InputError, match="not readable"):
        read_labels(tmp_path / "broken.nii.gz")
    (tmp_path / "empty.nii.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(InputError, match="not readable"):
        read_labels(tmp_path / "empty.nii.gz")
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "absent.nii.gz")
