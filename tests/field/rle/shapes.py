"""One mask and how others write it: nothing here knows the code that reads it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np


def organ() -> np.ndarray:
    """``(60, 50)``: a box with a hole and a foot, with no symmetry, that touches no border."""
    mask = np.zeros((60, 50), bool)
    mask[5:30, 10:22] = True
    mask[12:17, 14:18] = False
    mask[30:55, 18:24] = True
    mask[48:55, 24:44] = True
    return mask


def write_truth(folder: Path, mask: np.ndarray, name: str = "truth.npy") -> None:
    """What ``rle decode`` paints of a mask."""
    np.save(folder / name, mask.astype(np.uint8) * 255)


def pairs(mask: np.ndarray, by: str, first: int) -> str:
    """Starts and lengths along ``rows`` or ``columns``; the first pixel is number ``first``."""
    words, place = [], first
    for value, run in groupby(mask.ravel(order="C" if by == "rows" else "F").tolist()):
        length = len(list(run))
        words += [place, length] if value else []
        place += length
    return " ".join(map(str, words))


def counts(mask: np.ndarray, by: str = "columns") -> list[int]:
    """Lengths of background and mask in turn."""
    flat = mask.ravel(order="C" if by == "rows" else "F").tolist()
    lengths = [len(list(run)) for _, run in groupby(flat)]
    return [0, *lengths] if flat[0] else lengths


def packed(values: np.ndarray) -> list[int]:
    """Bytes as ``rle-pack`` packs them: 8 bits a value, lengths of 3, 4, 8 or 16 bits, repeats and a literal block."""
    bits = f"{values.size:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    runs = [(value, len(list(run))) for value, run in groupby(values.ravel().tolist())]
    for value, length in runs:
        while length:
            part = min(length, 1 << 16)
            size = next(n for n, width in enumerate((3, 4, 8, 16)) if part <= 1 << width)
            if part == 2:
                # Two values that are written out, as the packer does with what does not pay to repeat.
                bits += "0" + f"{0:02b}{1:03b}{value:08b}{value:08b}"
            else:
                bits += "1" + f"{size:02b}" + format(part - 1, f"0{(3, 4, 8, 16)[size]}b") + f"{value:08b}"
            length -= part
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def brush(mask: np.ndarray, label: str, shape_id: str = "x") -> dict[str, object]:
    """A result of Label Studio's brush."""
    opacity = np.repeat(mask.astype(np.uint8)[:, :, None] * 255, 4, axis=2)
    value = {"format": "rle", "rle": packed(opacity), "brushlabels": [label]}
    height, width = mask.shape
    place = {"original_width": width, "original_height": height, "image_rotation": 0}
    return {"id": shape_id, "type": "brushlabels", "from_name": "tag", "to_name": "image", "value": value, **place}
