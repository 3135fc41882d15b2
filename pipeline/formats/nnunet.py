"""A study as an nnU-Net raw folder, for those who want to compare.

Source: the documentation of nnU-Net v2, "dataset format" and "region-based training".
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_json
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Array, Scan
from pipeline.formats.nifti.labels import stored_grid
from pipeline.formats.nifti.writer import write_nifti
from pipeline.formats.pictures.borders import uncropped


class NnunetFolder:
    """Writes scans and masks one by one, and ``dataset.json`` at the end.

    Overlapping organs become nnU-Net's regions: every combination of organs that occurs has a value of its own.

    Args:
        folder: Such as ``Dataset001_chest``.
        organs: The study's organs.
        overlapping: Whether a voxel may have several.
    """

    def __init__(self, folder: Path, organs: Sequence[str], overlapping: bool) -> None:
        self.folder = folder
        self.organs = tuple(organs)
        self.overlapping = overlapping
        self._channels: tuple[str, ...] = ()
        self._files: dict[str, list[Path]] = {}
        self._training: set[str] = set()
        self._ignores = False
        self._combinations: dict[int, int] = {}

    def add(self, scan_id: str, scan: Scan, labels: LabelMap | None, *, training: bool) -> None:
        """Write a scan, a file a channel, and its mask where it has one."""
        files = self._files.setdefault(scan_id, [])
        kind = "Tr" if training else "Ts"
        affine = stored_grid(scan).affine
        whole = uncropped(scan)
        for channel, voxels in enumerate(whole.voxels):
            files.append(below(self.folder, f"images{kind}", f"{scan_id}_{channel:04d}.nii.gz"))
            write_nifti(files[-1], whole.to_stored(voxels), affine, scan.unit)
        self._channels = self._channels or scan.channels or tuple(str(i) for i in range(scan.voxels.shape[0]))
        if labels is not None:
            data = self._values(labels)
            files.append(below(self.folder, f"labels{kind}", f"{scan_id}.nii.gz"))
            write_nifti(files[-1], scan.to_stored(data), affine, scan.unit)
        if training:
            self._training.add(scan_id)

    def images(self, scan_id: str) -> list[Path]:
        """The files of a scan's channels, in order."""
        return [path for path in self._files.get(scan_id, []) if path.parent.name.startswith("images")]

    def take_out(self, scan_id: str, folder: Path) -> None:
        """Move what there is of a scan to another folder; ``dataset.json`` is to be written after that."""
        for path in self._files.pop(scan_id, []):
            if path.exists():
                target = folder / path.relative_to(self.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)
        self._training.discard(scan_id)

    def _values(self, labels: LabelMap) -> Array:
        ignored = labels.ignored()
        # nnU-Net trains otherwise where an ignore label is declared, so it is only where it occurs.
        self._ignores |= bool(ignored.any()) and not self.overlapping
        if not self.overlapping:
            return np.where(ignored, len(self.organs) + 1, labels.data).astype(np.uint8)
        values = np.zeros(labels.data.shape, np.uint8)
        kept = np.where(ignored, 0, labels.data)
        for bits in np.unique(kept):
            if bits:
                values[kept == bits] = self._combinations.setdefault(int(bits), len(self._combinations) + 1)
        return values

    def close(self) -> None:
        """Write ``dataset.json``; again, where scans were taken out since."""
        labels: dict[str, Any] = {"background": 0}
        content: dict[str, Any] = {
            "channel_names": dict(enumerate(self._channels)),
            "labels": labels,
            "numTraining": len(self._training),
            "file_ending": ".nii.gz",
        }
        if self.overlapping:
            for index, organ in enumerate(self.organs):
                labels[organ] = [value for bits, value in self._combinations.items() if bits >> index & 1]
            content["regions_class_order"] = list(range(1, len(self.organs) + 1))
        else:
            labels |= {organ: index for index, organ in enumerate(self.organs, 1)}
            if self._ignores:
                labels["ignore"] = len(self.organs) + 1
        content["channel_names"] = {str(key): value for key, value in content["channel_names"].items()}
        write_json(self.folder / "dataset.json", content)
