"""The study ``demo_xray``: chest radiographs as DX files and PNGs, masks in three forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.demo.chest import ORGANS, Chest
from pipeline.demo.cohort import MASK_SIZE, TRUNCATED, DemoScan
from pipeline.demo.film import Technique, develop, devices
from pipeline.demo.rays import Beam, turn
from pipeline.demo.write_dicom import write_dx
from pipeline.demo.write_files import write_grey_png, write_organ_pngs, write_palette_png

FAULTS = (TRUNCATED, MASK_SIZE)
EXPOSURES = {"low": 4500.0, "normal": 20000.0, "high": 90000.0}
DEVICES = ("none", "none", "pacemaker", "none", "electrodes", "none", "line", "none", "wires", "none", "none")


def make_radiograph(scan: DemoScan, root: Path) -> None:
    """Take one radiograph and write it and its masks below ``root``; fills in the row of ``scan``."""
    chest, rng = Chest(scan.person()), scan.draw()
    portable = scan.site == "valley"
    shape = (256, 240) if portable else (256, 256)
    pixel_mm = float(rng.uniform(1.54, 1.78) if portable else rng.uniform(1.50, 1.72))
    source_mm, behind_mm = (1100.0, 130.0) if portable else (1800.0, 165.0)
    pose = turn(2, rng.normal(0, 5)) @ turn(0, rng.normal(0, 5)) @ turn(1, rng.normal(0, 3.5))
    beam = Beam.aim(
        shape,
        pixel_mm,
        source_mm,
        behind_mm,
        from_front=portable,
        pose=pose,
        shift=[rng.normal(0, 11), 0, rng.normal(6, 12)],
    )
    exposure = list(EXPOSURES)[int(rng.choice(3, p=[0.3, 0.45, 0.25]))]
    attenuation, masks = chest.expose(beam)
    attenuation = attenuation + devices(chest, beam, DEVICES[(scan.number + scan.seed) % len(DEVICES)], rng)
    technique = _technique(rng, exposure, portable)
    grey = develop(attenuation, technique, rng)
    image = root / "images" / f"{scan.scan_id}.{'png' if scan.number % 6 == 5 else 'dcm'}"
    if image.suffix == ".png":
        write_grey_png(image, grey, 16 if scan.number % 12 == 5 else 8)
    else:
        write_dx(
            image,
            scan.identity(),
            grey,
            pixel_mm=pixel_mm,
            magnification=source_mm / (source_mm - behind_mm),
            source_mm=source_mm,
            inverse=scan.number % 3 == 1,
            spacing="patient" if scan.number % 4 == 0 else "detector",
            view="AP" if portable else "PA",
            text=bool(technique.text),
        )
    if scan.fault == TRUNCATED:
        data = image.read_bytes()
        image.write_bytes(data[: len(data) * 3 // 5])
    _write_masks(scan, root, image, masks, exposure)


def _technique(rng: np.random.Generator, exposure: str, portable: bool) -> Technique:
    border = tuple(int(n) for n in rng.integers(3, 11, 4)) if rng.random() < 0.3 else (0, 0, 0, 0)
    return Technique(
        photons=EXPOSURES[exposure] * float(rng.uniform(0.7, 1.4)),
        scatter=float(rng.uniform(1.0, 1.9) if portable else rng.uniform(0.5, 1.2)),
        gamma=float(rng.uniform(0.8, 1.25)),
        brightness=float(rng.normal(0, 0.06)),
        marker="RL"[int(rng.random() < 0.4)],
        text="AP SUPINE" if portable and rng.random() < 0.6 else "",
        border=border,  # type: ignore[arg-type]
    )


def _write_masks(scan: DemoScan, root: Path, image: Path, masks: dict[str, NDArray[np.bool_]], exposure: str) -> None:
    """Palette for every fourth scan, run lengths for every fourth, else one file an organ."""
    folder = root / "masks"
    if not scan.fault and scan.number % 4 == 1:
        path = folder / f"{scan.scan_id}_palette.png"
        write_palette_png(path, masks)
        scan.place(root, image, path, exposure=exposure)
        return
    if not scan.fault and scan.number % 4 == 2:
        upright = {organ: mask.T[..., None] for organ, mask in masks.items()}
        scan.labels = LabelMap.from_masks(upright, FRONTAL_AFFINE, ORGANS, overlapping=True)
        scan.place(root, image, exposure=exposure)
        return
    files = write_organ_pngs(folder, scan.scan_id, masks)
    if scan.fault == MASK_SIZE:
        with Image.open(files["heart"]) as picture:
            picture.resize((128, 128), Image.Resampling.NEAREST).save(files["heart"])
    scan.place(root, image, exposure=exposure)
    scan.cells |= {f"mask_{organ}": files[organ].relative_to(root).as_posix() for organ in ORGANS}
