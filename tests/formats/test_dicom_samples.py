"""The real DICOM files: equal to dcm2niix, equal in every encoding, and every bad one named."""

import nibabel as nib
import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.scan import Scan
from pipeline.formats.dicom.image import read_instance
from pipeline.formats.dicom.pixels import read_stored
from pipeline.formats.table import read_scan_file, read_scans

REFERENCED = [
    "dcmqa_siemens_mosaic_ax",
    "dcmqa_siemens_mosaic_mb_jp2k",
    "dcmqa_siemens_mosaic_sag",
    "nih_ge_fmri",
    "nih_siemens_epi_mosaic",
]


@pytest.mark.parametrize("name", REFERENCED)
def test_series_equal_their_dcm2niix_references(samples, options, name):
    folder = samples / "mri_series" / name
    reference = nib.load(folder / "ref_dcm2niix.nii.gz")
    voxels = np.moveaxis(np.asanyarray(reference.dataobj), -1, 0)
    theirs = Scan(voxels, reference.affine, "mri").canonical()
    ours = read_scan_file([folder / "dicom"], "mri", options)
    np.testing.assert_array_equal(ours.voxels, theirs.voxels)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)


def test_every_series_of_the_table_has_its_true_spacing(samples, options):
    expected = {
        "btp_study1/hippocrop": ((35, 51, 32), 1.0),
        "btp_study2/hippocrop": ((36, 48, 35), 1.0),
        "btp_study3/hippocrop": ((34, 50, 40), 1.0),
        "btp_study3/siemens_T1post": ((280, 320, 22), 6.5),
    }
    for name, (shape, gap) in expected.items():
        scan = read_scan_file([samples / "mri_series" / name], "mri", options)
        assert scan.shape == shape
        assert scan.spacing[2] == pytest.approx(gap, abs=1e-3)


def test_mr_small_is_the_same_in_every_encoding(samples, options):
    files = sorted((samples / "mri_single").glob("MR_small*.dcm"))
    assert len(files) >= 8
    first = read_scan_file(files[:1], "mri", options)
    for file in files[1:]:
        scan = read_scan_file([file], "mri", options)
        np.testing.assert_array_equal(scan.voxels, first.voxels)
        np.testing.assert_allclose(scan.affine, first.affine)


def test_multi_frame_pixels_are_the_same_in_every_encoding(samples, options):
    files = sorted((samples / "mri_multiframe").glob("*.dcm"))
    frames = [read_stored(read_instance(file, options)) for file in files]
    assert len(frames) == 5
    assert frames[0].shape == (10, 64, 64, 1)
    for other in frames[1:]:
        np.testing.assert_array_equal(other, frames[0])


def test_monochrome_twins_are_turned_over_against_the_stored_range(samples, options):
    plain = read_scan_file([samples / "cxr" / "SIIM_6904_jpegbaseline_mono2.dcm"], "xray", options)
    forced = read_scan_file([samples / "cxr" / "SIIM_6904_tag_forced_MONOCHROME1.dcm"], "xray", options)
    np.testing.assert_array_equal(forced.voxels, 255 - plain.voxels)


@pytest.mark.parametrize(
    ("name", "shape", "top", "source"),
    [
        ("cxr/CR-MONO1-10-chest.dcm", (440, 440, 1), 1023, "unknown"),
        ("cxr/RG1_J2KI.dcm", (1841, 1955, 1), 32767, "unknown"),
        ("cxr/highdicom_dx_image.dcm", (211, 169, 1), 255, "detector"),
        ("xray_other/RG3_J2KR.dcm", (1760, 1760, 1), 1023, "unknown"),
    ],
)
def test_radiographs_keep_their_bits_and_say_where_millimetres_come_from(samples, options, name, shape, top, source):
    instance = read_instance(samples / name, options)
    stored = read_stored(instance)[0, :, :, 0].T
    scan = read_scan_file([samples / name], "xray", options)
    assert scan.shape == shape
    assert scan.spacing_source == source
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], top - stored.astype(int))


def test_a_modality_lut_comes_before_the_inversion(samples, options):
    path = samples / "xray_other" / "CR-ModalitySequenceLUT.dcm"
    stored = read_stored(read_instance(path, options))[0, :, :, 0].T.astype(float)
    scan = read_scan_file([path], "xray", options)
    # Dense is bright in every radiograph: the inverted image falls where the stored values rise.
    sample = np.random.default_rng(0).integers(0, stored.size, 5000)
    assert np.corrcoef(stored.ravel()[sample], scan.voxels[0, :, :, 0].ravel()[sample])[0, 1] < -0.9


BAD = {
    "ExplVR_LitEndNoMeta.dcm": "holds no image",
    "MR_truncated.dcm": "pixels end early: 8,130 of 8,192 bytes",
    "badVR.dcm": "NumberOfFrames is not a number",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "10 frames without positions",
    "meta_missing_tsyntax.dcm": "Rows is missing",
    "no_meta.dcm": "not an image",
    "rtplan.dcm": "holds no image",
    "test-SR.dcm": "holds no image",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_every_bad_file_has_its_reason(samples, options, name):
    with pytest.raises(InputError, match=BAD[name]):
        read_scan_file([samples / "bad_or_unusual" / name], "mri", options)


def test_unusual_files_are_read(samples, options):
    folder = samples / "bad_or_unusual"
    assert read_scan_file([folder / "bad_sequence.dcm"], "ct", options).shape == (512, 512, 1)
    colour = read_scan_file([folder / "SC_rgb_jpeg_dcmtk.dcm"], "photo", options)
    assert colour.voxels.shape == (3, 100, 100, 1)
    whole = read_scan_file([samples / "mri_single" / "GH1339.dcm"], "mri", options)
    assert int(whole.voxels.max()) == 819


def test_nothing_in_the_samples_is_lost(samples, options):
    files = [path for path in samples.rglob("*") if path.is_file()]
    found = read_scans(samples, None, options)
    assert sum(item.files for item in found) == len(files)
    assert all(item.read or item.reason for item in found)
