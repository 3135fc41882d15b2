"""NIfTI, NRRD and MetaImage: geometry rules, scaling, and bounds."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from pipeline.core.errors import InputError
from pipeline.formats.table import read_scan_file, sniff

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 1.5, 0.3, -30], [0, -0.2, 3.0, 10], [0, 0, 0, 1]])


@pytest.fixture
def volume():
    return np.random.default_rng(4).integers(-300, 3000, (6, 7, 5)).astype(np.int16)


def read(path, options):
    return read_scan_file([path], "mri", options)


def saved(path, data, affine=AFFINE, **codes):
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, codes.get("sform", 1))
    image.set_qform(affine, codes.get("qform", 1))
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"])
def test_voxels_and_place_are_nibabels(tmp_path, options, suffix, dtype):
    data = np.random.default_rng(4).integers(0, 200, (6, 7, 5)).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    image = nib.Nifti1Image(data, AFFINE, header)
    nib.save(image, tmp_path / f"x{suffix}")
    scan = read(tmp_path / f"x{suffix}", options)
    theirs = nib.as_closest_canonical(nib.load(tmp_path / f"x{suffix}"))
    np.testing.assert_array_equal(scan.voxels[0], theirs.get_fdata())
    np.testing.assert_allclose(scan.affine, theirs.affine, atol=1e-5)
    np.testing.assert_allclose(scan.stored.affine, AFFINE, atol=1e-5)
    assert scan.voxels.dtype.isnative


def test_content_decides_not_the_suffix(tmp_path, options, volume):
    saved(tmp_path / "a.nii", volume)
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "a.nii").read_bytes())
    (tmp_path / "c.nii").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    for name in ("b.nii.gz", "c.nii"):
        np.testing.assert_array_equal(read(tmp_path / name, options).voxels, read(tmp_path / "a.nii", options).voxels)


def test_nifti2_and_pairs(tmp_path, options, volume):
    nib.save(nib.Nifti2Image(volume, AFFINE), tmp_path / "two.nii")
    nib.save(nib.Nifti1Pair(volume, AFFINE), tmp_path / "pair.hdr")
    first, second = read(tmp_path / "two.nii", options), read(tmp_path / "pair.hdr", options)
    np.testing.assert_array_equal(first.voxels, second.voxels)
    (tmp_path / "pair.img").unlink()
    with pytest.raises(InputError, match="img file"):
        read(tmp_path / "pair.hdr", options)


def _with_sizes(path, volume, sform, sizes, qform_code=0, units=2):
    image = nib.Nifti1Image(volume, sform)
    image.set_sform(sform, 2)
    image.header["pixdim"][1:4] = sizes
    image.header["qform_code"], image.header["xyzt_units"] = qform_code, units
    nib.save(image, path)
    return path


def test_an_sform_that_ignores_pixdim_is_noted_with_both(tmp_path, options, volume):
    path = _with_sizes(tmp_path / "x.nii", volume, np.eye(4), (0.866, 0.866, 0.796))
    scan = read(path, options)
    assert scan.spacing == (1, 1, 1)
    assert scan.notes["sizes_differ"] == "1 × 1 × 1 mm by its sform and 0.866 × 0.866 × 0.796 mm by its pixdim"


def test_sizes_that_agree_or_are_not_given_are_not_noted(tmp_path, options, volume):
    sheared = np.array([[0.8, 0.6, 0, 0], [-0.6, 0.8, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
    assert "sizes_differ" not in read(_with_sizes(tmp_path / "a.nii", volume, sheared, (1, 1, 4)), options).notes
    assert "sizes_differ" not in read(_with_sizes(tmp_path / "b.nii", volume, sheared, (0, 0, 0)), options).notes
    one = volume[:, :, :1]
    assert "sizes_differ" not in read(_with_sizes(tmp_path / "c.nii", one, sheared, (1, 1, 1)), options).notes


def test_the_sform_wins_and_a_disagreement_is_noted(tmp_path, options, volume):
    image = nib.Nifti1Image(volume, AFFINE)
    other = np.diag([3.0, 3, 3, 1])
    image.set_sform(AFFINE, 1)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / "x.nii")
    scan = read(tmp_path / "x.nii", options)
    np.testing.assert_allclose(scan.stored.affine, AFFINE, atol=1e-5)
    assert scan.notes["forms_differ"]


def test_the_qform_serves_where_the_sform_is_not_set(tmp_path, options, volume):
    affine = np.array([[0.0, -2, 0, 5], [2, 0, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
    image = nib.Nifti1Image(volume, None)
    image.set_qform(affine, 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "x.nii")
    np.testing.assert_allclose(read(tmp_path / "x.nii", options).stored.affine, affine, atol=1e-5)


def test_without_forms_the_voxel_sizes_are_kept_and_the_orientation_is_said_to_be_assumed(tmp_path, options, volume):
    header = nib.Nifti1Header()
    header.set_data_shape(volume.shape)
    header.set_zooms((2.0, 3.0, 4.0))
    nib.save(nib.Nifti1Image(volume, None, header), tmp_path / "x.nii")
    scan = read(tmp_path / "x.nii", options)
    assert scan.spacing == pytest.approx((2, 3, 4))
    assert scan.notes["orientation"] == "assumed"


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 7.0), (np.nan, 3.0), (1.0, 0.0), (2.5, -10.0)])
def test_scaling(tmp_path, options, volume, slope, intercept):
    path = saved(tmp_path / "x.nii", volume)
    raw = bytearray(path.read_bytes())
    raw[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(raw)
    scan = read(path, options)
    plain = not np.isfinite(slope) or slope == 0 or (slope, intercept) == (1, 0)
    expected = volume if plain else volume * slope + intercept
    np.testing.assert_allclose(np.sort(scan.voxels, axis=None), np.sort(expected, axis=None), rtol=1e-6)
    assert scan.voxels.dtype == (np.int16 if plain else np.float32)


def test_further_axes_are_channels(tmp_path, options):
    data = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    assert read(saved(tmp_path / "a.nii", data), options).voxels.shape == (3, 4, 5, 6)
    assert read(saved(tmp_path / "b.nii", data[..., :1]), options).voxels.shape == (1, 4, 5, 6)
    assert read(saved(tmp_path / "c.nii", data[:, :, :, None]), options).voxels.shape == (3, 4, 5, 6)


def test_units_of_length_are_brought_to_millimetres(tmp_path, options, volume):
    image = nib.Nifti1Image(volume, np.diag([0.002, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "x.nii")
    assert read(tmp_path / "x.nii", options).spacing == pytest.approx((2, 2, 3))


def test_a_file_cut_short_is_named(tmp_path, options, volume):
    path = saved(tmp_path / "x.nii", volume)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="voxels end early: 410 of 420"):
        read(path, options)
    packed = tmp_path / "y.nii.gz"
    saved(packed, volume)
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged or cut short"):
        read(packed, options)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_promises_more_than_the_file_can_hold(tmp_path, options, volume, packed):
    path = saved(tmp_path / "x.nii", volume)
    raw = bytearray(path.read_bytes())
    raw[40:56] = struct.pack("<8h", 3, 32767, 32767, 3 if packed else 32767, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    generous = options.model_copy(update={"memory_gib": 1000.0 if packed else 4.0})
    with pytest.raises(InputError, match="header promises"):
        read(path, generous)


def test_complex_voxels_and_singular_affines_are_refused(tmp_path, options, volume):
    with pytest.raises(InputError, match="complex"):
        read(saved(tmp_path / "a.nii", volume.astype(np.complex64)), options)
    path = saved(tmp_path / "b.nii", volume)
    raw = bytearray(path.read_bytes())
    raw[252:256] = struct.pack("<hh", 0, 1)
    raw[280:328] = bytes(48)
    path.write_bytes(raw)
    scan = read(path, options)
    assert scan.notes["sform"] == "unusable"


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_itk_files_are_their_nifti_twins(tmp_path, options, volume, suffix):
    twin = read(saved(tmp_path / "x.nii.gz", volume, np.diag([-2.0, 1.5, 3, 1])), options)
    image = SimpleITK.ReadImage(str(tmp_path / "x.nii.gz"))
    SimpleITK.WriteImage(image, str(tmp_path / f"y{suffix}"), True)
    assert sniff(tmp_path / f"y{suffix}") == "itk"
    scan = read(tmp_path / f"y{suffix}", options)
    np.testing.assert_array_equal(scan.voxels, twin.voxels)
    np.testing.assert_allclose(scan.affine, twin.affine, atol=1e-4)


META = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n"
NAMES_ANOTHER = {
    "plain": META + "ElementDataFile = {}\n",
    "after a blank line": META + "\nElementDataFile = {}\n",
    "after a long comment": META + f"Comment = {'x' * 5000}\n" + "ElementDataFile = {}\n",
    "after many comments": META + "Comment = x\n" * 900 + "ElementDataFile = {}\n",
    "behind a carriage return": META + "Comment = x\rElementDataFile = {}\nElementDataFile = LOCAL\n",
    "with a colon": META + "ElementDataFile : {}\nElementDataFile = LOCAL\n",
    "of two names": META + "ElementDataFile = {}\nElementDataFile = LOCAL\n",
    "nrrd": NRRD + "data file: {}\n",
    "nrrd, one word": NRRD + "datafile: {}\n\n",
    "nrrd after comments": NRRD + "# x\n" * 2000 + "data file: {}\n",
    "nrrd in capitals": NRRD + "Data File: {}\n\n",
    "nrrd behind a carriage return": NRRD + "# x\rdata file: {}\n\n",
    "nrrd list": NRRD + "data file: LIST\n{}\n",
}


@pytest.mark.parametrize("how", NAMES_ANOTHER)
def test_an_itk_header_reads_no_file_elsewhere(tmp_path, options, how):
    """Voxels are taken from the file itself or from one beside it: no header names another, however it is written."""
    secret = tmp_path / "elsewhere" / "secret"
    secret.parent.mkdir()
    secret.write_bytes(b"\x07" * 8)
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "link.raw").symlink_to(secret)
    for name in (str(secret), "../elsewhere/secret", "link.raw"):
        (folder / "x.mhd").write_text(NAMES_ANOTHER[how].format(name), newline="")
        with pytest.raises(InputError):
            read(folder / "x.mhd", options)


def test_voxels_beside_their_header_are_read(tmp_path, options, volume):
    image = SimpleITK.GetImageFromArray(volume)
    image.SetMetaData("Segment0_Name", "Schienbein: links, Größe")
    for one, other in (("x.mhd", "x.mha"), ("x.nhdr", "x.nrrd")):
        for name in (one, other):
            SimpleITK.WriteImage(image, str(tmp_path / name), True)
        np.testing.assert_array_equal(read(tmp_path / one, options).voxels, read(tmp_path / other, options).voxels)


def test_an_itk_file_cut_short_and_one_too_large_are_named(tmp_path, options, volume):
    image = SimpleITK.GetImageFromArray(volume)
    SimpleITK.WriteImage(image, str(tmp_path / "x.mha"))
    raw = (tmp_path / "x.mha").read_bytes()
    (tmp_path / "cut.mha").write_bytes(raw[:-50])
    with pytest.raises(InputError):
        read(tmp_path / "cut.mha", options)
    (tmp_path / "big.mha").write_bytes(raw.replace(b"DimSize = 5 7 6", b"DimSize = 50000 70000 60000"))
    with pytest.raises(InputError, match="header promises"):
        read(tmp_path / "big.mha", options)
