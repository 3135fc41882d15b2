"""Clean-up of predicted organs: threshold, largest component, holes and specks, each organ by its own steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.core.labels import LabelMap
from pipeline.core.scan import Grid
from pipeline.imaging.components import drop_specks, fill_holes, largest_component


class OrganSteps(BaseModel):
    """What is done to one organ's prediction, in the order of the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Least probability; by default 0.5 where organs overlap, and the largest where they exclude each other."""
    largest_component: bool = False
    """Keep only the component with the most voxels."""
    fill_holes: bool = False
    """Fill what the organ encloses, where no other organ is."""
    smallest: float = Field(default=0.0, ge=0)
    """Components smaller than this are dropped: mm³, in pictures mm², and voxels where the spacing is unknown."""

    @property
    def cleans(self) -> bool:
        """Whether anything is done to the mask, beyond the threshold."""
        return self.largest_component or self.fill_holes or self.smallest > 0


def voxel_size(grid: Grid, unit: str) -> float:
    """Size of a voxel: mm³ in volumes, mm² in pictures, 1 where the unit is ``px``."""
    if unit == "px":
        return 1.0
    x, y, z = grid.spacing
    return x * y if grid.shape[2] == 1 else x * y * z


def clean_organ(labels: LabelMap, organ: str, steps: OrganSteps, size: float) -> NDArray[np.bool_]:
    """Apply one organ's steps to its mask.

    Args:
        labels: The prediction.
        organ: Which organ.
        steps: What to do.
        size: Size of a voxel, as :func:`voxel_size` gives it.

    Returns:
        ``(X, Y, Z)`` mask. Where organs exclude each other, holes are filled only where no organ was.
    """
    mask = labels.mask(organ)
    if steps.largest_component:
        mask = largest_component(mask)
    if steps.fill_holes:
        filled = fill_holes(mask)
        mask = filled if labels.overlapping else mask | (filled & (labels.data == 0))
    if steps.smallest > 0:
        mask = drop_specks(mask, int(np.ceil(steps.smallest / size - 1e-9)))
    return mask


def clean_labels(labels: LabelMap, steps: Mapping[str, OrganSteps], unit: str) -> LabelMap:
    """Apply each organ's steps to a prediction."""
    wanted = {organ: steps[organ] for organ in labels.organs if organ in steps and steps[organ].cleans}
    if not wanted:
        return labels
    size = voxel_size(labels.grid, unit)
    data = labels.data.copy()
    for organ, todo in wanted.items():
        index = labels.organs.index(organ)
        after = clean_organ(labels, organ, todo, size)
        if labels.overlapping:
            bit = data.dtype.type(1 << index)
            data = np.where(after, data | bit, data & ~bit)
        else:
            data[labels.mask(organ) & ~after] = 0
            data[after & (data == 0)] = index + 1
    return LabelMap(data, labels.affine, labels.organs, labels.overlapping, labels.annotated)
