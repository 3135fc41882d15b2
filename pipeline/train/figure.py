"""A picture of augmented samples with the outlines of their organs, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.plan import Plan
from pipeline.core.scan import FRONTAL_AFFINE, Array, Modality, Scan
from pipeline.mechanics.pictures import contact_sheet, overlay
from pipeline.train.engine import Engine

MOST = 12
SIDE = 224


def draw_augmented(engine: Engine, plan: Plan, colors: Mapping[str, str], path: Path, most: int = MOST) -> None:
    """Write a sheet of the first augmented samples that training sees, each with its organs' outlines.

    Args:
        engine: Where batches come from.
        plan: The plan.
        colors: Organ → ``#rrggbb``.
        path: PNG file.
        most: Samples to show.
    """
    tiles: list[tuple[str, Image.Image]] = []
    for step in range(-(-most // plan.batch)):
        batch = engine.batch(step)
        images, labels = batch.images.float().cpu().numpy(), batch.labels.cpu().numpy()
        for scan_id, image, label in zip(batch.scans, images, labels, strict=True):
            if len(tiles) < most:
                tiles.append((scan_id, _tile(image, label, plan, colors)))
    with whole_file(path) as part:
        contact_sheet(tiles, columns=4, size=SIDE).save(part, optimize=True)


def _tile(image: Array, label: Array, plan: Plan, colors: Mapping[str, str]) -> Image.Image:
    """One sample; slices of volumes are turned the way a radiologist sees them."""
    if plan.spatial_dims == 2:
        image, label = image[..., None], label[..., None]
        if plan.slice_axis is not None:
            image, label = image[:, ::-1, ::-1], label[::-1, ::-1]
    affine = FRONTAL_AFFINE if plan.spatial_dims == 2 else np.diag([*(plan.spacing or (1, 1, 1)), 1.0])
    if plan.modality == "photo":
        low, high = np.percentile(image, (0.5, 99.5))
        image = (np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    # Normalised intensities are no longer Hounsfield units.
    modality: Modality = "photo" if plan.modality == "photo" else "mri"
    organs = tuple(plan.organs)
    data = label.astype(LabelMap.dtype_for(len(organs), plan.overlapping))
    labels = LabelMap(data, affine, organs, plan.overlapping, frozenset(organs))
    return overlay(Scan(image, affine, modality, "unknown"), labels, None, colors, size=SIDE, fill=0.0, legend=False)
