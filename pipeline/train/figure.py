"""Pictures of a training: its augmented samples for the report, and scans that it validates on for MLflow."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.plan import Plan
from pipeline.core.scan import FRONTAL_AFFINE, Array, Modality, Scan
from pipeline.imaging.pictures import busiest_slice, contact_sheet, overlay
from pipeline.train.data import PreparedScan
from pipeline.train.engine import Engine

MOST = 12
SIDE = 224
#: Longest side of a validation scan's picture, pixels: about what MLflow's slider shows.
SCAN_SIDE = 256


def draw_augmented(engine: Engine, plan: Plan, colors: Mapping[str, str], path: Path) -> None:
    """Write a sheet of the first augmented samples that training sees, each with its organs' outlines.

    Args:
        engine: Where batches come from.
        plan: The plan.
        colors: Organ → ``#rrggbb``.
        path: PNG file.
    """
    tiles: list[tuple[str, Image.Image]] = []
    for step in range(-(-MOST // plan.batch)):
        batch = engine.batch(step)
        images, labels = batch.images.float().cpu().numpy(), batch.labels.cpu().numpy()
        for scan_id, image, label in zip(batch.scans, images, labels, strict=True):
            if len(tiles) < MOST:
                tiles.append((scan_id, _tile(image, label, plan, colors)))
    with whole_file(path) as part:
        contact_sheet(tiles, columns=4, size=SIDE).save(part, optimize=True)


def draw_scan(scan: PreparedScan, found: LabelMap, plan: Plan, colors: Mapping[str, str], title: str) -> bytes:
    """A PNG of a prepared scan with what was found in it, filled, and the reference as dashes.

    Volumes are shown as the axial slice with most of the reference, so that pictures of one scan differ by what was
    found alone.

    Args:
        scan: A prepared scan.
        found: Its organs by the network so far, on the prepared grid.
        plan: The plan.
        colors: Organ → ``#rrggbb``.
        title: A line above.
    """
    reference = scan.label_map(plan)
    at = busiest_slice([reference], scan.size, "axial")
    # Copied before it is turned: the voxels may be a memory-mapped volume, of which one slice is wanted.
    image = scan.image[..., at : at + 1].float().numpy()
    turn = slice(None, None, 1 if scan.size[2] == 1 else -1)
    affine = FRONTAL_AFFINE @ np.diag([*scan.spacing[:2], 1.0, 1.0])
    own, other = (
        LabelMap(m.data[turn, turn, at : at + 1], affine, m.organs, m.overlapping, m.annotated)
        for m in (found, reference)
    )
    shown = _shown(image[:, turn, turn], affine, plan)
    stream = io.BytesIO()
    # The training waits for it: little compression takes a quarter of the time.
    overlay(shown, own, other, colors, size=SCAN_SIDE, title=title).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _tile(image: Array, label: Array, plan: Plan, colors: Mapping[str, str]) -> Image.Image:
    """One sample; slices of volumes are turned the way a radiologist sees them."""
    if plan.spatial_dims == 2:
        image, label = image[..., None], label[..., None]
        if plan.slice_axis is not None:
            image, label = image[:, ::-1, ::-1], label[::-1, ::-1]
    affine = FRONTAL_AFFINE if plan.spatial_dims == 2 else np.diag([*(plan.spacing or (1, 1, 1)), 1.0])
    organs = tuple(plan.organs)
    data = label.astype(LabelMap.dtype_for(len(organs), plan.overlapping))
    labels = LabelMap(data, affine, organs, plan.overlapping, frozenset(organs))
    return overlay(_shown(image, affine, plan), labels, None, colors, size=SIDE, fill=0.0, legend=False)


def _shown(image: Array, affine: Array, plan: Plan) -> Scan:
    """Normalised intensities ``(C, X, Y, Z)`` as a scan that can be drawn."""
    if plan.modality == "photo":
        low, high = np.percentile(image, (0.5, 99.5))
        image = (np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    # Normalised intensities are no longer Hounsfield units.
    modality: Modality = "photo" if plan.modality == "photo" else "mri"
    return Scan(image, affine, modality, "unknown")
