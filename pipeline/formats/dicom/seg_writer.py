"""Predicted organs as a DICOM segmentation object, with de-identified source instances beside it.

The source instances hold the scan's pixels and nothing else of the original: no names, no dates, no original UIDs.
Every UID is a keyed hash of the scan's name, so that the same scan gives the same UIDs, and no one without the key can
tell which.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.scan import LPS, Array, Scan
from pipeline.formats.dicom.codes import code_of
from pipeline.formats.dicom.radiograph import TOWARDS
from pipeline.formats.nifti.labels import stored_grid
from pipeline.imaging.pictures import rgb

KEY_VARIABLE = "ORGANSEG_UID_KEY"
# The date that stands for "not told" where the standard wants one.
DRAWN = "1.2.826.0.1.3680043.10.511.3."  # root of UIDs that highdicom draws
NO_DATE, NO_TIME = "19000101", "000000"
_KINDS = {
    "mri": (MRImageStorage, "MR"),
    "ct": (CTImageStorage, "CT"),
    "xray": (ComputedRadiographyImageStorage, "CR"),
    "photo": (SecondaryCaptureImageStorage, "OT"),
}


def keyed_uid(key: str, *words: object) -> str:
    """A UID under 2.25 (any 128-bit number) that is the HMAC-SHA-256 of some words."""
    digest = hmac.new(key.encode(), "\0".join(str(word) for word in words).encode(), hashlib.sha256).digest()
    # The version and variant bits of a UUID, as ITU-T X.667 wants them under this root.
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (4 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return f"2.25.{number}"


def uid_key(study: str) -> str:
    """The key of a study's UIDs: ``ORGANSEG_UID_KEY``, else one that anyone can know from the study's name."""
    return f"{os.environ.get(KEY_VARIABLE, 'organseg')}:{study}"


def write_seg(
    folder: Path,
    scan_id: str,
    scan: Scan,
    labels: LabelMap,
    *,
    study: str,
    codes: Mapping[str, str],
    colors: Mapping[str, str],
    model: str,
) -> Path:
    """Write ``seg.dcm`` and, under ``source/``, the instances that it refers to.

    Args:
        folder: The scan's own folder.
        scan_id: The scan's name; it becomes the patient's name and id.
        scan: The scan. Its first channel is written.
        labels: Its organs, on the scan's grid.
        study: Name of the study.
        codes: Organ → SNOMED CT code, where the study gives one.
        colors: Organ → ``#rrggbb``.
        model: Name of the model that found the organs.

    Returns:
        The path of the segmentation object.

    Raises:
        InputError: The scan's rows and columns are not perpendicular, which DICOM cannot say.
    """
    key = uid_key(study)
    sources = source_instances(scan_id, scan, key)
    segments = [_description(number, organ, codes, colors, model) for number, organ in enumerate(labels.organs, 1)]
    masks = np.stack([scan.to_stored(labels.mask(organ)).T for organ in labels.organs], -1)
    with warnings.catch_warnings():
        # Remarks on empty masks and on CR sources without a frame of reference; both are meant.
        warnings.simplefilter("ignore")
        seg = _segmentation(sources, masks.astype(np.uint8), segments, key, scan_id, model)
    if scan.is_flat:
        seg.PatientOrientation = sources[0].PatientOrientation
    _forget_times(seg)
    _fix_uids(seg, key, scan_id)
    for number, source in enumerate(sources, 1):
        with whole_file(folder / "source" / f"{number:04d}.dcm") as part:
            source.save_as(part, enforce_file_format=True)
    path = folder / "seg.dcm"
    with whole_file(path) as part:
        seg.save_as(part, enforce_file_format=True)
    return path


def _segmentation(
    sources: Sequence[Dataset], masks: NDArray[np.uint8], segments: Sequence[Any], key: str, scan_id: str, model: str
) -> Any:
    from highdicom.seg import Segmentation, SegmentationTypeValues

    return Segmentation(
        source_images=sources,
        pixel_array=masks,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=keyed_uid(key, scan_id, "seg series"),
        series_number=2,
        sop_instance_uid=keyed_uid(key, scan_id, "seg"),
        instance_number=1,
        manufacturer="organseg",
        manufacturer_model_name=model[:64],
        software_versions="1",
        device_serial_number="0",
        content_description="Organs found by a model",
        series_description="organseg",
    )


def _description(number: int, organ: str, codes: Mapping[str, str], colors: Mapping[str, str], model: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes as dictionary

    code = code_of(organ, codes.get(organ))
    family = dictionary.cid7162.ArtificialIntelligence
    description = SegmentDescription(
        segment_number=number,
        segment_label=organ[:64],
        segmented_property_category=CodedConcept(*code.category),
        segmented_property_type=CodedConcept(*code.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(name=model[:64], family=family, version="1"),
        tracking_id=organ[:64],
        tracking_uid=keyed_uid("organseg", "organ", organ),
        display_color=CIELabColor.from_rgb(*rgb(colors[organ])) if organ in colors else None,
    )
    if code.side is not None:
        side = Dataset()
        side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning = code.side
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return description


def _forget_times(seg: Dataset) -> None:
    for name in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        if name in seg:
            setattr(seg, name, NO_DATE)
    for name in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        if name in seg:
            setattr(seg, name, NO_TIME)
    for equipment in seg.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = NO_DATE


def _fix_uids(seg: Dataset, key: str, scan_id: str) -> None:
    """Give UIDs that highdicom drew by chance (the dimension organisation's) values that stay the same."""
    fixed: dict[str, str] = {}

    def fix(_: Dataset, element: DataElement) -> None:
        if element.VR == "UI" and str(element.value).startswith(DRAWN):
            fixed.setdefault(str(element.value), keyed_uid(key, scan_id, "drawn", len(fixed)))
            element.value = fixed[str(element.value)]

    seg.walk(fix)


def source_instances(scan_id: str, scan: Scan, key: str) -> list[Dataset]:
    """De-identified instances of a scan: one a slice of its stored grid, or one for a picture.

    Raises:
        InputError: Rows and columns are not perpendicular.
    """
    grid = stored_grid(scan)
    columns, rows, across = np.asarray(grid.affine, float)[:3, :3].T * LPS
    if abs(columns @ rows) > 1e-3 * np.linalg.norm(columns) * np.linalg.norm(rows):
        raise InputError("the scan's rows and columns are not perpendicular, which DICOM cannot say")
    pixels, slope, intercept = _stored_values(scan.to_stored(scan.voxels[0]).T)
    spacing = grid.spacing
    instances = []
    for index in range(len(pixels)):
        instance = _instance(scan_id, scan, key, index)
        instance.Rows, instance.Columns = pixels[index].shape
        instance.PixelData = np.ascontiguousarray(pixels[index]).tobytes()
        instance["PixelData"].VR = "OW"
        instance.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
        if scan.modality == "ct":
            instance.RescaleSlope, instance.RescaleIntercept, instance.RescaleType = slope, intercept, "HU"
        if scan.is_flat:
            _flat_spacing(instance, scan)
        else:
            place = (np.asarray(grid.affine) @ [0, 0, index, 1])[:3] * LPS
            instance.ImagePositionPatient = _decimals(place)
            instance.ImageOrientationPatient = _decimals([*columns / spacing[0], *rows / spacing[1]])
            instance.PixelSpacing = _decimals([spacing[1], spacing[0]])
            normal = np.cross(columns / spacing[0], rows / spacing[1])
            instance.SliceThickness = _decimals([abs(float(across @ normal))])[0]
        instances.append(instance)
    return instances


def _decimals(values: Any) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _flat_spacing(instance: Dataset, scan: Scan) -> None:
    spacing = _decimals([scan.spacing[1], scan.spacing[0]])
    if scan.spacing_source == "patient":
        instance.PixelSpacing = spacing
    elif scan.spacing_source == "detector":
        instance.ImagerPixelSpacing = spacing


def _towards(affine: Array) -> list[str]:
    """The patient's sides that a picture's rows and columns run to, as PatientOrientation wants them."""
    directions = np.asarray(affine, float)[:3, :2].T
    return [max(TOWARDS, key=lambda letter: float(one @ TOWARDS[letter])) for one in directions]


def _stored_values(frames: Array) -> tuple[Array, float, float]:
    """Pixels as 16-bit integers, and the slope and intercept that bring them back."""
    values = np.nan_to_num(np.asarray(frames, np.float64))
    low, high = float(values.min()), float(values.max())
    whole = np.issubdtype(frames.dtype, np.integer) or bool(np.all(values == np.rint(values)))
    if whole and low >= 0 and high < 65536:
        return values.astype(np.uint16), 1.0, 0.0
    if whole and low >= -32768 and high < 32768:
        return values.astype(np.int16), 1.0, 0.0
    slope = (high - low) / 65535 if high > low else 1.0
    return np.rint((values - low) / slope).astype(np.uint16), slope, low


def _instance(scan_id: str, scan: Scan, key: str, index: int) -> Dataset:
    """What an instance says beside its pixels and their place."""
    kind, modality = _KINDS[scan.modality]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = keyed_uid(key, scan_id, "instance", index)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = keyed_uid("organseg", "implementation")
    one = Dataset()
    one.file_meta = meta
    one.SOPClassUID, one.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    one.PatientName = one.PatientID = scan_id
    one.PatientBirthDate = one.PatientSex = ""
    one.PatientIdentityRemoved, one.DeidentificationMethod = "YES", "organseg: written anew from the pixels"
    one.StudyInstanceUID = keyed_uid(key, scan_id, "study")
    one.SeriesInstanceUID = keyed_uid(key, scan_id, "series")
    one.StudyDate = one.StudyTime = one.AccessionNumber = one.ReferringPhysicianName = ""
    one.StudyID, one.SeriesNumber, one.InstanceNumber = "1", 1, index + 1
    one.Modality = modality
    one.Manufacturer = ""
    one.PatientOrientation = _towards(scan.affine) if scan.modality == "xray" else ""
    one.ImageType = ["DERIVED", "SECONDARY"] + (
        ["OTHER"] if modality == "MR" else ["AXIAL"] if modality == "CT" else []
    )
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    if modality in {"MR", "CT"}:
        one.FrameOfReferenceUID = keyed_uid(key, scan_id, "frame of reference")
        one.PositionReferenceIndicator = ""
        one.Laterality = ""
        one.PatientPosition = "HFS"
    if modality == "MR":
        one.ScanningSequence, one.SequenceVariant, one.ScanOptions = "RM", "NONE", ""
        one.MRAcquisitionType = one.RepetitionTime = one.EchoTime = one.EchoTrainLength = ""
    elif modality == "CT":
        one.KVP = one.AcquisitionNumber = ""
    elif modality == "CR":
        one.BodyPartExamined = one.ViewPosition = one.Laterality = ""
    else:
        one.ConversionType = "WSD"
    return one
