"""Small whole files of every kind, and changes of them of the sorts that occur."""

import gzip
import io
import struct
import zlib

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image


def seeds(making, real):
    """Small whole files of every kind, (kind, bytes)."""
    draw = np.random.default_rng(0)
    volume = making.asymmetric((12, 10, 4))

    def dicom(data):
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    def nifti(image, packed):
        raw = image.to_bytes()
        return gzip.compress(raw) if packed else raw

    def picture(array, suffix, **kinds):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, suffix, **kinds)
        return buffer.getvalue()

    plain = nib.Nifti1Image(volume, np.diag([1.0, 2, 3, 1]))
    found = [("dcm", dicom(item)) for item in making.series(volume, np.diag([1.0, 2, 3, 1]))[:1]]
    found.append(("dcm", dicom(making.enhanced(making.series(volume, np.eye(4))))))
    found.append(("dcm", dicom(making.radiograph(volume[:, :, 0], PhotometricInterpretation="MONOCHROME1"))))
    found += [("nii", nifti(plain, False)), ("nii", nifti(plain, True))]
    found.append(("nii", nifti(nib.Nifti2Image(volume, np.eye(4)), False)))
    grey = draw.integers(0, 255, (20, 30)).astype(np.uint8)
    colour = draw.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    found += [("png", picture(a, "PNG")) for a in (grey, colour, grey.astype(np.uint16) * 257)]
    found += [("jpg", picture(a, "JPEG")) for a in (grey, colour)]
    found += [(kind.lower(), picture(grey, kind)) for kind in ("GIF", "BMP")]
    white = io.BytesIO()
    tifffile.imwrite(white, grey.astype(np.uint16) * 257, photometric="miniswhite", byteorder=">")
    found.append(("tif", white.getvalue()))
    found.append(("tif", picture(grey, "TIFF", compression="tiff_lzw")))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, colour)
    found.append(("tif", buffer.getvalue()))
    header = b"NRRD0004\ntype: uint16\ndimension: 3\nsizes: 12 10 4\nencoding: raw\nendian: little\n\n"
    found.append(("nrrd", header + volume.tobytes()))
    header = b"ObjectType = Image\nNDims = 3\nDimSize = 12 10 4\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
    found.append(("mha", header + volume.tobytes()))
    found.append(("csv", b"ImageId,EncodedPixels\ns1,1 3 10 5 40 6\ns2,\n"))
    if real is not None:
        for name in ("mri_single/MR_small_RLE.dcm", "mri_single/MR_small_jp2klossless.dcm",
                     "mri_single/MR_small_jpeg_ls_lossless.dcm", "mri_single/view0010_anon_jpegll.dcm",
                     "bad_or_unusual/SC_rgb_jpeg_dcmtk.dcm", "mri_multiframe/emri_small_RLE.dcm"):  # fmt: skip
            found.append(("dcm", (real / name).read_bytes()))
    return found


def mutate(raw, kind, draw):
    """One change of one of the sorts that occur: cut, flipped, overwritten, swollen, absurd numbers."""
    data = bytearray(raw)
    sort = draw.integers(7)
    if sort == 0:
        return bytes(data[: int(draw.integers(len(data)))])
    if sort == 1:
        for place in draw.integers(0, len(data), int(draw.integers(1, 30))):
            data[place] ^= 1 << int(draw.integers(8))
    elif sort == 2:
        place = int(draw.integers(len(data)))
        data[place : place + 16] = draw.bytes(16)
    elif sort == 3:
        place = int(draw.integers(len(data)))
        more = int(draw.integers(1, 400))
        data[place:place] = data[:more] if draw.integers(2) else bytes(more)
    elif sort == 4:  # an absurd number somewhere in the header
        place = int(draw.integers(min(len(data), 2000)))
        number = [0xFFFFFFFF, 0x7FFFFFFF, 1_000_000, 0, 0x80000000, 65535][int(draw.integers(6))]
        data[place : place + 4] = struct.pack("<I" if draw.integers(2) else ">I", number)
    elif sort == 5:
        place = int(draw.integers(len(data)))
        del data[place : place + int(draw.integers(1, 200))]
    else:
        data = _absurd(data, kind, draw)
    return bytes(data)


def _absurd(data, kind, draw):
    """A well-formed header that promises the impossible."""
    huge = int(draw.integers(2**15, 2**31))
    if kind == "png":
        data[16:24] = struct.pack(">II", huge, huge)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "nii" and data[:2] != b"\x1f\x8b":
        sides = (32767, int(draw.integers(1, 32767)), int(draw.integers(-5, 32767)))
        data[40:56] = struct.pack("<8h", 3, *sides, 1, 1, 1, 1)
    elif kind == "dcm":
        for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
            at = data.find(tag)
            if at > 0:
                data[at + 8 : at + 10] = struct.pack("<H", int(draw.integers(60000, 65536)))
    elif kind in {"nrrd", "mha"}:
        data = bytearray(bytes(data).replace(b"12 10 4", f"{huge} {huge} {huge}".encode()))
    else:
        data = bytearray(bytes(data).replace(b"40 6", f"{huge}{huge} {huge}".encode()))
    return data
