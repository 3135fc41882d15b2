"""Pictures show a scan the right way round, with its organs where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Scan, permute
from pipeline.imaging.pictures import (
    View,
    busiest_slice,
    contact_sheet,
    framed,
    grey_window,
    outline,
    overlay,
    shown,
    spotlight,
)
from tests.predict.studies import ORGANS, phantom

COLORS = {"left": "#ff0000", "right": "#00ff00"}


def has_color(picture: Image.Image, color: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has exactly this colour, as (row, column)."""
    return np.argwhere((np.asarray(picture) == color).all(-1))


def test_volumes_show_the_patients_right_on_the_left() -> None:
    scan, masks = phantom(1)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False)
    picture = overlay(scan, labels, None, COLORS, legend=False)
    # In the phantom, "left" has the lower x: the patient's left, and so the right of the picture.
    assert has_color(picture, (255, 0, 0))[:, 1].mean() > picture.width / 2
    assert has_color(picture, (0, 255, 0))[:, 1].mean() < picture.width / 2


def test_anterior_is_up_and_superior_is_up() -> None:
    voxels = np.zeros((1, 10, 12, 14), np.float32)
    voxels[0, :, 11, :] = 1
    front = View(Scan(voxels, np.eye(4), "mri"), "axial").picture[..., 0]
    assert front[:20].mean() > 5 * front[-200:].mean()
    voxels = np.zeros((1, 10, 12, 14), np.float32)
    voxels[0, :, :, 13] = 1
    head = View(Scan(voxels, np.eye(4), "mri"), "coronal").picture[..., 0]
    assert head[:20].mean() > 5 * head[-200:].mean()
    voxels = np.zeros((1, 10, 12, 14), np.float32)
    voxels[0, :, 11, :] = 1
    side = View(Scan(voxels, np.eye(4), "mri"), "sagittal").picture[..., 0]
    assert side[:, :20].mean() > 5 * side[:, -200:].mean()


def test_axis_order_does_not_matter() -> None:
    scan, masks = phantom(2)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=False)
    axes, flips = (2, 0, 1), (True, False, True)
    grid = scan.grid.permuted(axes, flips)
    turned = replace(scan, voxels=permute(scan.voxels, axes, flips), affine=grid.affine, stored=None)
    other = LabelMap(permute(labels.data, axes, flips), grid.affine, ORGANS, False, labels.annotated)
    for plane in ("axial", "coronal", "sagittal"):
        one = overlay(scan, labels, labels, COLORS, plane=plane)
        two = overlay(turned, other, other, COLORS, plane=plane)
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_radiographs_are_shown_as_stored() -> None:
    voxels = np.zeros((1, 30, 20, 1), np.float32)
    voxels[0, :15, :10] = 1
    view = View(Scan(voxels, FRONTAL_AFFINE, "xray", "unknown"), size=300)
    assert view.picture.shape == (200, 300, 3)
    assert view.picture[:90, :140].min() > 250
    assert view.picture[110:, 160:].max() < 5
    assert view.left_side == "R"
    photo = View(Scan(voxels, FRONTAL_AFFINE, "photo", "unknown"))
    assert photo.left_side is None


def test_pixels_are_square() -> None:
    voxels = np.zeros((1, 20, 20, 5), np.float32)
    scan = Scan(voxels, np.diag([1.0, 1.0, 4.0, 1]), "mri")
    assert View(scan, "axial").picture.shape[:2] == (512, 512)
    assert View(scan, "coronal").picture.shape[:2] == (512, 512)


def test_reference_is_dashed_white_and_legend_is_there() -> None:
    scan, masks = phantom(3, flat=True)
    labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=True)
    plain = overlay(scan, labels, None, COLORS, legend=False)
    both = overlay(scan, labels, labels, COLORS, title="s3")
    assert both.height > plain.height
    assert len(has_color(both, (255, 255, 255))) > len(has_color(plain, (255, 255, 255))) + 50
    np.testing.assert_array_equal(np.asarray(framed(plain, "", [])), np.asarray(plain))


def test_organs_nobody_looked_for_are_not_drawn_from_the_reference() -> None:
    scan, masks = phantom(3, flat=True)
    only = LabelMap.from_masks({"left": masks["left"]}, scan.affine, ORGANS, overlapping=True)
    drawn = overlay(scan, None, only, COLORS, legend=False)
    row, column = (np.argwhere(masks["right"])[0] / scan.shape * drawn.height).astype(int)[:2]
    assert not (np.asarray(drawn)[column, row] == 255).all()


def test_busiest_slice() -> None:
    data = np.zeros((4, 5, 6), np.uint8)
    data[1, :3, 4], data[2, 2, 1] = 1, 255
    labels = LabelMap(data, np.eye(4), ("a",), False, frozenset("a"))
    assert [busiest_slice([labels], data.shape, plane) for plane in ("axial", "coronal", "sagittal")] == [4, 0, 1]
    assert busiest_slice([None], (4, 5, 6), "axial") == 3


def test_outline() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    assert outline(mask).sum() == 16
    assert outline(mask, 2).sum() == 24
    assert outline(np.ones((3, 3), bool)).sum() == 8


def test_windows() -> None:
    values = np.linspace(0, 1000, 1001, dtype=np.float32).reshape(1, 1001, 1, 1)
    assert grey_window(Scan(values, np.eye(4), "mri")) == pytest.approx((5, 995))
    assert grey_window(Scan(values, np.eye(4), "ct")) == (-160, 240)
    assert grey_window(Scan(np.full((1, 2, 2, 2), np.nan), np.eye(4), "mri")) == (0, 1)


def test_spotlight_keeps_colour_inside() -> None:
    voxels = np.zeros((3, 16, 16, 1), np.uint8)
    voxels[0] = 200
    scan = Scan(voxels, FRONTAL_AFFINE, "photo", "unknown")
    mask = np.zeros((16, 16, 1), bool)
    mask[:8] = True
    labels = LabelMap.from_masks({"cat": mask}, FRONTAL_AFFINE, ["cat"], overlapping=False)
    picture = np.asarray(spotlight(scan, labels, {"cat": "#ff0000"}))
    assert tuple(picture[100, 50]) == (200, 0, 0)
    assert len(set(picture[100, 400])) == 1
    grey, masks = phantom(3)
    labels = LabelMap.from_masks(masks, grey.affine, ORGANS, overlapping=False)
    assert np.ptp(np.asarray(spotlight(grey, labels, COLORS)).astype(int), axis=-1).max() > 60


def test_contact_sheet() -> None:
    tiles = [(f"s{i}", Image.new("RGB", (50 + 30 * i, 80), (i * 40, 0, 0))) for i in range(5)]
    sheet = contact_sheet(tiles, columns=3, size=100)
    assert sheet.size == (3 * 106 + 6, 2 * 124 + 6)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_shown_is_a_transposition_for_pictures() -> None:
    array = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(shown(array, True, "axial", 0), array[:, :, 0].T)
