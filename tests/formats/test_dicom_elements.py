"""Headers of the plain form are read as pydicom reads them, and all others are left to it."""

import io

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from pipeline.formats.dicom import elements as dicom_elements
from pipeline.formats.dicom.elements import TAGS, read_elements
from pipeline.formats.dicom.header import read_elements_anyhow
from pipeline.formats.dicom.image import read_instance


def both(raw):
    """The elements by our reader, ``None`` where it leaves them, and by pydicom."""
    theirs, _ = read_elements_anyhow(io.BytesIO(raw))
    return read_elements(io.BytesIO(raw)), theirs


def assert_same(ours, theirs):
    assert (ours.syntax, ours.offset, ours.length, ours.keyword) == (
        theirs.syntax,
        theirs.offset,
        theirs.length,
        theirs.keyword,
    )
    for tag in {*ours.found, *theirs.found} - {0x00080005}:  # pydicom keeps the character set, which nobody asked for
        mine, other = ours.found[tag], theirs.found[tag]
        # What pydicom has converted (sequences) or takes for nothing (empty values) it does not show as bytes.
        assert mine == other or (other.value is None and (not mine.value or mine.vr == "SQ")), hex(tag)


def saved(data, syntax=None):
    buffer = io.BytesIO()
    if syntax is not None:
        data.file_meta.TransferSyntaxUID = syntax
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def slices(making):
    return making.series(making.asymmetric((12, 10, 4)), np.diag([1.0, 2, 3, 1]), EchoTime=12.5, ImageType=["A", "B"])


def nested(undefined):
    """Sequences in sequences, of defined or of undefined length."""
    innermost, inner, outer = Dataset(), Dataset(), Dataset()
    innermost.CodeValue, innermost.CodeMeaning = "1", "one"
    inner.ConceptNameCodeSequence = Sequence([innermost, Dataset()])
    outer.ReferencedImageSequence = Sequence([inner, inner])
    for item, name in ((inner, "ConceptNameCodeSequence"), (outer, "ReferencedImageSequence")):
        item[name].is_undefined_length = undefined
        for part in item[name].value:
            part.is_undefined_length_sequence_item = undefined
    return outer.ReferencedImageSequence


def test_the_table_is_the_standards():
    for keyword, (tag, vr) in TAGS.items():
        assert tag == tag_for_keyword(keyword), keyword
        assert vr == dictionary_VR(tag), keyword
    assert set(dicom_elements._SHORT.values()) == {str(vr) for vr in EXPLICIT_VR_LENGTH_16}
    assert set(dicom_elements._LONG.values()) == {str(vr) for vr in EXPLICIT_VR_LENGTH_32}


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [None, False, True])
@pytest.mark.parametrize("private", [0, 30_000, 600_000])
def test_a_plain_header_is_pydicoms(slices, syntax, undefined, private):
    data = slices[1]
    if undefined is not None:
        data.ReferencedImageSequence = nested(undefined)
        data["ReferencedImageSequence"].is_undefined_length = undefined
    block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", b"\1" * private)
    ours, theirs = both(saved(data, syntax))
    assert ours is not None
    assert_same(ours, theirs)
    assert len(ours.found) >= 20


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncommon_forms_are_left_to_pydicom(tmp_path, slices, options, syntax):
    data = slices[1]
    plain = saved(data)
    (tmp_path / "plain.dcm").write_bytes(plain)
    if syntax == ExplicitVRBigEndian:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").byteswap().tobytes()
        data["PixelData"].VR = "OW"
        data.set_original_encoding(False, False)
    raw = saved(data, syntax)
    assert read_elements(io.BytesIO(raw)) is None
    (tmp_path / "odd.dcm").write_bytes(raw)
    one, other = (read_instance(tmp_path / name, options) for name in ("plain.dcm", "odd.dcm"))
    for name in ("ImageType", "Modality", "SeriesInstanceUID"):
        assert one.words(name) == other.words(name)
    for name in ("Rows", "BitsStored", "EchoTime", "ImagePositionPatient", "InstanceNumber"):
        assert one.numbers(name) == other.numbers(name) != ()


@pytest.mark.parametrize("head", [b"", b"\0" * 128 + b"DICM", b"\0" * 4000])
def test_what_is_no_header_is_left_to_pydicom(head):
    assert read_elements(io.BytesIO(head)) is None


def test_every_sample_is_read_as_by_pydicom(samples):
    read = 0
    for path in sorted(samples.rglob("*")):
        if path.is_file() and path.read_bytes()[128:132] == b"DICM":
            ours, theirs = both(path.read_bytes())
            if ours is not None:
                assert_same(ours, theirs)
                read += 1
    assert read > 300


def test_a_mutated_header_is_pydicoms_or_left_to_it(slices):
    data = slices[1]
    data.ReferencedImageSequence = nested(True)
    data["ReferencedImageSequence"].is_undefined_length = True
    draw = np.random.default_rng(5)
    read = left = 0
    for raw in (saved(data), saved(data, ImplicitVRLittleEndian)):
        for _ in range(1500):
            changed = bytearray(raw)
            for place in draw.integers(132, len(raw) - 300, int(draw.integers(1, 4))):
                changed[place] = int(draw.integers(256))
            ours = read_elements(io.BytesIO(changed))
            if ours is None:
                left += 1
                continue
            theirs, _ = read_elements_anyhow(io.BytesIO(changed))
            assert_same(ours, theirs)
            read += 1
    assert read > 500
    assert left > 500


def test_a_sequence_that_breaks_pydicom_spoils_one_file_alone(tmp_path, making, slices, monkeypatch):
    from pipeline.core.study import Ingest
    from pipeline.formats.dicom import header as dicom_header
    from pipeline.formats.table import read_scans

    odd = slices[0]
    odd.SeriesInstanceUID = "1.2.3"
    group = Dataset()
    group.ImageComments = "x"
    odd.PerFrameFunctionalGroupsSequence = Sequence([group])
    making.save(tmp_path, slices)

    def breaks(path):
        raise AssertionError

    monkeypatch.setattr(dicom_header, "read_header", breaks)
    found = read_scans(tmp_path, "mri", Ingest())
    assert [item.reason for item in found] == ["the DICOM header is damaged (AssertionError)", ""]
    assert found[1].files == 3
