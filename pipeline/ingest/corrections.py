"""Corrected masks come back into a study, and new scans with them: what ``organseg manifest add`` does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import InputError, TryAgainError
from pipeline.core.files import Cells, read_table, sha256_of, whole_file, write_table
from pipeline.core.locks import hold_if_free
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.names import SCAN_ID, checked_name, within
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study, data_root, load_study
from pipeline.formats.correction import IMAGES, MASKS
from pipeline.formats.table import IMAGE_ENDINGS
from pipeline.ingest.drafts import stem


@dataclass
class Corrected:
    """What a person hands back of one scan.

    Attributes:
        mask: One file with all organs, or
        organs: organ → file.
        images: The scan itself, a file a channel; empty where only masks came.
    """

    mask: Path | None = None
    organs: dict[str, Path] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)

    def files(self) -> list[Path]:
        """All masks."""
        return [*([self.mask] if self.mask else []), *self.organs.values()]


def add_masks(name: str, folder: Path, version: str | None) -> list[str]:
    """Copy corrected masks beside a study's data and name them in its manifest.

    Args:
        name: The study.
        folder: Masks, each named by its scan id: a file with all organs, or a folder with a file an organ. Or a
            ``correction`` folder of ``organseg predict``, whose scans that the study does not know are added too.
        version: Name of the folder that they are copied to; by default that of the study.

    Returns:
        What was done, a line each.

    Raises:
        InputError: There are no masks, or a scan or organ is not the study's. Nothing is changed then.
        TryAgainError: The study is being worked on.
    """
    with hold_if_free(StudyPaths(name).lock("workflow")) as free:
        if not free:
            raise TryAgainError(
                f"the study {name} is being worked on, and says what it was trained on by its manifest",
                remedy="Wait for it to end, then run the same command again.",
            )
        return _add_masks(name, folder, version)


def _add_masks(name: str, folder: Path, version: str | None) -> list[str]:
    study, path = load_study(name), manifest_path(name)
    load_manifest(path, study)
    rows = read_table(path)
    known = {row["scan_id"]: row for row in rows}
    found = find_corrected(folder)
    root, place = data_root(study), f"corrected/{checked_name(version or name, 'the name of a version')}"
    new = [scan for scan in found if scan not in known]
    _check(found, known, study, folder, root)
    for scan, one in found.items():
        row = known.get(scan)
        if row is None:
            row = {"scan_id": scan, "patient_id": scan, "image": _copied(one.images, root, f"{place}/images")}
            rows.append(row)
            if "image_sha256" in rows[0] and len(one.images) == 1:
                row["image_sha256"] = sha256_of(one.images[0])
        _name_masks(row, one, root, place)
        if row.get("mask") and "mask_sha256" in rows[0]:
            row["mask_sha256"] = sha256_of(within(root, row["mask"]))
    columns = list(dict.fromkeys(column for row in rows for column in row))
    write_table(path, [{column: row.get(column, "") for column in columns} for row in rows], columns)
    load_manifest(path, study)
    return _said(path, len(found) - len(new), new)


def _said(path: Path, replaced: int, new: Sequence[str]) -> list[str]:
    lines = [f"{path}: masks of {replaced} scans replaced; the next run trains on them"] if replaced else []
    if new:
        lines.append(f"{path}: {len(new)} new scans with masks, such as {new[0]}; the next run has them")
        lines.append("  Each counts as a patient of its own; where that is not so, mend patient_id.")
    return lines


def find_corrected(folder: Path) -> dict[str, Corrected]:
    """Scan id → what came of it, from a folder of masks or a ``correction`` folder.

    Raises:
        InputError: There is no mask.
    """
    masks = folder / MASKS if (folder / MASKS).is_dir() else folder
    found: dict[str, Corrected] = {}
    for entry in sorted(masks.iterdir() if masks.is_dir() else []):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            organs: dict[str, Path] = {}
            for file in sorted(entry.iterdir()):
                if _is_image(file):
                    _alone(organs.get(stem(file)), file)
                    organs[stem(file)] = file
            if organs:
                found.setdefault(entry.name, Corrected()).organs = organs
        elif _is_image(entry):
            one = found.setdefault(stem(entry), Corrected())
            _alone(one.mask, entry)
            one.mask = entry
    if not found:
        raise InputError("holds no masks", where=str(folder))
    for scan, one in found.items():
        if one.mask and one.organs:
            raise InputError(f"{scan} has a file of all organs and a folder of single ones", where=str(masks))
        files = {stem(file): file for file in sorted((folder / IMAGES).glob(f"{scan}*")) if _is_image(file)}
        names = [scan] if scan in files else [f"{scan}_{channel:04d}" for channel in range(100)]
        one.images = [files[name] for name in names if name in files] if masks != folder else []
    return found


def _alone(before: Path | None, file: Path) -> None:
    """Refuse a second mask of the same name: which of the two was corrected is not known."""
    if before is not None:
        raise InputError(
            f"{before.name} and {file.name} are masks of the same name",
            where=str(file.parent),
            remedy="Keep the corrected one.",
        )


def _is_image(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(IMAGE_ENDINGS)


def _check(found: dict[str, Corrected], known: dict[str, Cells], study: Study, folder: Path, root: Path) -> None:
    """Refuse before anything is copied."""
    odd = [scan for scan in found if scan not in known and not SCAN_ID.fullmatch(scan)]
    if odd:
        raise InputError(
            f"{odd[0]!r} cannot be a scan's id",
            where=str(folder),
            remedy="Rename image and mask: up to 100 letters, digits, '_', '-' and '.'.",
        )
    unknown = [scan for scan, one in found.items() if scan not in known and not one.images]
    if unknown:
        raise InputError(
            f"no scan of the study is named like {', '.join(unknown[:5])}",
            where=str(folder),
            remedy="Name each mask by its scan id, such as case7.nii.gz; of new scans give the images too, as "
            "images/case7.nii.gz beside masks/case7.nii.gz.",
        )
    for scan, one in found.items():
        strange = sorted(set(one.organs) - set(study.organs))
        if strange:
            raise InputError(
                f"{scan} has masks of {', '.join(strange)}, which are no organs of the study",
                where=str(folder),
                remedy=f"The study's organs are {', '.join(study.organs)}.",
            )
        row = known.get(scan)
        if row is None:
            continue
        missing = [organ for organ in study.organs if organ not in one.organs]
        if one.organs and missing and row.get("mask"):
            raise InputError(
                f"{scan} had one mask of all organs, and now lacks {', '.join(missing)}",
                where=str(folder),
                remedy="Give a mask of each organ; an empty one where the organ is absent.",
            )
        before = [root / name.strip() for name in row["image"].split(";")]
        ours = bool(one.images) and "corrected/" in row["image"] and all(file.is_file() for file in before)
        if ours and list(map(sha256_of, before)) != list(map(sha256_of, one.images)):
            raise InputError(
                f"the study has another scan of the name {scan}",
                where=str(folder),
                remedy="Rename the image and its mask.",
            )


def _name_masks(row: Cells, one: Corrected, root: Path, place: str) -> None:
    """Copy a scan's masks and write their places into its row."""
    if one.mask is not None:
        row.update({column: "" for column in row if column.startswith("mask_")})
        row["mask"] = _copied([one.mask], root, place)
        return
    row.update({column: "" for column in ("mask", "mask_sha256") if column in row})
    for organ, file in one.organs.items():
        row[f"mask_{organ}"] = _copied([file], root, f"{place}/{row['scan_id']}")
    # Who drew an organ has looked for it.
    if "not_annotated" in row:
        names = [organ.strip() for organ in row["not_annotated"].split(";")]
        row["not_annotated"] = ";".join(organ for organ in names if organ not in {*one.organs, ""})


def _copied(files: Sequence[Path], root: Path, place: str) -> str:
    """Copy files under the data root; give their paths from there."""
    names = []
    for file in files:
        target = root / place / file.name
        with whole_file(target) as part:
            shutil.copyfile(file, part)
        names.append(f"{place}/{file.name}")
    return ";".join(names)
