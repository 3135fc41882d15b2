"""The baseline: what one gets without looking at the image, from the most frequent mask of the training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.files import digest_of, whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.splits import Assignment, Part, fold_sides
from pipeline.core.study import Study
from pipeline.formats.store import read_labels
from pipeline.imaging.preprocessing import pack_bits

#: Counted up when the same masks give another shape: of what is kept from one run to the next.
VERSION = 1
#: Voxels along each axis of the grid on which masks of different sizes are averaged.
PICTURE_GRID = (256, 256, 1)
VOLUME_GRID = (96, 96, 64)


def training_rows(
    rows: Sequence[Mapping[str, str]], splits: Mapping[str, Assignment], fold: int | None
) -> list[dict[str, str]]:
    """Labelled scans that a fold trains on; of no fold (the test's models) all of development."""
    known = (row for row in rows if row["patient_id"] in splits)
    return fold_sides(known, splits, -1 if fold is None else fold)[0]


def _samples(count: int, grid: int) -> NDArray[np.intp]:
    """For each cell of an axis of ``grid`` cells the nearest of ``count`` voxels; both axes span the same extent."""
    return np.minimum(((np.arange(grid) + 0.5) * count / grid).astype(np.intp), count - 1)


def _resampled(data: NDArray[np.unsignedinteger], shape: Sequence[int]) -> NDArray[np.unsignedinteger]:
    return data[np.ix_(*(_samples(n, m) for n, m in zip(data.shape, shape, strict=True)))]


def mean_shape(masks: Sequence[Path], study: Study) -> NDArray[np.unsignedinteger]:
    """The most frequent label at each place of the image, over the training masks.

    Places are relative: a tenth from the left, halfway down. An organ counts only the scans it was annotated in.

    Args:
        masks: Label maps that :func:`pipeline.formats.store.write_labels` wrote.
        study: Their study.

    Returns:
        Label map data (exclusive or overlapping, as the study says) on ``PICTURE_GRID`` or ``VOLUME_GRID``.
    """
    organs = study.organ_names()
    grid: tuple[int, ...] = ()
    votes = np.zeros((len(organs), 0, 0, 0), np.float32)
    seen = np.zeros(len(organs))
    for path in masks:
        labels = read_labels(path)
        if not grid:
            grid = PICTURE_GRID if labels.data.shape[2] == 1 else VOLUME_GRID
            votes = np.zeros((len(organs), *grid), np.float32)
        small = LabelMap(_resampled(labels.data, grid), labels.affine, organs, study.overlapping, labels.annotated)
        for index, organ in enumerate(organs):
            if organ in labels.annotated:
                votes[index] += small.mask(organ)
                seen[index] += 1
    frequency = votes / np.maximum(seen, 1)[:, None, None, None]
    dtype = LabelMap.dtype_for(len(organs), study.overlapping)
    if study.overlapping:
        return pack_bits(frequency > 0.5, dtype)
    background = np.maximum(1 - frequency.sum(axis=0), 0)
    return np.argmax(np.concatenate([background[None], frequency]), axis=0).astype(dtype)


@dataclass
class Baseline:
    """Mean shapes of a part, made once a training set and kept beside the part's figures.

    Attributes:
        study: The study.
        paths: Its places.
        part: ``oof`` or ``test``.
        rows: All rows of ``scans.csv``.
        splits: Patient → assignment.
    """

    study: Study
    paths: StudyPaths
    part: Part
    rows: Sequence[Mapping[str, str]]
    splits: Mapping[str, Assignment]
    _shapes: dict[int | None, NDArray[np.unsignedinteger] | None] = field(default_factory=dict)

    def predict(self, patient: str, reference: LabelMap) -> LabelMap | None:
        """The baseline's prediction for a scan of this patient, or ``None`` where there is no training set."""
        fold = self.splits[patient].fold if self.part == "oof" else None
        if fold not in self._shapes:
            self._shapes[fold] = self._shape(fold)
        shape = self._shapes[fold]
        if shape is None or (shape.shape[2] == 1) != (reference.data.shape[2] == 1):
            return None
        data = _resampled(shape, reference.data.shape)
        return LabelMap(data, reference.affine, reference.organs, reference.overlapping, reference.annotated)

    def _shape(self, fold: int | None) -> NDArray[np.unsignedinteger] | None:
        rows = training_rows(self.rows, self.splits, fold)
        masks = [self.paths.mask(row["shard"], row["scan_id"]) for row in sorted(rows, key=lambda r: r["scan_id"])]
        if not masks:
            return None
        # Every shard needs the same shapes: the first one to get here leaves them for the others.
        state = [[path.name, (stat := path.stat()).st_size, stat.st_mtime_ns] for path in masks]
        kept = (
            self.paths.results / ".cache" / "mean_shape" / f"{digest_of([VERSION, state, self.study.overlapping])}.npy"
        )
        if kept.is_file():
            return np.asarray(np.load(kept, allow_pickle=False))
        shape = mean_shape(masks, self.study)
        with whole_file(kept) as part, open(part, "wb") as handle:
            np.save(handle, shape, allow_pickle=False)
        return shape
