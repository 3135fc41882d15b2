"""What is measured on each scan and its masks, and the findings that a scan shows by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.core.units import voxel_amount
from pipeline.formats.masks import spoken
from pipeline.formats.noticed import noticed
from pipeline.imaging.validity import fault_of

#: Voxels at the largest or smallest value are saturated if there are more of them than this share; what is below
#: stands in the table as it is.
_SATURATED = 0.5
#: Fewer grey levels than this are a picture that went through something with a palette.
_FEW_GREYS = 16
#: A component smaller than this share of its organ is a speck.
_SPECK = 0.01
#: Grey values are counted and ranked on at most this many voxels.
_SAMPLE = 250_000


class RejectedError(InputError):
    """A scan that must not go on, with the short name of the reason."""

    def __init__(self, code: str, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.code = code


@dataclass(frozen=True)
class Finding:
    """Something a person should look at; the scan goes on.

    Attributes:
        code: Short name.
        sentence: One sentence without a final full stop, free of anything that identifies.
    """

    code: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


def check_voxels(scan: Scan, study: Study) -> None:
    """Refuse a scan whose voxels are useless.

    Raises:
        RejectedError: A channel holds NaN or infinity, or is constant, or there are too few or too many channels.
    """
    if (fault := fault_of(scan)) is not None:
        raise RejectedError(*fault)
    wanted = len(study.ingest.channels)
    if wanted and scan.voxels.shape[0] != wanted:
        raise RejectedError(
            "channels",
            f"the image has {scan.voxels.shape[0]} channels and the study {wanted}",
            remedy="Name the study's channels in ingest.channels.",
        )


def measure_scan(scan: Scan) -> dict[str, Any]:
    """The image's row of the quality table: size, spacing, orientation, range and saturation."""
    levels, counts = _levels(_sample(scan.voxels))
    stored = scan.stored or scan.grid
    x, y, z = scan.shape
    return {
        "modality": scan.modality,
        "channels": scan.voxels.shape[0],
        "size_x": x,
        "size_y": y,
        "size_z": z,
        "spacing_x": round(scan.spacing[0], 6),
        "spacing_y": round(scan.spacing[1], 6),
        "spacing_z": round(scan.spacing[2], 6),
        "spacing_source": scan.spacing_source,
        "orientation": stored.orientation,
        "low": _round(_percentile(levels, counts, 0.5)),
        "high": _round(_percentile(levels, counts, 99.5)),
        "saturated": round(float(counts[0] + counts[-1]) / float(counts.sum()) if len(levels) > 1 else 1.0, 4),
        "greys": len(levels),
    }


def _sample(voxels: NDArray[Any]) -> NDArray[Any]:
    """All values of a scan, or those of every n-th voxel along each axis."""
    axes = sum(side > 1 for side in voxels.shape[1:])
    step = math.ceil((voxels.size / _SAMPLE) ** (1 / max(axes, 1)))
    return voxels[:, ::step, ::step, ::step].ravel(order="K")


def _levels(sample: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The grey levels that occur, in rising order, and how often."""
    if sample.dtype.kind not in "iu" or sample.dtype.itemsize > 2:
        return np.unique(sample, return_counts=True)
    low = int(sample.min())
    counts = np.bincount(sample.astype(np.int64) - low)
    found = np.flatnonzero(counts)
    return found + low, counts[found]


def _percentile(levels: NDArray[Any], counts: NDArray[np.int64], percent: float) -> float:
    """A percentile of counted levels, between two of them by linear interpolation, as numpy's own."""
    upto = np.cumsum(counts)
    rank = percent / 100 * (int(upto[-1]) - 1)
    below, above = (
        float(levels[np.searchsorted(upto, end, side="right")]) for end in (math.floor(rank), math.ceil(rank))
    )
    return below + (above - below) * (rank - math.floor(rank))


def scan_findings(scan: Scan, measured: dict[str, Any]) -> list[Finding]:
    """What the reader noticed, and what the grey values show."""
    notes = scan.notes
    found = []

    def warn(code: str, sentence: str) -> None:
        found.append(Finding(code, sentence))

    if notes.get("burned_in_annotation"):
        warn("burned_in", "the header says that text is burned into the pixels, which may name the patient")
    for code, sentence in noticed(notes, scan.modality):
        warn(code, sentence)
    if "cropped" in notes:
        warn("cropped", "blank borders were cut off: left, top, right, bottom {} px".format(notes["cropped"]))
    if measured["greys"] <= _FEW_GREYS:
        warn("few_greys", f"the image has only {measured['greys']} grey levels")
    if measured["saturated"] > _SATURATED:
        warn("saturated", f"{measured['saturated']:.0%} of the voxels lie at the ends of the range")
    return found


def mask_findings(notes: Mapping[str, Any]) -> list[Finding]:
    """What reading the masks assumed or did, from the notes of :func:`~pipeline.formats.masks.read_masks`."""
    return [Finding(code, sentence) for code, sentence in spoken(notes)]


def measure_masks(labels: LabelMap, scan: Scan) -> tuple[dict[str, Any], list[Finding], dict[str, Any]]:
    """The masks' part of the quality table.

    Returns:
        Table cells (organs, volumes in mL, of pictures areas in cm², in voxels where the spacing is unknown;
        components; organs at the border), findings, and for each organ what the comparison with the cohort needs.
    """
    cells: dict[str, Any] = {}
    findings: list[Finding] = []
    shapes: dict[str, Any] = {}
    present, border = [], []
    for organ in labels.organs:
        if organ not in labels.annotated:
            continue
        mask = labels.mask(organ)
        count = int(mask.sum())
        cells[f"volume_{organ}"] = _round(count * voxel_amount(scan.spacing, scan.unit, flat=scan.is_flat))
        if not count:
            cells[f"components_{organ}"] = 0
            continue
        present.append(organ)
        box = bounding_box(mask)
        sizes = component_sizes(mask[box])
        cells[f"components_{organ}"] = len(sizes)
        specks = [n for n in sizes if n < _SPECK * count]
        if specks:
            findings.append(
                Finding("specks", f"{organ} has {len(specks)} specks beside its main part ({sum(specks):,} voxels)")
            )
        if _at_border(box, mask.shape, flat=scan.is_flat):
            border.append(organ)
        if (odd := _maybe_inverted(mask, count, box, flat=scan.is_flat)) is not None:
            findings.append(Finding("inverted", f"{organ} {odd}: the mask may be inverted"))
        shapes[organ] = _shape(mask[box], box, scan)
    if not present:
        findings.append(Finding("no_organ", "the mask is empty"))
    cells |= {"organs": ";".join(present), "border": ";".join(border)}
    return cells, findings, shapes


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The smallest box that holds all of a mask that is not empty."""
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return sides[0], sides[1], sides[2]


def component_sizes(mask: NDArray[np.bool_]) -> list[int]:
    """Voxels of each connected part, diagonals included, the largest first."""
    from scipy.ndimage import label  # takes as long to import as all else here, and only masks need it

    numbered, count = label(mask, np.ones((3, 3, 3)))
    return sorted((int(n) for n in np.bincount(numbered.ravel(), minlength=count + 1)[1:]), reverse=True)


def _maybe_inverted(mask: NDArray[np.bool_], count: int, box: tuple[slice, slice, slice], *, flat: bool) -> str | None:
    """What speaks for a mask that shows all but its organ; ``None`` where nothing does."""
    whole = "picture" if flat else "volume"
    if count == mask.size:
        return f"fills the {whole}"
    axes = range(2 if flat else 3)
    if all(box[axis].start == 0 and box[axis].stop == mask.shape[axis] for axis in axes):
        return f"touches all {'four ' if flat else ''}borders of the {whole}"
    return f"takes {count / mask.size:.0%} of the {whole}, more than half" if 2 * count > mask.size else None


def _at_border(box: tuple[slice, slice, slice], shape: tuple[int, ...], *, flat: bool) -> bool:
    axes = range(2 if flat else 3)
    return any(box[axis].start == 0 or box[axis].stop == shape[axis] for axis in axes)


def _shape(part: NDArray[np.bool_], box: tuple[slice, slice, slice], scan: Scan) -> dict[str, Any]:
    """Place (RAS, mm or pixels) and shape of an organ, for the comparison with other scans."""
    inside = np.argwhere(part)
    index = inside.mean(axis=0) + [side.start for side in box]
    place = scan.affine[:3, :3] @ index + scan.affine[:3, 3]
    extent = np.abs(scan.affine[:3, :3]) @ np.array(part.shape, float)
    return {
        "place": [round(float(v), 3) for v in place],
        "extent": [round(float(v), 3) for v in extent],
        "voxels": len(inside),
        "fill": round(len(inside) / part.size, 4),
    }


def _round(value: float) -> float:
    """Six significant digits, so that tables are the same on every machine."""
    return float(f"{float(value):.6g}")
