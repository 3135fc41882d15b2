"""Predictions in a folder for each organ, references in a folder for each patient."""

from pathlib import Path

import numpy as np

from tests.field.making import write_picture


def make(folder: Path) -> None:
    """Predictions and references."""
    for case in ("p01", "p02", "p03"):
        for at, organ in enumerate(("heart", "left_lung")):
            mask = np.zeros((24, 20), np.uint8)
            mask[2 + 10 * at : 10 + 10 * at, 4:12] = 255
            write_picture(folder / "pred" / organ / f"{case}.png", mask)
            write_picture(folder / "ref" / case / f"{case}_{organ}_gt.png", mask)
