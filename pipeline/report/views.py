"""Scans as pictures for the page: one slice or all, with the organs' outlines as paths that can be switched off."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.formats.store import read_labels, read_scan
from pipeline.imaging.pictures import View

#: Most slices that a scroller holds; longer volumes are thinned evenly, the shown slice always among them.
MOST_SLICES = 40
QUALITY = 72  # of WebP: 256² in about 8 kB, without visible blocks
_CORNER, _ROUNDS = 0.25, 4  # pixels that an outline may be straightened by, each time

Outlines = dict[str, str]


class Frame(NamedTuple):
    """One picture and what is drawn over it; the script reads it as a list.

    Attributes:
        image: Data URI.
        number: Which slice it is, counted from 1; 1 of a picture.
        prediction: Organ → SVG path.
        reference: The same of the reference.
    """

    image: str
    number: int
    prediction: Outlines
    reference: Outlines


@dataclass(frozen=True)
class ScanView:
    """A scan as the page shows it.

    Attributes:
        scan_id: Which scan.
        width: Of its pictures, pixels.
        height: The same.
        left: Letter of the patient's side on the left of the picture, or empty.
        right: That on the right.
        slices: In order, the patient's feet first; one of a picture.
        start: Index of the slice shown first.
        depth: Slices that the volume has.
    """

    scan_id: str
    width: int
    height: int
    left: str
    right: str
    slices: list[Frame]
    start: int
    depth: int


def outline_path(mask: NDArray[np.bool_]) -> str:
    """The border of a ``(rows, columns)`` mask as an SVG path; empty for an empty mask."""
    if not mask.any():
        return ""
    from skimage.measure import find_contours

    pieces = []
    for line in find_contours(np.pad(mask, 1).astype(np.uint8), 0.5):
        # Pixel centres lie at half pixels of the picture; the first point is repeated at the end.
        points = simplified(line[:-1] - 0.5)
        if len(points) > 2:
            pieces.append("M" + "L".join(f"{x:.4g},{y:.4g}" for y, x in points) + "Z")
    return "".join(pieces)


def simplified(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop points ``(N, 2)`` of a closed line that lie on the chord of their neighbours, every other one in turn.

    scikit-image's ``approximate_polygon`` takes twenty to thirty times as long: seconds for each volume of a gallery.
    """
    for turn in range(2 * _ROUNDS):
        if len(points) < 8:
            break
        before, after = np.roll(points, 1, 0), np.roll(points, -1, 0)
        chord, arm = after - before, points - before
        apart = np.abs(chord[:, 0] * arm[:, 1] - chord[:, 1] * arm[:, 0])
        kept = apart > _CORNER * np.hypot(chord[:, 0], chord[:, 1])
        kept[turn % 2 :: 2] = True
        points = points[kept]
    return points


def data_uri(image: Image.Image) -> str:
    """A picture as a data URI in WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def scan_view(
    scan_id: str,
    scan: Scan,
    prediction: LabelMap | None,
    reference: LabelMap | None,
    *,
    size: int = 384,
    scroll: bool = True,
) -> ScanView:
    """Draw a scan, canonical axes as stored by ingestion, with label maps on its grid.

    Args:
        scan_id: Which scan.
        scan: The scan.
        prediction: What the champion found.
        reference: What a person drew.
        size: Longest side of the pictures, pixels.
        scroll: All slices of a volume rather than the most telling one.
    """
    depth = scan.shape[2]
    start = telling_slice(reference or prediction, depth)
    chosen = _thinned(depth, start) if scroll else [start]
    slices = []
    for at in chosen:
        view = View(scan, "axial", at, size)
        slices.append(Frame(data_uri(_grey(view)), at + 1, _outlines(view, prediction), _outlines(view, reference)))
    left = view.left_side or ""
    width, height = view.size
    return ScanView(
        scan_id, width, height, left, {"R": "L", "L": "R"}.get(left, ""), slices, chosen.index(start), depth
    )


def telling_slice(labels: LabelMap | None, depth: int) -> int:
    """The axial slice that shows most of the organs, each counted by its share of its own largest slice."""
    shares = np.zeros(depth)
    if labels is not None:
        for organ in labels.present():
            areas = labels.mask(organ).sum(axis=(0, 1))
            shares += areas / areas.max()
    return int(np.argmax(shares)) if shares.any() else depth // 2


def _grey(view: View) -> Image.Image:
    """The picture, as grey where it holds no colour: a third of the bytes."""
    image = Image.fromarray(view.picture)
    red, green, blue = (view.picture[..., i] for i in range(3))
    return image.convert("L") if np.array_equal(red, green) and np.array_equal(red, blue) else image


def _outlines(view: View, labels: LabelMap | None) -> Outlines:
    if labels is None:
        return {}
    found = {organ: outline_path(view.mask(labels, organ)) for organ in labels.organs if organ in labels.annotated}
    return {organ: path for organ, path in found.items() if path}


def _thinned(depth: int, start: int) -> list[int]:
    if depth <= MOST_SLICES:
        return list(range(depth))
    return sorted({start, *(round(i * (depth - 1) / (MOST_SLICES - 1)) for i in range(MOST_SLICES))})


def open_view(
    paths: StudyPaths, row: Mapping[str, str], *, predicted: bool, size: int = 384, scroll: bool = True
) -> ScanView | None:
    """Read a scan of ``scans.csv`` and draw it; ``None`` where its file cannot be read.

    Args:
        paths: The study's places.
        row: Its row.
        predicted: Draw what the champion found, where there is something.
        size: Longest side, pixels.
        scroll: All slices.
    """
    name = row["scan_id"]
    try:
        scan = read_scan(paths.scan(row["shard"], name))
    except InputError:
        # Tables may be older than the files; the page says which scans could not be drawn.
        return None
    found = _labels(paths.predictions("test", "champion") / f"{name}.nii.gz", scan) if predicted else None
    drawn = _labels(paths.mask(row["shard"], name), scan)
    return scan_view(name, scan, found, drawn, size=size, scroll=scroll)


def _labels(path: Path, scan: Scan) -> LabelMap | None:
    """A label map of a scan; ``None`` where there is none, or it lies elsewhere than the scan."""
    if not path.is_file():
        return None
    labels = read_labels(path)
    return labels if labels.grid.same_place(scan.grid) else None
