from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tests.field.making import grey, labels, write_nifti


def make(folder: Path) -> None:
    """Slices called ``.IMA`` of an upright volume, and a mask on their grid in the same folder."""
    truth = labels((12, 10, 4))
    for patient in ("p1", "p2"):
        voxels = grey((12, 10, 4), seed=len(patient)).astype(np.uint16)
        series = generate_uid()
        (folder / "data" / patient).mkdir(parents=True)
        for z in range(4):
            _slice(voxels[..., z], z, series).save_as(folder / "data" / patient / f"{z}.IMA", enforce_file_format=True)
        # A DICOM volume's first two axes run to the left and to the back.
        write_nifti(folder / "data" / patient / "mask.nii.gz", truth, affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    np.save(folder / "truth.npy", truth[::-1, ::-1])
    (folder / "configs").mkdir()
    (folder / "configs/s.yaml").write_text("{modality: mri, organs: [femur, tibia]}")


def _slice(pixels: np.ndarray, z: int, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.PatientID, data.Modality = series, series, "ANON", "MR"
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.0 * z]
    data.PixelSpacing, data.SliceThickness, data.InstanceNumber = [1, 1], 2, z + 1
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.Rows, data.Columns = pixels.shape[1], pixels.shape[0]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = np.ascontiguousarray(pixels.T).tobytes()
    return data
