"""DICOM files of the demo's phantoms: DX radiographs and MR series, with people and dates that are plainly invented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from pipeline.core.scan import LPS_TO_RAS
from pipeline.demo.rays import Array

FAMILY = ("Phantom", "Mannequin", "Dummy", "Specimen", "Placeholder", "Example")
GIVEN = ("Ada", "Basil", "Cora", "Dorian", "Edda", "Fergus", "Greta", "Hugo", "Ida", "Jasper", "Klara", "Linus")


@dataclass(frozen=True)
class Visit:
    """Whom and when a scan is of. All of it is invented.

    Attributes:
        study: Name of the demo study, part of every UID's seed.
        seed: Seed of the demo, likewise.
        patient: Number of the patient.
        number: Which scan of the patient, from 0.
        site: Where the scan was taken.
    """

    study: str
    seed: int
    patient: int
    number: int
    site: str

    def uid(self, *what: object) -> str:
        """A UID that depends on nothing but the visit and ``what`` it names."""
        words = [self.study, self.seed, self.patient, self.number, *what]
        return str(generate_uid(entropy_srcs=[str(word) for word in words]))

    @property
    def date(self) -> str:
        """Invented date, in the format of DICOM."""
        year = 1970 + (self.patient * 7 + self.seed) % 20
        month, day = 1 + self.patient % 12, 1 + (self.patient * 5 + self.number * 9) % 28
        return f"{year}{month:02d}{day:02d}"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _start(visit: Visit, sop_class: str, instance: str, modality: str) -> FileDataset:
    """File meta information and the patient, study, series and equipment modules."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["organseg demo"])
    meta.ImplementationVersionName = "ORGANSEG_DEMO"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = sop_class, instance
    person = visit.patient + visit.seed
    data.PatientName = f"{FAMILY[person % len(FAMILY)]}^{GIVEN[person * 5 % len(GIVEN)]}^No. {visit.patient}"
    data.PatientID = f"INVENTED-{visit.seed}-{visit.patient:03d}"
    data.PatientBirthDate = f"19{10 + person % 40}0{1 + person % 9}1{person % 10}"
    data.PatientSex = "FM"[person % 2]
    data.StudyInstanceUID = visit.uid("study")
    data.SeriesInstanceUID = visit.uid("series")
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = visit.date
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = f"{8 + visit.patient % 10:02d}1500"
    data.ReferringPhysicianName = "Invented^Referrer"
    data.StudyID, data.SeriesNumber, data.InstanceNumber = str(visit.number + 1), 1, 1
    data.AccessionNumber = f"DEMO{visit.patient:04d}{visit.number}"
    data.Modality = modality
    data.Manufacturer = "Phantom Works"
    data.ManufacturerModelName = "Line integral" if modality == "DX" else "Signal table"
    data.InstitutionName = f"Invented hospital {visit.site}"
    data.DeviceSerialNumber = "0"
    data.SoftwareVersions = "demo"
    return data


def _pixels(data: Dataset, grey: NDArray[np.uint16], bits: int) -> None:
    data.Rows, data.Columns = grey.shape
    data.SamplesPerPixel = 1
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = 0
    data.PixelData = np.ascontiguousarray(grey, "<u2").tobytes()


def write_dx(
    path: Path,
    visit: Visit,
    grey: NDArray[np.uint16],
    *,
    pixel_mm: float,
    magnification: float,
    source_mm: float,
    inverse: bool,
    spacing: str,
    view: str,
    text: bool,
) -> None:
    """Write a radiograph as a DX image for presentation.

    Args:
        path: File to write.
        visit: Whom and when.
        grey: ``(rows, columns)`` 12-bit, bone bright.
        pixel_mm: Pitch at the detector.
        magnification: From the middle of the patient to the detector.
        source_mm: From source to detector.
        inverse: Store it as MONOCHROME1.
        spacing: ``detector`` writes ImagerPixelSpacing and the magnification, ``patient`` also PixelSpacing corrected
            for it.
        view: ``PA`` or ``AP``.
        text: Words are burned into the picture.
    """
    data = _start(visit, DigitalXRayImageStorageForPresentation, visit.uid("image"), "DX")
    data.PresentationIntentType = "FOR PRESENTATION"
    data.ImageType = ["DERIVED", "PRIMARY", ""]
    data.PatientOrientation = ["L", "F"]
    data.BodyPartExamined, data.ImageLaterality = "CHEST", "U"
    data.AnatomicRegionSequence = DicomSequence([_code("51185008", "SCT", "Chest")])
    data.ViewPosition = view
    codes = {"PA": ("272479007", "postero-anterior"), "AP": ("399348003", "antero-posterior")}
    data.ViewCodeSequence = DicomSequence([_code(codes[view][0], "SCT", codes[view][1])])
    data.PatientOrientationCodeSequence = DicomSequence([_code("10904000", "SCT", "erect")])
    data.DetectorType, data.DetectorID = "SCINTILLATOR", "PHANTOM"
    data.FieldOfViewShape = "RECTANGLE"
    data.ImagerPixelSpacing = [round(pixel_mm, 6)] * 2
    data.DistanceSourceToDetector = round(source_mm, 3)
    data.DistanceSourceToPatient = round(source_mm / magnification, 3)
    data.EstimatedRadiographicMagnificationFactor = round(magnification, 6)
    if spacing == "patient":
        data.PixelSpacing = [round(pixel_mm / magnification, 6)] * 2
        data.PixelSpacingCalibrationType = "GEOMETRY"
        data.PixelSpacingCalibrationDescription = "Magnification at the middle of the phantom"
    data.KVP = 120
    data.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    data.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    data.PixelIntensityRelationship = "LOG"
    data.PixelIntensityRelationshipSign = -1 if inverse else 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
    data.WindowCenter, data.WindowWidth = 2047.5, 4096
    data.LossyImageCompression = "00"
    data.BurnedInAnnotation = "YES" if text else "NO"
    data.AcquisitionContextSequence = DicomSequence([])
    _pixels(data, (4095 - grey).astype(np.uint16) if inverse else grey, 12)
    data.save_as(path, enforce_file_format=True)


def write_mr(
    folder: Path,
    visit: Visit,
    voxels: NDArray[np.uint16],
    affine: Array,
    *,
    contrast: str,
    order: NDArray[np.integer],
    without: int | None = None,
) -> None:
    """Write a volume as an MR series, one file a slice, in a folder of its own.

    Args:
        folder: Folder to make.
        visit: Whom and when.
        voxels: ``(X, Y, Z)``: X along the columns, Y along the rows, Z across the slices.
        affine: 4×4, voxel index → RAS+ mm.
        contrast: ``T1`` or ``FLAIR``.
        order: ``(Z,)`` a permutation: which number each slice gets, in its file name and as InstanceNumber.
        without: A slice to leave out.
    """
    folder.mkdir(parents=True)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    along_row, along_column, normal = (lps[:3, :3] / spacing).T
    scale = float(np.percentile(voxels, 99.5))
    for index in range(voxels.shape[2]):
        if index == without:
            continue
        number = int(order[index]) + 1
        data = _start(visit, MRImageStorage, visit.uid("image", index), "MR")
        data.SeriesDescription = f"{contrast} phantom"
        data.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
        data.BodyPartExamined, data.PatientPosition = "HEAD", "HFS"
        data.FrameOfReferenceUID, data.PositionReferenceIndicator = visit.uid("frame"), ""
        data.ScanningSequence = "SE" if contrast == "T1" else ["SE", "IR"]
        data.SequenceVariant, data.ScanOptions = "NONE", ""
        data.MRAcquisitionType = "2D"
        data.RepetitionTime, data.EchoTime = (500.0, 12.0) if contrast == "T1" else (8000.0, 120.0)
        if contrast != "T1":
            data.InversionTime = 2300.0
        data.EchoTrainLength, data.MagneticFieldStrength = 1, 1.5
        # Thinner than the distance between slices: a reader that takes one for the other is wrong.
        data.SliceThickness = round(float(spacing[2]) * 0.9, 4)
        data.SpacingBetweenSlices = round(float(spacing[2]), 4)
        data.InstanceNumber = number
        position = lps[:3] @ [0, 0, index, 1]
        data.ImagePositionPatient = [f"{value:.6f}" for value in position]
        data.ImageOrientationPatient = [f"{value:.8f}" for value in (*along_row, *along_column)]
        data.SliceLocation = f"{float(position @ normal):.4f}"
        data.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
        data.PhotometricInterpretation = "MONOCHROME2"
        data.WindowCenter, data.WindowWidth = round(scale / 2), round(scale)
        data.LossyImageCompression = "00"
        data.BurnedInAnnotation = "NO"
        _pixels(data, voxels[:, :, index].T, 16)
        data.save_as(folder / f"IM{number:04d}.dcm", enforce_file_format=True)
