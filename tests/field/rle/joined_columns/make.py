"""Clouds, the old Severstal and Sartorius."""

from pathlib import Path

from tests.field.rle.shapes import organ, pairs, write_truth


def make(folder: Path) -> None:
    write_truth(folder, organ())
    write_truth(folder, organ() & False, "none.npy")
    runs = pairs(organ(), "columns", 1)
    (folder / "clouds.csv").write_text(f"Image_Label,EncodedPixels\nimg_1.jpg_Fish,{runs}\nimg_1.jpg_Flower,\n")
    (folder / "steel.csv").write_text(f"ImageId_ClassId,EncodedPixels\nimg1.jpg_1,{runs}\nimg1.jpg_2,\n")
    rows = pairs(organ(), "rows", 1)
    (folder / "cells.csv").write_text(f"id,annotation,width,height,cell_type\nimg1,{rows},50,60,shsy5y\n")
    (folder / "nerve.csv").write_text(f"subject,img,pixels\n1,1,{runs}\n2,1,\n")
