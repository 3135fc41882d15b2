"""What one side of a comparison holds of one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.scan import Grid
from pipeline.core.units import LengthUnit
from pipeline.imaging.surfaces import Mask


@dataclass(frozen=True)
class ScanMasks:
    """What one side of a comparison holds of one scan.

    Attributes:
        organs: Organ → ``(X, Y, Z)`` mask. Organs that the file only numbers go by their number as text.
        grid: Shape and place, in canonical orientation.
        unit: LengthUnit of the grid's spacing.
        exclusive: Whether no voxel can belong to two organs.
        ignore: Voxels that the file marks to be left out.
        located: Whether the file says where its voxels lie; by default where its unit is known.
        values: Organ → its values in the file, where a table beside it names them.
        stored: The grid of the file, which pictures of its slices follow; by default ``grid``.
        whole: Whether the grid is that of the whole scan; a DICOM segmentation holds the slices with organs alone.
    """

    organs: dict[str, Mask]
    grid: Grid
    unit: LengthUnit
    exclusive: bool
    ignore: Mask | None = None
    located: bool | None = None
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    stored: Grid | None = None
    whole: bool = True

    @property
    def placed(self) -> bool:
        """Whether the file says where the voxels lie."""
        return self.unit == "mm" if self.located is None else self.located
