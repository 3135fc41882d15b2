"""One row of the manifest, read, checked and written; runs in a worker that can be killed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.core.columns import READERS_FAMILY
from pipeline.core.errors import InputError
from pipeline.core.files import sha256_of
from pipeline.core.labels import LabelMap
from pipeline.core.manifest import Row
from pipeline.core.names import within
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.formats.correction import untouched
from pipeline.formats.masks import read_masks
from pipeline.formats.store import write_labels, write_scan
from pipeline.formats.table import read_scan_file
from pipeline.ingest.quality import (
    Finding,
    RejectedError,
    check_voxels,
    mask_findings,
    measure_masks,
    measure_scan,
    scan_findings,
)
from pipeline.ingest.readers import together
from pipeline.ingest.reasons import rejection
from pipeline.ingest.thumbs import thumb


def ingest_row(row: dict[str, Any], study: str, data: str, scan_file: str, mask_file: str) -> dict[str, Any]:
    """Read a row's scan and masks, check them, and write what goes on.

    Args:
        row: The fields of :class:`~pipeline.core.manifest.Row`.
        study: The study as JSON.
        data: Folder that the row's paths start from.
        scan_file: Where the scan goes.
        mask_file: Where the label map goes, if there is one.

    Returns:
        ``{"cells", "facts"}`` of an ingested row, or ``{"code", "reason"}`` of a rejected one.
    """
    config = _study(study)
    what = Row.of_fields(row)
    try:
        return _ingest(what, config, Path(data), Path(scan_file), Path(mask_file))
    except RejectedError as error:
        return rejection(error.code, error, what)


def look_at_row(row: dict[str, Any], study: str, data: str) -> dict[str, Any]:
    """Read a row's scan and masks, and say which organs were looked for and which are there; nothing is written.

    Args:
        row: The fields of :class:`~pipeline.core.manifest.Row`.
        study: The study as JSON.
        data: Folder that the row's paths start from.

    Returns:
        ``{"annotated", "present"}``, or ``{"code", "reason"}`` of a row that would be rejected.
    """
    config, what = _study(study), Row.of_fields(row)
    try:
        scan = _read(what, config, Path(data))
        labels, _ = _read_labels(what, config, Path(data), scan, {})
    except RejectedError as error:
        return rejection(error.code, error, what)
    return {"annotated": sorted(labels.annotated), "present": sorted(labels.present())}


@lru_cache(maxsize=1)
def _study(text: str) -> Study:
    return Study.model_validate_json(text)


def _read(row: Row, study: Study, data: Path) -> Scan:
    """The scan of a row.

    Raises:
        RejectedError: It cannot go on.
    """
    _check_files(row, data)
    try:
        images = [within(data, name) for name in row.images]
        masks = {within(data, name) for name in row.files()} - set(images)
        scan = read_scan_file(images, study.modality, study.ingest, beside=masks)
    except InputError as error:
        raise RejectedError("image", error.what, where=error.where, remedy=error.remedy) from None
    check_voxels(scan, study)
    return scan


def _ingest(row: Row, study: Study, data: Path, scan_file: Path, mask_file: Path) -> dict[str, Any]:
    scan = _read(row, study, data)
    cells: dict[str, Any] = {"scan_id": row.scan_id, "patient_id": row.patient_id, "split": row.split}
    cells |= {"fold": row.fold, "labelled": int(row.labelled), **measure_scan(scan)}
    findings = scan_findings(scan, cells)
    facts: dict[str, Any] = {"scan_id": row.scan_id, "thumb": thumb(scan)}
    if row.labelled:
        more, noticed, facts["organs"] = _masks(row, study, data, scan, mask_file)
        cells |= more
        findings += noticed
    write_scan(scan_file, scan)
    cells["findings"] = [str(finding) for finding in findings]
    return {"cells": {**row.extra, **cells}, "facts": facts}


def _check_files(row: Row, data: Path) -> None:
    """Files are there, and what the manifest says they are.

    Raises:
        RejectedError: One is absent, or its checksum differs.
    """
    for name in row.files():
        if not within(data, name).exists():
            raise RejectedError(
                "missing",
                "a file of this row does not exist",
                where=str(within(data, name)),
                remedy="Correct the manifest.",
            )
    masks = list(row.mask_files())
    for what, names, wanted in (("image", list(row.images), row.image_sha256), ("mask", masks, row.mask_sha256)):
        if wanted and len(names) == 1 and sha256_of(within(data, names[0])) != wanted:
            raise RejectedError(
                "checksum",
                f"the {what}'s checksum is not the one in the manifest",
                where=str(within(data, names[0])),
                remedy=f"Fetch the file again, or correct {what}_sha256.",
            )


def _masks(
    row: Row, study: Study, data: Path, scan: Scan, mask_file: Path
) -> tuple[dict[str, Any], list[Finding], dict[str, Any]]:
    if own := untouched([within(data, name) for name in row.mask_files()]):
        raise RejectedError(
            "mask",
            "a mask of this row is as a model wrote it, and no reference",
            where=str(min(own)),
            remedy="Let a person correct it, or leave the mask's cell empty.",
        )
    notes: dict[str, Any] = {}
    labels, agreed = _read_labels(row, study, data, scan, notes)
    cells, findings, shapes = measure_masks(labels, scan)
    findings += mask_findings(notes)
    write_labels(mask_file, labels, scan.unit)
    cells |= {f"{READERS_FAMILY}_{organ}": f"{dice:.6f}" for organ, dice in agreed.items()}
    cells["annotated"] = ";".join(organ for organ in labels.organs if organ in labels.annotated)
    return cells, findings, shapes


def _read_labels(
    row: Row, study: Study, data: Path, scan: Scan, notes: dict[str, Any]
) -> tuple[LabelMap, dict[str, float]]:
    """A row's organs on the grid of its scan, and how far readers agree on each, where several drew it.

    Raises:
        RejectedError: A mask cannot be read.
    """

    def read(source: Path | Mapping[str, Path], *, overlapping: bool) -> LabelMap:
        return read_masks(
            source,
            scan,
            study.organs,
            study.ingest,
            overlapping=overlapping,
            not_annotated=row.not_annotated,
            absent=row.absent,
            names=(row.scan_id, *(Path(name).name for name in row.images)),
            notes=notes,
        )

    organs = {organ: within(data, name) for organ, name in row.organ_masks.items()}
    try:
        if not row.reader_masks:
            return read(within(data, row.mask) if row.mask else organs, overlapping=study.overlapping), {}
        base = read(organs, overlapping=True)
        drawn = {
            organ: {
                reader: read({organ: within(data, name)}, overlapping=True).mask(organ) for reader, name in own.items()
            }
            for organ, own in row.reader_masks.items()
            if organ not in row.not_annotated
        }
        return together(base, drawn, study, notes)
    except InputError as error:
        raise RejectedError("mask", error.what, where=error.where, remedy=error.remedy) from None
