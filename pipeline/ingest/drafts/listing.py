"""What lies in a folder: volumes, pictures, series of DICOM slices, and what is none of these."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.errors import InputError
from pipeline.formats.path_words import MASK, Token, cut, stem
from pipeline.formats.table import IMAGE_ENDINGS, sniff

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
#: Known by name; all else is opened to see what it is.
_IMAGES = tuple(ending for ending in (*IMAGE_ENDINGS, ".bmp", ".gif") if ending not in {".dcm", ".dicom"})
_DOCUMENTS = (
    *(".csv", ".tsv", ".txt", ".json", ".xml", ".yaml", ".yml", ".md", ".pdf", ".html", ".py", ".xlsx", ".xls", ".db"),
    *(".bval", ".bvec", ".cfg", ".log", ".rst", ".ipynb", ".jsonl", ".docx"),
)
_UNREAD = (
    *(".npy", ".npz", ".mat", ".h5", ".hdf5", ".zip", ".gz", ".tar", ".raw", ".zraw", ".7z", ".rar", ".bz2", ".mnc"),
    *(".ppm", ".pgm", ".pbm", ".pkl", ".svs", ".mgz", ".mgh", ".vtk", ".stl", ".fcsv", ".avi", ".mp4"),
)
#: Forms that masks may have as run lengths or polygons.
_TABLES = (".csv", ".tsv", ".json", ".txt", ".xml")
_MAY_HOLD = "may hold masks as runs or polygons: if so, name the file in the column mask"
_CONVERT = " is not read here: convert them"
_SKIPPED = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass(eq=False)
class Item:
    """A file or a folder of slices that may be a scan or a mask.

    Attributes:
        path: Relative to the folder that is drafted, with ``/``.
        kind: ``volume``, ``picture``, ``dicom`` (one file) or ``series`` (a folder of slices).
        parts: Folders and the name without its ending, from where the files' paths part.
        tokens: The words and numbers of the parts.
        role: ``mask``, ``image`` or empty where the name says neither.
        header: What a DICOM file says: ``patient``, ``series``, ``modality``, ``refers``.
        by_content: Whether its content alone says that it is a mask.
    """

    path: str
    kind: str
    parts: tuple[str, ...] = ()
    tokens: list[Token] = field(default_factory=list)
    role: str = ""
    header: dict[str, str] = field(default_factory=dict)
    by_content: bool = False

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return self.parts[-1]


@dataclass
class Listing:
    """What a folder holds.

    Attributes:
        items: What may be a scan or a mask.
        left_out: Reason → paths.
    """

    items: list[Item] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order; linked folders are entered once, hidden files and folders passed over."""
    yield from _walk(folder, {os.path.realpath(folder)})


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if not path.is_dir():
            yield path
        elif (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield from _walk(path, seen)


def list_items(folder: Path) -> Listing:
    """List what may be a scan or a mask."""
    found = Listing()
    dicom: list[Path] = []
    paths = sorted(walk(folder))
    names = {path.name.lower() for path in paths}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        low = path.name.lower()
        if low.endswith((".img", ".img.gz")) and low.replace(".img", ".hdr") in names:
            continue  # the voxels of the header beside it
        if low.endswith(_IMAGES):
            found.items.append(Item(name, "picture" if low.endswith(PICTURES) else "volume"))
        elif (
            low.endswith((".raw", ".zraw")) and {stem(low.rsplit(".", 1)[0]) + end for end in (".mhd", ".nhdr")} & names
        ):
            continue
        elif low.endswith(_DOCUMENTS):
            words = {token.low for part in PurePosixPath(name).parts[-2:] for token in cut(part)}
            drawn = low.endswith(_TABLES) and words & (MASK | {"rle", "instances", "masks"})
            found.left_out[_MAY_HOLD if drawn else "no images"].append(name)
        elif low.endswith(_UNREAD):
            found.left_out[f"{PurePosixPath(low).suffix}{_CONVERT}"].append(name)
        elif (kind := _kind(path)) == "dicom":
            dicom.append(path)
        elif kind in {"nifti", "itk"}:
            found.items.append(Item(name, "volume"))
        else:
            found.left_out["no images"].append(name)
    _add_dicom(folder, dicom, found)
    found.items.sort(key=lambda item: item.path)
    unread = [path for reason, paths in found.left_out.items() if reason.endswith(_CONVERT) for path in paths]
    _name(found.items, unread)
    return found


def _kind(path: Path) -> str:
    try:
        return sniff(path)
    except InputError:
        return ""


def _name(items: Sequence[Item], unread: Sequence[str]) -> None:
    """Cut the paths into parts, without the folders that all, those that are not read too, have in common."""
    split = [PurePosixPath(item.path).parts for item in items]
    every = [*split, *(PurePosixPath(path).parts for path in unread)]
    common = 0
    if len(every) > 1:
        for folders in zip(*(parts[:-1] for parts in every), strict=False):
            if len(set(folders)) > 1:
                break
            common += 1
    for item, parts in zip(items, split, strict=True):
        item.parts = (*parts[common:-1], parts[-1] if item.kind == "series" else stem(parts[-1]))
        item.tokens = [token for at, part in enumerate(item.parts) for token in cut(part, at)]


def _add_dicom(folder: Path, files: Sequence[Path], found: Listing) -> None:
    """Series of several files are a folder; pictures and objects of one file are that file."""
    from pipeline.formats.dicom.folder import series_of

    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        by_folder[path.parent].append(path)
    for place, inside in by_folder.items():
        series = series_of(inside)
        groups: dict[str, list[Path]] = defaultdict(list)
        for path, name in series.items():
            groups[name].append(path)
        several = [group for group in groups.values() if len(group) > 1]
        if len(several) == 1 and len(groups) == 1 and place != folder:
            header = dicom_header(several[0][0])
            found.items.append(Item(place.relative_to(folder).as_posix(), "series", header=header))
        elif several:
            name = place.relative_to(folder).as_posix()
            reason = "holds several series: put each into a folder of its own"
            if len(groups) == 1:
                reason = "is a series itself: name the folder above it"
            found.left_out[reason].append(name)
        single = [group[0] for group in groups.values() if len(group) == 1]
        for path in [*single, *(p for p in inside if p not in series)]:
            header = dicom_header(path)
            name = path.relative_to(folder).as_posix()
            if path in series or header.get("modality") in {"SEG", "RTSTRUCT"}:
                found.items.append(Item(name, "dicom", header=header))
            else:
                found.left_out[f"DICOM objects ({header.get('modality') or 'of no modality'}) hold no scan"].append(
                    name
                )


def dicom_header(path: Path) -> dict[str, str]:
    """What a DICOM file says of itself; empty where it cannot be read."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    from pipeline.formats.dicom.header import lenient

    try:
        with lenient():
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            found = {
                "patient": str(data.get("PatientID") or ""),
                "series": str(data.get("SeriesInstanceUID") or ""),
                "modality": str(data.get("Modality") or ""),
                "refers": _refers(data),
            }
    except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError):
        return {}
    return {key: value.strip() for key, value in found.items() if value.strip()}


def _refers(data: Any) -> str:
    """The series that a segmentation or an RT structure set was drawn in."""
    for series in data.get("ReferencedSeriesSequence") or []:
        return str(series.get("SeriesInstanceUID") or "")
    for frame in data.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            for series in study.get("RTReferencedSeriesSequence") or []:
                return str(series.get("SeriesInstanceUID") or "")
    return ""
