"""Two levels of words that say nothing, with masks of one size: which is the scan, nobody can tell."""

from pathlib import Path

import numpy as np

from tests.field.making import write_picture


def make(folder: Path) -> None:
    """Predictions and references."""
    for side in ("pred", "ref"):
        for first in ("alpha", "beta"):
            for second in ("gamma", "omega"):
                write_picture(folder / side / first / f"{second}.png", np.eye(16, dtype=np.uint8) * 255)
