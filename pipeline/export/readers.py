"""Readers that check the exports. None shares code with the writer of its format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.core.scan import Array
from pipeline.export.checks import ABSENT, Measured, measured

TO_RAS = np.diag([-1.0, -1.0, 1.0])


def read_nifti_organs(files: Mapping[str, tuple[Path, int]]) -> dict[str, Measured]:
    """Organs of NIfTI files, from the bytes of header and data: organ → (file, value)."""
    images: dict[Path, tuple[Array, Array]] = {}
    found = {}
    for organ, (path, value) in files.items():
        if path not in images:
            images[path] = _nifti(path)
        data, affine = images[path]
        found[organ] = measured(data == value, affine)
    return found


def _nifti(path: Path) -> tuple[Array, Array]:
    """Voxels and sform of a little-endian NIfTI-1 file (nifti1.h, offsets in bytes)."""
    content = gzip.decompress(path.read_bytes())
    axes = int(np.frombuffer(content, "<i2", 1, 40)[0])
    shape = np.frombuffer(content, "<i2", axes, 42)
    kind = {2: "u1", 8: "<i4", 16: "<f4", 512: "<u2"}[int(np.frombuffer(content, "<i2", 1, 70)[0])]
    start = int(np.frombuffer(content, "<f4", 1, 108)[0])
    affine = np.vstack([np.frombuffer(content, "<f4", 12, 280).reshape(3, 4), [0, 0, 0, 1]]).astype(float)
    return np.frombuffer(content, kind, int(np.prod(shape.astype(int))), start).reshape(shape, order="F"), affine


def read_probabilities(path: Path) -> list[Measured]:
    """Each channel of a NIfTI file of probabilities ``(X, Y, Z, K)``: its centre of mass, and its sum."""
    data, affine = _nifti(path)
    return [mass(data[..., channel], affine) for channel in range(data.shape[3])]


def mass(values: Array, affine: Array) -> Measured:
    """Centre of mass, RAS+ mm, and sum of ``(X, Y, Z)`` values."""
    total = float(values.sum(dtype=np.float64))
    if total <= 0:
        return ABSENT
    sums = [values.sum(axis=tuple(i for i in range(3) if i != axis), dtype=np.float64) for axis in range(3)]
    where = [float(one @ np.arange(len(one))) / total for one in sums]
    return Measured((np.asarray(affine, float) @ [*where, 1])[:3], total)


def read_nnunet_organs(folder: Path, scan_id: str) -> dict[str, Measured]:
    """Organs of one labelled scan of an nnU-Net raw folder, by what ``dataset.json`` says of the values."""
    names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    path = next(p for p in (folder / f"labels{part}" / f"{scan_id}.nii.gz" for part in ("Tr", "Ts")) if p.is_file())
    data, affine = _nifti(path)
    organs = {name: values for name, values in names.items() if name not in {"background", "ignore"}}
    return {organ: measured(np.isin(data, values), affine) for organ, values in organs.items()}


def read_seg_organs(path: Path, labels: LabelMap) -> dict[str, Measured]:
    """Organs of a DICOM segmentation object, from its frames' bits and places.

    Args:
        path: The object.
        labels: Gives places to the pixels of pictures, whose instances have none.
    """
    import pydicom

    seg = pydicom.dcmread(path)
    frames, rows, columns = int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    stack = bits[: frames * rows * columns].reshape(frames, rows, columns)
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    shared = seg.SharedFunctionalGroupsSequence[0]
    points: dict[str, list[Array]] = {}
    sizes: dict[str, float] = {}
    for frame, own in zip(stack, seg.PerFrameFunctionalGroupsSequence, strict=True):
        organ = names[int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        row, column = np.nonzero(frame)
        if "PlanePositionSequence" not in own:
            ends = np.stack([column, row, np.zeros_like(row), np.ones_like(row)])
            places = (np.asarray(labels.affine) @ ends)[:3].T
            voxel = float(np.prod(labels.grid.spacing[:2]))
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


def _slice_step(seg: object) -> float:
    """Distance between neighbouring slices that the object says."""
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]  # type: ignore[attr-defined]
    return float(measures.get("SpacingBetweenSlices") or measures.SliceThickness)


def read_coco_organs(path: Path, scan_id: str, labels: LabelMap) -> dict[str, Measured]:
    """Organs of one scan in a COCO annotation file with run lengths."""
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {item["id"]: item["name"] for item in content["categories"]}
    images = {item["id"]: Path(item["file_name"]).stem for item in content["images"]}
    masks: dict[str, Array] = {}
    for item in content["annotations"]:
        name = images[item["image_id"]]
        if name != scan_id and not name.startswith(f"{scan_id}_slice_"):
            continue
        height, width = item["segmentation"]["size"]
        counts = item["segmentation"]["counts"]
        runs = _coco_counts(counts) if isinstance(counts, str) else counts
        flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(bool)
        picture = flat.reshape(width, height)
        index = int(name.removeprefix(f"{scan_id}_slice_")) - 1 if name != scan_id else 0
        masks.setdefault(names[item["category_id"]], np.zeros(labels.data.shape, bool))[:, :, index] |= picture
    return {organ: measured(mask, labels.affine) for organ, mask in masks.items()}


def _coco_counts(text: str) -> list[int]:
    """COCO's compressed counts: five bits a character, differences to the count before the last from the fourth on."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            letter = ord(text[position]) - 48
            value |= (letter & 0x1F) << shift
            more = bool(letter & 0x20)
            position += 1
            shift += 5
            if not more and letter & 0x10:
                value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def read_rle_organs(
    path: Path, scan_id: str, labels: LabelMap, dialect: str, organs: Sequence[str]
) -> dict[str, Measured]:
    """Organs of one scan in a table of run lengths, by the reader that knows every dialect."""
    from pipeline.formats.rle import read_mask

    masks = read_mask(path, scan_id, organs, labels.grid.shape, dialect)
    return {organ: measured(mask, labels.affine) for organ, mask in masks.items()}
