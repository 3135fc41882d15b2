"""Nothing that identifies a patient leaves ingestion: planted everywhere, found nowhere."""

import gzip
import importlib
import io
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from pipeline.ingest.alone import ingest_alone
from pipeline.ingest.reasons import scrub
from tests.field.making import grey, write_series

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
    assert_nothing_leaves(small)


def test_alone_too(small, capsys):
    from pipeline.cli.ingest import ingest_files

    folder = small.data / f"{PLANT}^JANE_19370517"
    save_series(folder / "one", np.random.default_rng(0).integers(0, 900, (8, 9, 12)).astype(np.uint16))
    (folder / f"{PLANT}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + PLANT.encode())
    assert ingest_files([folder], small.root / "out", None) == 3
    assert PLANT in capsys.readouterr().out  # the terminal may say what came from where
    assert_clean(small.root / "out")


def plant_volumes(folder):
    """Volumes and masks whose headers hold the plant wherever text can stand."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(1)
    voxels = draw.integers(0, 900, (8, 9, 7)).astype(np.int16)
    label = (voxels > 600).astype(np.uint8)
    for name, data in (("scan", voxels), ("mask", label)):
        image = nib.Nifti1Image(data, np.eye(4))
        for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
            image.header[field] = PLANT
        image.header.extensions.append(nib.nifti1.Nifti1Extension(6, f"{PLANT}^JANE".encode()))
        nib.save(image, folder / f"{PLANT}_{name}.nii.gz")
    for suffix in ("nrrd", "mha"):
        image = SimpleITK.GetImageFromArray(voxels.T)
        image.SetMetaData("Comment", PLANT)
        image.SetMetaData("PatientName", TEXTS["PN"])
        SimpleITK.WriteImage(image, str(folder / f"{PLANT}.{suffix}"))
    runs = "1 3 20 4"
    (folder / f"{PLANT}.csv").write_text(f"ImageId,EncodedPixels,Name\n{PLANT}_scan.nii.gz,{runs},{PLANT}\n")


def plant_pictures(folder):
    """Pictures with the plant in text chunks, tags, EXIF and comments."""
    folder.mkdir(parents=True)
    pixels = Image.fromarray(np.random.default_rng(2).integers(0, 255, (30, 20)).astype(np.uint8))
    chunks = PngInfo()
    chunks.add_text("Author", PLANT)
    chunks.add_itxt("Comment", f"{PLANT} 19370517")
    pixels.save(folder / f"{PLANT}.png", pnginfo=chunks)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x0132] = PLANT, TEXTS["PN"], "19370517"
    pixels.save(folder / f"{PLANT}.jpg", exif=exif, comment=PLANT.encode())
    pixels.save(folder / f"{PLANT}.tif", tiffinfo={270: PLANT, 315: TEXTS["PN"], 306: "19370517"})


def test_nothing_planted_in_other_formats_is_found_either(small):
    place = f"{PLANT}^JANE_19370517"
    plant_volumes(small.data / place)
    small.config |= {"modality": "mri", "overlapping": False, "organs": ["heart"]}
    small.add("nifti", f"{place}/{PLANT}_scan.nii.gz", mask=f"{place}/{PLANT}_mask.nii.gz")
    small.add("nrrd", f"{place}/{PLANT}.nrrd")
    small.add("mha", f"{place}/{PLANT}.mha")
    small.add("other_grid", f"{place}/{PLANT}.mha", patient_id="mha", mask=f"{place}/{PLANT}_scan.nii.gz")
    small.add("runs", f"{place}/{PLANT}_scan.nii.gz", patient_id="nifti", mask=f"{place}/{PLANT}.csv")
    scans, rejected = small.run()
    assert {"nifti", "nrrd", "mha"} <= set(scans)
    assert len(scans) + len(rejected) == 5
    assert_nothing_leaves(small)


def test_nothing_planted_in_pictures_is_found_either(small):
    place = f"{PLANT}^JANE_19370517"
    plant_pictures(small.data / place)
    small.config["ingest"]["empty_mask_cell"] = "not_annotated"
    for suffix in ("png", "jpg", "tif"):
        small.add(suffix, f"{place}/{PLANT}.{suffix}", mask_heart=f"{place}/{PLANT}.{suffix}")
        small.add(f"{suffix}_plain", f"{place}/{PLANT}.{suffix}", patient_id=suffix)
    scans, rejected = small.run()
    assert set(scans) == {"png_plain", "jpg_plain", "tif_plain"}
    assert {row["code"] for row in rejected.values()} == {"mask"}
    assert_nothing_leaves(small)


def assert_nothing_leaves(small):
    """What the stage wrote, but for the shards' manifests, and what it said, hold nothing planted."""
    for path in (small.paths.results / "shards").iterdir():
        path.unlink()
    assert_clean(small.paths.results)
    assert not any(word.decode() in line for word in FORBIDDEN for line in small.said)


@pytest.mark.parametrize(
    ("text", "path", "right"),
    [
        ("1 slice is missing (after slice 3 of 8)", "missing/slice.dcm", "1 slice is missing (after slice 3 of 8)"),
        ("the image has 2 channels and the study 1", "study/channels/has.nii", None),
        ("the header promises 4096 × 1024 × 3 values", "4096/1024.png", None),
        ("'missing' names no organ", "missing.csv", "'(file)' names no organ"),
        ("missing.nii and other.nii are masks of the same name", "missing.nii", "(file) and other.nii are masks of"),
        ("cannot read /mnt/missing/a.nii", "missing/a.nii", "cannot read /mnt/(file)/(file)"),
        ("holds slices of ZZSmith", "ZZSmith.dcm", "holds slices of (file)"),
        ("holds ZZSmith_mask and 4711123 in it", "ZZSmith/4711123", "holds (file)_mask and (file) in it"),
        ("what Mu\u0308ller-Thurgau holds", "M\u00fcller-Thurgau.nii", "what (file) holds"),
    ],
)
def test_what_came_from_the_input_is_hidden_and_not_our_own_words(text, path, right):
    importlib.import_module("pipeline.formats.dicom.series")
    importlib.import_module("pipeline.ingest.quality")
    assert scrub(text, [path]).startswith(right or text)


def test_a_missing_slice_is_said_in_a_folder_called_missing(tmp_path):
    folder = tmp_path / "missing" / "slice"
    write_series(folder, grey((12, 10, 8)), 2.0)
    (folder / "IM004.dcm").unlink()
    (outcome,) = ingest_alone([tmp_path / "missing"], tmp_path / "out", "mri")
    assert outcome.cells["reason"] == "1 slice is missing (after slice 3 of 7)"
