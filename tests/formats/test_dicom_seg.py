"""DICOM segmentation objects, written by highdicom and others, on the grid of their scan."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.core.errors import InputError
from pipeline.core.study import Organ, Study
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


def test_a_scan_is_no_segmentation(tmp_path, making, options):
    making.save(tmp_path / "s", making.series(making.asymmetric(), PLAIN))
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    with pytest.raises(InputError, match="not a segmentation"):
        read_masks(tmp_path / "s" / "0000.dcm", scan, {"heart": Organ()}, options)


def test_a_labelmap_holds_its_segments_as_values(tmp_path, making, options, written):
    volume = making.asymmetric((16, 12, 8))
    index = np.select([volume > 3000, volume > 1500], [2, 1]).astype(np.uint8)
    slices = making.series(volume, PLAIN)
    making.save(tmp_path / "s", slices)
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    path = written(slices, np.stack([index == 1, index == 2]).astype(np.uint8), "LABELMAP", ["Heart", "left LUNG"])
    notes = {}
    labels = read_masks(path, scan, {"left_lung": Organ(), "heart": Organ()}, options, notes=notes)
    np.testing.assert_array_equal(labels.mask("heart"), index == 1)
    np.testing.assert_array_equal(labels.mask("left_lung"), index == 2)
    assert (
        notes["names_won"] == "heart is 1 in the file and 2 in the study; left_lung is 2 in the file and 1 in the study"
    )


def test_the_padding_of_a_labelmap_is_no_segment(tmp_path, making, options, written):
    import pydicom

    volume = making.asymmetric((16, 12, 8))
    slices = making.series(volume, PLAIN)
    making.save(tmp_path / "s", slices)
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    path = written(slices, (volume[None] > 2000).astype(np.uint8), "LABELMAP", ["Heart"])
    data = pydicom.dcmread(path)
    stored = data.pixel_array
    data.PixelData = np.where(stored == 0, 255, stored).astype(np.uint8).tobytes()
    data.PixelPaddingValue = 255
    data.save_as(path)
    labels = read_masks(path, scan, {"heart": Organ()}, options)
    np.testing.assert_array_equal(labels.mask("heart"), volume > 2000)


def test_one_segment_that_only_the_shared_groups_name(tmp_path, making, options, written):
    import pydicom

    volume = making.asymmetric((16, 12, 8))
    slices = making.series(volume, PLAIN)
    making.save(tmp_path / "s", slices)
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    path = written(slices, (volume[None] > 2000).astype(np.uint8), "BINARY", ["Heart"])
    data = pydicom.dcmread(path)
    assert "SegmentIdentificationSequence" in data.SharedFunctionalGroupsSequence[0]
    for named in (True, False):  # where nothing names it, there is one that it can be
        if not named:
            del data.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence
        data.save_as(path)
        labels = read_masks(path, scan, {"heart": Organ()}, options)
        np.testing.assert_array_equal(labels.mask("heart"), volume > 2000)


def _named_seg(making, written, tmp_path, options, names, change=None):
    import pydicom

    volume = making.asymmetric((16, 12, 8))
    slices = making.series(volume, PLAIN)
    making.save(tmp_path / "s", slices)
    masks = np.stack([(volume % (number + 2) == 0) for number in range(len(names))]).astype(np.uint8)
    path = written(slices, masks, "BINARY", names)
    if change is not None:
        data = pydicom.dcmread(path)
        change(data)
        data.save_as(path)
    return path, read_scan_file([tmp_path / "s"], "mri", options), masks.astype(bool)


def test_an_object_alone_in_its_folder(tmp_path, making, options, written):
    path, scan, masks = _named_seg(making, written, tmp_path, options, ["heart"])
    (tmp_path / "seg").mkdir()
    path.rename(tmp_path / "seg" / "1.dcm")
    (tmp_path / "seg" / ".DS_Store").write_bytes(b"x")
    labels = read_masks(tmp_path / "seg", scan, {"heart": Organ()}, options)
    np.testing.assert_array_equal(labels.mask("heart"), masks[0])
    (tmp_path / "seg" / "2.dcm").write_bytes(b"x")
    with pytest.raises(InputError, match="is a folder of 2 files"):
        read_masks(tmp_path / "seg", scan, {"heart": Organ()}, options)


def test_segments_of_foreign_names_are_refused_and_mapped_by_the_config(tmp_path, making, options, written):
    path, scan, masks = _named_seg(making, written, tmp_path, options, ["Schienbein", "Oberschenkel"])
    organs = {"femur": Organ(), "tibia": Organ()}
    with pytest.raises(
        InputError, match=r"1 \(Schienbein\), 2 \(Oberschenkel\).* by number 1 would be femur"
    ) as caught:
        read_masks(path, scan, organs, options, overlapping=True)
    assert "names: {WORD: organ}" in caught.value.remedy
    mapped = Study.model_validate(
        {"modality": "mri", "organs": ["femur", "tibia"], "names": {"Schienbein": "tibia", "oberSCHENKEL": "femur"}}
    )
    labels = read_masks(path, scan, mapped.organs, options, overlapping=True)
    np.testing.assert_array_equal(labels.mask("tibia"), masks[0])
    np.testing.assert_array_equal(labels.mask("femur"), masks[1])


@pytest.mark.parametrize(
    ("names", "wanted"), [(["肝臓", "脾臓"], ["脾臓", "肝臓"]), (["le\u0301sion", "foie"], ["foie", "l\u00e9sion"])]
)
def test_names_in_any_script_are_told_apart(tmp_path, making, options, written, names, wanted):
    def call(data):
        data.SpecificCharacterSet = "ISO_IR 192"
        for item, name in zip(data.SegmentSequence, names, strict=True):
            item.SegmentLabel = name

    path, scan, masks = _named_seg(making, written, tmp_path, options, ["a", "b"], call)
    labels = read_masks(path, scan, {name: Organ() for name in wanted}, options, overlapping=True)
    np.testing.assert_array_equal(labels.mask(wanted[1]), masks[0])
    np.testing.assert_array_equal(labels.mask(wanted[0]), masks[1])


@pytest.mark.parametrize("scheme", [("10200004", "SCT"), ("T-62000", "SRT")])
def test_codes_name_organs_whatever_the_language_of_labels(tmp_path, making, options, written, scheme):
    def code(data):
        item = data.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (*scheme, "Leber")

    path, scan, masks = _named_seg(making, written, tmp_path, options, ["Milz", "Leber"], code)
    organs = {"liver": Organ(), "spleen": Organ(aliases=["milz"])}
    labels = read_masks(path, scan, organs, options, overlapping=True)
    np.testing.assert_array_equal(labels.mask("liver"), masks[1])


def test_sides_of_codes_are_told_apart(tmp_path, making, options, written):
    from pydicom.sr.codedict import codes

    def code(data):
        for item, side in zip(data.SegmentSequence, (codes.SCT.Right, codes.SCT.Left), strict=True):
            kind = item.SegmentedPropertyTypeCodeSequence[0]
            kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "39607008", "SCT", "Lunge"
            modifier = Dataset()
            modifier.CodeValue, modifier.CodingSchemeDesignator = side.value, side.scheme_designator
            modifier.CodeMeaning = side.meaning
            kind.SegmentedPropertyTypeModifierCodeSequence = [modifier]

    path, scan, masks = _named_seg(making, written, tmp_path, options, ["Lunge rechts", "Lunge links"], code)
    labels = read_masks(path, scan, {"left_lung": Organ(), "right_lung": Organ()}, options, overlapping=True)
    np.testing.assert_array_equal(labels.mask("right_lung"), masks[0])
    np.testing.assert_array_equal(labels.mask("left_lung"), masks[1])


def test_a_lesion_with_the_code_of_its_organ_is_not_the_organ(tmp_path, making, options, written):
    def code(data):
        for item in data.SegmentSequence:
            kind = item.SegmentedPropertyTypeCodeSequence[0]
            kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "10200004", "SCT", "Liver"

    path, scan, _ = _named_seg(making, written, tmp_path, options, ["liver", "liver tumour"], code)
    with pytest.raises(InputError, match=r"no organ of the study: 2 \(liver tumour\)"):
        read_masks(path, scan, {"liver": Organ()}, options, overlapping=True)


def test_a_file_given_for_one_organ_gives_the_segment_that_is_called_so(tmp_path, making, options, written):
    path, scan, masks = _named_seg(making, written, tmp_path, options, ["femur", "tibia", "Kniescheibe"])
    organs = {"tibia": Organ(), "femur": Organ(), "patella": Organ()}
    labels = read_masks({"femur": path, "tibia": path}, scan, organs, options, overlapping=True)
    np.testing.assert_array_equal(labels.mask("femur"), masks[0])
    np.testing.assert_array_equal(labels.mask("tibia"), masks[1])
    with pytest.raises(InputError, match="given for patella and holds several segments, none called so"):
        read_masks({"patella": path}, scan, organs, options)


def test_a_file_given_for_one_organ_whose_segment_is_another_is_refused(tmp_path, making, options, written):
    path, scan, masks = _named_seg(making, written, tmp_path, options, ["tibia"])
    with pytest.raises(InputError, match="given for femur, and its one segment is called tibia"):
        read_masks({"femur": path}, scan, {"femur": Organ(), "tibia": Organ()}, options)
    notes = {}
    labels = read_masks({"patella": path}, scan, {"patella": Organ()}, options, notes=notes)
    np.testing.assert_array_equal(labels.mask("patella"), masks[0])
    assert "called otherwise" in notes["numbers_taken"]
