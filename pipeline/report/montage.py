"""The overview figure: the study's scans, their segmentations and the outlines on the scans, as three montages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.imaging.pictures import INK, PAPER, View, busiest_slice, contact_sheet, font, framed, overlay, rgb

MaskKind = Literal["champion", "reference"]

_GAP, _HEAD = 14, 34


#: A scan's name and its three forms: as it is, its segmentation alone, and its outlines.
Tile = tuple[str, list[Image.Image]]


def overview(study: Study, paths: StudyPaths, out: Path, *, masks: MaskKind | None = None, most: int = 16) -> list[str]:
    """Write the overview figure as a PNG.

    Args:
        study: The study.
        paths: Its places.
        out: File to write.
        masks: What is shown: what the ``champion`` found, or the ``reference``; by default the champion's where there
            is any.
        most: Scans to show, spread evenly over the study's.

    Returns:
        The scans shown.

    Raises:
        InputError: No scan has such a mask.
    """
    rows = {row["scan_id"]: row for row in read_table(paths.scans_csv)}
    chosen = masks or ("champion" if _masks(paths, rows, "champion") else "reference")
    found = _masks(paths, rows, chosen)
    if not found:
        raise InputError(
            f"no scan has a mask to show ({chosen})",
            where=str(paths.results),
            remedy="Run `organseg ingest` for references, or `organseg predict` for the champion's masks.",
        )
    names = sorted(found)
    count = min(most, len(names))
    shown = [names[int((i + 0.5) * len(names) / count)] for i in range(count)]
    tiles = [_tile(paths, rows[name], found[name], study.colors()) for name in shown]
    with whole_file(out) as part:
        figure(tiles, study, chosen).save(part, format="PNG", optimize=True)
    return shown


def _masks(paths: StudyPaths, rows: Mapping[str, Mapping[str, str]], masks: MaskKind) -> dict[str, Path]:
    """Scan → file of its mask, where there is one."""
    if masks == "champion":
        places = {name: paths.predictions("test", "champion") / f"{name}.nii.gz" for name in rows}
    else:
        places = {name: paths.mask(row["shard"], name) for name, row in rows.items()}
    return {name: place for name, place in places.items() if place.is_file()}


def _tile(paths: StudyPaths, row: Mapping[str, str], place: Path, colors: Mapping[str, str], size: int = 176) -> Tile:
    scan = read_scan(paths.scan(row["shard"], row["scan_id"])).canonical()
    labels = read_labels(place)
    at = None if scan.is_flat else busiest_slice([labels], scan.shape, "axial")
    plain = overlay(scan, None, None, {}, at, size=size, legend=False)
    drawn = overlay(scan, labels, None, colors, at, size=size, legend=False, fill=0)
    return row["scan_id"], [plain, segmentation(scan, labels, colors, at, size), drawn]


def segmentation(scan: Scan, labels: LabelMap, colors: Mapping[str, str], at: int | None, size: int) -> Image.Image:
    """The organs alone, in their colours on black; where organs overlap their colours are averaged."""
    view = View(scan, "axial", at, size)
    total = np.zeros(view.picture.shape, np.float32)
    count = np.zeros(view.picture.shape[:2], np.float32)
    for organ in labels.organs:
        inside = view.mask(labels, organ)
        total[inside] += np.array(rgb(colors[organ]), np.float32)
        count[inside] += 1
    return Image.fromarray((total / np.maximum(count, 1)[..., None]).astype(np.uint8))


def figure(tiles: Sequence[Tile], study: Study, masks: MaskKind) -> Image.Image:
    """Three montages side by side under their titles, with the organs' colours below."""
    columns = max(1, round(len(tiles) ** 0.5))
    sheets = [
        (title, contact_sheet([(name, forms[i]) for name, forms in tiles], columns=columns, size=176))
        for i, title in enumerate(("Images", f"Segmentations ({masks})", "Outlines"))
    ]
    width = sum(sheet.width for _, sheet in sheets) + _GAP * (len(sheets) - 1)
    page = Image.new("RGB", (width, sheets[0][1].height + _HEAD), PAPER)
    draw = ImageDraw.Draw(page)
    left = 0
    for title, sheet in sheets:
        draw.text((left + 8, _HEAD // 2), title, INK, font(18), anchor="lm")
        page.paste(sheet, (left, _HEAD))
        left += sheet.width + _GAP
    return framed(page, "", list(study.colors().items()))
