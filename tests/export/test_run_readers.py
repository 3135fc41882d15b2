"""The reader that checks run lengths agrees with what was written and with pycocotools, and refuses what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.export.checks import Tolerance, compare, expected
from pipeline.export.run_readers import CONVENTIONS, CocoFile, RunTable, expanded, paint_counts, paint_pairs
from pipeline.formats.rle import DIALECTS, write_masks

ALONE = {name for name, dialect in DIALECTS.items() if dialect.layout == "long" and not dialect.class_columns}
SHAPES = [(7, 5, 1), (6, 5, 4)]


def label_map(seed: int, shape: tuple[int, int, int], organs: tuple[str, ...], empty: bool = False) -> LabelMap:
    generator = np.random.default_rng(seed)
    masks = {organ: (generator.random(shape) < 0.4) & (not empty) for organ in organs}
    affine = np.diag([0.5, 0.7, 2.0, 1])
    affine[:3, 3] = generator.normal(0, 20, 3)
    return LabelMap.from_masks(masks, affine, organs, overlapping=True)


def organs_of(dialect: str) -> tuple[str, ...]:
    return ("left_lung",) if dialect in ALONE else ("left_lung", "heart")


def test_every_dialect_has_a_reader() -> None:
    assert set(CONVENTIONS) == set(DIALECTS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_written_is_read(tmp_path: Path, dialect: str, shape: tuple[int, int, int]) -> None:
    organs = organs_of(dialect)
    maps = {f"s.{seed}": label_map(seed, shape, organs, empty=seed == 2) for seed in range(4)}
    write_masks(tmp_path / "a.csv", [(name, one, "mm") for name, one in maps.items()], dialect, organs=organs)
    table = RunTable(tmp_path / "a.csv", dialect, organs)
    for name, labels in maps.items():
        rows = compare(name, "rle", expected(labels), table.read(name, labels), labels, Tolerance(1e-6, 1e-9))
        assert [row["reason"] for row in rows] == [""] * len(organs)
    assert table.left() == 0
    table.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dialect", ["coco", "coco-list"])
def test_coco_files(tmp_path: Path, dialect: str, shape: tuple[int, int, int]) -> None:
    """Scan ids with dots too: an image's name is no file's name with an ending."""
    organs = ("left_lung", "heart")
    maps = {f"s.{seed}": label_map(seed, shape, organs, empty=seed == 2) for seed in range(4)}
    write_masks(tmp_path / "a.json", [(name, one, "mm") for name, one in maps.items()], dialect, organs=organs)
    file = CocoFile(tmp_path / "a.json")
    for name, labels in maps.items():
        rows = compare(name, "coco", expected(labels), file.read(name, labels), labels, Tolerance(1e-6, 1e-9))
        assert {row["status"] for row in rows} == {"ok"}
    assert file.left() == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_counts_are_pycocotools(rows: int, columns: int, seed: int) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    picture = np.random.default_rng(seed).random((rows, columns)) < 0.5
    text = coco.encode(np.asfortranarray(picture.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(paint_counts(text, (rows, columns)), picture)
    np.testing.assert_array_equal(paint_counts(expanded(text), (rows, columns)), picture)


def test_gaps_by_hand() -> None:
    """SIIM: the first run begins at pixel 2; the second 3 after the end of the first; down the columns."""
    picture = paint_pairs([2, 2, 3, 1], (3, 4), CONVENTIONS["siim"])
    np.testing.assert_array_equal(np.flatnonzero(picture.T), [2, 3, 7])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "no length"),
        ("0 2", "leave a picture"),
        ("3 4 5 2", "overlap"),
        ("30 9", "leave a picture"),
        ("a b", "no number"),
    ],
)
def test_wrong_cells(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(f"ImageId,EncodedPixels\ns,{text}\n")
    table = RunTable(tmp_path / "a.csv", "kaggle", ["heart"])
    with pytest.raises(InputError, match=message):
        table.read("s", label_map(0, (7, 5, 1), ("heart",)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("checksum", "0" * 16, "checksum"),
        ("spacing", "1 1 1", "spacing"),
        ("height", "6", "size"),
        ("slice", "4", "slice 4 of 1"),
    ],
)
def test_wrong_cells_of_our_own_dialect(tmp_path: Path, column: str, value: str, message: str) -> None:
    import csv

    labels = label_map(0, (7, 5, 1), ("heart",))
    write_masks(tmp_path / "a.csv", [("s", labels, "mm")], "organseg")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = value
    with open(tmp_path / "b.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    table = RunTable(tmp_path / "b.csv", "organseg", ["heart"])
    with pytest.raises(InputError, match=message):
        table.read("s", labels)


def test_columns_and_rows_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,EncodedPixels\ns,1 2\n")
    with pytest.raises(InputError, match="no column ImageId"):
        RunTable(tmp_path / "a.csv", "kaggle", ["heart"])
    (tmp_path / "b.csv").write_text("image_id,Left Lung,Height,Width\ns,1 2,5,7\n")
    table = RunTable(tmp_path / "b.csv", "chexmask", ["heart"])
    with pytest.raises(InputError, match="no column of heart"):
        table.read("s", label_map(0, (7, 5, 1), ("heart",)))
    table = RunTable(tmp_path / "b.csv", "chexmask", ["left_lung"])
    assert table.read("other", label_map(0, (7, 5, 1), ("left_lung",))) == {}
    assert table.left() == 1
