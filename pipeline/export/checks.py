"""What an exported file must agree with: where each organ lies, how large it is, and on which side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import LabelMap
from pipeline.core.scan import Array

#: One line of ``checks.csv``.
Check = dict[str, Any]
COLUMNS = ("scan_id", "format", "organ", "status", "centroid_apart", "size", "size_read", "side", "side_read", "reason")


@dataclass(frozen=True)
class Measured:
    """One organ as a file has it.

    Attributes:
        centroid: RAS+ mm (pixels where the spacing is unknown); NaN where the organ is absent.
        size: mm³, in pictures mm² (voxels where the spacing is unknown).
    """

    centroid: NDArray[np.float64]
    size: float

    def side(self, middle: float) -> str:
        """``L`` or ``R`` of a plane of constant x; empty for an absent organ."""
        if not np.isfinite(self.centroid[0]):
            return ""
        return "R" if self.centroid[0] > middle else "L"


ABSENT = Measured(np.full(3, np.nan), 0.0)


def measured(mask: Array, affine: Array) -> Measured:
    """Measure a mask ``(X, Y, Z)`` on its grid; a picture's third axis counts as 1."""
    count = int(np.count_nonzero(mask))
    if not count:
        return ABSENT
    across, last = np.count_nonzero(mask, axis=2), np.count_nonzero(mask, axis=(0, 1))
    where = [float(line @ np.arange(len(line))) / count for line in (across.sum(axis=1), across.sum(axis=0), last)]
    affine = np.asarray(affine, float)
    size = np.prod(np.linalg.norm(affine[:3, :3], axis=0)[: 2 if mask.shape[2] == 1 else 3])
    return Measured((affine @ [*where, 1])[:3], count * float(size))


def expected(labels: LabelMap) -> dict[str, Measured]:
    """Every organ of the source."""
    return {organ: measured(labels.mask(organ), labels.affine) for organ in labels.organs}


@dataclass(frozen=True)
class Tolerance:
    """How far a form may be from the source.

    Attributes:
        voxels: Distance of centroids, in voxels of the smallest spacing.
        size: Relative difference of sizes.
    """

    voxels: float = 0.02
    size: float = 1e-4


def compare(
    scan_id: str,
    form: str,
    source: Mapping[str, Measured],
    read: Mapping[str, Measured],
    labels: LabelMap,
    tolerance: Tolerance,
) -> list[Check]:
    """A row an organ: whether what was read back is what was written.

    Args:
        scan_id: The scan.
        form: Name of the format.
        source: The organs as they were to be written.
        read: The organs as another reader found them.
        labels: The source, for its grid.
        tolerance: How far they may differ.
    """
    voxel = min(labels.grid.spacing[: 2 if labels.grid.shape[2] == 1 else 3])
    grid_middle = np.asarray(labels.affine) @ [*((np.array(labels.grid.shape) - 1) / 2), 1]
    middle = float(grid_middle[0])
    rows: list[Check] = []
    for organ, one in source.items():
        other = read.get(organ, ABSENT)
        apart = float(np.linalg.norm(one.centroid - other.centroid)) if one.size and other.size else float("nan")
        problems = []
        if (one.size > 0) != (other.size > 0):
            problems.append("is absent" if one.size else "was not there")
        elif one.size:
            if apart > tolerance.voxels * voxel:
                problems.append(f"lies {apart:.3g} away")
            if abs(other.size - one.size) > tolerance.size * one.size:
                problems.append(f"has size {other.size:.6g} for {one.size:.6g}")
            # An organ across the middle has no side to lose.
            if one.side(middle) != other.side(middle) and abs(one.centroid[0] - middle) > voxel:
                problems.append("lies on the other side")
        rows.append(
            {
                "scan_id": scan_id,
                "format": form,
                "organ": organ,
                "status": "failed" if problems else "ok",
                "centroid_apart": "" if np.isnan(apart) else f"{apart:.4f}",
                "size": f"{one.size:.6g}",
                "size_read": f"{other.size:.6g}",
                "side": one.side(middle),
                "side_read": other.side(middle),
                "reason": f"read back, {organ} {' and '.join(problems)}" if problems else "",
            }
        )
    return rows


def failed_row(scan_id: str, form: str, reason: str) -> Check:
    """A row of a form that could not be written or read."""
    return {"scan_id": scan_id, "format": form, "status": "failed", "reason": reason}


def unread(scan_id: str, form: str, organs: Iterable[str], reason: str) -> list[Check]:
    """A row for each organ that a form shows and that nothing can read back from it."""
    return [
        {"scan_id": scan_id, "format": form, "organ": organ, "status": "not checked", "reason": reason}
        for organ in sorted(organs)
    ]
