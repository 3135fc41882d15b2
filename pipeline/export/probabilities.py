"""The form ``probabilities``: what the champion thinks of each voxel, in the grid of the scan's file, read back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import whole_file
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Array, Scan
from pipeline.export.checks import Check, Tolerance, compare, expected
from pipeline.export.forms import Job, export_scan
from pipeline.export.readers import read_probabilities
from pipeline.formats.nifti.labels import write_probabilities
from pipeline.imaging.preprocessing import decide
from pipeline.inference.large import chunks
from pipeline.inference.postprocessing import OrganSteps, clean_labels
from pipeline.inference.predictor import Prediction

FORM = "probabilities"
SUM = 1e-3  # how far the probabilities of organs that exclude each other may be from 1 together


def export_probabilities(
    out: Path, kept: Path, scan_id: str, scan: Scan, labels: LabelMap, steps: Mapping[str, OrganSteps]
) -> list[Check]:
    """Put the file that ``predict`` kept among the exports, and check it.

    Args:
        out: Folder of the exports.
        kept: The file. It is linked where the disk can do that, and else copied.
        scan_id: The scan.
        scan: The scan.
        labels: The organs that were found in it.
        steps: The champion's clean-up.

    Raises:
        InputError: The file is not there, or does not hold the scan's probabilities.
    """
    if not kept.is_file():
        raise InputError("predict kept no probabilities of it", remedy="Run predict with the champion again.")
    path = below(out, FORM, f"{scan_id}.nii.gz")
    with whole_file(path) as part:
        try:
            os.link(kept, part)
        except OSError:  # another disk, or one without links
            shutil.copyfile(kept, part)
    return check_probabilities(path, scan_id, scan, labels, steps)


def prediction_writer(
    job: Job, steps: Mapping[str, OrganSteps], *, probabilities: bool
) -> Callable[[str, Scan, Prediction], None]:
    """What writes a prediction in every form that the job asks for, and reads each back.

    Args:
        job: What all scans share.
        steps: The model's clean-up.
        probabilities: Write the probabilities too.

    Returns:
        A function of a scan's name, the scan and its prediction; it raises ``InputError`` where what was read back
        differs.
    """

    def write(scan_id: str, scan: Scan, prediction: Prediction) -> None:
        labels, maps = prediction.labels, prediction.probabilities
        rows = export_scan(job, scan_id, scan, labels)
        if probabilities:
            path = below(job.out, FORM, f"{scan_id}.nii.gz")
            write_probabilities(path, scan, maps, overlapping=labels.overlapping)
            rows += check_probabilities(path, scan_id, scan, labels, steps, maps)
        failed = [row for row in rows if row["status"] == "failed"]
        if failed:
            raise InputError(str(failed[0]["reason"]))

    return write


def check_probabilities(
    path: Path,
    scan_id: str,
    scan: Scan,
    labels: LabelMap,
    steps: Mapping[str, OrganSteps],
    source: Array | None = None,
) -> list[Check]:
    """Read probabilities back: decided and cleaned up, they are the organs that were found.

    Args:
        path: The file.
        scan_id: The scan.
        scan: The scan, on canonical axes.
        labels: The organs that were found in it.
        steps: The champion's clean-up.
        source: ``(K, X, Y, Z)``, what was to be written, where it is at hand.

    Returns:
        A row an organ.

    Raises:
        InputError: The file lies elsewhere, or holds no probabilities, or others than the source.
    """
    values = np.moveaxis(read_probabilities(path, scan.grid), -1, 0)
    channels = len(labels.organs) + (not labels.overlapping)
    if len(values) != channels:
        raise InputError(f"read back, there are {len(values)} probabilities a voxel, not {channels}")
    for rows in chunks(values):
        part = values[:, rows]
        if not labels.overlapping and np.abs(part.sum(axis=0) - 1).max() > SUM:
            raise InputError("read back, the probabilities of a voxel do not add up to 1")
        for number, read in enumerate(part):
            if source is not None and not np.array_equal(read, source[number, rows]):
                raise InputError(f"read back, the probabilities of channel {number} are other than those written")
    found = clean_labels(_decided(values, labels, steps), steps, scan.unit)
    return compare(scan_id, FORM, expected(labels), expected(found), labels, Tolerance())


def _decided(values: Array, labels: LabelMap, steps: Mapping[str, OrganSteps]) -> LabelMap:
    """Organs by their probabilities alone, each with its threshold."""
    thresholds = {organ: one.threshold for organ, one in steps.items() if one.threshold is not None}
    data = np.empty(values.shape[1:], LabelMap.dtype_for(len(labels.organs), labels.overlapping))
    for rows in chunks(values):
        data[rows] = decide(values[:, rows], labels, thresholds)
    return LabelMap(data, labels.affine, labels.organs, labels.overlapping, frozenset(labels.organs))
