"""What is wrong in a file is found on every way through it: checksums, cells of our dialect, the first wrong row."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.formats.rle import DIALECTS, EntryReader, RleTable, read_cells
from pipeline.formats.rle.cells import ORGANSEG_COLUMNS
from pipeline.formats.rle.convert import convert, stats
from pipeline.formats.rle.pictures import unpack

from .test_files import ORGANS, label_map, write


@pytest.mark.parametrize("axis", ["z", "volume"])
@pytest.mark.parametrize("place", [0, 1, 600])
@pytest.mark.parametrize("work", ["convert", "stats", "decode"])
def test_every_way_through_a_file_heeds_its_checksums(tmp_path: Path, work: str, place: int, axis: str) -> None:
    path = tmp_path / "masks.csv"
    if axis == "volume":
        place = min(place, 3)
    labels = label_map(3, (9, 14, 4 if axis == "volume" else 1), ORGANS[:1])
    write(path, {f"s{number:03d}": labels for number in range(place + 2)}, axis=axis)
    head, *rows = path.read_text().splitlines()
    # One pixel fewer: lawful, and another mask than the one that was written.
    before = RleTable(path).cells(f"s{place:03d}")[0].text
    start, length, *rest = before.split()
    rows[place] = rows[place].replace(f",{before},", f",{' '.join([start, str(int(length) - 1), *rest])},")
    path.write_text("\n".join([head, *rows]) + "\n")

    def run(reader: EntryReader) -> int:
        if work == "convert":
            return convert(reader, tmp_path / "out.csv", "kaggle")
        if work == "stats":
            return stats(reader, tmp_path / "out.csv")
        return sum(1 for _ in unpack(reader, tmp_path / "out"))

    with pytest.raises(InputError, match="the mask's checksum is") as caught:
        run(EntryReader(path))
    assert caught.value.where == f"{path}, row {place + 2}, column 'checksum'"
    assert not (tmp_path / "out.csv").exists()
    said: list[str] = []
    assert run(EntryReader(path, lenient=True, report=said.append)) >= place + 2
    assert len(said) == 1
    assert said[0].startswith(f"{path}, row {place + 2}, column 'checksum': the mask's checksum is ")


def test_the_first_wrong_row_is_named_whatever_follows(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    rows = [f"i{number},1 2" for number in range(40)]
    for wrong in ("i,1 2 3", "i,5 3 1 1", "i,1 2,3", '"i,1 2', "i,99 2"):
        for place in (0, 7, 39):
            text = [*rows[:place], "first,3 2 4 1", *rows[place:], wrong]
            path.write_text("id,rle\n" + "\n".join(text) + "\n")
            with pytest.raises(InputError, match="overlaps") as caught:
                stats(EntryReader(path, "hubmap", size=(4, 4)), tmp_path / "out.csv")
            assert caught.value.where == f"{path}, row {place + 2}, column 'rle', token 3"


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a,x,z,0,1,4,4,row,0,1 1 1,px,,0 2,,kaggle", "column 'dialect'", "'kaggle' is none of organseg"),
        ("a,x,z,0,1,4,4,row,2,1 1 1,px,,0 2,,organseg", "column 'base'", "'2' is none of 0, 1"),
        ("a,x,z,0,1,,4,row,0,1 1 1,px,,0 2,,organseg", "column 'height'", "is blank"),
        ("a,x,z,-1,1,4,4,row,0,1 1 1,px,,0 2,,organseg", "column 'slice'", "is not a whole number"),
        ("a,x,z,1,1,4,4,row,0,1 1 1,px,,0 2,,organseg", "row 2", "slice 1 lies outside a depth of 1"),
        ("a,x,z,0,1,4,4,row,0,1 1,px,,0 2,,organseg", "column 'spacing'", "is not 3 numbers"),
        ("a,x,z,0,1,4,4,row,0,1 1 1,px,1 2 nan,0 2,,organseg", "column 'affine'", "is not 12 numbers"),
        ("a,x,z,0,1,4,4,row,0,1 1 1,px,,0 2,abc,organseg", "column 'checksum'", "checksum is"),
    ],
)
def test_wrong_cells_of_our_dialect(tmp_path: Path, text: str, where: str, words: str) -> None:
    path = tmp_path / "masks.csv"
    path.write_text(",".join(ORGANSEG_COLUMNS) + f"\n{text}\n")
    for work in (
        lambda: stats(EntryReader(path, "organseg"), tmp_path / "out.csv"),
        lambda: RleTable(path).masks("a", ["x"], (4, 4, 1)),
    ):
        with pytest.raises(InputError) as caught:
            work()
        assert words in caught.value.what
        assert str(caught.value.where).endswith(where)


@pytest.mark.parametrize("name", ["m.csv.gz", "m.json.gz"])
@pytest.mark.parametrize("harm", ["cut short", "a wrong byte", "no gzip"])
def test_packed_files_that_are_damaged(tmp_path: Path, name: str, harm: str) -> None:
    path = tmp_path / name
    maps = {f"s{number}": label_map(number, (40, 50, 1)) for number in range(40)}
    write(path, maps, "coco" if "json" in name else "organseg")
    data = bytearray(path.read_bytes())
    if harm == "cut short":
        del data[-len(data) // 3 :]
    elif harm == "a wrong byte":
        data[len(data) // 2] ^= 255
    else:
        data[3:60] = b"x" * 57
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        stats(EntryReader(path), tmp_path / "out.csv")
    assert str(path) in str(caught.value.where)
    assert not (tmp_path / "out.csv").exists()


def test_lines_that_end_as_on_old_macintoshes(tmp_path: Path) -> None:
    path = tmp_path / "masks.csv"
    path.write_bytes('id,rle\rä,1 2\r"b, c",3 1\r'.encode())
    table = RleTable(path, "hubmap")
    assert table.ids() == ["ä", "b, c"]
    assert table.masks("b, c", ["x"], (2, 2, 1))["x"].sum() == 1
    assert [cell.text for cell in read_cells(path, DIALECTS["hubmap"])] == ["1 2", "3 1"]


@pytest.mark.parametrize("size", ["5,5,1", "1,4,1", "4,4,3"])
def test_rows_of_one_image_that_are_apart_and_differ_in_size(tmp_path: Path, size: str) -> None:
    path = tmp_path / "masks.csv"
    write(path, {name: label_map(1, (4, 4, 1), ORGANS[:1]) for name in ("a", "b")})
    rows = path.read_text().splitlines()
    columns = rows[0].split(",")
    again = dict(zip(columns, next(csv.reader([rows[1]])), strict=True))
    again |= dict(zip(("height", "width", "depth"), size.split(","), strict=True)) | {"checksum": "", "rle": "0 1"}
    with path.open("a", newline="") as file:
        csv.DictWriter(file, columns).writerow(again)
    reader = EntryReader(path)
    with pytest.raises(InputError, match=r"differ in size|size|checksum"):
        list(unpack(reader, tmp_path / "out"))
