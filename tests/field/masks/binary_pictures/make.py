"""One organ's mask as pictures in every disguise, and one that shows all but its organ."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.field.making import grey, labels, write_picture, write_study

NAMES = ("alpha.png", "la.png", "whitefirst.png", "mask.gif", "mask.bmp", "inverted.png")


def make(folder: Path) -> None:
    """Write a picture and its mask in six forms."""
    shape = (24, 20, 1)
    truth = labels(shape, (1,))
    shown = (truth[..., 0].T * 255).astype(np.uint8)
    write_picture(folder / "data/x.png", (grey(shape)[..., 0].T // 4).astype(np.uint8))
    write_picture(folder / "data/alpha.png", np.dstack([np.full((*shown.shape, 3), 255, np.uint8), shown]))
    Image.merge("LA", [Image.new("L", (24, 20), 255), Image.fromarray(shown)]).save(folder / "data/la.png")
    palette = Image.fromarray((shown == 0).astype(np.uint8)).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(folder / "data/whitefirst.png")
    write_picture(folder / "data/mask.gif", shown)
    write_picture(folder / "data/mask.bmp", shown)
    write_picture(folder / "data/inverted.png", 255 - shown)
    np.save(folder / "truth.npy", truth)
    rows = [{"scan_id": n.split(".")[0] + n[-3:], "patient_id": "p", "image": "x.png", "mask_box": n} for n in NAMES]
    write_study(folder, rows, modality="xray", organs=["box"], ingest={"shards": 1})
