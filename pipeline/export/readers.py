"""Readers that check the exports. None shares code with the writer of its format.

NIfTI is read from the bytes of the file, by blocks, in one pass. SimpleITK, which could do that as fast, refuses grids
whose axes are not at right angles ("ITK only supports orthonormal direction cosines"), and scans may have such grids.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import zeros
from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Array, Grid, Scan
from pipeline.export.checks import ABSENT, Measured

BLOCK = 1 << 26  # bytes of a volume that are looked at together
TO_RAS = np.diag([-1.0, -1.0, 1.0])
GREYS = 1e-3  # by which a grey value may be off, as a share of the scan's range
ROUNDING = 1e-4  # by which a mean of probabilities may leave 0 … 1
PLACE = 0.02  # voxels that a corner of a file may be off: its header rounds to 32 bits


def read_nifti_organs(files: Mapping[str, tuple[Path, int | Sequence[int]]]) -> dict[str, Measured]:
    """Organs of NIfTI files, from the bytes of header and data: organ → (file, value or values)."""
    found: dict[str, Measured] = {}
    for path in dict.fromkeys(path for path, _ in files.values()):
        values = {organ: value for organ, (own, value) in files.items() if own == path}
        with gzip.open(path) as stream:
            image = _Nifti(stream)
            sums = {organ: _Sums(image.shape) for organ in values}
            for place, data in image.blocks():
                for organ, value in values.items():
                    sums[organ].add(place, np.isin(data, value))
            found |= {organ: one.measured(image.affine) for organ, one in sums.items()}
    return {organ: found[organ] for organ in files}


class _Sums:
    """Voxels of a mask along each axis of a volume that comes in blocks of slices."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.lines = [np.zeros(size) for size in shape[:3]]

    def add(self, first: int, block: Array) -> None:
        """Count ``(X, Y, slices)``, of which the first is slice ``first``."""
        across = block.sum(axis=2, dtype=np.float64)
        self.lines[0] += across.sum(axis=1)
        self.lines[1] += across.sum(axis=0)
        self.lines[2][first : first + block.shape[2]] += block.sum(axis=(0, 1), dtype=np.float64)

    def measured(self, affine: Array) -> Measured:
        """Centre, RAS+ mm, and size: mm³, in pictures mm²."""
        total = float(self.lines[0].sum())
        if total <= 0:
            return ABSENT
        where = [float(line @ np.arange(len(line))) / total for line in self.lines]
        flat = len(self.lines[2]) == 1
        size = np.prod(np.linalg.norm(affine[:3, :3], axis=0)[: 2 if flat else 3])
        return Measured((affine @ [*where, 1])[:3], total * float(size))


class _Nifti:
    """A little-endian NIfTI-1 file (nifti1.h, offsets in bytes), read from its start to its end."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream = stream
        head = stream.read(348)
        axes = int(np.frombuffer(head, "<i2", 1, 40)[0])
        self.shape = tuple(int(side) for side in np.frombuffer(head, "<i2", axes, 42))
        self.kind = np.dtype({2: "u1", 8: "<i4", 16: "<f4", 512: "<u2"}[int(np.frombuffer(head, "<i2", 1, 70)[0])])
        self.start = int(np.frombuffer(head, "<f4", 1, 108)[0])
        rows = np.frombuffer(head, "<f4", 12, 280).reshape(3, 4)
        self.affine: Array = np.vstack([rows, [0, 0, 0, 1]]).astype(float)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Blocks ``(X, Y, slices)`` with their first slice; of several channels one channel after the other."""
        x, y, z = self.shape[:3]
        most = max(BLOCK // (x * y * self.kind.itemsize), 1)
        self.stream.seek(self.start)
        for _ in range(int(np.prod(self.shape[3:]))):
            for first in range(0, z, most):
                count = min(most, z - first)
                content = self.stream.read(x * y * count * self.kind.itemsize)
                yield first, np.frombuffer(content, self.kind).reshape((x, y, count), order="F")


def read_probabilities(path: Path, grid: Grid) -> Array:
    """Probabilities of a NIfTI file ``(X, Y, Z, K)``, brought to the grid of a scan; long ones lie in a file.

    Raises:
        InputError: They do not lie on the grid, or are no probabilities.
    """
    wrong = InputError("read back, the file holds something else than probabilities")
    with gzip.open(path) as stream:
        image = _Nifti(stream)
        if len(image.shape) != 4:
            raise wrong
        data = zeros((image.shape[3], *image.shape[:3]))
        channel = -1
        for first, block in image.blocks():
            channel += first == 0
            if not (np.isfinite(block).all() and block.min() >= -ROUNDING and block.max() <= 1 + ROUNDING):
                raise wrong
            data[channel, :, :, first : first + block.shape[2]] = block
    return on_grid(np.moveaxis(data, 0, -1), image.affine, grid)


def on_grid(values: Array, affine: Array, grid: Grid) -> Array:
    """Values ``(X, Y, Z, …)`` of a file, turned to the axes of a scan's grid and cut to it.

    Raises:
        InputError: The file's voxels are not the scan's, or do not cover it.
    """
    from nibabel import orientations

    turn = np.linalg.inv(np.asarray(grid.affine, float)) @ affine
    order = orientations.io_orientation(turn)
    placed = turn @ orientations.inv_ornt_aff(order, values.shape[:3])
    values = orientations.apply_orientation(values, order)
    start = np.rint(-placed[:3, 3]).astype(int)
    shift = np.eye(4)
    shift[:3, 3] = -start
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    corners[:, :3] *= np.array(values.shape[:3]) - 1
    apart = float(np.linalg.norm(corners @ (placed - shift).T, axis=1).max())
    if apart > PLACE:
        raise InputError(f"read back, the voxels lie {apart:.3g} of a voxel off the scan's")
    if (start < 0).any() or (start + grid.shape > values.shape[:3]).any():
        raise InputError("read back, the file does not cover the scan")
    return np.asarray(values[tuple(slice(a, a + n) for a, n in zip(start, grid.shape, strict=True))])


def read_nnunet_organs(folder: Path, scan_id: str) -> dict[str, Measured]:
    """Organs of one labelled scan of an nnU-Net raw folder, by what ``dataset.json`` says of the values."""
    names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    path = next(
        p for p in (below(folder, f"labels{part}", f"{scan_id}.nii.gz") for part in ("Tr", "Ts")) if p.is_file()
    )
    organs = {name: values for name, values in names.items() if name not in {"background", "ignore"}}
    with gzip.open(path) as stream:
        image = _Nifti(stream)
        sums = {organ: _Sums(image.shape) for organ in organs}
        for first, data in image.blocks():
            for organ, values in organs.items():
                sums[organ].add(first, np.isin(data, values))
        return {organ: one.measured(image.affine) for organ, one in sums.items()}


def read_bids_organs(root: Path, files: Sequence[Path]) -> dict[str, Measured]:
    """Organs of one scan of a BIDS derivative, by the names that its table of labels gives to values and to masks."""
    lines = (root / "desc-organseg_dseg.tsv").read_text(encoding="utf-8").splitlines()
    table = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    if len(files) == 1 and files[0].name.endswith("_dseg.nii.gz"):
        return read_nifti_organs({line["name"]: (files[0], int(line["index"])) for line in table})
    by_label = {re.search(r"_label-([A-Za-z0-9]+)_", file.name)[1]: file for file in files}  # type: ignore[index]
    return read_nifti_organs({line["name"]: (by_label[line["abbreviation"]], 1) for line in table})


def read_seg_organs(path: Path, labels: LabelMap) -> dict[str, Measured]:
    """Organs of a DICOM segmentation object, from its frames' bits and places.

    Args:
        path: The object, with its source instances beside it.
        labels: Gives a place to pictures, whose instances have none: their pixels are as large as the source instance
            says, and run to the sides of the patient that the object names.

    Raises:
        InputError: A picture's rows or columns run to another side of the patient.
    """
    import pydicom

    seg = pydicom.dcmread(path)
    frames, rows, columns = int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    stack = bits[: frames * rows * columns].reshape(frames, rows, columns)
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    shared = seg.SharedFunctionalGroupsSequence[0]
    placed = all("PlanePositionSequence" in own for own in seg.PerFrameFunctionalGroupsSequence)
    flat = None if placed else _picture_place(path, seg, labels)
    points: dict[str, list[Array]] = {}
    sizes: dict[str, float] = {}
    for frame, own in zip(stack, seg.PerFrameFunctionalGroupsSequence, strict=True):
        organ = names[int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        row, column = np.nonzero(frame)
        if flat is not None:
            ends = np.stack([column, row, np.zeros_like(row), np.ones_like(row)])
            places = (flat @ ends)[:3].T
            voxel = float(np.prod(np.linalg.norm(flat[:3, :2], axis=0)))
        else:
            measures = shared.PixelMeasuresSequence[0]
            down, right = (float(value) for value in measures.PixelSpacing)
            turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
            origin = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
            lps = origin + np.outer(column * right, turn[:3]) + np.outer(row * down, turn[3:])
            places = lps @ TO_RAS
            voxel = down * right * _slice_step(seg)
        points.setdefault(organ, []).append(places)
        sizes[organ] = sizes.get(organ, 0.0) + len(row) * voxel
    found = {}
    for organ, parts in points.items():
        together = np.concatenate(parts)
        found[organ] = Measured(together.mean(axis=0), sizes[organ]) if len(together) else ABSENT
    return found


def check_seg_source(path: Path, scan: Scan) -> None:
    """Whether the source instances beside a DICOM segmentation object show the scan that it was found in.

    Args:
        path: The object.
        scan: The scan.

    Raises:
        InputError: They lie elsewhere, or show something else.
    """
    import pydicom

    files = [pydicom.dcmread(file) for file in sorted((path.parent / "source").glob("*.dcm"))]
    pixels = np.stack([file.pixel_array.T for file in files], -1)
    if scan.is_flat:
        values = pixels
    else:
        first, last = (np.array(file.ImagePositionPatient, float) for file in (files[0], files[-1]))
        turn = np.array(files[0].ImageOrientationPatient, float)
        down, right = (float(value) for value in files[0].PixelSpacing)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 3] = turn[:3] * right, turn[3:] * down, first
        affine[:3, 2] = (last - first) / max(len(files) - 1, 1)
        affine[:3] = TO_RAS @ affine[:3]
        values = on_grid(pixels, affine, scan.grid) if len(files) > 1 else pixels
    if values.shape != scan.shape:
        raise InputError(f"read back, the source instances show {values.shape}, and the scan is {scan.shape}")
    own = np.nan_to_num(scan.voxels[0])
    low, high, least, most = (float(f(one)) for one in (own, values) for f in (np.min, np.max))
    # Values that are not whole were stretched to the 16 bits of an instance.
    rise = (high - low) / (most - least) if most > least else 0.0
    apart = max(
        float(np.abs(rise * (v.astype(float) - least) + low - o).max()) for v, o in zip(values, own, strict=True)
    )
    if apart > GREYS * (high - low):
        raise InputError("read back, the source instances show something else than the scan")


def _picture_place(path: Path, seg: Any, labels: LabelMap) -> Array:
    """Pixel index → RAS+ mm of a picture, with the spacing and the sides of the patient that the files say."""
    import pydicom
    from nibabel.orientations import aff2axcodes

    affine = np.array(labels.affine, float)
    said = "".join(seg.get("PatientOrientation") or [])
    meant = "".join({"S": "H", "I": "F"}.get(letter, letter) for letter in aff2axcodes(affine)[:2])
    if said and said != meant:
        raise InputError(f"read back, rows and columns run to {said} of the patient, not {meant}")
    source = pydicom.dcmread(path.parent / "source" / "0001.dcm", stop_before_pixels=True)
    steps = source.get("PixelSpacing") or source.get("ImagerPixelSpacing")
    if steps:
        affine[:3, :2] *= np.array([float(steps[1]), float(steps[0])]) / np.linalg.norm(affine[:3, :2], axis=0)
    return affine


def _slice_step(seg: object) -> float:
    """Distance between neighbouring slices that the object says."""
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]  # type: ignore[attr-defined]
    return float(measures.get("SpacingBetweenSlices") or measures.SliceThickness)
