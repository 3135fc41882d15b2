"""Masks in the forms that people have them in, as a label map on the grid of their scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap, OrganMasks
from pipeline.core.scan import Grid, Scan, permute, to_canonical
from pipeline.core.study import Ingest, Organ
from pipeline.formats.pictures.masks import by_values, one_organ, read_mask_picture, read_organ_picture
from pipeline.formats.table import read_scans, sniff

_PICTURES = {"png", "jpeg", "tiff"}
#: Kinds of files that name their organs: DICOM SEG, and tables of run lengths.
_NAMING = {"dicom", "text", "parquet"}
#: A mask is on its scan's grid if no corner is off by more than this share of a voxel: header rounding, no shift.
_ROUNDING = 0.1


def read_masks(
    source: Path | Mapping[str, Path],
    scan: Scan,
    organs: Mapping[str, Organ],
    options: Ingest,
    *,
    overlapping: bool = False,
    not_annotated: frozenset[str] = frozenset(),
    names: Sequence[str] = (),
    notes: dict[str, Any] | None = None,
) -> LabelMap:
    """Read a scan's masks.

    Args:
        source: One file with all organs (index image, RGB palette, label volume, DICOM SEG, RLE CSV), or organ → file.
        scan: The scan in canonical orientation.
        organs: The study's organs, in order.
        options: Thresholds, palette, values, and whether to resample.
        overlapping: Keep overlaps; if false, the organ that comes later wins a shared voxel.
        not_annotated: Organs that nobody looked for.
        names: What the scan may be called in an RLE CSV: its id, its file's name.
        notes: Takes what was noticed: ``overlap_voxels``, ``resampled``.

    Returns:
        The label map on the scan's grid.

    Raises:
        InputError: The mask has another shape or place than the scan, or holds something that is no organ.
    """
    notes = {} if notes is None else notes
    reader = _Reader(scan, organs, options, names, notes)
    ignored: NDArray[np.bool_] | None = None
    if isinstance(source, Path):
        with _named(source):
            masks, ignored = reader.all_organs(source)
        annotated = frozenset(organs) - not_annotated
    else:
        masks = {}
        for organ, path in source.items():
            if organ in not_annotated:
                continue
            with _named(path):
                masks[organ] = reader.one_organ(path, organ)
        annotated = frozenset(masks)
    shared = sum((mask.astype(np.uint8) for mask in masks.values()), np.zeros(scan.shape, np.uint8)) > 1
    if shared.any() and not overlapping:
        notes["overlap_voxels"] = int(shared.sum())
    kept = {organ: mask for organ, mask in masks.items() if organ in annotated}
    return LabelMap.from_masks(
        kept or {next(iter(organs)): np.zeros(scan.shape, bool)},
        scan.affine,
        tuple(organs),
        overlapping=overlapping,
        annotated=annotated,
        ignore=ignored,
    )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the mask file in errors, for the terminal."""
    if not path.exists():
        raise InputError("the mask file does not exist", where=str(path))
    try:
        yield
    except InputError as error:
        raise InputError(error.what, where=error.where or str(path), remedy=error.remedy) from None


@dataclass(frozen=True)
class _Reader:
    """Reads masks of one scan; the attributes are the arguments of :func:`read_masks`."""

    scan: Scan
    organs: Mapping[str, Organ]
    options: Ingest
    names: Sequence[str]
    notes: dict[str, Any]

    def all_organs(self, path: Path) -> tuple[OrganMasks, NDArray[np.bool_] | None]:
        """The organs of one file, and the voxels to ignore."""
        kind = _kind(path)
        if kind in _PICTURES:
            masks, ignored = read_mask_picture(path, self.organs, self.options)
            placed = {organ: self._picture(mask) for organ, mask in masks.items()}
            return placed, None if ignored is None else self._picture(ignored)
        if kind in _NAMING:
            return self._by_name(path, kind, self.organs), None
        return by_values(self._volume(path), self.organs, self.options)

    def one_organ(self, path: Path, organ: str) -> NDArray[np.bool_]:
        """The mask of an organ that has a file of its own."""
        kind = _kind(path)
        if kind in _PICTURES:
            return self._picture(read_organ_picture(path, self.options))
        if kind in _NAMING:
            masks = self._by_name(path, kind, {organ: self.organs[organ]})
            return masks.get(organ, np.zeros(self.scan.shape, bool))
        return one_organ(self._volume(path), self.options)

    def _by_name(self, path: Path, kind: str, organs: Mapping[str, Organ]) -> OrganMasks:
        """Masks of a file that names its organs."""
        if kind == "dicom":
            from pipeline.formats.dicom.seg_reader import read_seg

            return read_seg(path, self.scan, self.organs, self.options)
        from pipeline.formats.rle.lookup import read_rle_masks

        masks = read_rle_masks(path, self.scan, organs, self.options, self.names)
        return {organ: _cropped(mask, self.scan) for organ, mask in masks.items()}

    def _picture(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Bring a picture's mask onto its scan: same size, cropped where the scan was."""
        if not self.scan.is_flat:
            raise InputError("the mask is a picture and the scan is a volume", remedy="Give a label volume.")
        whole = (self.scan.stored or self.scan.grid).shape
        if mask.shape != whole:
            if not self.options.resample_masks:
                raise InputError(
                    f"the mask is {_size(mask.shape)} and the scan {_size(whole)}",
                    remedy="Set ingest.resample_masks to bring masks onto their scans' grids.",
                )
            self.notes["resampled"] = True
            index = [
                np.minimum((np.arange(n) + 0.5) * m // n, m - 1).astype(int)
                for n, m in zip(whole, mask.shape, strict=True)
            ]
            mask = mask[np.ix_(*index)]
        return _cropped(mask, self.scan)

    def _volume(self, path: Path) -> NDArray[Any]:
        """Values of a label volume on the scan's grid, ``(X, Y, Z)``."""
        scan = self.scan
        found = [item for item in read_scans(path, scan.modality, self.options) if item.read is not None]
        if len(found) != 1 or found[0].read is None:
            raise InputError("is not one label volume")
        labels = found[0].read()
        if labels.voxels.shape[0] != 1:
            raise InputError(
                f"the mask has {labels.voxels.shape[0]} channels", remedy="Give one label volume, or one file an organ."
            )
        data = labels.voxels[0]
        mine, theirs = labels.grid, scan.stored or scan.grid
        if scan.is_flat:
            if data.shape != theirs.shape:
                raise InputError(f"the mask is {_size(data.shape)} and the scan {_size(theirs.shape)}")
            return _cropped(data, scan)
        axes, flips = to_canonical(mine)
        turned = mine.permuted(axes, flips)
        if scan.notes.get("format") in {"nifti", "itk"}:
            if mine.same_place(theirs, _ROUNDING):
                return permute(data, *to_canonical(theirs))
        elif turned.same_place(scan.grid, _ROUNDING):
            return permute(data, axes, flips)
        if self.options.resample_masks:
            self.notes["resampled"] = True
            return _nearest(data, mine, scan.grid)
        raise InputError(
            _difference(mine, theirs, turned, scan.grid),
            remedy="Correct the header, or set ingest.resample_masks where the geometry is right.",
        )


def _kind(path: Path) -> str:
    if path.is_dir():
        inside = [p for p in path.iterdir() if p.is_file()]
        if len(inside) == 1:
            return sniff(inside[0])
        raise InputError("is a folder", remedy="Name the mask file itself.")
    kind = sniff(path)
    if kind not in {"nifti", "itk", *_NAMING, *_PICTURES}:
        raise InputError(f"is {kind}, not a mask" if kind != "empty" else "is an empty file")
    return kind


def _cropped(mask: NDArray[np.bool_], scan: Scan) -> NDArray[np.bool_]:
    if "cropped" not in scan.notes:
        return mask
    left, top, right, bottom = scan.notes["cropped"]
    return mask[left : mask.shape[0] - right, top : mask.shape[1] - bottom]


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)


def _difference(mine: Grid, theirs: Grid, turned: Grid, scan: Grid) -> str:
    """How a mask's grid differs from its scan's, in words."""
    if sorted(mine.shape) != sorted(theirs.shape):
        return f"the mask is {_size(mine.shape)} and the scan {_size(theirs.shape)}"
    if mine.orientation != theirs.orientation:
        return f"the mask's axes run {mine.orientation} and the scan's {theirs.orientation}"
    if mine.shape != theirs.shape:
        return f"the mask is {_size(mine.shape)} and the scan {_size(theirs.shape)}"
    if not np.allclose(mine.spacing, theirs.spacing, rtol=1e-3):
        ours, other = (" × ".join(f"{s:.4g}" for s in grid.spacing) for grid in (mine, theirs))
        return f"the mask's voxels are {ours} mm and the scan's {other}"
    shift = float(np.linalg.norm(turned.affine[:3, 3] - scan.affine[:3, 3]))
    return f"the mask lies elsewhere than the scan (origins {shift:.2f} mm apart)"


def _nearest(data: NDArray[Any], mine: Grid, scan: Grid) -> NDArray[Any]:
    """Values at the nearest voxel; 0 outside."""
    from scipy.ndimage import affine_transform

    to_mine = np.linalg.inv(mine.affine) @ scan.affine
    return np.asarray(
        affine_transform(data, to_mine[:3, :3], to_mine[:3, 3], scan.shape, order=0, mode="constant", cval=0)
    )
