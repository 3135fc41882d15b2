"""Runs of many pictures in one give what each picture gives alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.formats.rle import Runs, checksum
from pipeline.formats.rle.sheaf import Sheaf

from .phantoms import SHAPES, SIZES, random_mask, random_size

pictures_of = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13))
masks = st.lists(pictures_of, min_size=1, max_size=7)
orders = st.sampled_from(["row", "column"])


def phantoms(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_mask(rng, *random_size(rng, SIZES[n % 3]), SHAPES[n % len(SHAPES)]) for n in range(30)]


def check(pictures: list[np.ndarray], order: str) -> None:
    alone = [Runs.from_mask(mask, order) for mask in pictures]
    sheaf = Sheaf.of(alone)
    other = "row" if order == "column" else "column"
    turned = sheaf.to_order(other).pictures()
    assert sheaf.areas.tolist() == [runs.area for runs in alone]
    boxes, middles = sheaf.bounding_boxes().tolist(), sheaf.centroids().tolist()
    for n, (mask, runs) in enumerate(zip(pictures, alone, strict=True)):
        direct = Runs.from_mask(mask, other)
        assert np.array_equal(turned[n].starts, direct.starts)
        assert np.array_equal(turned[n].lengths, direct.lengths)
        assert (turned[n].height, turned[n].width, turned[n].order) == (*mask.shape, other)
        assert tuple(boxes[n]) == (runs.bounding_box() or (-1, -1, -1, -1))
        assert middles[n] == pytest.approx(runs.centroid() or (np.nan, np.nan), nan_ok=True, abs=1e-9)
    heads = [f"1x{mask.shape[0]}x{mask.shape[1]}:" for mask in pictures]
    assert sheaf.to_order("row").checksums(heads) == [checksum(mask[None]) for mask in pictures]


@given(pictures=masks, order=orders)
@settings(max_examples=120, deadline=None)
def test_small_pictures(pictures: list[np.ndarray], order: str) -> None:
    check(pictures, order)


@pytest.mark.parametrize("order", ["row", "column"])
def test_larger_pictures_of_many_shapes(order: str) -> None:
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
        cut.append(Runs(starts[lengths > 0], lengths[lengths > 0], *mask.shape, order))
    for mask, runs in zip(pictures, Sheaf.of(cut).merged().pictures(), strict=True):
        whole = Runs.from_mask(mask, order)
        assert np.array_equal(runs.starts, whole.starts)
        assert np.array_equal(runs.lengths, whole.lengths)


def test_orders_may_be_mixed_and_pictures_huge() -> None:
    mask = phantoms(6)[0]
    mixed = Sheaf.of([Runs.from_mask(mask, "row"), Runs.from_mask(mask, "column")])
    assert np.array_equal(mixed.pictures()[1].paint(), mask)
    runs = Runs(np.array([100_000 * 99_999]), np.array([100_000]), 100_000, 100_000, "row")
    assert Sheaf.of([runs]).centroids()[0] == pytest.approx((99_999, 49_999.5), abs=1e-3)
    assert Sheaf.of([runs]).bounding_boxes()[0].tolist() == [99_999, 0, 99_999, 99_999]
