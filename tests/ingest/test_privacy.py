"""Nothing that identifies a patient leaves ingestion: planted everywhere, found nowhere."""

import gzip
import io
import zlib

import numpy as np
import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

PLANT = "ZZPLANT"
#: A text of each kind that is legal for it and holds the plant, or digits that stand for it.
TEXTS = {
    **dict.fromkeys(("AE", "CS", "SH", "LO", "ST", "LT", "UC", "UR", "UT"), f"{PLANT} A1"),
    "PN": f"{PLANT}^JANE",
    "DA": "19370517",
    "TM": "071937",
    "DT": "19370517071937",
    "AS": "071Y",
    "UI": "1.2.7777773.19370517",
    "IS": "77777733",
    "DS": "77777733.5",
}
#: What must not be found: the plant, the planted date, time, number and UID.
FORBIDDEN = [b"ZZPLANT", b"19370517", b"071937", b"77777733", b"7777773.1937", b"JANE"]
#: Elements that say how the pixels are to be read; what is planted there is not a patient's.
NEEDED = {
    "SOPClassUID", "Modality", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "ImageType", "SliceThickness",
    "SpacingBetweenSlices", "InstanceNumber", "SpecificCharacterSet", "EchoTime", "EchoNumbers", "SeriesInstanceUID",
    "SOPInstanceUID", "PixelSpacingCalibrationType", "PatientOrientation",
}  # fmt: skip


def planted_everywhere():
    """Every text element of the standard, planted, with private elements and sequences in sequences."""
    data = Dataset()
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if vr in TEXTS and keyword and not retired and tag >> 16 > 2 and keyword not in NEEDED:
            data.add_new(tag, vr, TEXTS[vr])
    inner = Dataset()
    inner.PatientName, inner.StudyDate = TEXTS["PN"], TEXTS["DA"]
    outer = Dataset()
    outer.ReferencedPatientSequence = Sequence([inner])
    data.ReferencedStudySequence = Sequence([outer])
    block = data.private_block(0x0099, f"{PLANT} PRIVATE", create=True)
    block.add_new(0x01, "LO", TEXTS["LO"])
    block.add_new(0x02, "OB", PLANT.encode() + b"0")
    block.add_new(0x03, "SQ", Sequence([inner]))
    return data


def save_series(folder, volume):
    folder.mkdir(parents=True)
    template = planted_everywhere()
    for index in range(volume.shape[2]):
        data = pydicom.Dataset(template)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = f"{TEXTS['UI']}.{index}"
        data.file_meta = meta
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.Modality = f"{TEXTS['UI']}.9", "MR"
        data.ImageType = ["ORIGINAL", "PRIMARY", PLANT]
        data.AcquisitionTime = f"07193{index % 2}.7"
        data.ContentTime = f"071937.{index}"
        data.InstanceNumber = 77777733 + index
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, 3.0 * (index // 2)]
        data.PixelSpacing, data.SliceThickness = [1.5, 1.5], 3
        data.Rows, data.Columns = volume.shape[1], volume.shape[0]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = np.ascontiguousarray(volume[:, :, index].T).tobytes()
        data.save_as(folder / f"{PLANT}_{index}.dcm", enforce_file_format=True)


def texts_in(path):
    """The bytes of a file, unpacked too."""
    raw = path.read_bytes()
    yield raw
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    if raw[:8] == b"\x89PNG\r\n\x1a\n":
        yield zlib.decompress(raw[raw.index(b"IDAT") + 4 :]) if b"IDAT" in raw else b""


def assert_clean(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        for word in FORBIDDEN:
            assert word.decode() not in str(path.relative_to(folder))
            for text in texts_in(path):
                assert word not in text, f"{word} in {path.name}"


def test_nothing_planted_is_found_in_any_output(small):
    small.config |= {"modality": "mri", "overlapping": False}
    small.data = small.root / "source"
    draw = np.random.default_rng(0)
    for name in ("one", "two"):
        save_series(small.data / f"{PLANT}^JANE_19370517" / name, draw.integers(0, 900, (8, 9, 12)).astype(np.uint16))
        small.add(name, f"{PLANT}^JANE_19370517/{name}")
    # Rejections of every sort, whose sources' names are planted too.
    bad = small.data / f"{PLANT}_bad"
    bad.mkdir()
    (bad / f"{PLANT}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + PLANT.encode() * 20)
    (bad / f"{PLANT}.nii.gz").write_bytes(gzip.compress(PLANT.encode() * 99))
    (bad / f"{PLANT}.nrrd").write_bytes(b"NRRD0005\ntype: " + PLANT.encode() + b"\ndimension: 3\n\n")
    (bad / f"{PLANT}.mha").write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\nElementDataFile = ZZPLANT.raw\n"
    )
    source = small.data / f"{PLANT}^JANE_19370517" / "one"
    first = sorted(source.iterdir())[0].read_bytes()
    (bad / f"{PLANT}.dcm").write_bytes(first[:-60])
    report = planted_everywhere()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.Modality, report.SOPClassUID = PLANT, TEXTS["UI"]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, report, enforce_file_format=False, implicit_vr=False, little_endian=True)
    (bad / f"{PLANT}_report.dcm").write_bytes(b"\0" * 128 + b"DICM" + buffer.getvalue()[132:])
    for index, path in enumerate(sorted(bad.iterdir())):
        small.add(f"bad{index}", str(path.relative_to(small.data)))
    small.add("gone", f"{PLANT}/nowhere.nii")
    small.add("nomask", f"{PLANT}^JANE_19370517/two", patient_id="two", mask=f"{PLANT}_bad/{PLANT}.png")
    scans, rejected = small.run()
    assert set(scans) == {"one", "two"}
    assert len(rejected) == 8
    assert scans["one"]["channels"] == "2"
    # The shards' manifests say where the sources are, as the study's own manifest does; nothing else may.
    for path in (small.paths.results / "shards").iterdir():
        path.unlink()
    assert_clean(small.paths.results)
    assert not any(word.decode() in line for word in FORBIDDEN for line in small.said)


def test_alone_too(small, capsys):
    from pipeline.cli.ingest import ingest_files

    folder = small.data / f"{PLANT}^JANE_19370517"
    save_series(folder / "one", np.random.default_rng(0).integers(0, 900, (8, 9, 12)).astype(np.uint16))
    (folder / f"{PLANT}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + PLANT.encode())
    assert ingest_files([folder], small.root / "out", None) == 3
    assert PLANT in capsys.readouterr().out  # the terminal may say what came from where
    assert_clean(small.root / "out")
