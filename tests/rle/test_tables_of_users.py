"""Tables as people bring them: each comes out right, or is refused with the readings that it admits."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.formats.rle import EntryReader, RleTable
from pipeline.formats.rle.detection import detect
from pipeline.formats.rle.landmarks import implied_size
from tests.field.rle.shapes import organ, pairs

#: A mask that ends at the lower border, so that the number of the first pixel shows.
MASK = organ()
MASK[-4:, 5:20] = True
DOWN, ALONG = pairs(MASK, "columns", 1), pairs(MASK, "rows", 1)
SIZE = (60, 50)

TABLES = {
    "airbus": ("ImageId,EncodedPixels", f"a,{DOWN}", "mask"),
    "hubmap": ("id,rle", f"a,{DOWN}", "mask"),
    "hpa": (
        "id,organ,data_source,img_height,img_width,pixel_size,rle,age,sex",
        f"a,lung,HPA,60,50,0.4,{DOWN},37,F",
        "lung",
    ),
    "uw-madison": ("id,class,segmentation", f"a,stomach,{ALONG}", "stomach"),
    "carvana": ("img,rle_mask", f"a,{DOWN}", "mask"),
    "tgs": ("id,rle_mask", f"a,{DOWN}", "mask"),
    "sartorius": ("id,annotation,width,height,cell_type,plate_time", f"a,{ALONG},50,60,astro,11h", "astro"),
    "severstal": ("ImageId,ClassId,EncodedPixels", f"a,3,{DOWN}", "3"),
    "severstal of old": ("ImageId_ClassId,EncodedPixels", f"a_3,{DOWN}", "3"),
    "clouds": ("Image_Label,EncodedPixels", f"a_Fish,{DOWN}", "Fish"),
    "nerve submission": ("img,pixels", f"a,{DOWN}", "mask"),
    "bowl": ("ImageId,EncodedPixels", f"a,{DOWN}\na,1 3 61 3", "mask"),
    "vessels": ("id,rle", f"a,{DOWN}\nb,1 0", "mask"),
    "contrails": ("record_id,encoded_pixels", f"a,{DOWN}\nb,-", "mask"),
    "imaterialist": ("ImageId,EncodedPixels,Height,Width,ClassId", f"a,{DOWN},60,50,6", "6"),
    "vesuvius": ("Id,Predicted", f"a,{ALONG}", "mask"),
}


def table(path: Path, header: str, rows: str) -> Path:
    path.write_text(f"{header}\n{rows}\n", encoding="utf-8")
    return path


def masks_of(path: Path, name: str = "a", organ: str = "mask", dialect: str | None = None) -> np.ndarray:
    found = detect(path, size=SIZE).dialect if dialect is None else dialect
    assert found is not None
    return RleTable(path, found).masks(name, [organ], (50, 60, 1))[organ][:, :, 0].T


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ["plain", "semicolons", "tabs", "quoted"])
def test_tables_come_out_right(tmp_path: Path, name: str, form: str) -> None:
    header, rows, organ_name = TABLES[name]
    text = f"{header}\n{rows}\n"
    if form == "semicolons":
        (tmp_path / "m.csv").write_bytes(text.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"))
    elif form == "tabs":
        (tmp_path / "m.csv").write_text(text.replace(",", "\t"))
    elif form == "quoted":
        with open(tmp_path / "m.csv", "w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(line.split(",") for line in text.splitlines())
    else:
        (tmp_path / "m.csv").write_text(text)
    wanted = MASK.copy()
    if name == "bowl":
        wanted[0:3, 0:2] = True
    assert np.array_equal(masks_of(tmp_path / "m.csv", organ=organ_name), wanted)


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "None", "null", "-", "1 0"])
def test_cells_without_a_pixel(tmp_path: Path, nothing: str) -> None:
    path = table(tmp_path / "m.csv", "ImageId,EncodedPixels", f"a,{DOWN}\nb,{nothing}")
    assert np.array_equal(masks_of(path), MASK)
    assert not masks_of(path, "b").any()


@pytest.mark.parametrize(
    "cell",
    [
        "'" + DOWN + "'",
        " ".join(f"{int(number):.2e}" for number in DOWN.split()),
        " ".join(f"{number}.0" for number in DOWN.split()),
        DOWN + " -1",
        " ".join(DOWN.split()[:-1]),
        "0" + DOWN[DOWN.index(" ") :],
    ],
)
def test_cells_that_are_not_run_lengths_are_refused(tmp_path: Path, cell: str) -> None:
    path = table(tmp_path / "m.csv", "ImageId,EncodedPixels", f'a,"{cell}"')
    assert detect(path, size=SIZE).dialect is None
    with pytest.raises(InputError):
        masks_of(path, dialect="kaggle")


def test_pictures_that_are_numbered_anew_are_told_apart(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", "subject,img,pixels", f"1,1,{DOWN}\n2,1,\n2,2,{DOWN}")
    assert RleTable(path, "kaggle").ids() == ["1_1", "2_1", "2_2"]
    assert np.array_equal(masks_of(path, "1_1"), MASK)
    assert not masks_of(path, "2_1").any()


def test_names_that_hold_an_underscore_are_parted_at_the_last(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", "Image_Label,EncodedPixels", f"a_1.jpg_Fish,{DOWN}\nb.jpg,{DOWN}")
    with pytest.raises(InputError, match=r"'b\.jpg' is not an image and a class"):
        list(EntryReader(path, "kaggle", size=SIZE).entries())
    path = table(tmp_path / "n.csv", "Image_Label,EncodedPixels", f"a_1.jpg_Fish,{DOWN}")
    assert [cell.scan_id for cell, _ in EntryReader(path, "kaggle", size=SIZE).entries()] == ["a_1.jpg"]


def test_two_columns_of_runs_are_not_chosen_between(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", "ImageId,rle,EncodedPixels", f"a,{pairs(organ(), 'columns', 1)},{DOWN}")
    with pytest.raises(InputError, match="in 'rle' and 'EncodedPixels'"):
        masks_of(path, dialect="kaggle")
    # A column of file names is no second one.
    path = table(tmp_path / "n.csv", "ImageId,mask,EncodedPixels", f"a,a_mask.png,{DOWN}\nb,b_mask.png,")
    assert np.array_equal(masks_of(path), MASK)
    path = table(tmp_path / "o.csv", "ImageId,EncodedPixels,mask", f"a,a.png,{DOWN}\nb,b.png,")
    assert np.array_equal(masks_of(path), MASK)


def test_exchanged_sides_are_not_taken_for_another_order(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", "ImageId,EncodedPixels,Height,Width", f"a,{DOWN},50,60")
    found = detect(path)
    assert found.dialect is None
    for words in ("by rows", "50×60", "by columns", "60×50"):
        assert words in found.reason


def test_candidates_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", "ImageId,EncodedPixels,score", f"a,{DOWN},0.9\nb,{DOWN},0.1")
    assert np.array_equal(masks_of(path), MASK)
    with pytest.raises(InputError, match=r"score 0\.1"):
        masks_of(path, "b")


@pytest.mark.parametrize(("columns", "dialect"), [("columns", "columns-from-0"), ("rows", "rows-from-0")])
def test_files_that_count_from_0_are_read_where_it_is_said(tmp_path: Path, columns: str, dialect: str) -> None:
    mask = organ()
    path = table(tmp_path / "m.csv", "id,rle", f"a,{pairs(mask, columns, 0)}")
    found = detect(path, size=SIZE)
    assert found.dialect is None
    assert f"by {columns} from 1" in found.reason
    assert f"by {columns} from 0" in found.reason
    assert np.array_equal(masks_of(path, dialect=dialect), mask)


def test_a_mask_at_the_border_shows_where_counting_begins(tmp_path: Path) -> None:
    lower, upper = MASK, MASK[::-1]
    assert detect(table(tmp_path / "a.csv", "id,rle", f"a,{pairs(lower, 'columns', 1)}"), size=SIZE).dialect is not None
    # Counted from 0 and read from 1, a mask at the upper border would go on at the lower one.
    assert detect(table(tmp_path / "b.csv", "id,rle", f"a,{pairs(upper, 'columns', 0)}"), size=SIZE).dialect is None


def test_a_cell_that_a_spreadsheet_cut_is_refused_among_many(tmp_path: Path) -> None:
    cut = " ".join(f"{start} 1" for start in range(1, 40_000, 2))[:32_767]
    whole = cut.rsplit(" ", 3)[0]
    path = table(tmp_path / "m.csv", "id,rle", f"a,{whole}\nb,{cut}")
    reader = EntryReader(path, "kaggle", size=(300, 300), lenient=True)
    with pytest.raises(InputError, match=r"32,767 .*spreadsheet") as caught:
        list(reader.entries())
    assert "row 3" in str(caught.value)


def test_landmarks_show_the_width() -> None:
    y, x = np.mgrid[:400, :333]
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    points = np.stack((150 + 80 * np.cos(angle), 200 + 120 * np.sin(angle)), axis=1).round().astype(int)
    landmarks = ",".join(map(str, points.ravel()))
    mask = ((x - 150) / 80) ** 2 + ((y - 200) / 120) ** 2 <= 1
    assert implied_size([pairs(mask, "rows", 1), ""], landmarks) == (None, 333)
    assert implied_size([pairs(mask, "columns", 1)], landmarks) == (None, None)
    assert implied_size([pairs(np.roll(mask, 30, axis=0), "rows", 1)], landmarks) == (None, None)
    assert implied_size([""], landmarks) == (None, None)
    assert implied_size(["5 x"], landmarks) == (None, None)
    assert implied_size([pairs(mask, "rows", 1)], "1,2,3,4") == (None, None)
