"""One inherited tester for every metric of two masks: a new metric costs one small class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

#: Name → shape and spacing in mm.
GRIDS = {
    "isotropic": ((14, 16, 12), (1.0, 1.0, 1.0)),
    "thick slices": ((16, 14, 7), (0.7, 0.9, 5.0)),
    "picture": ((30, 24, 1), (0.35, 0.5, 1.0)),
}


def pair(name: str, kind: str) -> tuple[Mask, Mask, Sequence[float]]:
    """Two masks and their spacing: a smooth blob of a fifth of the grid, and another one, a shifted or a noisy one."""
    shape, spacing = GRIDS[name]
    rng = np.random.default_rng(5)

    def blob() -> Mask:
        noise = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
        return np.asarray(noise > np.quantile(noise, 0.8))

    reference = blob()
    others = {
        "unrelated": blob(),
        "shifted": np.roll(reference, 1, axis=0),
        "noisy": reference ^ (rng.random(shape) < 0.02),
    }
    return others[kind], reference, spacing


every_pair = pytest.mark.parametrize("kind", ["unrelated", "shifted", "noisy"])
every_grid = pytest.mark.parametrize("grid", GRIDS)


class MetricContract:
    """Inherit; set the attributes and write the two functions.

    Attributes:
        best: The value of equal masks.
        symmetric: Whether swapping the masks changes nothing.
        at_empty: Which mask is empty → the value there; NaN is "left out".
        tolerance: Relative (and absolute) difference to the independent implementation that is let pass.
    """

    best: ClassVar[float]
    symmetric: ClassVar[bool] = True
    at_empty: ClassVar[Mapping[str, float]]
    tolerance: ClassVar[float] = 1e-6

    def measure(self, prediction: Mask, reference: Mask, spacing: Sequence[float]) -> float:
        """The metric of two ``(X, Y, Z)`` masks, ``Z == 1`` for pictures, and the spacing in mm along each axis."""
        raise NotImplementedError

    def independent(self, prediction: Mask, reference: Mask, spacing: Sequence[float]) -> float:
        """The same by code that shares nothing with ours: another package, or the definition taken literally."""
        raise NotImplementedError

    def near(self, value: float) -> object:
        """Equal within the tolerance; NaN is equal to NaN."""
        return pytest.approx(value, rel=self.tolerance, abs=self.tolerance, nan_ok=True)

    @every_pair
    @every_grid
    def test_is_what_independent_code_gives(self, grid: str, kind: str) -> None:
        case = pair(grid, kind)
        assert self.measure(*case) == self.near(self.independent(*case))

    @every_grid
    def test_equal_masks_have_the_best_value(self, grid: str) -> None:
        _, reference, spacing = pair(grid, "shifted")
        assert self.measure(reference.copy(), reference, spacing) == self.near(self.best)

    @every_pair
    @every_grid
    def test_turning_the_image_changes_nothing(self, grid: str, kind: str) -> None:
        prediction, reference, spacing = pair(grid, kind)
        turned = [np.ascontiguousarray(mask.transpose(1, 0, 2)[::-1]) for mask in (prediction, reference)]
        there = self.measure(turned[0], turned[1], (spacing[1], spacing[0], spacing[2]))
        assert there == self.near(self.measure(prediction, reference, spacing))

    @every_pair
    @every_grid
    def test_it_is_symmetric_if_it_says_so(self, grid: str, kind: str) -> None:
        prediction, reference, spacing = pair(grid, kind)
        there, back = (self.measure(*masks, spacing) for masks in ((prediction, reference), (reference, prediction)))
        if self.symmetric:
            assert there == self.near(back)
        elif kind == "noisy":
            assert there != self.near(back)

    @pytest.mark.parametrize("case", ["both_empty", "empty_reference", "empty_prediction"])
    @every_grid
    def test_its_rule_for_empty_masks(self, grid: str, case: str) -> None:
        _, full, spacing = pair(grid, "shifted")
        nothing = np.zeros_like(full)
        prediction = full if case == "empty_reference" else nothing
        reference = full if case == "empty_prediction" else nothing
        assert self.measure(prediction, reference, spacing) == self.near(self.at_empty[case])
