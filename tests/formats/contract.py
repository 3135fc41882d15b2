"""One inherited tester for every format of scans that is a file: a new format costs one small class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.scan import Grid, Scan, permute, to_canonical
from pipeline.core.study import Ingest
from pipeline.formats.table import read_scan_file, read_scans

#: Voxel index → RAS+ mm: as it is canonical, as DICOM has it, and with axes in another order.
AFFINES = {
    "RAS": np.diag([1.0, 1.5, 3.0, 1.0]),
    "LPS": np.array([[-1.0, 0, 0, 40], [0, -1.5, 0, 30], [0, 0, 3, -10], [0, 0, 0, 1]]),
    "SLA": np.array([[0, -2.0, 0, 7], [0, 0, 0.5, 8], [3, 0, 0, 9], [0, 0, 0, 1]]),
}


class FormatContract:
    """Inherit; set the attributes and write the two functions.

    Attributes:
        suffix: What files of the format are usually called.
        title: What ``organseg`` calls such a file, as in its entry of ``_READERS``.
        shape: ``(X, Y, Z)`` of the sample, ``Z == 1`` for pictures.
        holds_place: Whether a file says where its voxels lie.
    """

    suffix: ClassVar[str]
    title: ClassVar[str]
    shape: ClassVar[tuple[int, int, int]] = (6, 7, 5)
    holds_place: ClassVar[bool] = True

    def write(self, path: Path, voxels: NDArray[np.uint8], affine: NDArray[Any]) -> None:
        """Write ``(X, Y, Z)`` voxels with their affine, by another library than the reader's where there is one."""
        raise NotImplementedError

    def promise_too_much(self, raw: bytes) -> bytes:
        """The same file with a header that promises more voxels than the memory has room for."""
        raise NotImplementedError

    @pytest.fixture
    def voxels(self) -> NDArray[np.uint8]:
        """Noise, which no flip or turn maps onto itself and no compression makes small."""
        return np.random.default_rng(8).integers(0, 256, self.shape, dtype=np.uint8)

    def read(self, path: Path, options: Ingest) -> Scan:
        """Read a volume or a radiograph."""
        return read_scan_file([path], "xray" if self.shape[2] == 1 else "mri", options)

    @pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
    def test_voxels_and_place_come_back(
        self, tmp_path: Path, options: Ingest, voxels: NDArray[np.uint8], affine: NDArray[Any]
    ) -> None:
        path = tmp_path / f"x{self.suffix}"
        self.write(path, voxels, affine)
        scan = self.read(path, options)
        assert scan.voxels.shape[0] == 1
        if not self.holds_place:
            np.testing.assert_array_equal(scan.voxels[0], voxels)
            assert scan.unit == "px", "a file that holds no spacing speaks of no millimetres"
            return
        order = to_canonical(Grid(self.shape, affine))
        np.testing.assert_array_equal(scan.voxels[0], permute(voxels, *order))
        np.testing.assert_allclose(scan.affine, Grid(self.shape, affine).permuted(*order).affine, atol=1e-4)
        np.testing.assert_array_equal(scan.to_stored(scan.voxels)[0], voxels)

    def test_content_decides_not_the_name(self, tmp_path: Path, options: Ingest, voxels: NDArray[np.uint8]) -> None:
        self.write(tmp_path / f"x{self.suffix}", voxels, AFFINES["RAS"])
        (tmp_path / f"x{self.suffix}").rename(tmp_path / "scan")
        (found,) = read_scans(tmp_path / "scan", "mri", options)
        assert found.kind == self.title
        assert found.read is not None
        assert found.read().voxels.size == voxels.size

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_a_file_cut_short_is_refused(
        self, tmp_path: Path, options: Ingest, voxels: NDArray[np.uint8], share: float
    ) -> None:
        path = tmp_path / f"x{self.suffix}"
        self.write(path, voxels, AFFINES["RAS"])
        raw = path.read_bytes()
        path.write_bytes(raw[: int(share * len(raw))])
        with pytest.raises(InputError):
            self.read(path, options)

    def test_a_header_that_promises_too_much_is_refused(
        self, tmp_path: Path, options: Ingest, voxels: NDArray[np.uint8]
    ) -> None:
        path = tmp_path / f"x{self.suffix}"
        self.write(path, voxels, AFFINES["RAS"])
        swollen = self.promise_too_much(path.read_bytes())
        assert swollen != path.read_bytes()
        path.write_bytes(swollen)
        with pytest.raises(InputError, match="header promises"):
            self.read(path, options)
