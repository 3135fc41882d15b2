"""Label volumes with the source's own values: organs that contain each other painted in the order of the config."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.organs import painting_order
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.export import checks, readers
from pipeline.export.checks import Check, Tolerance
from pipeline.formats.nifti.labels import stored_grid
from pipeline.formats.nifti.writer import write_nifti

FORM = "source_labels"


def write_source_labels(study: Study, out: Path, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    """Write ``source_labels/<scan_id>.nii.gz`` and read it back.

    A voxel gets the value of the organ that is painted last, which says by the study's values which organs it belongs
    to. Where a network found an inner region outside its outer one, the voxel counts for both in the file, as a reader
    of such labels would have it, and the check says how many did.

    Returns:
        A row an organ: failed where the file lost voxels of it, or is not read back as it was written.
    """
    values = study.source_values()
    painted = painting_order(study.organs, study.export.source_order)
    highest = max(value for _, value in painted)
    data = np.zeros(labels.data.shape, np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.int32)
    for organ, value in painted:
        data[labels.mask(organ)] = value
    path = below(out, FORM, f"{scan_id}.nii.gz")
    write_nifti(path, scan.to_stored(data), stored_grid(scan).affine, scan.unit)
    written = {organ: np.isin(data, values[organ]) for organ in labels.organs}
    source = {organ: checks.measured(mask, labels.affine) for organ, mask in written.items()}
    read = readers.read_nifti_organs({organ: (path, values[organ]) for organ in labels.organs})
    rows = checks.compare(scan_id, FORM, source, read, labels, Tolerance())
    for row in rows:
        organ = str(row["organ"])
        found = labels.mask(organ)
        lost, more = int((found & ~written[organ]).sum()), int((written[organ] & ~found).sum())
        if lost:
            reason = f"{lost:,} voxels of {organ} have a value that is not its own: no value means what lies there"
            row |= {"status": "failed", "reason": reason}
        elif more and not row["reason"]:
            row["reason"] = f"{more:,} voxels of what {organ} contains lay outside it, and count as {organ} in the file"
    if any(row["status"] == "failed" for row in rows):
        aside = out / "failed" / path.relative_to(out)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, aside)
    return rows
