"""Corrected masks come back into a study, and new scans with them: what ``organseg manifest add`` does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import InputError, TryAgainError
from pipeline.core.files import Cells, format_table, read_table, sha256_of, whole_file
from pipeline.core.locks import hold_if_free
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.names import SCAN_ID, checked_name, within
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import check_data
from pipeline.core.study import Study, data_root, load_study
from pipeline.formats.correction import IMAGES, MASKS, untouched
from pipeline.formats.table import IMAGE_ENDINGS
from pipeline.ingest.drafts import stem


@dataclass
class Corrected:
    """What a person hands back of one scan.

    Attributes:
        mask: One file with all organs, or
        organs: organ → file.
        images: The scan itself, a file a channel; empty where only masks came.
        changed: Masks that the study has not yet.
    """

    mask: Path | None = None
    organs: dict[str, Path] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    changed: list[Path] = field(default_factory=list)

    def files(self) -> list[Path]:
        """All masks."""
        return [*([self.mask] if self.mask else []), *self.organs.values()]


@dataclass
class Counts:
    """How many scans and masks became what.

    Attributes:
        replaced: Scans of the study that have other masks now.
        new: Ids of scans that the study has now.
        untouched: Masks that are as a model wrote them, and were left out.
        there: Masks that the study has already.
        unlooked: Scans of which some organs were left out, and count as not annotated.
    """

    replaced: int = 0
    new: list[str] = field(default_factory=list)
    untouched: int = 0
    there: int = 0
    unlooked: int = 0


def add_masks(name: str, folder: Path, version: str | None, *, force: bool = False) -> list[str]:
    """Copy masks that a person changed beside a study's data and name them in its manifest.

    Args:
        name: The study.
        folder: Masks, each named by its scan id: a file with all organs, or a folder with a file an organ. Or a
            ``correction`` folder of ``organseg predict``, whose scans that the study does not know are added too, and
            of which only masks are taken that were changed since the model wrote them.
        version: Name of the folder that they are copied to; by default that of the study.
        force: Write over corrected masks of the same version.

    Returns:
        What was done, a line each.

    Raises:
        InputError: There are no masks, none was changed, a scan or organ is not the study's, a corrected mask would be
            written over, or the study's data are not where they are looked for. Nothing is changed then.
        TryAgainError: The study is being worked on.
    """
    study, paths = load_study(name), StudyPaths(name)
    manifest = load_manifest(manifest_path(name), study)
    check_data(paths, study, manifest)
    with hold_if_free(paths.lock("workflow")) as free:
        if not free:
            raise TryAgainError(
                f"the study {name} is being worked on, and says what it was trained on by its manifest",
                remedy="Wait for it to end, then run the same command again.",
            )
        return _add_masks(name, study, folder, version, force)


def _add_masks(name: str, study: Study, folder: Path, version: str | None, force: bool) -> list[str]:
    path = manifest_path(name)
    rows = read_table(path)
    known = {row["scan_id"]: row for row in rows}
    root, place = data_root(study), f"corrected/{checked_name(version or name, 'the name of a version')}"
    found, counts = find_corrected(folder), Counts()
    _check(found, known, study, folder, root)
    left = _without_untouched(found, folder, StudyPaths(name), counts)
    _check_kept(found, root, place, force, counts)
    for scan, one in found.items():
        row = known.get(scan)
        if row is None:
            row = {"scan_id": scan, "patient_id": scan, "image": _copied(one.images, root, f"{place}/images")}
            rows.append(row)
            counts.new.append(scan)
            if "image_sha256" in rows[0] and len(one.images) == 1:
                row["image_sha256"] = sha256_of(one.images[0])
        before = dict(row)
        _name_masks(row, one, root, place)
        if missing := [organ for organ in left.get(scan, []) if not row.get(f"mask_{organ}")]:
            looked = [organ.strip() for organ in row.get("not_annotated", "").split(";") if organ.strip()]
            row["not_annotated"] = ";".join(dict.fromkeys([*looked, *missing]))
            counts.unlooked += 1
        if row.get("mask") and "mask_sha256" in rows[0]:
            row["mask_sha256"] = sha256_of(within(root, row["mask"]))
        counts.replaced += scan in known and (bool(one.changed) or row != before)
    _write_manifest(path, rows, study)
    return _said(path, study, counts)


def _write_manifest(path: Path, rows: list[Cells], study: Study) -> None:
    """Write the manifest where it can be read; with a column an organ of the study as soon as one organ has one.

    A row without any mask waits for a model as before. Where the study has one organ, whose column alone would not say
    so, it is noted.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    before = set(read_table(path)[0])
    ours = [f"mask_{organ}" for organ in study.organs]
    if new := set(columns) & set(ours) - before:
        columns += [column for column in ours if column not in columns]
        if len(ours) == 1:
            columns = list(dict.fromkeys([*columns, "not_annotated"]))
            for row in rows:
                if not row.get("mask") and not any(row.get(column) for column in new):
                    row["not_annotated"] = next(iter(study.organs))
    with whole_file(path) as part:
        part.write_text(format_table(rows, columns), encoding="utf-8", newline="\n")
        try:
            load_manifest(part, study)
        except InputError as error:
            raise InputError(error.what, where=str(path), remedy=error.remedy) from None


def _without_untouched(
    found: dict[str, Corrected], folder: Path, paths: StudyPaths, counts: Counts
) -> dict[str, list[str]]:
    """Leave out what a model wrote and nobody changed.

    Returns:
        Scan → organs whose masks were left out, of scans that others were changed of.

    Raises:
        InputError: Nothing is left.
    """
    same = untouched([file for one in found.values() for file in one.files()])
    same |= {file for scan, one in found.items() for file in one.files() if _is_exported(file, scan, paths)}
    counts.untouched = len(same)
    left: dict[str, list[str]] = {}
    for scan, one in list(found.items()):
        left[scan] = [organ for organ, file in one.organs.items() if file in same]
        one.organs = {organ: file for organ, file in one.organs.items() if file not in same}
        one.mask = None if one.mask in same else one.mask
        if not one.files():
            del found[scan]
    if not found:
        raise InputError(
            f"all {len(same)} masks are as the model wrote them",
            where=str(folder),
            remedy="Correct them first; what nobody changed is no reference.",
        )
    return left


def _is_exported(file: Path, scan: str, paths: StudyPaths) -> bool:
    """Whether a mask is the one that the study's own champion made of this scan."""
    folder = paths.exports / "nifti"
    places = (folder / file.name, folder / scan / file.name)
    return any(place.is_file() and sha256_of(place) == sha256_of(file) for place in places)


def _check_kept(found: dict[str, Corrected], root: Path, place: str, force: bool, counts: Counts) -> None:
    """Refuse to write over masks that were corrected before."""
    over = []
    for scan, one in found.items():
        for file in one.files():
            target = root / place / (f"{scan}/{file.name}" if one.organs else file.name)
            if not target.is_file():
                one.changed.append(file)
            elif sha256_of(target) == sha256_of(file):
                counts.there += 1
            else:
                one.changed.append(file)
                over.append(target)
    if over and not force:
        raise InputError(
            f"{len(over)} masks were corrected before, and would be written over",
            where=str(over[0]),
            remedy="Give --version a new name to keep both, or --force to write over them.",
        )


def _said(path: Path, study: Study, counts: Counts) -> list[str]:
    if study.model:
        then = f"the study applies {study.model} and trains nothing: the next run measures the model against them"
    else:
        then = "the next run trains on them"
    lines = [f"{path}: masks of {counts.replaced} scans replaced; {then}"] if counts.replaced else []
    if counts.new:
        has = then.replace("them", "theirs") if study.model else "the next run has them"
        lines.append(f"{path}: {len(counts.new)} new scans with masks, such as {counts.new[0]}; {has}")
        lines.append("  Each counts as a patient of its own; where that is not so, mend patient_id.")
    if counts.untouched:
        lines.append(f"{counts.untouched} masks are as the model wrote them, and were left out")
    if counts.unlooked:
        lines.append(f"  Their organs count as not annotated in {counts.unlooked} scans of which others were changed.")
    if counts.there:
        lines.append(f"{counts.there} masks are in the study already")
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
        before = [within(root, name.strip()) for name in row["image"].split(";")]
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
