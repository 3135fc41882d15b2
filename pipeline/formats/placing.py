"""Where a mask lies: brought onto its scan's grid by its geometry, or refused with both readings named.

Volumes and flat scans take the same way. A flat scan that is a picture has no place in space; there the way in which
rows run decides, where mask or config says it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.scan import Grid, Scan, permute, to_canonical
from pipeline.core.study import Ingest

#: A mask is on its scan's grid if no corner is off by more than this share of a voxel: header rounding, no shift.
_ROUNDING = 0.1
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def place_volume(
    data: NDArray[Any], labels: Scan, scan: Scan, options: Ingest, notes: dict[str, Any], *, part: bool = False
) -> NDArray[Any]:
    """Values of a label volume on the scan's grid.

    Args:
        data: ``(X, Y, Z)`` in the axis order of the mask's file.
        labels: The mask as it was read, for its grid and notes.
        scan: The scan in canonical orientation.
        options: Whether to resample, and which way rows run where nothing else says it.
        notes: Takes what was done: ``resampled``, ``turned``, ``rows``.
        part: Whether the file may hold a part of the scan's grid alone, as 3D Slicer saves segmentations.

    Returns:
        ``(X, Y, Z)`` on the scan's grid.

    Raises:
        InputError: The mask has another shape or place than the scan, or nothing says which way its rows run.
    """
    mine, theirs = labels.grid, whole_grid(scan)
    axes, flips = _turn(mine, theirs)
    turned = mine.permuted(axes, flips)
    if turned.same_place(theirs, _ROUNDING):
        stored = scan.stored or scan.grid
        if scan.notes.get("format") in {"nifti", "itk"} and mine.orientation != stored.orientation:
            notes["turned"] = (mine.orientation, stored.orientation)
        return cropped(permute(data, axes, flips), scan)
    if scan.is_flat and (_is_placeless(scan) or labels.notes.get("orientation") == "assumed"):
        return cropped(_as_rows_run(data, labels, scan, options, notes), scan)
    if part and (whole := _pasted(permute(data, axes, flips), turned, theirs)) is not None:
        return cropped(whole, scan)
    if options.resample_masks:
        notes["resampled"] = True
        nearest = _nearest(data, mine, theirs)
        if data.any() and not nearest.any():
            raise InputError("the mask lies wholly outside the scan")
        return cropped(nearest, scan)
    raise InputError(
        _difference(mine, scan.stored or scan.grid, turned, theirs),
        remedy="Correct the header, or set ingest.resample_masks where the geometry is right.",
    )


def place_picture(mask: NDArray[np.bool_], scan: Scan, options: Ingest, notes: dict[str, Any]) -> NDArray[np.bool_]:
    """A picture's mask ``(X, Y, 1)``, X along columns and Y along rows, on its scan: same size, cropped where that was.

    Raises:
        InputError: The scan is a volume or has another size, or nothing says which way its rows run.
    """
    if not scan.is_flat:
        raise InputError("the mask is a picture and the scan is a volume", remedy="Give a label volume.")
    whole = whole_grid(scan)
    mask = _of_size(mask, whole, options, notes)
    if scan.notes.get("format") in {"nifti", "itk"}:
        mask = _as_shown(mask, scan, options, notes)
    return cropped(mask, scan)


def _as_shown(mask: NDArray[Any], scan: Scan, options: Ingest, notes: dict[str, Any]) -> NDArray[Any]:
    """A picture's mask on a slice of a volume format: as such slices are shown, to the left or back and downwards."""
    letters = whole_grid(scan).orientation
    across, down = letters[0], letters[1]
    if scan.notes.get("orientation") == "assumed":
        return _by_config(mask, [(False, True)], options, "the scan's header gives no orientation")
    if across not in "LP":
        others = [(True, down not in "PI"), (False, True)]
        return _by_config(mask, others, options, f"the scan's axes run {across}{down}, not as a picture is shown")
    if down in "PI":
        return mask
    notes["rows"] = "up"
    return mask[:, ::-1]


def whole_grid(scan: Scan) -> Grid:
    """The grid that masks of a scan lie on: of a picture that of its file, before borders were cut off."""
    return (scan.stored or scan.grid) if scan.is_flat else scan.grid


def cropped(mask: NDArray[Any], scan: Scan) -> NDArray[Any]:
    """A picture's mask without the borders that were cut off its scan."""
    if "cropped" not in scan.notes:
        return mask
    left, top, right, bottom = scan.notes["cropped"]
    return mask[left : mask.shape[0] - right, top : mask.shape[1] - bottom]


def _turn(mine: Grid, theirs: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Axis order and reversals that bring one grid nearest to another, for ``Grid.permuted`` and ``permute``."""
    return to_canonical(Grid(mine.shape, np.linalg.inv(theirs.affine) @ mine.affine))


def _is_placeless(scan: Scan) -> bool:
    """Whether a flat scan is a picture, whose affine has directions at most and no true position."""
    notes = scan.notes
    return notes.get("format") == "raster" or notes.get("placed") is False or notes.get("orientation") == "assumed"


def _as_rows_run(data: NDArray[Any], labels: Scan, scan: Scan, options: Ingest, notes: dict[str, Any]) -> NDArray[Any]:
    """A flat mask on a picture: columns as they are, rows as the mask's header or the config says.

    A header says it where its axes are the picture's own, or where it takes the picture for a plane of left and back,
    as ITK (rows run to the back) and dcm2niix (rows run to the front, as it turns them) do.
    """
    mine, theirs = labels.grid, whole_grid(scan)
    data = _of_size(data, theirs, options, notes)
    told = not np.allclose(mine.spacing[:2], 1)
    if told and scan.spacing_source == "patient" and not np.allclose(mine.spacing[:2], theirs.spacing[:2], rtol=0.01):
        raise InputError(_spacings(mine, theirs), remedy="Correct the header of the mask.")
    letters, shown = mine.orientation[:2], theirs.orientation[:2]
    directed = labels.notes.get("orientation") != "assumed" and scan.notes.get("orientation") != "assumed"
    if directed and letters in {shown, "LP"}:
        return data
    if directed and letters in {shown[0] + _OPPOSITE[shown[1]], "LA"}:
        notes["rows"] = "up"
        return data[:, ::-1]
    said = f"the mask's axes run {letters}" if directed else "the headers give no orientation"
    return _by_config(
        data, [(False, True), *([(True, True), (True, False)] if letters[0] == "R" else [])], options, said
    )


def _by_config(data: NDArray[Any], others: list[tuple[bool, bool]], options: Ingest, said: str) -> NDArray[Any]:
    """A flat mask as the config says that its rows run; as it is where that makes no difference.

    Args:
        data: ``(X, Y, 1)``.
        others: What else it could be: whether columns, and whether rows, are turned over.
        options: Gives ``mask_rows``.
        said: What headers say, for the error.
    """
    turned = [data[:: -1 if columns else 1, :: -1 if rows else 1] for columns, rows in others]
    if all(np.array_equal(data, other) for other in turned):
        return data
    if options.mask_rows is None:
        raise InputError(
            f"nothing decides which way the mask's rows run ({said}): its first row is the scan's first, or its last",
            remedy="Set ingest.mask_rows to down or to up.",
        )
    return data[:, ::-1] if options.mask_rows == "up" else data


def _of_size(data: NDArray[Any], whole: Grid, options: Ingest, notes: dict[str, Any]) -> NDArray[Any]:
    """A picture's mask in its scan's size, stretched where the study asks for that."""
    if data.shape == whole.shape:
        return data
    if not options.resample_masks or data.shape[2] != 1:
        raise InputError(
            f"the mask is {_size(data.shape)} and the scan {_size(whole.shape)}",
            remedy="Set ingest.resample_masks to bring masks onto their scans' grids.",
        )
    notes["resampled"] = True
    index = [
        np.minimum((np.arange(n) + 0.5) * m // n, m - 1).astype(int)
        for n, m in zip(whole.shape, data.shape, strict=True)
    ]
    return data[np.ix_(*index)]


def _pasted(data: NDArray[Any], mine: Grid, theirs: Grid) -> NDArray[Any] | None:
    """A part of the scan's grid on the whole of it; ``None`` where it is no such part."""
    offset = np.linalg.inv(theirs.affine) @ mine.affine
    ends = np.array(mine.shape)
    origin = offset[:3, 3]
    if (np.abs(offset[:3, :3] - np.eye(3)) @ ends).max() > _ROUNDING or np.abs(
        origin - np.rint(origin)
    ).max() > _ROUNDING:
        return None
    start = np.rint(origin).astype(int)
    low, high = np.maximum(start, 0), np.minimum(start + ends, theirs.shape)
    if (high <= low).any():
        return None
    inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    if np.count_nonzero(data) != np.count_nonzero(data[inside]):
        raise InputError("the segmentation reaches outside the scan")
    whole = np.zeros(theirs.shape, data.dtype)
    whole[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = data[inside]
    return whole


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)


def _spacings(mine: Grid, theirs: Grid) -> str:
    ours, other = (" × ".join(f"{s:.4g}" for s in grid.spacing) for grid in (mine, theirs))
    return f"the mask's voxels are {ours} mm and the scan's {other}"


def _difference(mine: Grid, theirs: Grid, turned: Grid, scan: Grid) -> str:
    """How a mask's grid differs from its scan's, in words."""
    if sorted(mine.shape) != sorted(theirs.shape):
        return f"the mask is {_size(mine.shape)} and the scan {_size(theirs.shape)}"
    if mine.orientation != theirs.orientation:
        return f"the mask's axes run {mine.orientation} and the scan's {theirs.orientation}"
    if mine.shape != theirs.shape:
        return f"the mask is {_size(mine.shape)} and the scan {_size(theirs.shape)}"
    if not np.allclose(mine.spacing, theirs.spacing, rtol=1e-3):
        return _spacings(mine, theirs)
    shift = float(np.linalg.norm(turned.affine[:3, 3] - scan.affine[:3, 3]))
    return f"the mask lies elsewhere than the scan (origins {shift:.2f} mm apart)"


def _nearest(data: NDArray[Any], mine: Grid, scan: Grid) -> NDArray[Any]:
    """Values at the nearest voxel; 0 outside."""
    from scipy.ndimage import affine_transform

    to_mine = np.linalg.inv(mine.affine) @ scan.affine
    return np.asarray(
        affine_transform(data, to_mine[:3, :3], to_mine[:3, 3], scan.shape, order=0, mode="constant", cval=0)
    )
