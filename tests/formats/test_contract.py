"""The formats of scans that are files, each by the inherited tester."""

import struct
import zlib

import nibabel as nib
import numpy as np
import SimpleITK
from PIL import Image

from tests.formats.contract import FormatContract


class TestNifti(FormatContract):
    suffix = ".nii"
    title = "NIfTI volume"

    def write(self, path, voxels, affine):
        nib.save(nib.Nifti1Image(voxels, affine), path)

    def promise_too_much(self, raw):
        return raw[:40] + struct.pack("<4h", 3, 32767, 32767, 32767) + raw[48:]


class ItkContract(FormatContract):
    """Written by SimpleITK, which counts in LPS."""

    title = "NRRD or MetaImage volume"

    def write(self, path, voxels, affine):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
        lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
        spacing = np.linalg.norm(lps[:, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:, 3].tolist())
        SimpleITK.WriteImage(image, str(path))


class TestMetaImage(ItkContract):
    suffix = ".mha"

    def promise_too_much(self, raw):
        return raw.replace(b"DimSize = 6 7 5", b"DimSize = 60000 70000 50000")


class TestNrrd(ItkContract):
    suffix = ".nrrd"

    def promise_too_much(self, raw):
        return raw.replace(b"sizes: 6 7 5", b"sizes: 60000 70000 50000")


class TestPng(FormatContract):
    suffix = ".png"
    title = "PNG picture"
    shape = (40, 30, 1)
    holds_place = False

    def write(self, path, voxels, affine):
        Image.fromarray(np.ascontiguousarray(voxels[..., 0].T)).save(path)

    def promise_too_much(self, raw):
        header = raw[12:16] + struct.pack(">II", 1_000_000, 1_000_000) + raw[24:29]
        return raw[:12] + header + struct.pack(">I", zlib.crc32(header)) + raw[33:]
