"""Cells ↔ pictures in every dialect: round trips, an independent reference, pycocotools, and what is refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.core.errors import InputError
from pipeline.formats.rle import DIALECTS, Runs, decode, dialect_named, encode, read_text, write_texts
from pipeline.formats.rle.counts_text import compress_counts, expand_counts
from pipeline.formats.rle.numbers import format_lists, parse_lists

from .phantoms import SHAPES, SIZES, random_mask, random_size, reference_text

NAMES = sorted(DIALECTS)
REFERENCED = [name for name in NAMES if name != "coco"]
pictures = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17))


@pytest.mark.parametrize("name", NAMES)
@given(mask=pictures, turned=st.booleans())
@settings(max_examples=40, deadline=None)
def test_round_trip(name: str, mask: np.ndarray, turned: bool) -> None:
    mask = np.asfortranarray(mask) if turned else mask
    text = encode(mask, name)
    back = decode(text, *mask.shape, name)
    assert back.dtype == np.bool_
    assert np.array_equal(back, mask)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5), (64, 64), (31, 200)])
def test_round_trip_of_special_pictures(name: str, shape: tuple[int, int]) -> None:
    single = np.zeros(shape, bool)
    single[-1, -1] = True
    for mask in (np.zeros(shape, bool), np.ones(shape, bool), single, ~single):
        assert np.array_equal(decode(encode(mask, name), *shape, name), mask)


@pytest.mark.parametrize("name", REFERENCED)
def test_text_is_that_of_an_independent_writer(name: str) -> None:
    rng = np.random.default_rng(5)
    for kind in SHAPES:
        height, width = random_size(rng, SIZES[len(kind) % 3])
        mask = random_mask(rng, height, width, kind)
        assert encode(mask, name) == reference_text(mask, name)


@given(mask=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
@settings(max_examples=150, deadline=None)
def test_coco_is_that_of_pycocotools(mask: np.ndarray) -> None:
    peer = pytest.importorskip("pycocotools.mask")
    theirs = peer.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode(mask, "coco") == theirs["counts"].decode()
    assert np.array_equal(decode(theirs["counts"].decode(), *mask.shape, "coco"), mask)
    listed = {"size": list(mask.shape), "counts": json.loads(encode(mask, "coco-list"))}
    assert np.array_equal(peer.decode(peer.frPyObjects(listed, *mask.shape)).astype(bool), mask)


@pytest.mark.parametrize("size", [(1024, 1024), (700, 1500)])
def test_coco_of_large_masks_is_that_of_pycocotools(size: tuple[int, int]) -> None:
    peer = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(2)
    for kind in ("ellipses", "noise", "full"):
        mask = random_mask(rng, *size, kind)
        assert encode(mask, "coco") == peer.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(st.lists(st.integers(0, 2**40), max_size=40))
def test_compressed_counts_round_trip(counts: list[int]) -> None:
    array = np.array(counts, np.int64)
    texts = compress_counts(array, np.array([0, array.size]))
    assert np.array_equal(expand_counts(texts)[0], array)


@pytest.mark.parametrize("count", [0, 1, 2, 399, 400, 401, 5000])
@pytest.mark.parametrize("top", [9, 10, 2**20, 2**31, 2**39])
def test_numbers_round_trip(count: int, top: int) -> None:
    values = np.random.default_rng(count).integers(0, top, count)
    (text,) = format_lists(values, [count])
    assert text == " ".join(map(str, values.tolist()))
    assert np.array_equal(parse_lists([text])[0], values)


@pytest.mark.parametrize(
    ("name", "text", "token", "words"),
    [
        ("kaggle", "1 2 3", "token 3", "not an even count"),
        ("kaggle", "1 3 3 2", "token 3", "overlaps"),
        ("kaggle", "9 2 1 2", "token 3", "not sorted"),
        ("kaggle", "1 2 5 0", "token 4", "length is 0"),
        ("kaggle", "1 2 5 -3", "token 4", "length is -3"),
        ("kaggle", "0 2", "token 1", "before the first pixel"),
        ("kaggle", "1 2 x 3", "token 3", "'x' is not a whole number"),
        ("kaggle", "1 2 3.5 3", "token 3", "'3.5' is not a whole number"),
        ("kaggle", "1 2 ٣ 3", "token 3", "is not a whole number"),
        ("kaggle", "1 2 99999999999999999999 3", "token 3", "is not a whole number"),
        ("kaggle", "24 3", "token 1", "past the end of a picture of 5×5"),
        ("kaggle", "1 2 24 1 25 2", "token 5", "past the end"),
        ("kaggle", "-1", "token 1", "not an even count"),
        ("uw-madison", "26 1", "token 1", "past the end"),
        ("organseg", "0 26", "token 1", "past the end"),
        ("organseg", "9223372036854775806 9223372036854775806", "token 1", "whole number"),
        ("siim", "3 2 -1 2", "token 3", "negative"),
        ("siim", "3 2 3 0", "token 4", "length is 0"),
        ("siim", "20 3 1 2", "token 3", "past the end"),
        ("siim", "", None, None),
        ("coco-list", "[3, 4]", "token 2", "add up to 7, not to the 25 pixels"),
        ("coco-list", "[3, 0, 22]", "token 2", "the count is 0"),
        ("coco-list", "[3, -2, 24]", "token 2", "negative"),
        ("coco-list", "", "token 0", "add up to 0"),
        ("coco", "3o", "character 2", "ends in the middle"),
        ("coco", "3 4", "character 2", "not a character"),
        ("coco", '{"size": [4, 5], "counts": "d0"}', "size", "4×5, not 5×5"),
        ("coco", '{"counts": "d0"}', "token 1", "size and counts"),
    ],
)
def test_strict_decoding_names_the_token(name: str, text: str, token: str | None, words: str | None) -> None:
    if token is None:
        assert not decode(text, 5, 5, name).any()
        return
    with pytest.raises(InputError) as caught:
        decode(text, 5, 5, name)
    assert caught.value.where == token
    assert words in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "pixels", "repairs"),
    [
        ("kaggle", "1 2 3", [0, 1], ["dropped a start without a length"]),
        ("kaggle", "1 3 3 2", [0, 1, 2, 3], ["merged 1 overlapping"]),
        ("kaggle", "9 2 1 2", [0, 1, 8, 9], ["sorted"]),
        ("kaggle", "1 2 5 0 7 1", [0, 1, 6], ["length 0"]),
        ("kaggle", "24 9", [23, 24], ["clipped"]),
        ("kaggle", "0 2", [0], ["clipped"]),
        ("kaggle", "[1, 2, 5, 1]", [0, 1, 4], ["commas"]),
        ("kaggle", "1.0 2.0", [0, 1], ["'1.0'", "'2.0'"]),
        ("kaggle", "1 2 oops 3", [0, 1], ["'oops' is not a number"]),
        ("siim", "3 2 -1 2", [3, 4, 5, 6], ["negative gaps"]),
        ("coco-list", "[3, 4]", [3, 4, 5, 6], ["add up to 7"]),
        ("kaggle", "1 2 4 1", [0, 1, 3], []),
    ],
)
def test_lenient_decoding_repairs_and_says_so(name: str, text: str, pixels: list[int], repairs: list[str]) -> None:
    runs, done = read_text(text, 5, 5, dialect_named(name), lenient=True)
    assert np.flatnonzero(runs.paint().ravel(order="F")).tolist() == pixels
    assert len(done) == len(repairs)
    for words, line in zip(repairs, done, strict=True):
        assert words in line


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(alphabet="0123456789 -.,[]x\t", max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    dialect = dialect_named(name)
    for lenient in (False, True):
        try:
            runs, _ = read_text(text, 6, 7, dialect, lenient=lenient)
        except InputError:
            continue
        assert ((runs.starts >= 0) & (runs.lengths > 0)).all()
        assert (runs.starts[1:] >= (runs.starts + runs.lengths)[:-1]).all()
        assert runs.areas[0] == runs.paint().sum()
        again, _ = read_text(write_texts(runs, dialect)[0], 6, 7, dialect)
        assert np.array_equal(again.paint(), runs.paint())


def test_a_square_mask_in_the_wrong_order_comes_out_turned() -> None:
    mask = random_mask(np.random.default_rng(1), 40, 40, "line")
    assert np.array_equal(decode(encode(mask, "kaggle"), 40, 40, "uw-madison"), mask.T)


def test_an_unknown_dialect_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'chexmask'"):
        encode(np.zeros((2, 2), bool), "chexmaks")


def test_touching_runs_are_written_as_one() -> None:
    runs, repairs = read_text("1 2 3 4", 5, 5, dialect_named("kaggle"))
    assert not repairs
    assert write_texts(runs, dialect_named("kaggle")) == ["1 6"]


def test_masks_of_other_types_are_read_as_true_and_false() -> None:
    mask = np.array([[0, 255, 255], [0, 0, 3]], np.uint8)
    assert encode(mask, "vesuvius") == "2 2 6 1"
    assert Runs.from_mask(mask[:, ::-1], "row").starts.tolist() == [0, 3]
