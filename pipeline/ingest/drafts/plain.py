"""Folders without a description: scans and masks told by names, paths and contents."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import sha256_of
from pipeline.formats.path_words import FORMAT, IMAGE, MASK, SEQUENCE, cut, is_closing
from pipeline.ingest.drafts import channels as many
from pipeline.ingest.drafts import roles
from pipeline.ingest.drafts.contents import look
from pipeline.ingest.drafts.listing import Item, list_items
from pipeline.ingest.drafts.organs import name_organs
from pipeline.ingest.drafts.pairing import REMEDY, Pairs, pair
from pipeline.ingest.drafts.patients import Named, assign
from pipeline.ingest.drafts.summary import Choices, Draft, row, tidy

Left = dict[str, list[str]]


def draft_plain(folder: Path, choices: Choices) -> Draft:
    """Draft a folder of scans and masks.

    Raises:
        InputError: It holds no scan, masks that fit none, or can be read in two ways.
    """
    listing = list_items(folder)
    left: Left = defaultdict(list, {reason: list(paths) for reason, paths in listing.left_out.items()})
    notes = roles.assign(folder, listing.items)
    images = _chosen(listing.items, "image", choices.images, left)
    masks = _chosen(listing.items, "mask", choices.masks, left)
    if not choices.masks:
        left["what a model found, not what a reader drew"] += [mask.path for mask in masks if roles.is_found(mask)]
        masks = [mask for mask in masks if not roles.is_found(mask)]
    images, masks = _kinds(folder, images, masks, left)
    if not images:
        raise _no_scan(folder, masks, left)
    numbered = many.numbered(images, masks)
    if numbered is not None:
        _merge(left, numbered.left_out)
        images = list(numbered.scans)
    pairs = pair(images, masks)
    if masks and not pairs.images:
        raise InputError(
            f"none of {len(masks)} masks has a scan: {masks[0].path} looks like a mask, {images[0].path} like a scan, "
            "and their names share nothing that tells scans apart",
            where=str(folder),
            remedy=REMEDY,
        )
    left["masks of no scan"] += [mask.path for mask in pairs.lonely]
    scans, names = _scans(folder, images, pairs, numbered, left)
    _drop_series_of_times(folder, scans, pairs, left)
    masks_of = _masks_of(scans, pairs)
    _drop_derived(scans, masks_of, left)
    organs = name_organs(folder, masks_of, pairs.rest)
    _merge(left, organs.left_out)
    if organs.unclear:
        reason = f"masks can be read in two ways: {next(iter(organs.unclear.values()))}"
        left[reason] += [item.path for scan in organs.unclear for item in scans.pop(scan)]
    _account(scans, organs.organs, listing.items, left)
    notes += organs.notes
    if len(names) > 1:
        notes.append(f"Channels of each scan, for ingest.channels: [{', '.join(names)}].")
        if not look(folder / next(iter(scans)).path).grid:
            notes.append("Names alone told the channels: the files could not be opened to compare their grids.")
    if not scans:
        raise _no_scan(folder, masks, left)
    notes += _same_files(folder, list(scans))
    return _draft(scans, organs.organs, names, notes, left, choices)


def _no_scan(folder: Path, masks: Sequence[Item], left: Left) -> InputError:
    if masks:
        what = f"holds {len(masks)} files that look like masks, such as {masks[0].path}, and no scan of theirs"
    else:
        what = "holds no scan that could be told by its name"
    told = "; ".join(f"{reason} ({len(paths)})" for reason, paths in left.items() if paths)
    what += f"; left out: {told}" if told else ""
    return InputError(what, where=str(folder), remedy="Convert what is not read, or write the manifest by hand.")


def _merge(left: Left, more: Mapping[str, Sequence[str]]) -> None:
    for reason, paths in more.items():
        left[reason] += paths


def _chosen(items: Sequence[Item], role: str, pattern: str, left: Left) -> list[Item]:
    kept = []
    for item in items:
        if item.role == role:
            if not pattern or fits(item.path, pattern):
                kept.append(item)
            else:
                left[f"not chosen by --{role}s"].append(item.path)
    return kept


def fits(path: str, pattern: str) -> bool:
    """Whether a path has a text in it, or fits a pattern with ``*``."""
    return fnmatch(path, f"*{pattern}*") if "*" in pattern else pattern in path


def _kinds(folder: Path, images: list[Item], masks: list[Item], left: Left) -> tuple[list[Item], list[Item]]:
    """Pictures and volumes are not mixed: pictures beside volumes show them, and are no masks of them.

    Raises:
        InputError: All masks are pictures and all scans are volumes, or the other way.
    """
    deep = [item for item in images if _is_deep(folder, item)]
    flat = [item for item in images if item not in set(deep)]
    pictures = [item for item in masks if item.kind == "picture"]
    volumes = [item for item in masks if item.kind != "picture"]
    if deep and pictures and not volumes and not flat:
        raise InputError(
            f"the scans are volumes ({deep[0].path}) and the masks are pictures of single slices ({pictures[0].path})",
            where=str(folder),
            remedy="Put the slices of each mask together into a label volume (NIfTI, NRRD) on its scan's grid.",
        )
    if flat and volumes and not pictures and not deep and _is_deep(folder, volumes[0]):
        raise InputError(
            f"the scans are pictures ({flat[0].path}) and the masks are volumes ({volumes[0].path})",
            where=str(folder),
            remedy="Put the slices of each scan together into a volume (NIfTI, NRRD) on its mask's grid.",
        )
    if deep and volumes:
        shown = [item for item in [*flat, *pictures] if item.kind == "picture"]
        if shown and not (pictures and any(item.kind == "picture" for item in flat)):
            left["pictures beside volumes"] += [item.path for item in shown]
            out = set(shown)
            return [i for i in images if i not in out], [m for m in masks if m not in out]
    return images, masks


def _is_deep(folder: Path, item: Item) -> bool:
    """Whether an item is a volume of several slices."""
    if item.kind == "picture" or item.kind == "dicom":
        return item.kind == "dicom" and item.header.get("modality") in {"MR", "CT", "PT"}
    if item.kind == "series":
        return True
    grid = look(folder / item.path).grid
    return not grid or (len(grid[0]) > 2 and grid[0][2] > 1)


def _scans(
    folder: Path, images: Sequence[Item], pairs: Pairs, numbered: many.Channels | None, left: Left
) -> tuple[dict[Item, tuple[Item, ...]], tuple[str, ...]]:
    """Every scan with its channels: first file → files; and the channels' names."""
    if numbered is not None:
        return dict(numbered.scans), numbered.names
    groups = {mask: found for mask, found in pairs.images.items() if len(found) > 1}
    if not groups:
        return {image: (image,) for image in images}, ()
    found = many.shared(folder, groups)
    scans = dict(found.scans)
    used = {image for files in scans.values() for image in files}
    dropped = {image for group in groups.values() for image in group} - used
    left["the mask of this scan is drawn on another file"] += [image.path for image in dropped]
    rest = [image for image in images if image not in used | dropped]
    if not found.names:
        return {**scans, **{image: (image,) for image in rest}}, ()
    labelled = [fitted[0] for fitted in pairs.images.values() if fitted[0] in set(rest)]
    if len(set(labelled)) > 0.2 * len(scans):
        files = " + ".join(item.path for item in next(iter(found.scans.values())))
        raise InputError(
            f"some scans have several channels ({files}) and others one ({labelled[0].path}), and each has a mask",
            where=str(folder),
            remedy="Draft a study of each with --images.",
        )
    more, odd = many.unlabelled(rest, found.names)
    left["no channel of a scan, or a scan that lacks one"] += [image.path for image in odd]
    return {**scans, **more}, found.names


def _drop_series_of_times(folder: Path, scans: dict[Item, tuple[Item, ...]], pairs: Pairs, left: Left) -> None:
    """Recordings over time beside labelled single volumes are left out: a study's scans have the same channels."""
    first = {found[0] for found in pairs.images.values()}
    labelled = [scan for scan in scans if scan in first]
    known = {roles.family(scan) for scan in labelled}
    if not labelled or look(folder / labelled[0].path).times > 1:
        return
    times: dict[tuple[str, ...], bool] = {}
    for scan in [scan for scan in scans if scan not in first]:
        kind = roles.family(scan)
        if kind in known or scan.kind != "volume":
            continue
        if kind not in times:
            times[kind] = look(folder / scan.path).times > 1
        if times[kind]:
            left["recordings over time, beside scans of one volume"].append(scan.path)
            del scans[scan]


def _drop_derived(scans: dict[Item, tuple[Item, ...]], masks_of: Mapping[Item, Sequence[Item]], left: Left) -> None:
    """Files without a mask whose names begin with a labelled scan's are made of it: ``a_superpixels`` beside ``a``."""
    stems: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for scan in masks_of:
        stems[scan.parts[:-1]].append(scan.stem)
    for scan in [scan for scan in scans if scan not in masks_of]:
        for stem in stems.get(scan.parts[:-1], []):
            rest = scan.stem[len(stem) :]
            words = cut(rest) if scan.stem.startswith(stem) and re.match(r"[\W_]", rest) else []
            if words and not is_closing(words) and not any(word.is_number for word in words):
                left["made of a labelled scan, by their names"].append(scan.path)
                del scans[scan]
                break


def _masks_of(scans: Mapping[Item, tuple[Item, ...]], pairs: Pairs) -> dict[Item, list[Item]]:
    first = {image: scan for scan, files in scans.items() for image in files}
    masks_of: dict[Item, list[Item]] = defaultdict(list)
    for mask, images in pairs.images.items():
        scan = next((first[image] for image in images if image in first), None)
        if scan is not None:
            masks_of[scan].append(mask)
    return masks_of


def _same_files(folder: Path, scans: Sequence[Item]) -> list[str]:
    """Say where one picture or volume lies in two places under one name: a patient on two sides of a split."""
    alike: dict[tuple[str, int], list[Item]] = defaultdict(list)
    for scan in scans:
        if scan.kind in {"picture", "volume"} and (size := (folder / scan.path).stat().st_size):
            alike[(scan.stem, size)].append(scan)
    twins = []
    for group in alike.values():
        sums: dict[str, Item] = {}
        for scan in group if len(group) > 1 else ():
            first = sums.setdefault(sha256_of(folder / scan.path), scan)
            twins += [(first, scan)] if first is not scan else []
    if not twins:
        return []
    one, other = twins[0]
    more = f", and {len(twins) - 1} more pairs" if len(twins) > 1 else ""
    return [f"{one.path} and {other.path} are the same file{more}: drop one, or give both one patient_id."]


def _account(
    scans: Mapping[Item, tuple[Item, ...]], organs: Mapping[Item, Mapping[str, Item]], items: Sequence[Item], left: Left
) -> None:
    """Name every file that is in no row and was not named yet."""
    used = {item for files in scans.values() for item in files}
    used |= {mask for scan in scans for mask in organs.get(scan, {}).values()}
    named = {path for paths in left.values() for path in paths}
    for item in items:
        if item not in used and item.path not in named:
            left[f"{item.role}s that were not placed"].append(item.path)


def _draft(
    scans: Mapping[Item, tuple[Item, ...]],
    organs: Mapping[Item, Mapping[str, Item]],
    names: Sequence[str],
    notes: list[str],
    left: Left,
    choices: Choices,
) -> Draft:
    ordered = sorted(scans, key=lambda scan: scan.path)
    parts = [parts_of(scan, names) for scan in ordered]
    people = assign(
        [Named(p, scan.header.get("patient", "")) for p, scan in zip(parts, ordered, strict=True)], each=choices.each
    )
    rows = []
    for index, (scan, name) in enumerate(zip(ordered, scan_names(parts), strict=True)):
        found = {organ: mask.path for organ, mask in organs.get(scan, {}).items()}
        cells = row(name, people.ids[index], ";".join(item.path for item in scans[scan]), found)
        rows.append(cells | {column: texts[index] for column, texts in people.columns.items()})
    return Draft("folder of scans and masks", tidy(rows), [*notes, *people.notes], left)


def parts_of(scan: Item, channels: Sequence[str] = ()) -> tuple[str, ...]:
    """The parts of a scan's path that name it: none that only say image, a format, a channel, or a UID beside names."""
    parts = list(scan.parts)
    for channel in channels:
        if parts[-1].lower() == channel.lower():
            parts = parts[:-1] or parts
            break
        if re.search(rf"[\W_]{re.escape(channel)}$", parts[-1], re.I):
            parts[-1] = parts[-1][: -len(channel)].rstrip("_-. ")
            break
    idle = MASK | IMAGE | FORMAT
    named = [part for part in parts if not {token.low for token in cut(part)} <= idle]
    short = [part for part in named if not re.fullmatch(r"[\d.]{20,}", part)]
    if scan.kind == "series" and any(re.search(r"\d", part) for part in short):
        named = short  # folders of UIDs below a folder that has a name
    return tuple(named or parts)


def scan_names(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """A name a scan: the shortest of its path that no other scan has, by preference without the sequence alone."""
    named = [tuple(part for part in some if not {t.low for t in cut(part)} <= SEQUENCE) or some for some in parts]
    deepest = max(map(len, parts))
    levels = [["-".join(some[-k:]) for some in paths] for k in range(1, deepest + 1) for paths in (named, parts)]
    counts = [Counter(level) for level in levels]
    names = []
    for index in range(len(parts)):
        best = next((at for at in range(len(levels)) if counts[at][levels[at][index]] == 1), len(levels) - 1)
        names.append(levels[best][index])
    return names
