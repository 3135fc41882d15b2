"""DICOM, NIfTI and picture files made on the spot."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from pipeline.core.scan import Grid, permute
from pipeline.core.study import Ingest

LPS = np.array([-1.0, -1.0, 1.0])


def asymmetric(shape=(7, 9, 6), seed=3):
    """A volume that no flip or turn maps onto itself."""
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def dicom_file(kind, pixels, *, signed=False, bits=16):
    """A file data set with pixels ``(rows, columns)`` or ``(frames, rows, columns)``."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientName, data.PatientID = "Doe^Jane", "P-1"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = pixels.shape[0]
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored, data.HighBit = min(bits, data.BitsAllocated), min(bits, data.BitsAllocated) - 1
    data.PixelRepresentation = int(signed)
    data.PixelData = pixels.tobytes()
    return data


def oriented(volume, affine, axes=(0, 1, 2), flips=(False, False, False)):
    """A volume in another axis order, with the affine that keeps it at its place."""
    grid = Grid(volume.shape, np.asarray(affine, float)).permuted(axes, flips)
    return permute(volume, axes, flips), grid.affine


def series(volume, affine, **elements):
    """The data sets of an MR series: slices along the last axis of a volume with a RAS affine, in order."""
    uid = generate_uid()
    steps = [np.asarray(affine)[:3, axis] for axis in range(3)]
    spacing = [float(np.linalg.norm(step)) for step in steps]
    found = []
    for index in range(volume.shape[2]):
        data = dicom_file(MRImageStorage, np.ascontiguousarray(volume[:, :, index].T))
        data.Modality = "MR"
        data.SeriesInstanceUID = uid
        data.InstanceNumber = index + 1
        data.ImageOrientationPatient = [float(v) for axis in (0, 1) for v in steps[axis] / spacing[axis] * LPS]
        data.ImagePositionPatient = [float(v) for v in (np.asarray(affine)[:3, 3] + steps[2] * index) * LPS]
        data.PixelSpacing = [spacing[1], spacing[0]]
        data.SliceThickness = spacing[2] / 2
        for name, value in elements.items():
            setattr(data, name, value)
        found.append(data)
    return found


def save(folder, datasets, seed=0):
    """Save data sets under names whose order is not theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(seed).permutation(len(datasets))
    for name, data in zip(names, datasets, strict=True):
        data.save_as(folder / f"{name:04d}.dcm", enforce_file_format=True)
    return folder


def enhanced(slices):
    """The slices of a series as one enhanced multi-frame object."""
    pixels = np.stack([np.frombuffer(s.PixelData, np.uint16).reshape(s.Rows, s.Columns) for s in slices])
    data = dicom_file(EnhancedMRImageStorage, pixels)
    data.Modality = "MR"
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for item in slices:
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = item.ImagePositionPatient
        group.PlanePositionSequence = [position]
        frames.append(group)
    data.PerFrameFunctionalGroupsSequence = frames
    return data


def radiograph(pixels, *, bits=12, **elements):
    """A DX object."""
    data = dicom_file(DigitalXRayImageStorageForPresentation, pixels, bits=bits)
    data.Modality = "DX"
    for name, value in elements.items():
        setattr(data, name, value)
    return data


class Making:
    """The functions above in one fixture, because test folders are no packages."""

    asymmetric = staticmethod(asymmetric)
    dicom_file = staticmethod(dicom_file)
    oriented = staticmethod(oriented)
    series = staticmethod(series)
    save = staticmethod(save)
    enhanced = staticmethod(enhanced)
    radiograph = staticmethod(radiograph)
    CT = CTImageStorage


@pytest.fixture
def making() -> type[Making]:
    """Makers of files."""
    return Making


@pytest.fixture
def options() -> Ingest:
    """Defaults of the study's ingest section."""
    return Ingest()


@pytest.fixture
def samples(real_data: Path) -> Path:
    """The DICOM sample files."""
    return real_data / "dicom"
