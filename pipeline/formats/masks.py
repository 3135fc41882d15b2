"""Masks in the forms that people have them in, as a label map on the grid of their scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap, OrganMasks
from pipeline.core.scan import Scan
from pipeline.core.study import Ingest, Organ
from pipeline.formats.label_tables import by_names_beside
from pipeline.formats.naming import resolve
from pipeline.formats.pictures.masks import one_organ, read_mask_picture, read_organ_picture
from pipeline.formats.pictures.stack import mask_slices, stack_grid
from pipeline.formats.placing import cropped, place_picture, place_volume
from pipeline.formats.segnrrd import Segments, read_segments, segment_masks
from pipeline.formats.table import read_scans, sniff

_PICTURES = {"png", "jpeg", "tiff", "gif", "bmp"}
#: Kinds of files that name their organs: DICOM SEG and RT structure sets, and tables of run lengths.
_NAMING = {"dicom", "text", "parquet"}


def read_masks(
    source: Path | Mapping[str, Path],
    scan: Scan,
    organs: Mapping[str, Organ],
    options: Ingest,
    *,
    overlapping: bool = False,
    not_annotated: frozenset[str] = frozenset(),
    absent: frozenset[str] = frozenset(),
    names: Sequence[str] = (),
    notes: dict[str, Any] | None = None,
) -> LabelMap:
    """Read a scan's masks.

    Args:
        source: One file with all organs (index image, RGB palette, label volume, ``.seg.nrrd``, DICOM SEG or RT
            structure set, RLE CSV), or organ → file.
        scan: The scan in canonical orientation.
        organs: The study's organs, in order.
        options: Thresholds, palette, values, and whether to resample.
        overlapping: Keep overlaps; if false, the organ that comes later wins a shared voxel.
        not_annotated: Organs that nobody looked for.
        absent: Organs without a file that the scan is known not to have.
        names: What the scan may be called in an RLE CSV: its id, its file's name.
        notes: Takes what was noticed and assumed, for findings: ``overlap_voxels``, ``resampled``, ``turned``,
            ``rows``, ``names_won``, ``numbers_taken``, ``passed_over``, ``gaps``, ``crossing``.

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
        annotated = frozenset(masks) | absent
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


def spoken(notes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Notes of :func:`read_masks` as short names and sentences, free of anything that identifies."""
    said: list[tuple[str, str]] = []
    if "overlap_voxels" in notes:
        said.append(("overlap", f"{notes['overlap_voxels']:,} voxels belong to two organs, and the later one got them"))
    if "resampled" in notes:
        said.append(("resampled", "the mask lay on another grid and was resampled"))
    if "turned" in notes:
        mine, theirs = notes["turned"]
        said.append(("turned", f"the mask's axes run {mine} and the scan's {theirs}, and its geometry was followed"))
    if "rows" in notes:
        said.append(("rows", "rows run up, as the geometry of mask or scan says, and the mask's were turned over"))
    if "names_won" in notes:
        said.append(("names", f"names and numbers of the mask differ, and names were followed: {notes['names_won']}"))
    if "numbers_taken" in notes:
        said.append(("numbers", f"no name in the mask is an organ's: {notes['numbers_taken']}"))
    if notes.get("passed_over"):
        said.append(("passed_over", f"{notes['passed_over']} structures that are no organ were passed over"))
    said += [("gaps", sentence) for sentence in notes.get("gaps", ())]
    said += [("crossing", f"{sentence}, and exclusive or was taken") for sentence in notes.get("crossing", ())]
    return said


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
        if self._is_stack(path):
            return self._stacked(path)
        path, kind = _opened(path)
        if kind in _PICTURES:
            by = partial(self._beside, path, picture=True)
            masks, ignored = read_mask_picture(path, self.organs, self.options, by)
            placed = {organ: self._picture(mask) for organ, mask in masks.items()}
            return placed, None if ignored is None else self._picture(ignored)
        if kind in _NAMING:
            return self._by_name(path, kind, self.organs), None
        labels = self._volume(path)
        if segments := _segments_of(path, kind, labels):
            return self._segments(labels, segments), None
        return self._beside(path, self._one_channel(labels))

    def _beside(
        self, path: Path, data: NDArray[Any], *, picture: bool = False
    ) -> tuple[OrganMasks, NDArray[np.bool_] | None]:
        return by_names_beside(path, data, self.organs, self.options, self.notes, picture=picture)

    def one_organ(self, path: Path, organ: str) -> NDArray[np.bool_]:
        """The mask of an organ that has a file of its own."""
        if self._is_stack(path):
            parts = [read_organ_picture(file, self.options) for file in mask_slices(path, self.scan, self.options)]
            return self._stack(parts).astype(bool)
        path, kind = _opened(path)
        if kind in _PICTURES:
            return self._picture(read_organ_picture(path, self.options))
        if kind in _NAMING:
            return self._by_name(path, kind, {organ: self.organs[organ]}, only=organ).get(organ, self._empty())
        labels = self._volume(path)
        if segments := _segments_of(path, kind, labels):
            return self._segments(labels, segments, only=organ).get(organ, self._empty())
        return one_organ(self._one_channel(labels), self.options)

    def _is_stack(self, path: Path) -> bool:
        return self.options.stack is not None and path.is_dir()

    def _stacked(self, folder: Path) -> tuple[OrganMasks, NDArray[np.bool_] | None]:
        """The organs of a folder with a picture of all organs for each slice."""
        slices = []
        for file in mask_slices(folder, self.scan, self.options):
            by = partial(self._beside, file, picture=True)
            slices.append(read_mask_picture(file, self.organs, self.options, by))
        masks = {name: self._stack([own[name] for own, _ in slices]).astype(bool) for name in self.organs}
        first = next(iter(self.organs))
        ignored = [np.zeros(own[first].shape, bool) if part is None else part for own, part in slices]
        return masks, self._stack(ignored).astype(bool) if any(part is not None for _, part in slices) else None

    def _stack(self, parts: list[NDArray[np.bool_]]) -> NDArray[Any]:
        """Slices ``(X, Y, 1)`` as a volume on the scan's grid."""
        if len({part.shape for part in parts}) > 1:
            raise InputError("slices of the stack differ in size")
        whole = np.concatenate(parts, axis=2).astype(np.uint8)
        return place_volume(whole, stack_grid(whole, self.scan, self.options), self.scan, self.options, self.notes)

    def _by_name(self, path: Path, kind: str, organs: Mapping[str, Organ], only: str | None = None) -> OrganMasks:
        """Masks of a file that names its organs."""
        if kind == "dicom":
            from pipeline.formats.dicom.seg_reader import read_seg

            return read_seg(path, self.scan, self.organs, self.options, self.notes, only=only)
        from pipeline.formats.rle.lookup import read_rle_masks

        masks = read_rle_masks(path, self.scan, organs, self.options, self.names)
        return {organ: cropped(mask, self.scan) for organ, mask in masks.items()}

    def _picture(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return place_picture(mask, self.scan, self.options, self.notes)

    def _empty(self) -> NDArray[np.bool_]:
        return np.zeros(self.scan.shape, bool)

    def _volume(self, path: Path) -> Scan:
        """A label volume as it lies in its file."""
        found = [item for item in read_scans(path, self.scan.modality, self.options) if item.read is not None]
        if len(found) != 1 or found[0].read is None:
            raise InputError("is not one label volume")
        return found[0].read()

    def _one_channel(self, labels: Scan) -> NDArray[Any]:
        """The values of a label volume on the scan's grid, ``(X, Y, Z)``."""
        if labels.voxels.shape[0] != 1:
            raise InputError(
                f"the mask has {labels.voxels.shape[0]} channels", remedy="Give one label volume, or one file an organ."
            )
        return place_volume(labels.voxels[0], labels, self.scan, self.options, self.notes)

    def _segments(self, labels: Scan, segments: Segments, only: str | None = None) -> OrganMasks:
        """Masks of a ``.seg.nrrd``, whose segments have names, values and layers, on the scan's grid."""
        layers = [
            place_volume(layer, labels, self.scan, self.options, self.notes, part=True) for layer in labels.voxels
        ]
        called, inside = segment_masks(layers, segments)
        used = [number for number, mask in inside.items() if mask.any()]
        names = resolve(called, used, self.organs, self.options, self.notes, only)
        masks: OrganMasks = {}
        for number, organ in names.items():
            masks[organ] = masks[organ] | inside[number] if organ in masks else inside[number]
        return masks


def _segments_of(path: Path, kind: str, labels: Scan) -> Segments:
    """The segments that a volume's file names; none where it names none."""
    if kind != "itk":
        return []
    return read_segments(path, labels.voxels.shape[0])


def _opened(path: Path) -> tuple[Path, str]:
    """A mask's file, which may be the one in a folder, and its kind."""
    if path.is_dir():
        inside = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        if len(inside) != 1:
            raise InputError(f"is a folder of {len(inside)} files", remedy="Name the mask file itself.")
        path = inside[0]
    kind = sniff(path)
    if kind not in {"nifti", "itk", *_NAMING, *_PICTURES}:
        raise InputError(f"is {kind}, not a mask" if kind != "empty" else "is an empty file")
    return path, kind
