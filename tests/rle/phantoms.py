"""Random masks of many kinds, and files of them in every dialect, written by code that shares nothing with ours."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
SHAPES = ("ellipses", "square", "symmetric", "tiny", "line", "ring", "noise", "border", "full", "stripes")
SIZES = ("square", "nearly", "oblong")


def random_size(rng: np.random.Generator, kind: str) -> tuple[int, int]:
    side = int(rng.integers(12, 140))
    if kind == "square":
        return side, side
    if kind == "nearly":
        return side, max(2, side + int(rng.choice([-3, -2, -1, 1, 2, 3])))
    return side, int(side * rng.uniform(1.2, 2.5)) if rng.random() < 0.5 else max(4, int(side / rng.uniform(1.2, 2.5)))


def random_mask(rng: np.random.Generator, height: int, width: int, kind: str) -> Mask:
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    if kind == "ellipses":
        for _ in range(int(rng.integers(1, 4))):
            mask |= _ellipse(rng, y, x, rng.uniform(0.05, 0.35, 2))
    elif kind == "square":
        side = int(rng.integers(1, max(2, min(height, width))))
        top, left = (height - side) // 2, (width - side) // 2
        mask[top : top + side, left : left + side] = True
    elif kind == "symmetric":
        mask = _ellipse(rng, y, x, rng.uniform(0.05, 0.4, 2))
        side = min(height, width)
        mask[:side, :side] |= mask[:side, :side].T
    elif kind == "tiny":
        for _ in range(int(rng.integers(1, 4))):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            mask[top : top + int(rng.integers(1, 5)), left : left + int(rng.integers(1, 5))] = True
    elif kind == "line":
        mask = _ellipse(rng, y, x, np.array([0.45, 0.7 / max(height, width)]))
    elif kind == "ring":
        outer = _ellipse(rng, y, x, np.array([0.35, 0.3]), centre=True)
        mask = outer & ~_ellipse(rng, y, x, np.array([0.2, 0.2]), centre=True)
    elif kind == "noise":
        mask = rng.random((height, width)) < rng.uniform(0.02, 0.98)
    elif kind == "border":
        mask = _ellipse(rng, y, x, rng.uniform(0.2, 0.7, 2), corner=True)
    elif kind == "full":
        mask[:] = True
    elif kind == "stripes":
        mask = ((y if rng.random() < 0.5 else x) // int(rng.integers(1, 5))) % 2 == 0
    return mask


def _ellipse(
    rng: np.random.Generator, y: NDArray, x: NDArray, radii: NDArray, centre: bool = False, corner: bool = False
) -> Mask:
    height, width = y.shape
    if centre:
        middle = np.array([height / 2, width / 2])
    elif corner:
        middle = rng.integers(0, 2, 2) * np.array([height, width])
    else:
        middle = rng.uniform(0.2, 0.8, 2) * (height, width)
    angle = rng.uniform(0, np.pi)
    u = (y - middle[0]) * np.cos(angle) + (x - middle[1]) * np.sin(angle)
    v = -(y - middle[0]) * np.sin(angle) + (x - middle[1]) * np.cos(angle)
    r = np.maximum(radii * max(height, width), 0.6)
    return (u / r[0]) ** 2 + (v / r[1]) ** 2 <= 1


def flat_runs(flat: Mask) -> list[tuple[int, int]]:
    """Start and length of each run."""
    steps = np.diff(np.concatenate(([0], flat.astype(np.int8), [0])))
    starts, stops = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    return [(start, stop - start) for start, stop in zip(starts, stops, strict=True)]


def reference_text(mask: Mask, dialect: str) -> str:
    """A cell of a dialect, written from its description."""
    by_rows = dialect in {"uw-madison", "vesuvius", "chexmask", "organseg"}
    flat = mask.ravel(order="C" if by_rows else "F")
    runs = flat_runs(flat)
    if dialect == "coco-list":
        counts, position = [], 0
        for start, length in runs:
            counts += [start - position, length]
            position = start + length
        if position < flat.size:
            counts.append(flat.size - position)
        return json.dumps(counts)
    if dialect == "siim":
        if not runs:
            return " -1"
        words, position = [], 0
        for start, length in runs:
            words += [start - position, length]
            position = start + length
        return " " + " ".join(map(str, words))
    base = 0 if dialect == "organseg" else 1
    return " ".join(f"{start + base} {length}" for start, length in runs)


def checksum(stack: Mask) -> str:
    """The checksum of slices ``(slices, rows, columns)`` in our dialect, as its documentation says."""
    head = "x".join(str(side) for side in stack.shape) + ":"
    return hashlib.sha256(head.encode() + np.packbits(stack.reshape(-1)).tobytes()).hexdigest()[:16]


COLUMNS = {
    "kaggle": ("ImageId", "EncodedPixels"),
    "airbus": ("ImageId", "EncodedPixels"),
    "tgs": ("id", "rle_mask"),
    "hubmap": ("id", "rle"),
    "severstal": ("ImageId", "ClassId", "EncodedPixels"),
    "uw-madison": ("id", "class", "segmentation"),
    "vesuvius": ("Id", "Predicted"),
    "siim": ("ImageId", "EncodedPixels"),
    "chexmask": ("image_id", "Left Lung", "Right Lung", "Height", "Width"),
    "coco-list": ("image_id", "rle"),
}

#: Dialects whose files name themselves.
DECLARED = ("organseg", "coco")


def write_declared(path: Path, dialect: str, masks: list[Mask]) -> None:
    """A file that names its dialect: our own table, or COCO's list of results."""
    if dialect == "coco":
        items = []
        for number, mask in enumerate(masks):
            counts = json.loads(reference_text(mask, "coco-list"))
            items.append(
                {"image_id": number, "category_id": 1, "segmentation": {"size": list(mask.shape), "counts": counts}}
            )
        path.write_text(json.dumps(items))
        return
    columns = "scan_id,organ,axis,slice,depth,height,width,order,base,spacing,unit,affine,rle,checksum,dialect"
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns.split(","))
        for number, mask in enumerate(masks):
            place = ["heart", "z", 0, 1, *mask.shape, "row", 0, "1 1 1", "px", ""]
            writer.writerow([f"image{number}", *place, reference_text(mask, dialect), checksum(mask[None]), "organseg"])


def write_reference(path: Path, dialect: str, masks: list[Mask]) -> None:
    """A whole file of a dialect; in the wide layout two masks a row."""
    if dialect in DECLARED:
        write_declared(path, dialect, masks)
        return
    columns = COLUMNS[dialect]
    with open(path, "w", newline="", encoding="utf-8-sig" if dialect == "siim" else "utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        if dialect == "chexmask":
            for number, mask in enumerate(masks):
                cells = [reference_text(mask, dialect), reference_text(mask & False, dialect)]
                writer.writerow([f"image{number}", *cells, *mask.shape])
            return
        for number, mask in enumerate(masks):
            middle = ["1"] if len(columns) == 3 else []
            writer.writerow([f"image{number}", *middle, reference_text(mask, dialect)])
