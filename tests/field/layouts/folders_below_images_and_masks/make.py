from pathlib import Path

import numpy as np

from tests.field.making import write_picture


def make(folder: Path) -> None:
    square = np.zeros((30, 30), np.uint8)
    square[8:20, 5:25] = 255
    for patient in range(3):
        for kind in ("images", "masks"):
            write_picture(folder / f"data/{kind}/p{patient}/1.png", square)
