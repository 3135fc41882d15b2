"""Files as found in the wild, from ``ORGANSEG_DATA``: the stated conventions hold, and every file is read."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.core.files import read_table
from pipeline.formats.rle import EntryReader, RleTable
from pipeline.formats.rle.convert import convert
from pipeline.formats.rle.detection import detect
from pipeline.formats.rle.entries import picture_sizes

DATA = Path(os.environ.get("ORGANSEG_DATA", "data")) / "rle_csv"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no sample files: {DATA} is absent (set ORGANSEG_DATA)")

CHEXMASK = ("CANDID-PTX", "CheXpert", "ChestX-Ray8", "MIMIC-CXR-JPG", "Padchest", "VinDr-CXR")
#: Landmarks of one picture are those of the right lung, the left lung and the heart, in turn.
POLYGONS = {"Right Lung": slice(0, 44), "Left Lung": slice(44, 94), "Heart": slice(94, 120)}
SIZE = (1024, 1024)


def polygon(points: np.ndarray) -> np.ndarray:
    image = Image.new("1", (SIZE[1], SIZE[0]))
    ImageDraw.Draw(image).polygon([tuple(point) for point in points.tolist()], fill=1, outline=1)
    return np.asarray(image)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("name", CHEXMASK)
def test_chexmask_masks_are_those_of_their_landmarks(name: str) -> None:
    path = DATA / "chexmask" / f"{name}.sample.csv"
    table = RleTable(path, "chexmask")
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert table.ids() == [next(iter(row.values())) for row in rows]
    for row, scan_id in zip(rows, table.ids(), strict=True):
        points = np.array([float(x) for x in row["Landmarks"].split(",")]).reshape(-1, 2)
        masks = table.masks(scan_id, list(POLYGONS), (1024, 1024, 1))
        for organ, part in POLYGONS.items():
            assert overlap(masks[organ][:, :, 0].T, polygon(points[part])) >= 0.99


@pytest.mark.parametrize("name", CHEXMASK)
def test_chexmask_is_detected_by_its_landmarks(name: str) -> None:
    path = DATA / "chexmask" / f"{name}.sample.csv"
    found = detect(path, size=SIZE)
    assert found.dialect == "chexmask"
    assert found.margin > 1


def test_ids_that_are_paths_are_found_by_their_last_part() -> None:
    table = RleTable(DATA / "chexmask" / "CheXpert.sample.csv", "chexmask")
    full = table.ids()[0]
    assert "/" in full
    assert np.array_equal(
        table.masks(full, ["Heart"], (1024, 1024, 1))["Heart"], table.masks(full, ["heart"], (1024, 1024, 1))["heart"]
    )


@pytest.mark.parametrize("name", ["train-rle-sample", "stage2_holdout_sample"])
def test_siim_masks_hang_together_and_lie_inside(name: str) -> None:
    from scipy.ndimage import label

    path = DATA / "siim" / f"{name}.csv"
    entries = [entry for _, entry in EntryReader(path, "siim").entries()]
    filled = [entry.runs for entry in entries if entry.runs.starts.size]
    assert filled
    assert len(entries) == len(read_table(path))
    for runs in filled:
        assert label(runs.paint(), np.ones((3, 3)))[1] <= 0.1 * runs.starts.size
    assert detect(path).dialect == "siim"


def test_airbus_masks_lie_on_the_ships() -> None:
    path = DATA / "airbus" / "train_ship_segmentations_v2.sample.csv"
    images = DATA / "airbus" / "images"
    _, pictures = picture_sizes(images)
    table = RleTable(path, "airbus")
    inside, outside = [], []
    for scan_id in table.ids():
        mask = table.masks(scan_id, ["ship"], (768, 768, 1))["ship"][:, :, 0].T
        if scan_id in pictures and mask.any():
            pixels = np.asarray(Image.open(pictures[scan_id]).convert("L"))
            inside.append(pixels[mask].mean())
            outside.append(pixels[~mask].mean())
    assert np.mean(inside) > np.mean(outside) + 40
    assert detect(path, size=(768, 768), images=images).dialect == "kaggle"
    assert detect(path, size=(768, 768)).dialect is None


def test_uw_madison_is_not_told_from_its_mirror_image() -> None:
    path = DATA / "uwm" / "train.regenerated.csv"
    found = detect(path, size=(512, 512))
    assert found.dialect is None
    assert "nothing tells" in found.reason
    assert found.margin == 0


@pytest.mark.parametrize(
    ("file", "old", "size"),
    [
        ("chexmask/VinDr-CXR.sample.csv", "chexmask", None),
        ("siim/stage2_holdout_sample.csv", "siim", None),
        ("airbus/train_ship_segmentations_v2.sample.csv", "airbus", None),
        ("uwm/train.regenerated.csv", "uw-madison", (512, 512)),
    ],
)
def test_samples_survive_a_way_through_our_dialect_and_coco(
    tmp_path: Path, file: str, old: str, size: tuple[int, int] | None
) -> None:
    source, ours, coco = DATA / file, tmp_path / "ours.parquet", tmp_path / "coco.json"
    convert(EntryReader(source, old, size=size), ours, "organseg")
    convert(EntryReader(ours, "organseg"), coco, "coco")
    before = [entry for _, entry in EntryReader(source, old, size=size).entries()]
    after = [entry for _, entry in EntryReader(coco).entries()]
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert (one.scan_id, one.organ) == (other.scan_id, other.organ)
        assert np.array_equal(one.runs.paint(), other.runs.paint())
