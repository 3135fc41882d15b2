"""Units of lengths and sizes, and what a voxel is in them."""

from __future__ import annotations

import pytest

from pipeline.core.units import length_unit, size_unit, voxel_amount


@pytest.mark.parametrize(
    ("source", "flat", "expected"),
    [
        ("patient", False, ("mm", "mL", 0.5 * 0.5 * 2 / 1000)),
        ("detector", True, ("mm", "cm²", 0.5 * 0.5 / 100)),
        ("unknown", False, ("px", "voxels", 1)),
        ("unknown", True, ("px", "px²", 1)),
    ],
)
def test_where_the_spacing_comes_from_decides_the_unit(
    source: str, flat: bool, expected: tuple[str, str, float]
) -> None:
    unit = length_unit(source)
    amount = voxel_amount((0.5, 0.5, 2.0), unit, flat=flat)
    assert (unit, size_unit(unit, flat=flat), amount) == (*expected[:2], pytest.approx(expected[2]))
