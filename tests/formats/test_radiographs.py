"""DX and CR objects: polarity, lookup tables, windows, spacing and orientation."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut

from pipeline.core.errors import InputError
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.formats.table import read_scan_file
from pipeline.ingest.quality import measure_scan, scan_findings


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(100, 3000, (20, 30)).astype(np.uint16)


def read(tmp_path, options, data, **changed):
    data.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    return read_scan_file([tmp_path / "x.dcm"], "xray", options.model_copy(update=changed))


def test_columns_run_along_x_and_rows_along_y(tmp_path, making, options, picture):
    scan = read(tmp_path, options, making.radiograph(picture))
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], picture.T)
    np.testing.assert_array_equal(scan.affine, FRONTAL_AFFINE)
    assert (scan.spacing_source, scan.unit) == ("unknown", "px")


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
def test_monochrome_twins_are_equal_images(tmp_path, making, options, bits):
    picture = np.random.default_rng(bits).integers(3, 2**bits - 40, (9, 7)).astype(np.uint16)
    plain = read(tmp_path, options, making.radiograph(picture, bits=bits))
    twin = making.radiograph((2**bits - 1 - picture.astype(int)).astype(np.uint16), bits=bits)
    twin.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(read(tmp_path, options, twin).voxels, plain.voxels)


def test_rescale_comes_before_the_inversion(tmp_path, making, options, picture):
    elements = {"RescaleSlope": 2, "RescaleIntercept": 10, "PhotometricInterpretation": "MONOCHROME1"}
    scan = read(tmp_path, options, making.radiograph(picture, **elements))
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], 2 * (4095 - picture.T.astype(int)) + 10)


def test_a_modality_lut_replaces_values(tmp_path, making, options, picture):
    item = Dataset()
    table = (np.arange(4096) ** 2 // 5000).astype(np.uint16)
    item.add_new(0x00283002, "US", [4096, 0, 16])
    item.add_new(0x00283006, "OW", table.tobytes())
    item.ModalityLUTType = "US"
    data = making.radiograph(picture, ModalityLUTSequence=[item])
    np.testing.assert_array_equal(read(tmp_path, options, data).voxels[0, :, :, 0], table[picture.T])
    data.PhotometricInterpretation = "MONOCHROME1"
    turned = read(tmp_path, options, data).voxels[0, :, :, 0]
    np.testing.assert_array_equal(turned, int(table.max()) - table[picture.T].astype(int))


def test_the_window_of_the_file_is_a_choice(tmp_path, making, options, picture):
    data = making.radiograph(picture, WindowCenter=1500, WindowWidth=800)
    assert "window" not in read(tmp_path, options, data).notes
    scan = read(tmp_path, options, data, window="voi")
    shown = apply_voi_lut(picture, data).astype(float)
    assert np.corrcoef(shown.T.ravel(), scan.voxels[0, :, :, 0].ravel())[0, 1] == pytest.approx(1)
    assert scan.notes["window"] == "voi"
    assert (scan.voxels.min(), scan.voxels.max()) == (0, 1)
    without = read(tmp_path, options, making.radiograph(picture), window="voi")
    assert without.notes["window"] == "the file has none"


def test_the_lookup_table_of_the_file_is_a_choice_too(tmp_path, making, options, picture):
    item = Dataset()
    table = (np.sqrt(np.arange(4096)) * 1023 / 64).astype(np.uint16)
    item.add_new(0x00283002, "US", [4096, 0, 10])
    item.add_new(0x00283006, "OW", table.tobytes())
    data = making.radiograph(picture, VOILUTSequence=[item])
    np.testing.assert_array_equal(read(tmp_path, options, data).voxels[0, :, :, 0], picture.T)
    scan = read(tmp_path, options, data, window="voi")
    np.testing.assert_allclose(scan.voxels[0, :, :, 0], table[picture.T] / 1023, atol=1e-6)
    data.PhotometricInterpretation = "MONOCHROME1"
    turned = read(tmp_path, options, data, window="voi")
    np.testing.assert_allclose(turned.voxels, 1 - scan.voxels, atol=1e-6)


def test_a_file_without_a_window_is_turned_over_against_its_table_all_the_same(tmp_path, making, options, picture):
    item = Dataset()
    item.add_new(0x00283002, "US", [4096, 0, 16])
    item.add_new(0x00283004, "LO", "US")
    item.add_new(0x00283006, "OW", (np.arange(4096) * 9).astype(np.uint16).tobytes())
    dim = (picture // 2).astype(np.uint16)
    data = making.radiograph(dim, ModalityLUTSequence=[item], PhotometricInterpretation="MONOCHROME1")
    plain = read(tmp_path, options, data)
    np.testing.assert_array_equal(plain.voxels[0, :, :, 0], 9 * (4095 - dim.T.astype(int)))
    np.testing.assert_array_equal(read(tmp_path, options, data, window="voi").voxels, plain.voxels)


def test_a_window_of_the_study_clips(tmp_path, making, options, picture):
    scan = read(tmp_path, options, making.radiograph(picture), window=(1000.0, 1000.0))
    np.testing.assert_allclose(scan.voxels[0, :, :, 0], np.clip((picture.T - 500.0) / 1000, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("elements", "spacing", "source"),
    [
        ({}, (1, 1), "unknown"),
        ({"PixelSpacing": [0.4, 0.2]}, (0.2, 0.4), "patient"),
        ({"PixelSpacing": [0.0, 0.0]}, (1, 1), "unknown"),
        ({"ImagerPixelSpacing": [0.4, 0.2]}, (0.2, 0.4), "detector"),
        (
            {"ImagerPixelSpacing": [0.4, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.16, 0.32),
            "patient",
        ),
        ({"PixelSpacing": [0.4, 0.2], "ImagerPixelSpacing": [0.4, 0.2]}, (0.2, 0.4), "detector"),
        (
            {
                "PixelSpacing": [0.4, 0.2],
                "ImagerPixelSpacing": [0.4, 0.2],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            (0.2, 0.4),
            "patient",
        ),
        ({"PixelSpacing": [0.3, 0.15], "ImagerPixelSpacing": [0.4, 0.2]}, (0.15, 0.3), "patient"),
        ({"NominalScannedPixelSpacing": [0.4, 0.2]}, (0.2, 0.4), "detector"),
    ],
)
def test_millimetres_come_from_where_they_are_true(tmp_path, making, options, picture, elements, spacing, source):
    scan = read(tmp_path, options, making.radiograph(picture, **elements))
    assert scan.spacing[:2] == pytest.approx(spacing)
    assert scan.spacing_source == source


def test_patient_orientation_places_the_picture(tmp_path, making, options, picture):
    lateral = read(tmp_path, options, making.radiograph(picture, PatientOrientation=["A", "F"]))
    assert lateral.grid.orientation[:2] == "AI"
    frontal = read(tmp_path, options, making.radiograph(picture, PatientOrientation=["L", "F"]))
    np.testing.assert_array_equal(frontal.affine, FRONTAL_AFFINE)
    nonsense = read(tmp_path, options, making.radiograph(picture, PatientOrientation=["L", "R"]))
    np.testing.assert_array_equal(nonsense.affine, FRONTAL_AFFINE)


def test_borders_are_cut_at_their_place_when_asked(tmp_path, making, options):
    inner = np.random.default_rng(2).integers(500, 3500, (40, 50)).astype(np.uint16)
    framed = np.zeros((60, 64), np.uint16)
    framed[12:52, 4:54] = inner
    data = making.radiograph(framed, PixelSpacing=[0.5, 0.5])
    assert read(tmp_path, options, data).shape == (64, 60, 1)
    scan = read(tmp_path, options, data, crop_borders=True)
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], inner.T)
    assert scan.notes["cropped"] == [4, 12, 10, 8]
    np.testing.assert_allclose(scan.affine[:3, 3], [-2.0, 0, -6.0])
    assert scan.stored.shape == (64, 60, 1)


def test_a_film_is_no_picture(tmp_path, making, options, picture):
    data = making.radiograph(np.stack([picture, picture]))
    data.Modality = "XA"
    with pytest.raises(InputError, match="2 frames"):
        read(tmp_path, options, data)


def test_a_transfer_syntax_without_decoder_is_named(tmp_path, making, options, picture, monkeypatch):
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGExtended12Bit, JPEGLosslessSV1

    data = making.radiograph(picture)
    data.PixelData = encapsulate([b"\xff\xd8" * 9])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    monkeypatch.setattr(get_decoder(JPEGExtended12Bit), "_available", {"gdcm": None})
    with pytest.raises(InputError, match=r"no decoder for JPEG of 12 bits.*Install pylibjpeg-libjpeg"):
        read(tmp_path, options, data)
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    monkeypatch.setattr(get_decoder(JPEGLosslessSV1), "_available", {})
    with pytest.raises(InputError, match=r"no decoder for transfer syntax JPEG Lossless.* is installed"):
        read(tmp_path, options, data)
    data.file_meta.TransferSyntaxUID = "1.2.7777773.19370517"
    with pytest.raises(InputError, match="no decoder for transfer syntax that is not registered"):
        read(tmp_path, options, data)


def test_burned_in_text_is_noted(tmp_path, making, options, picture):
    scan = read(tmp_path, options, making.radiograph(picture, BurnedInAnnotation="YES"))
    found = [finding.code for finding in scan_findings(scan, measure_scan(scan))]
    assert found == ["burned_in"]
    plain = read(tmp_path, options, making.radiograph(picture))
    assert not scan_findings(plain, measure_scan(plain))


def test_a_file_without_preamble_and_meta_is_read(tmp_path, making, options, picture):
    data = making.radiograph(picture)
    data.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    raw = (tmp_path / "x.dcm").read_bytes()
    start = raw.index(b"\x08\x00\x16\x00UI")  # the first element of the data set itself
    (tmp_path / "bare").write_bytes(raw[start:])
    scan = read_scan_file([tmp_path / "bare"], "xray", options)
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], picture.T)
