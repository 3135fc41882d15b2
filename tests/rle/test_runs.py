"""What runs say without being painted, against the painted picture; many pictures in one as each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.formats.rle import Runs

from .phantoms import SHAPES, SIZES, checksum, random_mask, random_size

pictures = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
orders = st.sampled_from(["row", "column"])
masks = st.lists(pictures, min_size=1, max_size=7)


@given(mask=pictures, order=orders)
@settings(max_examples=200, deadline=None)
def test_figures_are_those_of_the_picture(mask: np.ndarray, order: str) -> None:
    runs = Runs.from_mask(mask, order)
    assert runs.areas.tolist() == [mask.sum()]
    rows, columns = np.nonzero(mask)
    if not rows.size:
        assert runs.bounding_boxes().tolist() == [[-1] * 4]
        assert np.isnan(runs.centroids()).all()
        return
    assert runs.bounding_boxes().tolist() == [[rows.min(), columns.min(), rows.max(), columns.max()]]
    assert runs.centroids()[0] == pytest.approx((rows.mean(), columns.mean()))


@given(mask=pictures, order=orders)
@settings(max_examples=200, deadline=None)
def test_turning_the_order_keeps_the_picture(mask: np.ndarray, order: str) -> None:
    other = "row" if order == "column" else "column"
    turned, direct = Runs.from_mask(mask, order).to_order(other), Runs.from_mask(mask, other)
    assert np.array_equal(turned.starts, direct.starts)
    assert np.array_equal(turned.lengths, direct.lengths)


@pytest.mark.parametrize("kind", SHAPES)
def test_large_pictures_in_both_layouts_of_memory(kind: str) -> None:
    mask = random_mask(np.random.default_rng(3), 301, 420, kind)
    for order in ("row", "column"):
        plain, turned = Runs.from_mask(mask, order), Runs.from_mask(np.asfortranarray(mask), order)
        assert np.array_equal(plain.starts, turned.starts)
        assert np.array_equal(plain.lengths, turned.lengths)
        assert np.array_equal(plain.paint(), mask)


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["sparse", "words", "stripes", "dense", "edges"]))
@settings(max_examples=120, deadline=None)
def test_pixels_are_looked_at_eight_at_a_time(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    flat = np.zeros(8 * int(rng.integers(512, 700)), bool)
    if kind == "sparse":
        for _ in range(int(rng.integers(0, 12))):
            begin = int(rng.integers(flat.size))
            flat[begin : begin + int(rng.integers(1, 400))] ^= True
    elif kind == "words":
        flat[:] = np.repeat(rng.random(flat.size // 8) < 0.03, 8)
    elif kind == "stripes":
        begin = int(rng.integers(flat.size))
        flat[begin : begin + 200 : int(rng.integers(2, 9))] = True
    elif kind == "dense":
        flat[:] = rng.random(flat.size) < 0.5
    else:
        flat[rng.choice([0, 7, 8, -1, -8, -9], 3)] = True
    steps = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(np.int8), [0]))))
    runs = Runs.from_mask(flat[None], "row")
    assert np.array_equal(runs.starts, steps[0::2])
    assert np.array_equal(runs.starts + runs.lengths, steps[1::2])


@given(data=st.data(), order=orders, other=orders)
@settings(max_examples=100, deadline=None)
def test_union(data: st.DataObject, order: str, other: str) -> None:
    one = data.draw(pictures)
    two = data.draw(arrays(np.bool_, one.shape))
    union = Runs.gather([Runs.from_mask(one, order), Runs.from_mask(two, other)]).united()
    assert np.array_equal(union.paint(), one | two)


def test_centroid_of_a_huge_picture() -> None:
    runs = Runs.of_one(np.array([100_000 * 99_999]), np.array([100_000]), 100_000, 100_000, "row")
    assert runs.centroids()[0] == pytest.approx((99_999, 49_999.5), abs=1e-3)
    assert runs.bounding_boxes()[0].tolist() == [99_999, 0, 99_999, 99_999]


def test_an_array_that_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="height, width"):
        Runs.from_mask(np.zeros((2, 2, 2), bool), "row")


def phantoms(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_mask(rng, *random_size(rng, SIZES[n % 3]), SHAPES[n % len(SHAPES)]) for n in range(30)]


def check(pictures: list[np.ndarray], order: str) -> None:
    alone = [Runs.from_mask(mask, order) for mask in pictures]
    runs = Runs.gather(alone)
    other = "row" if order == "column" else "column"
    turned = list(runs.to_order(other))
    assert runs.areas.tolist() == [mask.sum() for mask in pictures]
    boxes, middles = runs.bounding_boxes().tolist(), runs.centroids().tolist()
    for n, (mask, single) in enumerate(zip(pictures, alone, strict=True)):
        direct = Runs.from_mask(mask, other)
        assert np.array_equal(turned[n].starts, direct.starts)
        assert np.array_equal(turned[n].lengths, direct.lengths)
        assert (turned[n].shape, turned[n].order) == (mask.shape, other)
        assert boxes[n] == single.bounding_boxes()[0].tolist()
        assert middles[n] == pytest.approx(single.centroids()[0], nan_ok=True, abs=1e-9)
    heads = [f"1x{mask.shape[0]}x{mask.shape[1]}:" for mask in pictures]
    assert runs.to_order("row").checksums(heads) == [checksum(mask[None]) for mask in pictures]


@given(pictures=masks, order=orders)
@settings(max_examples=120, deadline=None)
def test_small_pictures(pictures: list[np.ndarray], order: str) -> None:
    check(pictures, order)


@pytest.mark.parametrize("order", ["row", "column"])
def test_larger_pictures_many_shapes(order: str) -> None:
    check(phantoms(4), order)
    check([mask & False for mask in phantoms(5)[:3]], order)


@given(pictures=masks, order=orders, data=st.data())
@settings(max_examples=50, deadline=None)
def test_touching_runs_become_one_within_a_picture(pictures: list[np.ndarray], order: str, data: st.DataObject) -> None:
    cut = []
    for mask in pictures:
        runs = Runs.from_mask(mask, order)
        # Every run is cut at a random place, so that halves touch.
        first = np.array([data.draw(st.integers(0, int(n) - 1)) for n in runs.lengths], np.int64)
        starts = np.stack((runs.starts, runs.starts + first), axis=1).ravel()
        lengths = np.stack((first, runs.lengths - first), axis=1).ravel()
        cut.append(Runs.of_one(starts[lengths > 0], lengths[lengths > 0], *mask.shape, order))
    for mask, runs in zip(pictures, Runs.gather(cut).merged(), strict=True):
        whole = Runs.from_mask(mask, order)
        assert np.array_equal(runs.starts, whole.starts)
        assert np.array_equal(runs.lengths, whole.lengths)


def test_orders_may_be_mixed_and_pictures_huge() -> None:
    mask = phantoms(6)[0]
    mixed = Runs.gather([Runs.from_mask(mask, "row"), Runs.from_mask(mask, "column")])
    assert np.array_equal(list(mixed)[1].paint(), mask)
    runs = Runs.of_one(np.array([100_000 * 99_999]), np.array([100_000]), 100_000, 100_000, "row")
    runs = Runs.gather([runs, runs])
    assert runs.centroids()[1] == pytest.approx((99_999, 49_999.5), abs=1e-3)
    assert runs.bounding_boxes()[1].tolist() == [99_999, 0, 99_999, 99_999]
