"""A folder of DICOM objects of any kind: series, pictures, and what is passed over, each by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.scan import Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.dicom.image import Instance, NoImageError, damage_named, read_instance
from pipeline.formats.dicom.planes import Plane, plane_of
from pipeline.formats.dicom.radiograph import read_picture
from pipeline.formats.dicom.series import Volume, affine_of, read_volumes, volumes_of
from pipeline.formats.found import Found

_RADIOGRAPHS = {"CR", "DX", "MG", "IO", "PX", "XA", "RF", "RG", "DR", "XR"}
_MODALITIES: dict[str, Modality] = {"MR": "mri", "CT": "ct", "PT": "ct", "NM": "ct", "US": "photo", "OT": "photo"}
#: Objects with pixels that are not scans.
_NOT_SCANS = {"SEG": "a segmentation", "RTDOSE": "an RT dose", "PR": "a presentation state", "DOC": "a document"}
#: A group of this many slices or fewer beside a volume of one series is a scout.
_SCOUT_SLICES = 3


def find_dicom(files: Sequence[Path], modality: Modality | None, options: Ingest) -> list[Found]:
    """Find the scans among DICOM files.

    Args:
        files: Files that look like DICOM.
        modality: What the scans are; ``None`` to go by their headers.
        options: How to read.

    Returns:
        One entry a scan (volumes of a series on one grid are its channels) and one for what is passed over.
    """
    found: list[Found] = []
    series: dict[str, list[Plane]] = defaultdict(list)
    _sort(files, found, series, modality, options)
    for planes in series.values():
        found += _series(planes, modality, options)
    return found


def series_of(files: Sequence[Path]) -> dict[Path, str]:
    """The series that each file belongs to, by a name that means nothing else.

    A picture is a series of its own, and so is a file that cannot be read: ingestion says what is wrong with it.
    Objects with pixels that are not scans (segmentations, say) are left out.
    """
    names: dict[Path, str] = {}
    for file in files:
        try:
            instance = read_instance(file, Ingest())
            with damage_named():
                if _passed_over(instance, alone=True) is not None:
                    continue
                names[file] = instance.text("SeriesInstanceUID") if _planes(instance) else str(file)
        except NoImageError:
            continue
        except InputError:
            names[file] = str(file)
    return names


def _sort(
    files: Sequence[Path],
    found: list[Found],
    series: dict[str, list[Plane]],
    modality: Modality | None,
    options: Ingest,
) -> None:
    """Read each header; planes go to their series, all else to what was found."""
    for file in files:
        try:
            instance = read_instance(file, options)
            with damage_named():
                passed = _passed_over(instance, alone=len(files) == 1)
                planes = [] if passed is not None else _planes(instance)
                one = None if planes or passed is not None else _picture(instance, modality, options)
            if passed is not None:
                found.append(Found(file, "DICOM object", reason=passed, code="not_a_scan"))
            elif one is not None:
                found.append(one)
            else:
                series[instance.text("SeriesInstanceUID")] += planes
        except NoImageError as error:
            found.append(Found(file, "DICOM object", reason=error.what, code="no_image"))
        except InputError as error:
            found.append(Found(file, "DICOM object", reason=error.what, code="refused"))


def _passed_over(instance: Instance, *, alone: bool) -> str | None:
    """Why an object with pixels is not a scan, or ``None``."""
    kind = instance.modality
    if kind in _NOT_SCANS:
        return f"is {_NOT_SCANS[kind]}, not a scan"
    if "LOCALIZER" in instance.image_type and not alone:
        return "is a scout (localizer)"
    return None


def _planes(instance: Instance) -> list[Plane]:
    """Planes of an object that lies in space; none for a picture."""
    if instance.modality in _RADIOGRAPHS:
        return []
    if "MOSAIC" in instance.image_type:
        from pipeline.formats.dicom.mosaic import mosaic_planes

        return mosaic_planes(instance)
    if instance.shape[0] > 1 or instance.has("PerFrameFunctionalGroupsSequence"):
        from pipeline.formats.dicom.enhanced import enhanced_planes

        return enhanced_planes(instance)
    plane = plane_of(instance)
    return [plane] if plane is not None else []


def _picture(instance: Instance, modality: Modality | None, options: Ingest) -> Found:
    kind = instance.modality
    if modality is None:
        colour = instance.shape[3] > 1 or instance.text("PhotometricInterpretation").upper() == "PALETTE COLOR"
        modality = "photo" if colour else "xray" if kind in _RADIOGRAPHS else _MODALITIES.get(kind, "xray")
    chosen = modality
    return Found(
        instance.path,
        f"DICOM {kind or 'picture'}",
        read=_named(lambda: _noted(read_picture(instance, chosen, options), instance, chosen)),
    )


def _series(planes: Sequence[Plane], modality: Modality | None, options: Ingest) -> list[Found]:
    """Scans of one series, and the groups of planes that make none."""
    kind = planes[0].instance.modality
    volumes, refused = volumes_of(planes)
    found = [Found(r.source, _title(kind, r.count), r.count, reason=r.reason, code="refused") for r in refused]
    most = max((len(volume.planes) for volume in volumes), default=0)
    grids: dict[Any, list[Volume]] = defaultdict(list)
    for volume in volumes:
        source, count = volume.planes[0].instance.path, len(volume.planes)
        if count <= _SCOUT_SLICES and most > 2 * _SCOUT_SLICES:
            reason = f"is a scout ({count} slices beside a volume of {most} in one series)"
            found.append(Found(source, _title(kind, count), count, reason=reason, code="not_a_scan"))
            continue
        try:
            affine, _ = affine_of(volume)
            grids[(count, volume.planes[0].shape, *np.round(affine.ravel(), 2).tolist())].append(volume)
        except InputError as error:
            name = _title(kind, count)
            found.append(Found(source, name, count, reason=error.what, code="refused"))
    chosen = modality or _MODALITIES.get(kind, "mri")
    for same in grids.values():
        count = len({plane.instance.path for volume in same for plane in volume.planes})
        slices = len(same[0].planes)
        name = _title(kind, slices) + (f" × {len(same)} volumes" if len(same) > 1 else "")
        found.append(Found(same[0].planes[0].instance.path, name, count, read=_reader(same, chosen, options)))
    counted = {p.instance.path for volume in volumes for p in volume.planes} | {r.source for r in refused}
    copies = sorted({plane.instance.path for plane in planes} - counted)
    if copies and not refused:
        reason = "is a copy of slices that were read"
        found.append(Found(copies[0], f"DICOM {kind} slices", len(copies), reason=reason, code="copy"))
    return found


def _title(kind: str, slices: int) -> str:
    return f"DICOM {kind} series, {slices} {'slice' if slices == 1 else 'slices'}"


def _reader(volumes: list[Volume], modality: Modality, options: Ingest) -> Callable[[], Scan]:
    instance = volumes[0].planes[0].instance
    return _named(lambda: _noted(read_volumes(volumes, modality, options), instance, modality))


def _named(read: Callable[[], Scan]) -> Callable[[], Scan]:
    """The same reader, at whose errors an ``InputError`` stands: elements are decoded when they are asked for."""

    def named() -> Scan:
        with damage_named():
            return read()

    return named


def _noted(scan: Scan, instance: Instance, modality: Modality) -> Scan:
    """Note where the header's modality is not that of the study."""
    kind = instance.modality
    claimed: Modality | None = "xray" if kind in _RADIOGRAPHS else _MODALITIES.get(kind) if kind != "OT" else None
    if claimed is not None and claimed != modality:
        scan.notes["modality_differs"] = kind
    return scan
