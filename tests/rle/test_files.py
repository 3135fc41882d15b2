"""Whole files: streams in every form, conversions between all dialects, lookups, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.labels import IGNORE, LabelMap
from pipeline.formats.rle import (
    DIALECTS,
    EntryReader,
    RleTable,
    Runs,
    decode,
    known_dialect,
    read_cells,
    rle_table,
    write_masks,
)
from pipeline.formats.rle.convert import convert, stats
from pipeline.formats.rle.tables import open_table

from .phantoms import COLUMNS, checksum, random_mask, write_reference

NAMES = sorted(DIALECTS)
ORGANS = ("left_lung", "heart")
AFFINE = np.array([[-0.7, 0, 0, 10], [0, 0.8, 0.1, -20], [0, 0.05, 2.5, 30], [0, 0, 0, 1]])


def label_map(seed: int, shape: tuple[int, int, int], organs: tuple[str, ...] = ORGANS) -> LabelMap:
    rng = np.random.default_rng(seed)
    masks = {}
    for organ in organs:
        masks[organ] = np.stack([random_mask(rng, *shape[:2], "ellipses") for _ in range(shape[2])], axis=2)
    return LabelMap.from_masks(masks, AFFINE, organs, overlapping=True)


def write(path: Path, maps: dict[str, LabelMap], dialect: str = "organseg", **options: object) -> int:
    return write_masks(path, ((key, labels, "mm") for key, labels in maps.items()), dialect, **options)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("axis", ["x", "y", "z", "volume"])
def test_volumes_in_our_dialect(tmp_path: Path, suffix: str, axis: str) -> None:
    maps = {f"scan{i}": label_map(i, (9, 14, 5 + i)) for i in range(3)}
    path = tmp_path / f"masks{suffix}"
    write(path, maps, axis=axis)
    table = RleTable(path)
    assert table.ids() == list(maps)
    for key, labels in maps.items():
        masks = table.masks(key, ORGANS, labels.data.shape)
        assert set(masks) == set(ORGANS)
        for organ, mask in masks.items():
            assert np.array_equal(mask, labels.mask(organ))


@pytest.mark.parametrize("axis", ["z", "volume"])
def test_a_row_of_our_dialect_can_be_decoded_by_hand(tmp_path: Path, axis: str) -> None:
    labels = label_map(1, (9, 14, 4))
    write(tmp_path / "masks.csv", {"a": labels}, axis=axis)
    found = {organ: np.zeros((4, 14, 9), bool) for organ in ORGANS}
    with open(tmp_path / "masks.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            assert (row["dialect"], row["order"], row["base"], row["depth"]) == ("organseg", "row", "0", "4")
            assert [float(x) for x in row["spacing"].split()] == pytest.approx(labels.grid.spacing)
            assert np.array([float(x) for x in row["affine"].split()]).reshape(3, 4) == pytest.approx(AFFINE[:3])
            height, width = int(row["height"]), int(row["width"])
            flat = np.zeros(height * width * (4 if axis == "volume" else 1), bool)
            numbers = [int(token) for token in row["rle"].split()]
            for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
                flat[start : start + length] = True
            pictures = flat.reshape(-1, height, width)
            assert row["checksum"] == checksum(pictures)
            if axis == "volume":
                found[row["organ"]] |= pictures
            else:
                found[row["organ"]][int(row["slice"])] |= pictures[0]
    for organ in ORGANS:
        assert np.array_equal(found[organ].transpose(2, 1, 0), labels.mask(organ))


@pytest.mark.parametrize("order", ["row", "column"])
def test_slices_at_once_are_those_one_by_one(order: str) -> None:
    rng = np.random.default_rng(4)
    stacks = [
        rng.random((5, 6, 7)) < 0.5,
        np.ones((4, 3, 5), bool),
        np.zeros((3, 4, 2), bool),
        np.eye(6, dtype=bool)[None],
    ]
    stacks[0][2] = False
    for stack in stacks:
        for runs, picture in zip(Runs.from_stack(stack, order), stack, strict=True):
            alone = Runs.from_mask(picture, order)
            assert np.array_equal(runs.starts, alone.starts)
            assert np.array_equal(runs.lengths, alone.lengths)
            assert (runs.shape, runs.order) == (picture.shape, order)


def test_absent_unknown_and_ignored_are_told_apart(tmp_path: Path) -> None:
    shape = (8, 6, 3)
    empty, some, ignore = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, bool)
    some[2:4, 1:3, 1] = True
    ignore[7, 5, 2] = True
    organs = ("present", "absent", "unknown")
    labels = LabelMap.from_masks({"present": some, "absent": empty}, AFFINE, organs, overlapping=False, ignore=ignore)
    write(tmp_path / "masks.csv", {"a": labels})
    masks = RleTable(tmp_path / "masks.csv").masks("a", organs, shape)
    assert set(masks) == {"present", "absent", IGNORE}
    assert np.array_equal(masks["present"], some)
    assert not masks["absent"].any()
    assert np.array_equal(masks[IGNORE], ignore)


def test_a_picture_lies_as_it_is_shown(tmp_path: Path) -> None:
    mask = np.zeros((5, 3, 1), bool)  # five columns, three rows
    mask[4, 0, 0] = True
    labels = LabelMap.from_masks({"spot": mask}, AFFINE, ["spot"], overlapping=True)
    write(tmp_path / "masks.csv", {"a": labels}, "uw-madison")
    assert (tmp_path / "masks.csv").read_text() == "id,class,segmentation\na,spot,5 1\n"


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_conversion_keeps_every_pixel(tmp_path: Path, source: str, target: str) -> None:
    organs = ("left_lung",)
    maps = {f"image{i}": label_map(i, (23, 17, 1), organs) for i in range(3)}
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    write(first, maps, source)
    convert(EntryReader(first, source, size=(17, 23)), second, target)
    table = RleTable(second, target)
    assert table.ids() == list(maps)
    for key, labels in maps.items():
        masks = table.masks(key, organs, labels.data.shape, aliases={"Left Lung": "left_lung"})
        assert np.array_equal(masks["left_lung"], labels.mask("left_lung"))


@pytest.mark.parametrize("name", ["coco", "coco-list"])
def test_coco_json_is_read_by_its_own_library(tmp_path: Path, name: str) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    maps = {"a/b.png": label_map(1, (30, 20, 1)), "c.png": label_map(2, (25, 40, 1))}
    path = tmp_path / "masks.json"
    write(path, maps, name)
    peer = coco.COCO(str(path))
    for annotation in peer.dataset["annotations"]:
        image = peer.imgs[annotation["image_id"]]
        organ = peer.cats[annotation["category_id"]]["name"]
        mask = maps[image["file_name"]].mask(organ)[:, :, 0].T
        assert np.array_equal(peer.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == mask.sum()
    table = RleTable(path)
    for key, labels in maps.items():
        assert np.array_equal(table.masks(key, ORGANS, labels.data.shape)["heart"], labels.mask("heart"))
    gzipped = tmp_path / "masks.json.gz"
    write(gzipped, maps, name)
    assert gzip.decompress(gzipped.read_bytes()) == path.read_bytes()


def test_coco_results_and_polygons(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 7, "category_id": 2, "segmentation": {"size": [2, 2], "counts": [1, 3]}}]))
    assert RleTable(path).masks("7", ["2"], (2, 2, 1))["2"][:, :, 0].tolist() == [[False, True], [True, True]]
    path.write_text(json.dumps([{"image_id": 7, "category_id": 2, "segmentation": [[0.5, 1, 2, 3, 4, 5]]}]))
    with pytest.raises(InputError, match="how large the polygon's picture is"):
        RleTable(path).masks("7", ["2"], (6, 6, 1))


def test_volumes_in_a_dialect_without_slices(tmp_path: Path) -> None:
    labels = label_map(4, (12, 11, 6))
    path = tmp_path / "uw.csv"
    write(path, {"case1_day2": labels}, "uw-madison", every_slice=True)
    assert RleTable(path, "uw-madison").ids()[0] == "case1_day2_slice_0001"
    masks = rle_table(path, "uw-madison").masks("case1_day2", ORGANS, (12, 11, 6))
    for organ in ORGANS:
        assert np.array_equal(masks[organ], labels.mask(organ))


def test_whole_volumes_become_slices_on_conversion(tmp_path: Path) -> None:
    labels = label_map(6, (12, 11, 6))
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    write(first, {"s": labels}, axis="volume")
    for dialect in ("uw-madison", "kaggle"):
        organs = ORGANS if dialect == "uw-madison" else ORGANS[:1]
        if dialect == "kaggle":
            write(first, {"s": label_map(6, (12, 11, 6), organs)}, axis="volume")
        convert(EntryReader(first, "organseg"), second, dialect)
        masks = RleTable(second, dialect).masks("s", organs, (12, 11, 6))
        reference = RleTable(first).masks("s", organs, (12, 11, 6))
        for organ in organs:
            assert np.array_equal(masks[organ], reference[organ])


def test_several_objects_of_an_image_are_united(tmp_path: Path) -> None:
    path = tmp_path / "ships.csv"
    path.write_text("ImageId,EncodedPixels\nfolder/a.jpg,1 2\nfolder/b.jpg,\nfolder/a.jpg,4 1\n")
    table = RleTable(path, "kaggle")
    assert table.masks("a", ["ship"], (2, 4, 1))["ship"][:, :, 0].T.ravel(order="F").nonzero()[0].tolist() == [0, 1, 3]
    assert not table.masks("b.jpg", ["ship"], (2, 4, 1))["ship"].any()
    with pytest.raises(InputError, match="there is no image 'c'"):
        table.masks("c", ["ship"], (2, 4, 1))


def test_a_wide_file_needs_rows_of_an_image_together(tmp_path: Path) -> None:
    first = tmp_path / "a.csv"
    first.write_text("id,class,segmentation\na,Heart,1 2\nb,Heart,3 1\na,Left Lung,4 1\n")
    with pytest.raises(InputError, match="do not follow each other"):
        convert(EntryReader(first, "uw-madison", size=(3, 3)), tmp_path / "b.csv", "chexmask")
    assert not (tmp_path / "b.csv").exists()


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("ImageId,EncodedPixels\na,1 2 3\n", "row 2, column 'EncodedPixels', token 3", "not an even count"),
        ("ImageId,EncodedPixels\na,1 2\nb,3 2 4 1\n", "row 3, column 'EncodedPixels', token 3", "overlaps"),
        ("ImageId,EncodedPixels\na,1 2\n\nb,3 2 extra\n", "row 4, column 'EncodedPixels', token 3", "'extra'"),
        ("ImageId,EncodedPixels\na,1 2,9\n", "row 2", "has 3 cells, the header 2"),
        ("Foo,Bar\na,1 2\n", "", "no column of ids"),
        ("ImageId,Bar\na,1 2\n", "", "no column of masks"),
        ("ImageId,ImageId\na,1 2\n", "", "two columns named"),
        ("", "", "the table is empty"),
        ('ImageId,EncodedPixels\n"a,1 2\n', "row 2", ""),
    ],
)
def test_files_that_are_wrong_are_refused_by_row_and_column(tmp_path: Path, text: str, where: str, words: str) -> None:
    path = tmp_path / "masks.csv"
    path.write_text(text)
    reader = EntryReader(path, "kaggle", size=(4, 4))
    with pytest.raises(InputError) as caught:
        for cell in read_cells(path, DIALECTS["kaggle"]):
            reader.read(cell)
    assert words in caught.value.what
    assert str(caught.value.where).endswith(where)
    assert str(path) in str(caught.value.where)


def test_lookup_refuses_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text("ImageId,EncodedPixels\na,1 2\nb,3 2 4 1\n")
    table = RleTable(path, "kaggle")
    assert table.masks("a", ["x"], (4, 4, 1))["x"].sum() == 2
    with pytest.raises(InputError) as caught:
        table.masks("b", ["x"], (4, 4, 1))
    assert str(caught.value.where) == f"{path}, row 3, column 'EncodedPixels', token 3"
    path.write_text('ImageId,EncodedPixels\n"a,1 2\n')
    with pytest.raises(InputError, match="ends inside quotes"):
        RleTable(path, "kaggle")


def test_a_changed_row_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    write(path, {"a": label_map(1, (9, 14, 1))})
    text = path.read_text()
    rows = text.splitlines()
    path.write_text("\n".join([rows[0], rows[1].replace("row,0", "row,1"), *rows[2:]]) + "\n")
    with pytest.raises(InputError, match=r"checksum|before the first"):
        RleTable(path).masks("a", ORGANS, (9, 14, 1))


@pytest.mark.parametrize(
    ("shape", "organs", "words"),
    [
        ((14, 9, 1), ORGANS, "of 14×9 along z"),
        ((9, 14, 2), ORGANS, "the scan has 2"),
        ((9, 14, 1), ("heart",), "is not an organ of the study"),
    ],
)
def test_a_mask_that_does_not_fit_its_scan_is_refused(
    tmp_path: Path, shape: tuple[int, int, int], organs: tuple[str, ...], words: str
) -> None:
    path = tmp_path / "masks.csv"
    write(path, {"a": label_map(1, (9, 14, 1))})
    with pytest.raises(InputError, match=words):
        rle_table(path).masks("a", organs, shape)


def test_organs_match_whatever_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "chex.csv"
    maps = {"a": label_map(1, (9, 14, 1))}
    write(path, maps, "chexmask", organs=ORGANS)
    assert path.read_text().splitlines()[0] == "image_id,Left Lung,Heart,Height,Width"
    masks = RleTable(path, "chexmask").masks("a", ["LEFT-LUNG", "cor"], (9, 14, 1), aliases={"Heart": "cor"})
    assert np.array_equal(masks["cor"], maps["a"].mask("heart"))
    assert np.array_equal(masks["LEFT-LUNG"], maps["a"].mask("left_lung"))


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text("ImageId,EncodedPixels\na,1 2\n")
    assert rle_table(path, "kaggle").masks("a", ["x"], (4, 4, 1))["x"].sum() == 2
    path.write_text("ImageId,EncodedPixels\na,1 12\n")
    assert rle_table(path, "kaggle").masks("a", ["x"], (4, 4, 1))["x"].sum() == 12


def test_a_file_without_a_name_of_its_dialect_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text("ImageId,EncodedPixels\na,1 2\n")
    with pytest.raises(InputError, match="does not name its RLE dialect"):
        known_dialect(path, None)


@pytest.mark.parametrize("dialect", sorted(COLUMNS))
def test_files_of_an_independent_writer(tmp_path: Path, dialect: str) -> None:
    rng = np.random.default_rng(8)
    masks = [random_mask(rng, 31, 22, kind) for kind in ("ellipses", "full", "tiny", "noise")]
    masks.append(masks[0] & False)
    path = tmp_path / "masks.csv"
    write_reference(path, dialect, masks)
    reader = EntryReader(path, dialect, size=(31, 22))
    cells = [cell for cell in read_cells(path, DIALECTS[dialect]) if cell.organ != "Right Lung"]
    for cell, mask in zip(cells, masks, strict=True):
        assert np.array_equal(reader.read(cell).runs.paint(), mask)


def test_stats_are_those_of_the_pictures(tmp_path: Path) -> None:
    maps = {"a": label_map(1, (40, 30, 3)), "b": label_map(2, (25, 33, 1))}
    path, out = tmp_path / "masks.csv", tmp_path / "stats.csv"
    write(path, maps)
    assert stats(EntryReader(path, "organseg"), out) == len(read_table(path))
    for row in read_table(out):
        picture = maps[row["scan_id"]].mask(row["organ"])[:, :, int(row["slice"])].T
        rows, columns = np.nonzero(picture)
        assert int(row["area"]) == rows.size
        box = [int(row[name]) for name in ("top", "left", "bottom", "right")]
        assert box == [rows.min(), columns.min(), rows.max(), columns.max()]
        assert float(row["centroid_row"]) == pytest.approx(rows.mean(), abs=1e-3)
        assert float(row["centroid_column"]) == pytest.approx(columns.mean(), abs=1e-3)


def test_missing_sizes_are_refused_or_repaired(tmp_path: Path) -> None:
    path = tmp_path / "chex.csv"
    path.write_text("image_id,Heart,Height,Width\na,1 2,4,5\nb,3 2,,\n")
    cells = list(read_cells(path, DIALECTS["chexmask"]))
    reader = EntryReader(path, "chexmask")
    reader.read(cells[0])
    with pytest.raises(InputError, match="how large the picture is"):
        reader.read(cells[1])
    said: list[str] = []
    reader = EntryReader(path, "chexmask", lenient=True, report=said.append)
    assert [reader.read(cell).runs.areas[0] for cell in cells] == [2, 2]
    assert said == [f"{path}, row 3, column 'Heart': took the size of the rows before, 4×5"]
    assert EntryReader(path, "chexmask", size=(7, 7)).read(cells[1]).runs.shape == (7, 7)


def test_equal_tables_are_equal_files(tmp_path: Path) -> None:
    maps = {"a": label_map(1, (9, 14, 2))}
    for name in ("masks.csv", "masks.csv.gz"):
        write(tmp_path / "1" / name, maps)
        write(tmp_path / "2" / name, maps)
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text("old")
    with pytest.raises(InputError, match="kaggle has no column for organs"):
        write(path, {"a": label_map(1, (9, 14, 1))}, "kaggle")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["masks.csv"]


def test_semicolons_and_marks_of_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text("\ufeffid; rle \nä;1 2\n", encoding="utf-8")
    with open_table(path) as table:
        assert table.columns == ["id", "rle"]
        assert [(row, cells) for row, *_, cells in table.records] == [(2, ["ä", "1 2"])]
    assert RleTable(path, "hubmap").masks("ä", ["x"], (2, 2, 1))["x"].sum() == 2


def test_cells_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_text('id,rle\n"a ""1""","1 1\n3 1"\nb,2 1\n')
    table = RleTable(path, "hubmap")
    assert table.ids() == ['a "1"', "b"]
    assert decode("1 1\n3 1", 2, 2, "hubmap").sum() == table.masks('a "1"', ["x"], (2, 2, 1))["x"].sum() == 2
