"""Reads overlays, spotlights and contact sheets back: is each organ's colour where it lies in the slice shown?

The grid is turned by nibabel and cut anew, so that nothing of the drawing's own geometry is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.arrays import row_chunks
from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap, OrganMasks
from pipeline.core.scan import Array
from pipeline.export.checks import ABSENT, Measured, Tolerance

#: A picture's pixels are not the scan's voxels: an outline may lie a pixel aside.
DRAWN = Tolerance(voxels=0.25, size=0.05)
DARK = 24  # of 255; below it a tint cannot be told from grey
#: Why some organs are not read back.
GREY = "its colour is a grey, which cannot be told from the scan's own"
MATCH = 1.5  # of 255; rounding of a tinted channel
#: Tiles a row of a contact sheet, side of a tile, of the gap around it and of the strip for its name, pixels.
TILES, TILE, GAP, STRIP = 5, 256, 6, 18
#: Cells a side in which a tile is compared with its picture: finer, a row more or less and grain would count.
CELLS = 32
UNLIKE = 8.0  # of 255; mean difference of cells; drawn smaller by different rules they differ by about 1

Pair = tuple[dict[str, Measured], dict[str, Measured]]


@dataclass(frozen=True)
class Slice:
    """The slice that a picture shows.

    Attributes:
        masks: Organ → ``(rows, columns)`` of the picture.
        affine: Picture's column, row and 1 → RAS+ mm, ``(3, 3)``.
        area: mm² of a pixel.
    """

    masks: OrganMasks
    affine: Array
    area: float

    def measured(self, pixels: NDArray[np.bool_]) -> Measured:
        """Measure pixels of the picture."""
        count = int(np.count_nonzero(pixels))
        if not count:
            return ABSENT
        rows, columns = np.nonzero(pixels)
        return Measured(self.affine @ [columns.mean(), rows.mean(), 1], count * self.area)


def slice_shown(labels: LabelMap, size: int) -> Slice:
    """The axial slice with most voxels of any organ, the patient's right on its left and the front above.

    Args:
        labels: The organs.
        size: Longest side of the picture, pixels. Its pixels are square.
    """
    data, affine = labels.data, np.asarray(labels.affine, float)
    flat = data.shape[2] == 1
    if not flat:
        from nibabel import orientations

        turn = orientations.io_orientation(affine)
        affine = affine @ orientations.inv_ornt_aff(turn, data.shape)
        data = orientations.apply_orientation(data, turn)
    shape = data.shape
    counts = np.zeros(shape[2], np.int64)
    for rows in row_chunks(data):
        counts += replace(labels, data=data[rows]).masks().any(axis=0).sum(axis=(0, 1))
    at = int(np.argmax(counts)) if counts.any() else shape[2] // 2
    shown = replace(labels, data=data[..., at : at + 1])
    masks = {organ: shown.mask(organ) for organ in labels.organs}
    x, y = np.linalg.norm(affine[:3, :2], axis=0)
    scale = size / max(shape[0] * x, shape[1] * y)
    width, height = (max(round(n * s * scale), 1) for n, s in ((shape[0], x), (shape[1], y)))
    # Pixel centres in voxels; volumes are shown from the feet, with both axes reversed.
    step = np.array([shape[0] / width, shape[1] / height])
    columns, rows = ((np.arange(n) + 0.5) * s for n, s in zip((width, height), step, strict=True))
    if not flat:
        columns, rows = shape[0] - columns, shape[1] - rows
    cut = np.ix_(np.minimum(columns.astype(int), shape[0] - 1), np.minimum(rows.astype(int), shape[1] - 1))
    right, down = step if flat else -step
    place = affine[:3] @ [[right, 0, columns[0] - 0.5], [0, down, rows[0] - 0.5], [0, 0, at], [0, 0, 1]]
    area = float(step[0] * x * step[1] * y)
    return Slice({organ: mask[..., 0][cut].T for organ, mask in masks.items()}, place, area)


def read_overlay(path: Path, labels: LabelMap, colors: Mapping[str, str], *, size: int, head: int) -> Pair:
    """Outlines as they should be seen, and as the file has them: parts that no other organ lies over.

    Args:
        path: The picture.
        labels: The organs that it shows.
        colors: Organ → ``#rrggbb``.
        size: Longest side of the scan in the picture, pixels.
        head: Rows of the title above it.

    Raises:
        InputError: The file is not a picture of this size.
    """
    view = slice_shown(labels, size)
    picture = _pixels(path, view, head)
    width = max(1, size // 256)
    near = {organ: _grown(mask, width) for organ, mask in view.masks.items()}
    # How many organs are near a pixel, and letters wherever they may be.
    crowd = np.sum(list(near.values()), axis=0, dtype=np.uint8)
    letters = _letters(crowd.shape)
    codes = _codes(picture)
    source, read = {}, {}
    for organ, mask in view.masks.items():
        if _is_grey(colors[organ]):
            continue
        free = (crowd == near[organ]) & ~letters
        edge = mask & _grown(~mask, width, beyond=True)
        red, green, blue = _rgb(colors[organ])
        source[organ] = view.measured(edge & free)
        read[organ] = view.measured((codes == (red << 16 | green << 8 | blue)) & free)
    return source, read


def read_spotlight(path: Path, labels: LabelMap, colors: Mapping[str, str], *, size: int, photo: bool) -> Pair:
    """Lit areas as they should be, and as the file has them: what is coloured inside, and not grey outside.

    Args:
        path: The picture.
        labels: The organs that it shows; a later one lies over those before it.
        colors: Organ → ``#rrggbb``.
        size: Longest side of the picture, pixels.
        photo: Whether organs keep their own colours; their areas are then read together, under the name of each.

    Raises:
        InputError: The file is not a picture of this size.
    """
    view = slice_shown(labels, size)
    picture = _pixels(path, view, 0).astype(np.float32)
    coloured = np.ptp(picture, axis=-1) > 0
    union = np.any(list(view.masks.values()), axis=0)
    if photo:
        both = view.measured(union), view.measured(union | coloured)
        return dict.fromkeys(view.masks, both[0]), dict.fromkeys(view.masks, both[1])
    dark = picture.max(axis=-1) < DARK
    source, read = {}, {}
    for number, (organ, mask) in enumerate(view.masks.items()):
        if _is_grey(colors[organ]):
            continue
        later = list(view.masks.values())[number + 1 :]
        own = mask & ~np.any(later, axis=0) if later else mask
        tint = 0.35 * 255 + 0.65 * np.array(_rgb(colors[organ]), np.float32)
        light = picture @ tint / (tint @ tint)
        like = (np.abs(picture - light[..., None] * tint) < MATCH).all(axis=-1) & coloured & ~dark
        source[organ], read[organ] = view.measured(own), view.measured((like & (own | ~union)) | (own & dark))
    return source, read


def read_sheet(path: Path, pictures: Sequence[Path]) -> list[str]:
    """Whether each tile of a contact sheet is its picture.

    Args:
        path: The sheet.
        pictures: Files of the pictures that it should show, in order.

    Returns:
        For each picture why its tile is not it, or nothing.
    """
    from skimage.transform import resize_local_mean

    def coarse(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(resize_local_mean(picture, (CELLS, CELLS), channel_axis=-1, preserve_range=True))

    sheet = _rgb_of(path).astype(np.float32)
    reasons = []
    for number, source in enumerate(pictures):
        whole = _rgb_of(source).astype(np.float32)
        shrink = min(TILE / whole.shape[0], TILE / whole.shape[1], 1)
        rows, columns = (max(round(side * shrink), 1) for side in whole.shape[:2])
        down, right = divmod(number, min(TILES, len(pictures)))
        top = GAP + down * (TILE + STRIP + GAP) + (TILE - rows) // 2
        left = GAP + right * (TILE + GAP) + (TILE - columns) // 2
        tile = sheet[top : top + rows, left : left + columns]
        if tile.shape[:2] != (rows, columns):
            reasons.append("the sheet ends before its tile")
            continue
        apart = float(np.abs(coarse(tile) - coarse(whole)).mean())
        reasons.append("" if apart <= UNLIKE else f"its tile differs by {apart:.0f} of 255 from its picture")
    return reasons


def _is_grey(color: str) -> bool:
    """Whether a colour cannot be told from a scan's own greys, so that nothing can be read of it."""
    return len(set(_rgb(color))) == 1


def _pixels(path: Path, view: Slice, head: int) -> NDArray[np.uint8]:
    """RGB of the part of a picture that shows the scan."""
    rows, columns = next(iter(view.masks.values())).shape
    picture = _rgb_of(path)
    if picture.shape[0] < rows + head or picture.shape[1] != columns:
        raise InputError(f"the picture is {picture.shape[1]} × {picture.shape[0]}, not {columns} × {rows} or more")
    return picture[head : head + rows]


def _rgb_of(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _codes(picture: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Each pixel's colour as one number."""
    red, green, blue = (picture[..., i].astype(np.uint32) for i in range(3))
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def _grown(mask: NDArray[np.bool_], by: int, *, beyond: bool = False) -> NDArray[np.bool_]:
    """A mask and all pixels that ``by`` steps across sides reach from it; ``beyond`` the picture it may count too."""
    grown = np.pad(mask, by, constant_values=beyond)
    for _ in range(by):
        step = grown.copy()
        step[1:] |= grown[:-1]
        step[:-1] |= grown[1:]
        step[:, 1:] |= grown[:, :-1]
        step[:, :-1] |= grown[:, 1:]
        grown = step
    return grown[by:-by, by:-by]


@cache
def _letters(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the letters of the sides may lie over the organs: half-way up, at the left and right border."""
    rows, columns = np.indices(shape)
    reach = max(16, shape[1] // 16)
    return (abs(rows - shape[0] // 2) < reach / 2) & (np.minimum(columns, shape[1] - 1 - columns) < reach)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.lstrip("#")))
