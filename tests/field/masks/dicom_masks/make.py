"""A series with a labelmap segmentation, one of foreign names, and a structure set."""

from pathlib import Path

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import RTStructureSetStorage

from tests.field.making import grey, labels, write_study
from tests.formats.conftest import Making

AFFINE = np.diag([1.0, 1, 3, 1])


def make(folder: Path) -> None:
    """Write the series and three objects on it."""
    truth = labels()
    slices = Making.series(grey().astype(np.uint16), AFFINE)
    Making.save(folder / "data/scan", slices)
    for item in slices:
        item.FrameOfReferenceUID = slices[0].StudyInstanceUID
        item.StudyInstanceUID = slices[0].StudyInstanceUID
        item.StudyDate, item.StudyTime, item.AccessionNumber = "20000101", "000000", ""
        item.PatientBirthDate, item.PatientSex, item.StudyID, item.ReferringPhysicianName = "", "", "", ""
    _segmentation(folder / "data/labelmap.dcm", slices, truth, "LABELMAP", ["femur", "tibia"])
    swapped = np.array([0, 2, 1], np.uint8)[truth]
    _segmentation(folder / "data/foreign.dcm", slices, swapped, "BINARY", ["Schienbein", "Oberschenkelknochen"])
    _structures(folder / "data/contours.dcm", truth)
    np.save(folder / "truth.npy", truth)
    rows = [
        {"scan_id": name, "patient_id": "p", "image": "scan", "mask": f"{name}.dcm"}
        for name in ("labelmap", "foreign", "contours")
    ]
    write_study(folder, rows, ingest={"shards": 1})


def _segmentation(path: Path, slices: list[Dataset], values: np.ndarray, kind: str, names: list[str]) -> None:
    described = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Bone, "MANUAL")
        for number, name in enumerate(names, 1)
    ]
    pixels = np.stack([values == number for number in (1, 2)], -1).transpose(2, 1, 0, 3).astype(np.uint8)
    uid = highdicom.UID
    highdicom.seg.Segmentation(slices, pixels, kind, described, uid(), 1, uid(), 1, "a", "b", "c", "d").save_as(path)


def _structures(path: Path, truth: np.ndarray) -> None:
    """The boxes of the label map as closed contours half a voxel around their voxels."""
    data = Making.dicom_file(RTStructureSetStorage, np.zeros((2, 2), np.uint16))
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        del data[name]
    data.Modality, data.StructureSetLabel = "RTSTRUCT", "s"
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, name in ((1, "tibia"), (2, "femur")):
        inside = truth == (1 if name == "femur" else 2)
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber, drawn.ContourSequence = number, name, number, []
        for level in np.flatnonzero(inside.any(axis=(0, 1))):
            at = np.argwhere(inside[:, :, level])
            (x0, y0), (x1, y1) = at.min(axis=0) - 0.5, at.max(axis=0) + 0.5
            corners = [(-x, -y, 3.0 * level) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", 4
            item.ContourData = [f"{value:.3f}" for corner in corners for value in corner]
            drawn.ContourSequence.append(item)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    data.save_as(path, enforce_file_format=True)
