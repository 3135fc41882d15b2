"""Starts that count from 0, with nothing in the file that says so."""

from pathlib import Path

from tests.field.rle.shapes import organ, pairs, write_truth


def make(folder: Path) -> None:
    write_truth(folder, organ())
    (folder / "from0.csv").write_text(f"id,rle\nimg1,{pairs(organ(), 'columns', 0)}\n")
    corner = organ()
    corner[:4, :4] = True
    (folder / "corner.csv").write_text(f"id,rle\nimg1,{pairs(corner, 'columns', 0)}\n")
    border = organ()
    border[-4:, 5:20] = True
    write_truth(folder, border, "border.npy")
    (folder / "border.csv").write_text(f"id,rle\nimg1,{pairs(border, 'columns', 1)}\n")
    (folder / "kaggle.csv").write_text(f"ImageId,EncodedPixels\nimg1,{pairs(organ(), 'columns', 1)}\n")
