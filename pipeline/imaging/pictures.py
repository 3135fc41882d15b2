"""Pictures of scans with their organs, the way a radiologist looks at them: for the report, the exports and MLflow.

Radiographs and photographs are shown as they are stored. Volumes are shown as slices with the patient's right on the
left of the picture (axial, coronal) or the patient's front on the left (sagittal), and square pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.core.arrays import row_chunks
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Array, Scan, permute, to_canonical
from pipeline.imaging.surfaces import bounding_box

Plane = Literal["axial", "coronal", "sagittal"]

#: The array axis of a canonical volume that a plane's slices follow each other along.
ACROSS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
CT_WINDOW = (-160.0, 240.0)  # HU; soft tissue
PERCENTILES = (0.5, 99.5)
PAPER = (18, 18, 20)
INK = (235, 235, 235)
HEAD = 22  # rows of a title


def grey_window(scan: Scan) -> tuple[float, float]:
    """Grey values shown black and white: soft tissue in CT, else percentiles 0.5 and 99.5 of the first channel."""
    if scan.modality == "ct":
        return CT_WINDOW
    values = _finite(scan.voxels[0], 500_000)
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high) if high > low else float(low) + 1.0


def _finite(channel: Array, about: int) -> Array:
    """Finite values of ``(X, Y, Z)`` in order, evenly thinned to some number that is not less than ``about``."""
    if channel.dtype.kind != "f":
        return channel.reshape(-1)[:: max(channel.size // about, 1)]
    step = max(sum(int(np.isfinite(channel[rows]).sum()) for rows in row_chunks(channel)) // about, 1)
    parts, passed = [], 0
    for rows in row_chunks(channel):
        values = channel[rows][np.isfinite(channel[rows])]
        parts.append(values[-passed % step :: step])
        passed += len(values)
    return np.concatenate(parts)


def shown(array: Array, flat: bool, plane: Plane, at: int) -> Array:
    """Cut ``(X, Y, Z)`` to ``(rows, columns)`` as it is shown; ``at`` counts slices along the plane's axis."""
    if flat:
        return array[:, :, 0].T
    cut: Array = np.take(array, at, axis=ACROSS[plane])
    return cut[::-1, ::-1].T


def busiest_slice(labels: Sequence[LabelMap | None], shape: tuple[int, int, int], plane: Plane) -> int:
    """The slice with most voxels of any organ in any of the label maps; the middle one where there is none."""
    axis = ACROSS[plane]
    others = tuple(i for i in range(3) if i != axis)
    counts = np.zeros(shape[axis], np.int64)
    found = False
    for one in filter(None, labels):
        for rows in row_chunks(one.data):
            part = replace(one, data=one.data[rows])
            found = found or bool(part.data.any())
            seen = ((part.data > 0) & ~part.ignored()).sum(axis=others)
            counts[rows if axis == 0 else slice(None)] += seen
    return int(np.argmax(counts)) if found else shape[axis] // 2


def _busiest(scan: Scan, labels: Sequence[LabelMap | None], plane: Plane) -> int | None:
    """:func:`busiest_slice` of a scan with any axis order, in canonical order; ``None`` for a picture."""
    if scan.is_flat:
        return None
    order = to_canonical(scan.grid)
    turned = [one and replace(one, data=permute(one.data, *order)) for one in labels]
    return busiest_slice(turned, scan.canonical(view=True).shape, plane)


def outline(mask: NDArray[np.bool_], width: int = 1) -> NDArray[np.bool_]:
    """Voxels of a ``(rows, columns)`` mask that lie within ``width`` of its border, inside."""
    inner = mask
    for _ in range(width):
        framed = np.pad(inner, 1)
        inner = framed[1:-1, 1:-1] & framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    return mask & ~inner


class View:
    """One slice of a scan as an RGB picture, and masks of the scan brought onto it.

    Args:
        scan: The scan; brought to canonical axes first.
        plane: For volumes.
        at: Slice along the plane's axis in canonical order; the middle one by default.
        size: Longest side of the picture, pixels.
    """

    def __init__(self, scan: Scan, plane: Plane = "axial", at: int | None = None, size: int = 512) -> None:
        self.flat = scan.is_flat
        self._order = None if self.flat else to_canonical(scan.grid)
        canonical = scan.canonical()
        self.plane: Plane = plane
        self.at = canonical.shape[ACROSS[plane]] // 2 if at is None else at
        across = 2 if self.flat else ACROSS[plane]
        columns, rows = (axis for axis in range(3) if axis != across)
        spacing, shape = canonical.spacing, canonical.shape
        sides = shape[columns] * spacing[columns], shape[rows] * spacing[rows]
        scale = size / max(sides)
        self.size = max(round(sides[0] * scale), 1), max(round(sides[1] * scale), 1)
        letters = canonical.grid.orientation
        # In pictures the columns' own direction tells the sides; canonical volumes are always shown reversed.
        self.left_side = {"R": "L", "L": "R"}.get(letters[0]) if self.flat else {"sagittal": "A"}.get(plane, "R")
        if scan.modality == "photo":
            self.left_side = None
        self.picture = self._colour(canonical)

    def _colour(self, scan: Scan) -> NDArray[np.uint8]:
        if scan.modality == "photo" and scan.voxels.shape[0] >= 3 and scan.voxels.dtype == np.uint8:
            channels = [shown(channel, self.flat, self.plane, self.at) for channel in scan.voxels[:3]]
            image = Image.fromarray(np.ascontiguousarray(np.stack(channels, -1)))
        else:
            low, high = grey_window(scan)
            values = np.nan_to_num(shown(scan.voxels[0], self.flat, self.plane, self.at).astype(np.float32), nan=low)
            grey = np.clip((values - low) / (high - low), 0, 1) * 255
            image = Image.fromarray(np.ascontiguousarray(grey).astype(np.uint8))
        return np.asarray(image.resize(self.size, Image.Resampling.BICUBIC).convert("RGB"), np.uint8)

    def mask(self, labels: LabelMap, organ: str) -> NDArray[np.bool_]:
        """One organ's mask on the picture, ``(rows, columns)``."""
        data = labels.data if self._order is None else permute(labels.data, *self._order)
        cut = shown(data, self.flat, self.plane, self.at)
        cut = np.ascontiguousarray(replace(labels, data=cut[..., None]).mask(organ)[..., 0])
        resized = Image.fromarray(cut.astype(np.uint8) * 255).resize(self.size, Image.Resampling.NEAREST)
        return np.asarray(resized) > 127


def overlay(
    scan: Scan,
    labels: LabelMap | None,
    reference: LabelMap | None,
    colors: Mapping[str, str],
    slice: int | None = None,
    *,
    plane: Plane = "axial",
    size: int = 512,
    fill: float = 0.18,
    legend: bool = True,
    title: str = "",
) -> Image.Image:
    """Draw a scan with its organs: filled outlines for ``labels``, white dashes for ``reference``.

    Args:
        scan: The scan, any axis order.
        labels: Predicted organs on the scan's grid.
        reference: The reader's organs on the scan's grid.
        colors: Organ → ``#rrggbb``; organs that are not named are not drawn.
        slice: Slice along the plane's axis in canonical order; by default the one that shows most of the organs.
        plane: For volumes.
        size: Longest side of the scan in the picture, pixels.
        fill: Opacity inside the outlines.
        legend: Put the organs' names below.
        title: A line above.
    """
    maps = [labels, reference]
    view = View(scan, plane, _busiest(scan, maps, plane) if slice is None else slice, size)
    picture = view.picture.copy()
    width = max(1, size // 256)
    drawn = []
    for organ, color in colors.items():
        known = [m for m in maps if m is not None and organ in m.organs]
        if known:
            drawn.append(organ)
        if labels is not None and organ in labels.organs:
            inside = view.mask(labels, organ)
            box = bounding_box(inside) or np.s_[:0, :0]
            _paint(picture[box], inside[box], rgb(color), fill, width)
    if reference is not None:
        rows, columns = np.indices(picture.shape[:2])
        dashes = (rows + columns) // (4 * width) % 2 == 0
        for organ in drawn:
            if organ in reference.annotated:
                picture[outline(view.mask(reference, organ), width) & dashes] = 255
    image = Image.fromarray(picture)
    _mark_sides(image, view.left_side)
    entries = [(organ, colors[organ]) for organ in drawn]
    if reference is not None:
        entries.append(("reference (dashes)", "#ffffff"))
    return framed(image, title, entries if legend else [])


def _paint(
    part: NDArray[np.uint8], inside: NDArray[np.bool_], paint: tuple[int, int, int], fill: float, width: int
) -> None:
    """Tint the inside of an organ and draw its outline, in place."""
    edge = outline(inside, width)
    for channel, value in enumerate(paint):
        tinted = ((1 - fill) * part[..., channel] + np.float32(fill * value)).astype(np.uint8)
        part[..., channel] = np.where(edge, np.uint8(value), np.where(inside, tinted, part[..., channel]))


def spotlight(scan: Scan, labels: LabelMap, colors: Mapping[str, str], *, size: int = 512) -> Image.Image:
    """Colour inside the organs, dim grey outside; grey scans take the organs' colours.

    Volumes are shown as the axial slice with most of the organs.
    """
    view = View(scan, "axial", _busiest(scan, [labels], "axial"), size)
    colour = view.picture.astype(np.float32)
    luminance = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    picture = np.repeat(luminance[..., None], 3, -1) * 0.6
    own_colour = scan.modality == "photo" and scan.voxels.shape[0] >= 3
    for organ in labels.organs:
        inside = view.mask(labels, organ)
        tint = luminance[inside, None] / 255 * (0.35 * 255 + 0.65 * np.array(rgb(colors[organ]), np.float32))
        picture[inside] = colour[inside] if own_colour else tint
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def contact_sheet(tiles: Sequence[tuple[str, Image.Image]], columns: int = 5, size: int = 256) -> Image.Image:
    """Small pictures in rows, each with its title below.

    Args:
        tiles: Title and picture, in order.
        columns: Pictures in a row.
        size: Side of the square that each picture is fitted into, pixels.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    strip, gap = 18, 6
    sheet = Image.new("RGB", (columns * (size + gap) + gap, rows * (size + strip + gap) + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(tiles):
        left = gap + index % columns * (size + gap)
        top = gap + index // columns * (size + strip + gap)
        small = picture.copy()
        small.thumbnail((size, size), Image.Resampling.LANCZOS)
        sheet.paste(small, (left + (size - small.width) // 2, top + (size - small.height) // 2))
        draw.text((left + size // 2, top + size + strip // 2), name[:32], INK, font(12), anchor="mm")
    return sheet


def framed(image: Image.Image, title: str, entries: Sequence[tuple[str, str]]) -> Image.Image:
    """Put a title above a picture and a legend of (name, colour) below it."""
    if not title and not entries:
        return image
    letters = font(13)
    head = HEAD if title else 0
    measure = ImageDraw.Draw(image)
    lines: list[list[tuple[str, str]]] = [[]]
    used = 8.0
    for name, color in entries:
        length = measure.textlength(name, letters) + 30
        if lines[-1] and used + length > image.width:
            lines.append([])
            used = 8.0
        lines[-1].append((name, color))
        used += length
    foot = 20 * len(lines) + 4 if entries else 0
    page = Image.new("RGB", (image.width, image.height + head + foot), PAPER)
    page.paste(image, (0, head))
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((8, head // 2), title, INK, letters, anchor="lm")
    for number, line in enumerate(lines if entries else []):
        left, middle = 8.0, head + image.height + 20 * number + 12
        for name, color in line:
            draw.rectangle((left, middle - 5, left + 10, middle + 5), fill=color)
            draw.text((left + 15, middle), name, INK, letters, anchor="lm")
            left += draw.textlength(name, letters) + 30
    return page


def rgb(color: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that pictures are the same on every machine."""
    return ImageFont.load_default(size)


def _mark_sides(image: Image.Image, left: str | None) -> None:
    """Write which side of the patient lies on the left and right of the picture."""
    opposite = {"R": "L", "L": "R", "A": "P"}
    if left is None or image.width < 96:
        return
    draw = ImageDraw.Draw(image)
    letters = font(max(11, image.width // 32))
    middle = image.height // 2
    outlined = {"font": letters, "stroke_width": 1, "stroke_fill": (0, 0, 0)}
    draw.text((5, middle), left, INK, anchor="lm", **outlined)  # type: ignore[arg-type]
    draw.text((image.width - 5, middle), opposite[left], INK, anchor="rm", **outlined)  # type: ignore[arg-type]
