"""Many cells at once are read and written as each is alone, and left alone where one of them is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.core.errors import InputError
from pipeline.formats.rle import DIALECTS, Runs, read_text, read_texts, write_texts

from .phantoms import SHAPES, SIZES, random_mask, random_size, reference_text

#: Entries that nobody has made yet, as the table allows them.
OTHERS = {
    "gaps by rows from 1": replace(DIALECTS["siim"], order="row", base=1, empty=("none", "0"), lead=""),
    "counts by rows": replace(DIALECTS["coco-list"], order="row"),
    "texts by rows": replace(DIALECTS["coco"], order="row"),
}
EVERY = DIALECTS | OTHERS
NAMES = sorted(EVERY)
REFERENCED = [name for name in DIALECTS if name != "coco"]
pictures_of = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=11))
masks = st.lists(pictures_of, min_size=1, max_size=6)
texts = st.lists(st.text(alphabet="0123456789 -.,[]x\n", max_size=14), min_size=1, max_size=3)


def same(one: Runs, other: Runs) -> bool:
    return (
        np.array_equal(one.starts, other.starts)
        and np.array_equal(one.lengths, other.lengths)
        and (one.shape, one.order) == (other.shape, other.order)
    )


def sides(pictures: list[np.ndarray]) -> tuple[list[int], list[int]]:
    return [mask.shape[0] for mask in pictures], [mask.shape[1] for mask in pictures]


@pytest.mark.parametrize("name", NAMES)
@given(pictures=masks, order=st.sampled_from(["row", "column"]))
@settings(max_examples=50, deadline=None)
def test_cells_are_written_and_read_as_each_alone(name: str, pictures: list[np.ndarray], order: str) -> None:
    dialect = EVERY[name]
    alone = [Runs.from_mask(mask, order) for mask in pictures]
    written = write_texts(Runs.gather(alone), dialect)
    assert written == [write_texts(runs, dialect)[0] for runs in alone]
    read = read_texts(written, *sides(pictures), dialect)
    for text, mask, runs in zip(written, pictures, read, strict=True):
        assert same(runs, read_text(text, *mask.shape, dialect)[0])
        assert np.array_equal(runs.paint(), mask)


@pytest.mark.parametrize("name", NAMES)
def test_larger_pictures(name: str) -> None:
    rng = np.random.default_rng(6)
    pictures = [random_mask(rng, *random_size(rng, SIZES[n % 3]), kind) for n, kind in enumerate(SHAPES * 3)]
    pictures.insert(2, pictures[1] & False)
    dialect = EVERY[name]
    written = write_texts(Runs.gather([Runs.from_mask(mask, "row") for mask in pictures]), dialect)
    if name in REFERENCED:
        assert written == [reference_text(mask, name) for mask in pictures]
    read = read_texts(written, *sides(pictures), dialect)
    assert all(np.array_equal(runs.paint(), mask) for runs, mask in zip(read, pictures, strict=True))


@pytest.mark.parametrize("name", NAMES)
@given(cells=texts, data=st.data())
@settings(max_examples=100, deadline=None)
def test_cells_that_are_accepted_at_once_are_those_accepted_alone(
    name: str, cells: list[str], data: st.DataObject
) -> None:
    dialect = EVERY[name]
    read = read_texts(cells, [4] * len(cells), [5] * len(cells), dialect)
    if read is None:
        return
    for text, runs in zip(cells, read, strict=True):
        # Lenient reading repairs nothing that strict reading accepts, so that both may come from here.
        for lenient in (False, True):
            alone, repairs = read_text(text, 4, 5, dialect, lenient=lenient)
            assert same(runs, alone)
            assert not repairs


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kaggle", "1 2 3"),
        ("kaggle", "1 3 3 2"),
        ("kaggle", "9 2 1 2"),
        ("kaggle", "1 2 5 0"),
        ("kaggle", "0 2"),
        ("kaggle", "1 2 x 3"),
        ("kaggle", "1 2 99999999999999999999 3"),
        ("kaggle", "24 3"),
        ("organseg", "0 26"),
        ("siim", "3 2 -1 2"),
        ("siim", "3 2 3 0"),
        ("siim", "20 3 1 2"),
        ("coco-list", "3 4"),
        ("coco-list", "3 0 22"),
        ("coco-list", ""),
        ("coco", "3o"),
        ("coco", "3 4"),
        ("coco", ""),
        ("coco", "d"),
    ],
)
def test_one_wrong_cell_is_enough_to_leave_all_alone(name: str, text: str) -> None:
    dialect = EVERY[name]
    with pytest.raises(InputError):
        read_text(text, 5, 5, dialect)
    good = write_texts(Runs.from_mask(np.eye(5, dtype=bool), "row"), dialect)[0]
    assert read_texts([good, good], [5, 5], [5, 5], dialect) is not None
    for cells in ([text], [good, text], [text, good], [good, text, good]):
        assert read_texts(cells, [5] * len(cells), [5] * len(cells), dialect) is None
