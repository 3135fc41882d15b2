"""Flat masks are placed by their geometry, as volumes are; where nothing decides, both readings are named."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.core.study import Organ
from pipeline.formats.masks import read_masks
from pipeline.formats.table import read_scan_file

ORGANS = {"a": Organ(), "b": Organ()}
AXIAL = np.array([[-0.8, 0, 0, 40], [0, -0.7, 0, 30], [0, 0, 5, -20], [0, 0, 0, 1.0]])
OBLIQUE = np.array([[0.6, -0.48, 0.64, 3], [0.0, 0.8, 0.6, -7], [-0.8, -0.36, 0.48, 11], [0, 0, 0, 1.0]])


@pytest.fixture
def truth():
    """Values that no flip or turn maps onto themselves, ``(X, Y, 1)``."""
    values = np.zeros((18, 12, 1), np.uint8)
    values[2:9, 1:5] = 1
    values[11:14, 6:11] = 2
    return values


def save(path, data, affine, coded=True):
    image = nib.Nifti1Image(data, affine)
    if not coded:  # as dcm2niix leaves a radiograph's
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    nib.save(image, path)
    return path


@pytest.fixture
def slice_of(tmp_path, options):
    """A function that gives one slice as a NIfTI scan."""

    def make(affine, shape=(18, 12, 1), coded=True):
        data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        return read_scan_file([save(tmp_path / "scan.nii.gz", data, affine, coded)], "mri", options)

    return make


@pytest.fixture
def picture(tmp_path, options):
    """A radiograph as a PNG, of 18 columns and 12 rows."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 18)).astype(np.uint8)).save(tmp_path / "x.png")
    return read_scan_file([tmp_path / "x.png"], "xray", options)


@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE, np.diag([1, 1, 5, 1.0])], ids=["axial", "oblique", "plain"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(False,) * 3, (True, False, False), (False, True, True)])
def test_axes_that_the_affine_turns_are_put_right(tmp_path, making, options, slice_of, truth, affine, axes, flips):
    scan = slice_of(affine)
    turned, place = making.oriented(truth, affine, axes, flips)
    labels = read_masks(save(tmp_path / "m.nii.gz", turned, place), scan, ORGANS, options)
    np.testing.assert_array_equal(labels.data, truth)


def test_a_shifted_or_smaller_slice_is_refused_or_brought_over(tmp_path, options, slice_of, truth):
    scan = slice_of(AXIAL)
    far = AXIAL.copy()
    far[0, 3] += 100
    path = save(tmp_path / "m.nii.gz", truth, far)
    with pytest.raises(InputError, match=r"lies elsewhere than the scan \(origins 100.00 mm"):
        read_masks(path, scan, ORGANS, options)
    asked = options.model_copy(update={"resample_masks": True})
    with pytest.raises(InputError, match="wholly outside the scan"):
        read_masks(path, scan, ORGANS, asked)
    halved = AXIAL @ np.diag([0.5, 0.5, 1, 1])
    halved[:3, 3] = (AXIAL @ [-0.25, -0.25, 0, 1])[:3]
    notes = {}
    path = save(tmp_path / "m.nii.gz", truth.repeat(2, 0).repeat(2, 1), halved)
    with pytest.raises(InputError, match="the mask is 36 × 24 × 1 and the scan 18 × 12 × 1"):
        read_masks(path, scan, ORGANS, options)
    np.testing.assert_array_equal(read_masks(path, scan, ORGANS, asked, notes=notes).data, truth)
    assert notes["resampled"]


def test_a_slice_of_another_level_is_refused(tmp_path, options, slice_of, truth):
    above = AXIAL.copy()
    above[2, 3] += 5
    with pytest.raises(InputError, match=r"origins 5.00 mm apart"):
        read_masks(save(tmp_path / "m.nii.gz", truth, above), slice_of(AXIAL), ORGANS, options)


@pytest.mark.parametrize("writer", ["ours", "itk", "dcm2niix"])
def test_a_picture_takes_masks_whose_headers_say_how_rows_run(tmp_path, options, picture, truth, writer):
    path = tmp_path / "m.nii.gz"
    notes = {}
    if writer == "itk":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(truth[..., 0].T), path)
    elif writer == "ours":
        save(path, truth, FRONTAL_AFFINE)
    else:
        save(path, truth[:, ::-1], np.diag([-0.2, 0.2, 1, 1]))
    np.testing.assert_array_equal(read_masks(path, picture, ORGANS, options, notes=notes).data, truth)
    assert notes == ({"rows": "up"} if writer == "dcm2niix" else {})


@pytest.mark.parametrize(("affine", "coded"), [(np.diag([0.2, 0.2, 1, 1]), False), (np.eye(4), True)])
def test_a_header_that_says_nothing_needs_the_config(tmp_path, options, picture, truth, affine, coded):
    path = save(tmp_path / "m.nii.gz", truth, affine, coded)
    with pytest.raises(InputError, match="its first row is the scan's first, or its last") as caught:
        read_masks(path, picture, ORGANS, options)
    assert "ingest.mask_rows" in caught.value.remedy
    for rows, wanted in (("down", truth), ("up", truth[:, ::-1])):
        told = options.model_copy(update={"mask_rows": rows})
        np.testing.assert_array_equal(read_masks(path, picture, ORGANS, told).data, wanted)
    empty = save(tmp_path / "m.nii.gz", np.zeros_like(truth), affine, coded)
    assert not read_masks(empty, picture, ORGANS, options).data.any()


def test_a_scan_and_mask_that_say_nothing_alike_lie_alike(tmp_path, options, slice_of, truth):
    plain = np.diag([0.2, 0.2, 1, 1])
    scan = slice_of(plain, coded=False)
    labels = read_masks(save(tmp_path / "m.nii.gz", truth, plain, coded=False), scan, ORGANS, options)
    np.testing.assert_array_equal(labels.data, truth)
    itk = np.diag([-0.2, -0.2, 1, 1])
    with pytest.raises(InputError, match="nothing decides which way"):
        read_masks(save(tmp_path / "m.nii.gz", truth, itk), scan, ORGANS, options)


@pytest.mark.parametrize("writer", ["dcm2niix", "ours"])
def test_a_dicom_radiograph_takes_them_too(tmp_path, making, options, truth, writer):
    pixels = np.random.default_rng(0).integers(0, 4000, (12, 18)).astype(np.uint16)
    making.radiograph(pixels, PixelSpacing=[0.2, 0.2], PatientOrientation=["L", "F"]).save_as(
        tmp_path / "x.dcm", enforce_file_format=True
    )
    scan = read_scan_file([tmp_path / "x.dcm"], "xray", options)
    if writer == "ours":
        path = save(tmp_path / "m.nii.gz", truth, scan.affine)
    else:
        path = save(tmp_path / "m.nii.gz", truth[:, ::-1], np.diag([-0.2, 0.2, 1, 1]))
    np.testing.assert_array_equal(read_masks(path, scan, ORGANS, options).data, truth)
    path = save(tmp_path / "m.nii.gz", truth[:, ::-1], np.diag([-0.4, 0.4, 1, 1]))
    with pytest.raises(InputError, match=r"voxels are 0\.4 × 0.4 × 1 mm and the scan's 0\.2"):
        read_masks(path, scan, ORGANS, options)


def test_a_picture_on_a_slice_goes_by_how_slices_are_shown(tmp_path, options, slice_of, truth):
    Image.fromarray(truth[..., 0].T).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "m.png", slice_of(AXIAL), ORGANS, options).data, truth)
    notes = {}
    labels = read_masks(tmp_path / "m.png", slice_of(np.diag([-0.2, 0.2, 1, 1])), ORGANS, options, notes=notes)
    np.testing.assert_array_equal(labels.data, truth[:, ::-1])
    assert notes == {"rows": "up"}
    for affine, coded, words in ((np.eye(4), True, "axes run RA, not as"), (AXIAL, False, "gives no orientation")):
        unsaid = slice_of(affine, coded=coded)
        with pytest.raises(InputError, match=words):
            read_masks(tmp_path / "m.png", unsaid, ORGANS, options)
        told = options.model_copy(update={"mask_rows": "up"})
        np.testing.assert_array_equal(read_masks(tmp_path / "m.png", unsaid, ORGANS, told).data, truth[:, ::-1])
