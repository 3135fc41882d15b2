"""DICOM segmentation objects, written by highdicom and others, on the grid of their scan."""

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.study import Organ
from pipeline.formats.masks import read_masks
from pipeline.formats.table import read_scan_file

PLAIN = np.array([[1.5, 0, 0, -20], [0, 2.0, 0, 30], [0, 0, 4.0, -50], [0, 0, 0, 1]])


def test_the_liver_equals_its_nrrd_twin(samples, options):
    folder = samples / "seg" / "dcmqi_ct3"
    scan = read_scan_file([folder / "dicom"], "ct", options)
    organs = {"liver": Organ()}
    ours = read_masks(folder / "liver.dcm", scan, organs, options)
    twin = read_masks(folder / "liver_seg.nrrd", scan, organs, options)
    assert ours.mask("liver").sum() == 107_098
    np.testing.assert_array_equal(ours.data, twin.data)


def test_overlapping_segments_and_those_that_are_no_organ(samples, options):
    folder = samples / "seg" / "dcmqi_ct3"
    scan = read_scan_file([folder / "dicom"], "ct", options)
    organs = {name: Organ(aliases=[name.replace("_", " ")]) for name in ("green", "orange", "purple", "light_blue")}
    with pytest.raises(InputError, match=r"no organ of the study: 5 \(DARK_BLUE\)"):
        read_masks(folder / "partial_overlaps.dcm", scan, organs, options, overlapping=True)
    passed = options.model_copy(update={"background": [0, 5]})
    labels = read_masks(folder / "partial_overlaps.dcm", scan, organs, passed, overlapping=True)
    assert labels.present() == tuple(organs)
    assert (labels.masks().sum(axis=0) > 1).any()


@pytest.fixture
def written(tmp_path, making):
    """A function that writes masks ``(K, X, Y, Z)`` as a segmentation object of a series, by highdicom."""
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes

    def write(slices, masks, kind, names, order=None):
        for item in slices:
            item.FrameOfReferenceUID = slices[0].StudyInstanceUID
            item.StudyInstanceUID = slices[0].StudyInstanceUID
            item.StudyDate, item.StudyTime, item.AccessionNumber = "20000101", "000000", ""
            item.PatientBirthDate, item.PatientSex, item.StudyID = "", "", ""
            item.ReferringPhysicianName = ""
        described = [
            highdicom.seg.SegmentDescription(
                number,
                name,
                codes.SCT.Organ,
                codes.SCT.Organ,
                "MANUAL",
            )
            for number, name in enumerate(names, 1)
        ]
        pixels = np.moveaxis(masks, 0, -1).transpose(2, 1, 0, 3)  # (Z, Y, X, K)
        order = list(range(len(slices))) if order is None else order
        found = highdicom.seg.Segmentation(
            [slices[i] for i in order],
            np.ascontiguousarray(pixels[order]),
            kind,
            described,
            highdicom.UID(),
            1,
            highdicom.UID(),
            1,
            "a",
            "b",
            "c",
            "d",
        )
        found.save_as(tmp_path / "seg.dcm")
        return tmp_path / "seg.dcm"

    return write


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
@pytest.mark.parametrize(("axes", "flips"), [((0, 1, 2), (False,) * 3), ((2, 0, 1), (True, False, True))])
def test_frames_find_their_place(tmp_path, making, options, written, kind, axes, flips):
    volume = making.asymmetric((16, 12, 8))
    masks = np.stack([volume > 2000, (volume > 1000) & (volume < 3000)])
    turned, affine = making.oriented(volume, PLAIN, axes, flips)
    slices = making.series(turned, affine)
    making.save(tmp_path / "s", slices)
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    stored = np.stack([making.oriented(mask, PLAIN, axes, flips)[0] for mask in masks])
    order = np.random.default_rng(0).permutation(len(slices)).tolist()
    values = stored.astype(np.float32) * 0.8 + 0.1 if kind == "FRACTIONAL" else stored.astype(np.uint8)
    path = written(slices, values, kind, ["Heart", "left LUNG"], order)
    organs = {"left_lung": Organ(), "heart": Organ()}
    labels = read_masks(path, scan, organs, options, overlapping=True)
    np.testing.assert_array_equal(labels.mask("heart"), masks[0])
    np.testing.assert_array_equal(labels.mask("left_lung"), masks[1])


def test_another_grid_and_another_scan_are_refused(tmp_path, making, options, written):
    volume = making.asymmetric((16, 12, 8))
    slices = making.series(volume, PLAIN)
    path = written(slices, (volume[None] > 2000).astype(np.uint8), "BINARY", ["Heart"])
    moved = PLAIN.copy()
    moved[0, 3] += 0.7
    making.save(tmp_path / "moved", making.series(volume, moved))
    making.save(tmp_path / "short", making.series(volume[:, :, :5], PLAIN))
    organs = {"heart": Organ()}
    scan = read_scan_file([tmp_path / "moved"], "mri", options)
    with pytest.raises(InputError, match="another grid"):
        read_masks(path, scan, organs, options)
    with pytest.raises(InputError, match="outside the scan"):
        read_masks(path, read_scan_file([tmp_path / "short"], "mri", options), organs, options)


def test_contours_are_refused_by_name_with_what_to_do(tmp_path, making, options):
    from pydicom.uid import RTStructureSetStorage

    data = making.series(making.asymmetric(), PLAIN)[0]
    contours = making.dicom_file(RTStructureSetStorage, np.zeros((2, 2), np.uint16))
    contours.Modality, contours.StructureSetLabel = "RTSTRUCT", "organs"
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        del contours[name]
    contours.save_as(tmp_path / "rs.dcm", enforce_file_format=True)
    making.save(tmp_path / "s", [data])
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    for source in (tmp_path / "rs.dcm", {"heart": tmp_path / "rs.dcm"}):
        with pytest.raises(InputError, match=r"RT structure set.*Save it as DICOM SEG"):
            read_masks(source, scan, {"heart": Organ()}, options)
    with pytest.raises(InputError, match=r"holds no image .RT Structure Set"):
        read_scan_file([tmp_path / "rs.dcm"], "mri", options)


def test_a_scan_is_no_segmentation(tmp_path, making, options):
    making.save(tmp_path / "s", making.series(making.asymmetric(), PLAIN))
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    with pytest.raises(InputError, match="not a segmentation"):
        read_masks(tmp_path / "s" / "0000.dcm", scan, {"heart": Organ()}, options)
