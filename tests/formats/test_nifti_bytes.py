"""NIfTI files as bytes are nibabel's, byte for byte."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.formats.nifti.writer import nifti_parts, write_nifti


def by_nibabel(data, affine, unit, comment, with_qform=True):
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1 if with_qform else 0)
    image.header.set_xyzt_units(unit if unit == "mm" else "unknown")
    if comment:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(6, comment))
    return image.to_bytes()


def ours(*arguments, **named):
    return b"".join(nifti_parts(*arguments, **named))


def turn(angles):
    """A rotation about the three axes in turn."""
    whole = np.eye(3)
    for axis, angle in enumerate(angles):
        one = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        one[[a, a, b, b], [a, b, a, b]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
        whole = whole @ one
    return whole


@settings(deadline=None, max_examples=150)
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    zooms=st.tuples(*[st.floats(0.1, 20)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    mirrored=st.booleans(),
    shear=st.sampled_from([0.0, 0.0, 0.3]),
    unit=st.sampled_from(["mm", "px"]),
    comment=st.binary(max_size=70).map(lambda text: text.replace(b"\0", b" ")),
)
def test_header_and_voxels_are_nibabels(angles, zooms, origin, mirrored, shear, unit, comment):
    affine = np.eye(4)
    affine[:3, :3] = turn(angles) @ np.diag([-1.0 if mirrored else 1.0, 1, 1]) @ np.diag(zooms)
    affine[:3, 1] += shear * affine[:3, 0]
    affine[:3, 3] = origin
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    mine, theirs = ours(data, affine, unit, comment), by_nibabel(data, affine, unit, comment, with_qform=not shear)
    assert mine[:256] == theirs[:256]
    assert mine[280:] == theirs[280:]
    # A rotation by 180° has two quaternions, and rounding may tell which one is found.
    turns = [nib.Nifti1Image.from_bytes(raw).get_qform() for raw in (mine, theirs)]
    np.testing.assert_allclose(*turns, atol=1e-3)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "i4", "f4", "f8", ">i2", ">f4"])
@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 1), (6, 5, 4, 3)])
def test_every_kind_and_layout_of_voxels(kind, shape):
    affine = np.diag([-1.0, 2, 3, 1])
    plain = (np.random.default_rng(0).normal(size=shape) * 99).astype(kind)
    native = plain.astype(plain.dtype.newbyteorder("="))
    wanted = by_nibabel(native, affine, "mm", b"x")
    for laid in (plain, np.asfortranarray(plain), np.ascontiguousarray(plain[::-1])[::-1], plain[:, ::-1][:, ::-1]):
        assert ours(laid, affine, "mm", b"x") == wanted


def test_a_sheared_volume_has_no_qform():
    affine = np.diag([1.0, 2, 3, 1])
    affine[0, 1] = 0.4
    data = np.zeros((2, 3, 4), np.uint8)
    assert ours(data, affine, "mm") == by_nibabel(data, affine, "mm", b"", with_qform=False)


def test_files_are_ordinary_gzip_and_equal_for_equal_data(tmp_path):
    data = np.arange(99_990, dtype=np.uint16).reshape(99, 101, 10)
    for name in ("x.nii.gz", "y.nii.gz"):
        write_nifti(tmp_path / name, data, np.eye(4), "mm", b"x")
    raw = (tmp_path / "x.nii.gz").read_bytes()
    assert gzip.decompress(raw) == by_nibabel(data, np.eye(4), "mm", b"x")
    assert raw[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"  # no name, no time
    assert (tmp_path / "y.nii.gz").read_bytes() == raw
