"""PNG files that we write are read by others as the very pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.formats.pictures.png import png


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_pillow_reads_it(rows: int, columns: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    image = Image.open(io.BytesIO(png(pixels)))
    image.verify()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)
    assert png(pixels) == png(pixels.copy())


def test_libpng_reads_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(pixels))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.png"))), pixels)


def test_other_pictures_are_refused() -> None:
    for wrong in (np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3), np.uint16)):
        with pytest.raises(ValueError, match="uint8"):
            png(wrong)  # type: ignore[arg-type]
