"""A 16-bit TIFF whose zeros are white, as a scan."""

from pathlib import Path

import numpy as np
import tifffile

from tests.field.making import grey, labels, write_picture, write_study


def make(folder: Path) -> None:
    """Write the picture and a mask."""
    shape = (24, 20, 1)
    bright = grey(shape).astype(np.uint16) * 60
    (folder / "data").mkdir()
    tifffile.imwrite(folder / "data/x.tif", 65535 - bright[..., 0].T, photometric="miniswhite")
    write_picture(folder / "data/m.png", labels(shape)[..., 0].T)
    np.save(folder / "truth.npy", bright)
    write_study(
        folder,
        [{"scan_id": "a", "patient_id": "p", "image": "x.tif", "mask": "m.png"}],
        modality="xray",
        ingest={"shards": 1},
    )
