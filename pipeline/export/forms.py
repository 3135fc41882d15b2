"""Each export format: written, read back, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.errors import InputError, raise_passing
from pipeline.core.files import write_bytes
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.export import checks, readers
from pipeline.export.checks import Check, Tolerance, failed_row
from pipeline.export.shared import FILES, write_shared
from pipeline.formats.nifti.labels import write_label_files
from pipeline.formats.pictures.borders import uncropped
from pipeline.formats.pictures.png import png
from pipeline.formats.rle.volume import on_stored_grid
from pipeline.imaging.pictures import HEAD, contact_sheet, overlay, rgb, spotlight

Each = Callable[[], Iterable[tuple[str, Scan, LabelMap]]]
SHEET = 40  # pictures a contact sheet
PICTURE = 512  # longest side of a scan in a picture, pixels


@dataclass(frozen=True)
class Job:
    """What all exports of a run share.

    Attributes:
        study: The study, for its organs, colours, codes and formats.
        model: Name of the model that found the organs.
        name: Name of the study.
        out: Where to write.
        bids: Scan → what its files begin with in a BIDS tree; by its own name where it is not in it.
    """

    study: Study
    model: str
    name: str
    out: Path
    bids: Mapping[str, str] = field(default_factory=dict)


def export_scan(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    """Write one scan in every format that has files of its own; what cannot be written becomes a failed row.

    A picture whose borders were cut off is written in the size of its file.
    """
    rows: list[Check] = []
    if scan.is_flat:
        try:
            scan, labels = _whole(scan, labels)
        except InputError as error:
            return [failed_row(scan_id, form, error.what) for form in FORMS if form in job.study.export.formats]
    for form, write in FORMS.items():
        if form in job.study.export.formats:
            try:
                rows += write(job, scan_id, scan, labels)
            except InputError as error:
                rows.append(failed_row(scan_id, form, error.what))
            except Exception as error:  # whatever a writer makes of an odd scan, the other scans and forms go on
                raise_passing(error)
                rows.append(failed_row(scan_id, form, f"{type(error).__name__} while writing"))
    return rows


def _whole(scan: Scan, labels: LabelMap) -> tuple[Scan, LabelMap]:
    """A picture and its organs in the size of its file, each organ where it was.

    Raises:
        InputError: An organ is elsewhere.
    """
    wide = on_stored_grid(scan, labels)
    rows = checks.compare("", "", checks.expected(labels), checks.expected(wide), wide, Tolerance())
    moved = [str(row["reason"]) for row in rows if row["status"] == "failed"]
    if moved:
        raise InputError(f"with its borders put back: {moved[0]}")
    return uncropped(scan), wide


def _nifti(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    files = write_label_files(job.out / "nifti", scan_id, scan, labels, job.study.values())
    read = readers.read_nifti_organs(files)
    return checks.compare(scan_id, "nifti", checks.expected(labels), read, labels, Tolerance())


def _dicom_seg(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    from pipeline.formats.dicom.seg_writer import write_seg

    codes = {organ: about.snomed for organ, about in job.study.organs.items() if about.snomed}
    path = write_seg(
        below(job.out, "dicom_seg", scan_id),
        scan_id,
        scan,
        labels,
        study=job.name,
        codes=codes,
        colors=job.study.colors(),
        model=job.model,
    )
    readers.check_seg_source(path, scan)
    read = readers.read_seg_organs(path, labels)
    return checks.compare(scan_id, "dicom_seg", checks.expected(labels), read, labels, Tolerance())


def _surfaces(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    from pipeline.formats.surfaces import write_ply, write_stl
    from pipeline.imaging.meshes import surface

    if scan.is_flat:
        return []
    colors = job.study.colors()
    written = []
    for organ in labels.organs:
        mesh = surface(labels.mask(organ), labels.affine)
        if mesh is not None:
            path = below(job.out, "surfaces", scan_id, f"{organ}.stl")
            write_stl(path, mesh)
            write_ply(path.with_suffix(".ply"), mesh, rgb(colors[organ]))
            written.append(organ)
    return checks.unread(scan_id, "surfaces", written, "surfaces are not read back; the tests of organseg do that")


def _overlays(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    from pipeline.export.picture_readers import DRAWN, GREY, read_overlay

    path, colors = below(job.out, "overlays", f"{scan_id}.png"), job.study.colors()
    write_png(path, overlay(scan, labels, None, colors, size=PICTURE, title=scan_id))
    source, read = read_overlay(path, labels, colors, size=PICTURE, head=HEAD)
    rows = checks.compare(scan_id, "overlays", source, read, labels, DRAWN)
    return rows + checks.unread(scan_id, "overlays", set(labels.organs) - set(source), GREY)


def _spotlight(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    from pipeline.export.picture_readers import DRAWN, GREY, read_spotlight

    path, colors = below(job.out, "spotlight", f"{scan_id}.png"), job.study.colors()
    write_png(path, spotlight(scan, labels, colors, size=PICTURE))
    photo = scan.modality == "photo" and scan.voxels.shape[0] >= 3
    source, read = read_spotlight(path, labels, colors, size=PICTURE, photo=photo)
    rows = checks.compare(scan_id, "spotlight", source, read, labels, DRAWN)
    return rows + checks.unread(scan_id, "spotlight", set(labels.organs) - set(source), GREY)


def _bids(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    from pipeline.export.bids import bids_names, write_bids

    name = job.bids.get(scan_id) or bids_names({scan_id: scan_id})[scan_id]
    return write_bids(job.study, job.model, job.out, scan_id, name, scan, labels)


def _source_labels(job: Job, scan_id: str, scan: Scan, labels: LabelMap) -> list[Check]:
    from pipeline.export.regions import write_source_labels

    return write_source_labels(job.study, job.out, scan_id, scan, labels)


FORMS: dict[str, Callable[[Job, str, Scan, LabelMap], list[Check]]] = {
    "nifti": _nifti,
    "dicom_seg": _dicom_seg,
    "surfaces": _surfaces,
    "overlays": _overlays,
    "spotlight": _spotlight,
    "bids": _bids,
    "source_labels": _source_labels,
}


def check_forms(formats: Sequence[str], known: Iterable[str]) -> None:
    """Refuse forms that a command for single scans does not write.

    Raises:
        InputError: One of ``formats`` is not among ``known``.
    """
    known = list(known)
    unknown = [form for form in formats if form not in known]
    if unknown:
        remedy = f"Take some of {', '.join(known)}; the others are made of a whole study."
        raise InputError(f"{', '.join(unknown)}: no such form of single scans", where="--formats", remedy=remedy)


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture, whole or not at all."""
    write_bytes(path, png(np.asarray(picture.convert("RGB"))))


def export_tables(job: Job, each: Each) -> list[Check]:
    """Write the formats that hold all scans in one file, and the sheets of pictures."""
    rows: list[Check] = []
    for form in FILES:
        if form in job.study.export.formats:
            rows += write_shared(job.study, job.out, form, each)
    if "overlays" in job.study.export.formats:
        rows += _write_sheets(job, sorted((job.out / "overlays").glob("*.png")))
    return rows


def _write_sheets(job: Job, pictures: list[Path]) -> list[Check]:
    from pipeline.export.picture_readers import read_sheet

    rows: list[Check] = []
    for number, start in enumerate(range(0, len(pictures), SHEET), 1):
        shown = pictures[start : start + SHEET]
        path = job.out / "contact_sheets" / f"{number:03d}.png"
        write_png(path, contact_sheet([(picture.stem, Image.open(picture)) for picture in shown]))
        reasons = read_sheet(path, shown)
        for picture, reason in zip(shown, reasons, strict=True):
            status = "failed" if reason else "ok"
            rows.append({"scan_id": picture.stem, "format": "contact_sheets", "status": status, "reason": reason})
        if any(reasons):
            aside = job.out / "failed" / "contact_sheets" / path.name
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.rename(aside)
    return rows
