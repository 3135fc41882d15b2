"""Draft a manifest from a folder: a Decathlon or nnU-Net set, a BIDS tree, or scans and masks side by side."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.names import within

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
MASK_WORDS = {"mask", "masks", "label", "labels", "seg", "segs", "segmentation", "segmentations", "annotations", "gt"}
MASK_WORDS |= {"labelstr", "labelsts", "masks_raw", "groundtruth"}
IMAGE_WORDS = {"image", "images", "img", "imgs", "scan", "scans", "raw", "imagestr", "imagests", "png"}


#: DICOM files of one folder → the series that each belongs to, by any name; a picture is a series of its own.
SeriesOf = Callable[[Sequence[Path]], Mapping[Path, str]]


@dataclass(frozen=True)
class Draft:
    """A drafted manifest.

    Attributes:
        kind: What the folder was taken for.
        rows: Cells of the manifest; paths are relative to the folder.
        notes: What a person should look at before use.
    """

    kind: str
    rows: list[dict[str, str]]
    notes: list[str]


def draft(folder: Path, series_of: SeriesOf) -> Draft:
    """Draft a manifest from what lies in a folder.

    Args:
        folder: The folder.
        series_of: Tells the series of DICOM files apart.

    Raises:
        InputError: The folder is absent or holds no scan.
    """
    if not folder.is_dir():
        raise InputError("is not a folder", where=str(folder))
    if (folder / "dataset.json").is_file():
        content = read_json(folder / "dataset.json")
        found = _nnunet(folder, content) if "channel_names" in content else _decathlon(folder, content)
    elif (folder / "dataset_description.json").is_file():
        found = _bids(folder)
    else:
        found = _plain(folder, series_of)
    if not found.rows:
        raise InputError(
            "holds no scan that could be told by its name", where=str(folder), remedy="Write the manifest by hand."
        )
    return found


def stem(path: Path) -> str:
    """File name without the endings of scans."""
    name = path.name
    for ending in IMAGE_ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def safe_id(text: str) -> str:
    """A name that may name files."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:100] or "scan"


def _row(scan_id: str, patient: str, image: str, mask: str = "", split: str = "") -> dict[str, str]:
    return {"scan_id": safe_id(scan_id), "patient_id": safe_id(patient), "image": image, "mask": mask, "split": split}


def _decathlon(folder: Path, content: dict) -> Draft:  # type: ignore[type-arg]
    rows = [
        _row(stem(Path(pair["image"])), stem(Path(pair["image"])), _relative(pair["image"]), _relative(pair["label"]))
        for pair in content.get("training", [])
    ]
    tests = [entry if isinstance(entry, str) else entry["image"] for entry in content.get("test", [])]
    rows += [_row(stem(Path(path)), stem(Path(path)), _relative(path)) for path in tests]
    notes = ["Each scan counts as a patient of its own; where that is not so, mend patient_id."]
    labels = ", ".join(f"{value} {name}" for value, name in content.get("labels", {}).items())
    notes += [f"Labels: {labels}."] if labels else []
    return Draft("Decathlon dataset.json", rows, notes)


def _relative(path: str) -> str:
    return path.removeprefix("./")


def _nnunet(folder: Path, content: dict) -> Draft:  # type: ignore[type-arg]
    ending = content.get("file_ending", ".nii.gz")
    channels = len(content["channel_names"])
    rows = []
    for part in ("imagesTr", "imagesTs"):
        cases = sorted({p.name[: -len(ending) - 5] for p in (folder / part).glob(f"*_[0-9][0-9][0-9][0-9]{ending}")})
        for case in cases:
            image = ";".join(f"{part}/{case}_{channel:04d}{ending}" for channel in range(channels))
            label = f"labels{part[-2:]}/{case}{ending}"
            rows.append(_row(case, case, image, label if within(folder, label).is_file() else ""))
    labels = ", ".join(f"{value} {name}" for name, value in content.get("labels", {}).items())
    return Draft("nnU-Net raw folder", rows, [f"Labels: {labels}.", "Each case counts as a patient of its own."])


def _bids(folder: Path) -> Draft:
    rows = []
    masks = defaultdict(list)
    for path in sorted((folder / "derivatives").rglob("sub-*")):
        if path.is_file() and re.search(r"_(dseg|mask|label-\w+)\.", path.name) and _is_image(path):
            masks[_bids_key(path)].append(path)
    for path in sorted(folder.glob("sub-*/**/anat/*")):
        if not path.is_file() or not _is_image(path):
            continue
        found = masks.get(_bids_key(path), [])
        mask = found[0].relative_to(folder).as_posix() if len(found) == 1 else ""
        patient = path.name.split("_")[0]
        rows.append(_row(stem(path), patient, path.relative_to(folder).as_posix(), mask))
    return Draft("BIDS tree", rows, ["Each file under anat is a scan; drop the contrasts that you do not want."])


def _bids_key(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path.name.split("_") if part.startswith(("sub-", "ses-")))


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_ENDINGS)


def _plain(folder: Path, series_of: SeriesOf) -> Draft:
    """Scans and masks told apart by the names of their folders or by a word in the file name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    dicom = [p for p in files if p.suffix.lower() in {".dcm", ".dicom", ""} and _has_magic(p)]
    images, slices, mixed = _series(dicom, series_of)
    masks: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in files:
        if path in slices or not (_is_image(path) or path in images):
            continue
        parts = [part.lower() for part in path.relative_to(folder).parts[:-1]]
        marked = next((i for i, part in enumerate(parts) if part in MASK_WORDS), None)
        words = set(re.split(r"[^a-z]+", stem(path).lower()))
        if marked is not None:
            organ = "" if marked == len(parts) - 1 else path.relative_to(folder).parts[marked + 1]
            masks[_plain_key(path)].setdefault(organ, path)
        elif words & MASK_WORDS and not set(parts) & IMAGE_WORDS:
            masks[_plain_key(path)].setdefault("", path)
        elif path not in images:
            images.append(path)
    rows, used = [], set()
    for path in images:
        key = _plain_key(path)
        name = path.relative_to(folder).as_posix()
        row = _row(stem(path), stem(path), name)
        found = masks.get(key, {})
        if "" in found:
            row["mask"] = found[""].relative_to(folder).as_posix()
        else:
            row |= {f"mask_{organ}": mask.relative_to(folder).as_posix() for organ, mask in found.items()}
        used.add(key)
        rows.append(row)
    notes = ["Each scan counts as a patient of its own; where that is not so, mend patient_id."]
    without = sum(1 for row in rows if not any(cell for column, cell in row.items() if column.startswith("mask")))
    if without:
        notes.append(f"{_counted(without, 'scan has', 'scans have')} no mask.")
    notes += [f"{path.relative_to(folder)} holds several series: put each into a folder of its own." for path in mixed]
    lonely = sorted(key for key in masks if key not in used)
    if lonely:
        named = ", ".join(lonely[:5]) + (" …" if len(lonely) > 5 else "")
        notes.append(f"{_counted(len(lonely), 'mask has', 'masks have')} no scan: {named}.")
    return Draft("folder of scans and masks", _unique(rows), notes)


def _plain_key(path: Path) -> str:
    """What a scan's name and its mask's have in common."""
    words = [w for w in re.split(r"[^A-Za-z0-9]+", stem(path)) if w.lower() not in MASK_WORDS | IMAGE_WORDS]
    return "-".join(words).lower()


def _series(dicom: Sequence[Path], series_of: SeriesOf) -> tuple[list[Path], set[Path], list[Path]]:
    """Scans among DICOM files.

    Returns:
        Folders of one series and files that are one alone; all files that belong to a series of several; and folders
        that hold several of such.
    """
    images: list[Path] = []
    slices: set[Path] = set()
    mixed = []
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in dicom:
        by_folder[path.parent].append(path)
    for folder, files in by_folder.items():
        groups: dict[str, list[Path]] = defaultdict(list)
        for path, name in series_of(files).items():
            groups[name].append(path)
        several = [group for group in groups.values() if len(group) > 1]
        slices.update(path for group in several for path in group)
        images += [group[0] for group in groups.values() if len(group) == 1]
        if len(several) == 1 and len(groups) == 1:
            images.append(folder)
        elif several:
            mixed.append(folder)
    return sorted(images), slices, mixed


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _has_magic(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def _unique(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Number scan ids that occur more than once."""
    seen: dict[str, int] = defaultdict(int)
    result = []
    for row in rows:
        seen[row["scan_id"]] += 1
        number = seen[row["scan_id"]]
        result.append(row if number == 1 else {**row, "scan_id": f"{row['scan_id']}-{number}"})
    return result
