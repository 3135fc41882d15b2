"""CVAT's XML: a mask in its box, a polygon, a box, and the tracks of a video."""

from pathlib import Path

import numpy as np

from tests.field.rle.shapes import counts, organ, write_truth


def make(folder: Path) -> None:
    mask = organ()
    write_truth(folder, mask)
    runs = ", ".join(map(str, counts(mask[5:55, 10:44], "rows")))
    inside = f'rle="{runs}" left="10" top="5" width="34" height="50" z_order="0"'
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
    image = f'<image id="0" name="a/img1.png" width="50" height="60"><mask label="organ" {inside}/>'
    (folder / "images.xml").write_text(f"{head}{image}</image></annotations>")
    box = '<box label="organ" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    (folder / "box.xml").write_text(f"{head}{image}{box}</image></annotations>")
    meta = "<meta><task><name>v</name><size>3</size><source>v.mp4</source>"
    meta += "<original_size><width>50</width><height>60</height></original_size></task></meta>"
    frame = '<mask frame="{}" outside="{}" keyframe="1" ' + inside + "/>"
    track = f'<track id="0" label="organ">{frame.format(0, 0)}{frame.format(1, 1)}</track>'
    (folder / "video.xml").write_text(f"{head}{meta}{track}</annotations>")
    gap = f'<track id="0" label="organ">{frame.format(0, 0)}{frame.format(2, 0)}</track>'
    (folder / "gap.xml").write_text(f"{head}{meta}{gap}</annotations>")
    video = np.zeros((50, 60, 3), np.uint8)
    video[:, :, 0] = mask.T
    np.save(folder / "truth_video.npy", video)
