"""Numbered pictures of a folder as one volume: whole, in order, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.study import Ingest, Organ, parse_study
from pipeline.formats.masks import read_masks
from pipeline.formats.table import read_scan_file
from tests.field.making import grey, labels, write_picture

OPTIONS = Ingest(stack="*[0-9].png", stack_masks="m*.png", stack_spacing=(0.5, 0.7, 3.0), ignore=[9])
ORGANS = {"femur": Organ(), "tibia": Organ()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    voxels, mask = (grey((24, 20, 11)) // 8).astype(np.uint8), labels((24, 20, 11))
    mask[0, 0, 10] = 9
    for z in range(11):
        write_picture(tmp_path / "images" / f"s{z + 3}.png", voxels[..., z].T)
        write_picture(tmp_path / "masks" / f"m{z + 3}.png", mask[..., z].T)
    return tmp_path


def test_slices_go_by_number_and_masks_with_them(folder: Path) -> None:
    scan = read_scan_file([folder / "images"], "mri", OPTIONS)
    assert scan.voxels.shape == (1, 24, 20, 11)
    assert scan.spacing == pytest.approx((0.5, 0.7, 3.0))
    np.testing.assert_array_equal(scan.to_stored(scan.voxels[0]), (grey((24, 20, 11)) // 8).astype(np.uint8))
    found = read_masks(folder / "masks", scan, ORGANS, OPTIONS)
    np.testing.assert_array_equal(scan.to_stored(found.mask("tibia")), labels((24, 20, 11)) == 2)
    assert found.ignored().sum() == 1


def test_a_gap_a_twin_and_other_numbers_are_refused(folder: Path) -> None:
    scan = read_scan_file([folder / "images"], "mri", OPTIONS)
    (folder / "masks" / "m13.png").unlink()
    with pytest.raises(InputError, match="first in slice 13"):
        read_masks(folder / "masks", scan, ORGANS, OPTIONS)
    (folder / "images" / "s7.png").rename(folder / "images" / "s07.png")
    assert read_scan_file([folder / "images"], "mri", OPTIONS).shape == (24, 20, 11)
    write_picture(folder / "images" / "s8_7.png", np.zeros((20, 24), np.uint8))
    with pytest.raises(InputError, match="have the number 7"):
        read_scan_file([folder / "images"], "mri", OPTIONS)
    for name in ("s8_7.png", "s07.png"):
        (folder / "images" / name).unlink()
    with pytest.raises(InputError, match="slice 7 of the stack"):
        read_scan_file([folder / "images"], "mri", OPTIONS)


def test_a_stack_without_spacing_is_refused_when_the_config_is_read() -> None:
    with pytest.raises(InputError, match="stack and stack_spacing together"):
        parse_study({"modality": "mri", "organs": ["a"], "ingest": {"stack": "*.png"}}, "s.yaml")
