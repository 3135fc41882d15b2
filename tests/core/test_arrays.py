"""Arrays longer than memory: the same values, in files, and a full disk is an error."""

from __future__ import annotations

import itertools
import os
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.core import arrays as module
from pipeline.core.arrays import laid_out, row_chunks, zeros
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Grid, Scan, permute
from pipeline.core.study import Ingest
from pipeline.export import readers
from pipeline.export.checks import expected
from pipeline.formats.nifti import reader as nifti
from pipeline.formats.nifti import writer as nifti_bytes
from pipeline.formats.nifti.labels import write_nifti
from pipeline.imaging import components, pictures
from pipeline.quality import judge as quality

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))
by_row = partial(row_chunks, room=1)


def test_what_is_long_lies_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    short, long = zeros((4, 5), 80, np.float32), zeros((4, 5), 79, np.float32)
    assert not isinstance(short, np.memmap)
    assert isinstance(long, np.memmap)
    assert not long.any()
    assert not any(tmp_path.iterdir())


def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        zeros((8,), 0)


@given(
    shape=st.tuples(*[st.integers(1, 140)] * 3).filter(lambda s: np.prod(s) < 60_000),
    order=st.sampled_from(ORDERS),
    channels=st.integers(1, 2),
    fortran=st.booleans(),
)
def test_laid_out_is_the_same(shape: tuple, order: tuple, channels: int, fortran: bool) -> None:
    values = np.arange(channels * np.prod(shape), dtype=np.int32).reshape(channels, *shape)
    view = permute(np.asfortranarray(values) if fortran else values, *order)
    copy = laid_out(view, 0)
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, view)


@pytest.mark.parametrize("kind", [">i2", "<i8", "<f8", "|u1"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_a_long_file_is_read_as_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, slope: float
) -> None:
    values = np.random.default_rng(0).integers(0, 200, (7, 6, 5)).astype(kind)
    image = nib.Nifti1Image(values, np.diag([1, 2, 3, 1.0]), dtype=np.dtype(kind))
    image.header.set_slope_inter(slope, 0.0 if slope == 1 else 3.0)
    nib.save(image, tmp_path / name)
    short = nifti.read_nifti(tmp_path / name, "mri", Ingest())
    monkeypatch.setattr(nifti, "LONG", 16)
    monkeypatch.setattr(nifti, "row_chunks", by_row)
    long = nifti.read_nifti(tmp_path / name, "mri", Ingest())
    assert long.voxels.dtype == short.voxels.dtype
    np.testing.assert_array_equal(long.voxels, short.voxels)
    np.testing.assert_array_equal(laid_out(permute(long.voxels, (2, 0, 1), (True, False, True)), 0),
                                  permute(short.voxels, (2, 0, 1), (True, False, True)))  # fmt: skip


def test_written_and_read_back_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti_bytes, "row_chunks", by_row)
    monkeypatch.setattr(readers, "BLOCK", 1)
    affine = np.array([[0, 2.0, 0, 4], [-1.5, 0, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]])
    data = np.random.default_rng(1).integers(0, 3, (6, 5, 4)).astype(np.uint8)
    labels = LabelMap(data, affine, ("one", "two"), False, frozenset(("one", "two")))
    write_nifti(tmp_path / "labels.nii.gz", data[::-1, :, ::-1][::-1, :, ::-1], affine, "mm")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "labels.nii.gz").dataobj), data)
    files = {organ: (tmp_path / "labels.nii.gz", value) for value, organ in enumerate(labels.organs, 1)}
    for organ, read in readers.read_nifti_organs(files).items():
        truth = expected(labels)[organ]
        np.testing.assert_allclose(read.centroid, truth.centroid)
        assert read.size == pytest.approx(truth.size)
        where = np.argwhere(data == files[organ][1]).mean(axis=0)
        np.testing.assert_allclose(truth.centroid, (affine @ [*where, 1])[:3])
    chances = np.random.default_rng(2).random((6, 5, 4, 2)).astype(np.float32)
    write_nifti(tmp_path / "chances.nii.gz", chances, affine, "mm")
    # A scan's grid runs along other axes than its file's.
    held = Grid((6, 5, 4), affine).permuted((1, 0, 2), (False, True, False))
    read = readers.read_probabilities(tmp_path / "chances.nii.gz", held)
    np.testing.assert_array_equal(read, chances.transpose(1, 0, 2, 3)[:, ::-1])


@given(seed=st.integers(0, 10_000), flat=st.booleans())
def test_components_and_holes_are_those_of_scipy(seed: int, flat: bool) -> None:
    draw = np.random.default_rng(seed)
    shape = (*draw.integers(1, 12, 2), 1 if flat else int(draw.integers(2, 9)))
    mask = ndimage.gaussian_filter(draw.random(shape), 0.6) > draw.uniform(0.35, 0.65)
    filled = ndimage.binary_fill_holes(mask[..., 0])[..., None] if flat else ndimage.binary_fill_holes(mask)
    np.testing.assert_array_equal(components.fill_holes(mask), filled)
    numbered, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    sizes[0] = 0
    np.testing.assert_array_equal(components.drop_specks(mask, 3), (sizes >= 3)[numbered])
    largest = numbered == np.argmax(sizes) if count else mask
    np.testing.assert_array_equal(components.largest_component(mask), largest)


def test_pictures_and_verdicts_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.random.default_rng(3).normal(100, 20, (1, 20, 18, 16)).astype(np.float32)
    voxels[0, 3, 4] = np.nan
    scan = Scan(voxels, np.diag([1, 1, 2, 1.0]), "mri")
    labels = LabelMap((voxels[0] > 130).astype(np.uint8), scan.affine, ("one",), False, frozenset(("one",)))
    whole = pictures.busiest_slice([labels, None], scan.shape, "coronal"), quality.coarse_picture(scan)
    finite = voxels[0][np.isfinite(voxels[0])]
    for part in (pictures, quality):
        monkeypatch.setattr(part, "row_chunks", by_row)
    monkeypatch.setattr(quality, "CHUNK", 0)
    np.testing.assert_array_equal(pictures._finite(voxels[0], 100), finite[:: finite.size // 100])
    assert pictures.busiest_slice([labels, None], scan.shape, "coronal") == whole[0]
    np.testing.assert_allclose(quality.coarse_picture(scan), whole[1], atol=1e-4)
