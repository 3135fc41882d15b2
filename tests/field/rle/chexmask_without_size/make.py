"""CheXmask with empty Height and Width: the landmarks show how wide the picture is."""

from pathlib import Path

import numpy as np

from tests.field.rle.shapes import pairs, write_truth


def make(folder: Path) -> None:
    rows = ["image_id,Dice RCA (Mean),Dice RCA (Max),Landmarks,Left Lung,Right Lung,Heart,Height,Width"]
    y, x = np.mgrid[:1024, :1024]
    for name, width in (("a", 1024), ("b", 900)):
        masks, points = [], []
        for left, top in ((300, 400), (620, 420), (480, 610)):
            masks.append(((x - left) ** 2 + ((y - top) / 1.3) ** 2 <= 130**2)[:, :width])
            angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
            points.append(np.stack((left + 130 * np.cos(angle), top + 169 * np.sin(angle)), axis=1))
        text = ",".join(str(int(number)) for number in np.concatenate(points).round().ravel())
        cells = ",".join(pairs(mask, "rows", 1) for mask in masks)
        rows.append(f'{name},0.9,0.9,"{text}",{cells},,')
        write_truth(folder, masks[2], f"{name}.npy")
    (folder / "both.csv").write_text("\n".join(rows) + "\n")
    (folder / "a.csv").write_text("\n".join(rows[:2]) + "\n")
    (folder / "b.csv").write_text("\n".join(rows[::2]) + "\n")
