"""What the masks of a scan are: one file with all organs, a file an organ, or several drawings of one thing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.path_words import AGREED, MASK, READER, cut
from pipeline.ingest.drafts.contents import look, overlap
from pipeline.ingest.drafts.listing import Item
from pipeline.ingest.drafts.pairing import REMEDY
from pipeline.ingest.drafts.roles import is_group, is_plain_mask

#: Files of an organ that are opened to see whether they hold one organ or several.
OPENED = 24
_READER = re.compile(
    rf"(?:^|[_\W]+)(?:{READER.pattern}[_\W]*\d+|\d(?:st|nd|rd|th)(?:{READER.pattern})?)(?=$|[_\W])", re.I
)
_ANY_READER = re.compile(rf"{_READER.pattern}|(?:^|[_\W]+)(?:{AGREED.pattern})(?=$|[_\W])", re.I)


class Named:
    """The masks of every scan by organ, and what was left out to get there.

    Attributes:
        organs: First image of a scan → organ → mask; ``""`` is a mask of all organs.
        notes: What was assumed.
        left_out: Reason → paths.
        unclear: Scans whose masks can be read in two ways, with the reason.
    """

    def __init__(self) -> None:
        self.organs: dict[Item, dict[str, Item]] = {}
        self.notes: list[str] = []
        self.left_out: dict[str, list[str]] = defaultdict(list)
        self.unclear: dict[Item, str] = {}


def name_organs(folder: Path, masks_of: Mapping[Item, Sequence[Item]], rest: Mapping[Item, tuple[str, ...]]) -> Named:
    """Name the masks of each scan.

    Args:
        folder: The folder that is drafted.
        masks_of: Scan → its masks.
        rest: Mask → what its path says beyond the scan's.

    Raises:
        InputError: The names can be read in two ways.
    """
    found = Named()
    masks_of = _without_fields_of_view(_named_ones(masks_of, found), found)
    labels = _labels(masks_of, rest)
    masks_of, labels = _first_readers(masks_of, labels, found)
    most = max((len(masks) for masks in masks_of.values()), default=0)
    if most <= 1 and not found.unclear:
        return _one_each(folder, masks_of, labels, found)
    _check_instances(masks_of, labels)
    for scan, masks in masks_of.items():
        if both := _counted(masks, labels):
            what = "two organs, two readers, or two parts of one organ"
            found.unclear[scan] = f"{both[0].path} and {both[1].path} differ in a number: {what}"
    volumes = _label_volumes(folder, masks_of, labels)
    for scan, masks in masks_of.items():
        if scan in found.unclear:
            continue
        whole = [mask for mask in masks if labels[mask] in volumes]
        if len(whole) == 1 and len(masks) == 2:
            organ = next(mask for mask in masks if mask not in whole)
            found.unclear[scan] = f"has a label volume, {whole[0].path}, and one organ's mask, {organ.path}"
        elif whole and len(whole) < len(masks):
            found.left_out["label volumes beside a file an organ"] += [mask.path for mask in whole]
            masks = [mask for mask in masks if mask not in whole]
        elif len(whole) > 1:
            found.unclear[scan] = f"has two label volumes, {whole[0].path} and {whole[1].path}"
        elif whole:
            found.organs[scan] = {"": whole[0]}
            continue
        if scan not in found.unclear:
            _name(folder, scan, masks, labels, found)
    _note_overlaps(folder, found)
    if len(found.unclear) > max(1, len(masks_of) // 5) or not found.organs:
        scan, reason = next(iter(found.unclear.items()))
        raise InputError(f"{reason} ({len(found.unclear)} scans are so)", where=scan.path, remedy=REMEDY)
    return found


def _note_overlaps(folder: Path, found: Named) -> None:
    """Say where two organs of the first scan are nearly the same."""
    organs = next((named for named in found.organs.values() if len(named) > 1), {})
    for (one, first), (other, second) in list(combinations(organs.items(), 2))[:OPENED]:
        if (dice := overlap(folder / first.path, folder / second.path)) > 0.7:
            found.notes.append(
                f"{one} and {other} cover nearly the same (Dice {dice:.2f} in {first.path}): two readers of one organ, "
                "or one organ in the other; --masks takes one of them."
            )
            return


def _counted(masks: Sequence[Item], labels: Mapping[Item, str]) -> list[Item]:
    """Two masks of one organ that are counted, as in ``seg01`` and ``seg02``; empty where there are none."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for mask in masks:
        counts = len(mask.tokens) > 1 and mask.tokens[-1].is_number and mask.tokens[-2].low in MASK
        if counts and labels[mask]:
            groups[re.sub(r"[_\W]*\d+$", "", labels[mask])].append(mask)
    return next((group for group in groups.values() if len(group) > 1), [])


def _name(folder: Path, scan: Item, masks: Sequence[Item], labels: Mapping[Item, str], found: Named) -> None:
    named: dict[str, Item] = {}
    for mask in masks:
        organ = labels[mask]
        if organ in named:
            found.unclear[scan] = f"has two masks that no organ tells apart: {named[organ].path} and {mask.path}"
            return
        named[organ] = mask
    numbered = [organ for organ in named if not organ or organ.isdecimal()]
    if len(named) > 1 and len(numbered) < 2 and len({re.sub(r"\d+$", "", organ) for organ in named}) == 1:
        first, second = list(named)[:2]
        if overlap(folder / named[first].path, folder / named[second].path) > 0.5:
            numbered = [first, second]
    if len(named) > 1 and len(numbered) > 1:
        one, two = named[numbered[0]].path, named[numbered[1]].path
        found.unclear[scan] = f"{one} and {two} differ in a number: two organs, two readers, or two parts of one organ"
        return
    if any(organ.isdecimal() for organ in named):
        found.unclear[scan] = f"{masks[0].path} would name an organ {next(iter(named))!r}: a number is no organ's name"
        return
    if len(named) > 1 and "" in named:
        found.unclear[scan] = f"{named[''].path} names no organ, and other masks of the scan do"
        return
    found.organs[scan] = named


def _named_ones(masks_of: Mapping[Item, Sequence[Item]], found: Named) -> dict[Item, list[Item]]:
    """Beside files that are called masks, none that only look so."""
    kept: dict[Item, list[Item]] = {}
    for scan, masks in masks_of.items():
        named = [mask for mask in masks if not mask.by_content]
        if named and len(named) < len(masks):
            silent = [mask.path for mask in masks if mask.by_content]
            found.left_out["look like masks beside others that are called so"] += silent
        kept[scan] = named or list(masks)
    return kept


def _without_fields_of_view(masks_of: Mapping[Item, Sequence[Item]], found: Named) -> dict[Item, list[Item]]:
    """Beside drawings that are called so, a plain ``mask`` is where the picture is, not what is in it."""
    kept: dict[Item, list[Item]] = {}
    views: set[Item] = set()
    for scan, masks in masks_of.items():
        plain = [mask for mask in masks if is_plain_mask(mask)]
        drawn = [mask for mask in masks if not is_plain_mask(mask)]
        if len(plain) == 1 and drawn and not _tells(plain[0], [scan, *drawn]):
            views.add(plain[0])
    for scan, masks in masks_of.items():
        # What is the field of view of some scans is that of the others too, where no drawing lies beside it.
        view = [mask for mask in masks if mask in views or (views and is_plain_mask(mask) and len(masks) == 1)]
        found.left_out["taken for the field of view, beside drawings"] += [mask.path for mask in view]
        if rest := [mask for mask in masks if mask not in view]:
            kept[scan] = rest
    return kept


def _tells(mask: Item, others: Sequence[Item]) -> bool:
    """Whether a mask's name says more than that it is a mask."""
    from pipeline.ingest.drafts.pairing import telling

    known = {token.low for other in others for token in telling(other)}
    return any(token.low not in known and not token.is_number for token in telling(mask))


def _labels(masks_of: Mapping[Item, Sequence[Item]], rest: Mapping[Item, tuple[str, ...]]) -> dict[Item, str]:
    """The part of each mask's path that tells the masks of a scan apart, as the name of an organ."""
    masks = [mask for some in masks_of.values() for mask in some]
    depth = max((len(rest[mask]) for mask in masks), default=0)
    padded = {mask: (*([""] * (depth - len(rest[mask]))), *rest[mask]) for mask in masks}
    columns = [at for at in range(depth) if any(padded[mask][at] for mask in masks)]
    columns = [at for at in columns if not _is_group_column([padded[mask][at] for mask in masks])]
    if not columns:
        return dict.fromkeys(masks, "")

    def told(ats: Sequence[int]) -> int:
        """How many masks of a scan differ in what stands in these parts."""
        return sum(len({tuple(padded[m][at] for at in ats) for m in some}) for some in masks_of.values())

    whole = told(columns)
    kinds = {at: len({padded[mask][at] for mask in masks}) for at in columns}
    alone = [at for at in columns if told([at]) == whole]
    chosen = [min(alone, key=lambda at: (kinds[at], at))] if alone else columns
    return {mask: _organ(" ".join(filter(None, (padded[mask][at] for at in chosen)))) for mask in masks}


def _is_group_column(texts: Sequence[str]) -> bool:
    return all(not text or is_group([token.low for token in cut(text)]) for text in texts)


def _organ(text: str) -> str:
    """A name for a column: without a leading count, and nothing that a path or a table acts on."""
    text = re.sub(r"^\d+[.)]\s+", "", text.strip())
    return re.sub(r"[^\w.+-]+", "_", text).strip("_.-")


def _first_readers(
    masks_of: Mapping[Item, Sequence[Item]], labels: dict[Item, str], found: Named
) -> tuple[dict[Item, list[Item]], dict[Item, str]]:
    """Of several readers' drawings the first reader's; the others are named as left out."""
    if not any(_READER.search(label) for label in labels.values()):
        return {scan: list(masks) for scan, masks in masks_of.items()}, labels
    kept: dict[Item, list[Item]] = {}
    bare: dict[Item, str] = {}
    for scan, drawn in masks_of.items():
        first: dict[str, Item] = {}
        # What readers agreed on comes first, then the first of them.
        for mask in sorted(drawn, key=lambda mask: (_READER.search(labels[mask]) is not None, labels[mask])):
            organ = _ANY_READER.sub("", labels[mask]).strip("_")
            if organ in first and labels[first[organ]] == organ:
                found.unclear[scan] = f"{first[organ].path} names no reader, and {mask.path} does"
            if organ in first:
                found.left_out["another reader's drawings of the same"].append(mask.path)
            else:
                first[organ] = mask
                bare[mask] = organ
        kept[scan] = list(first.values())
    if found.left_out["another reader's drawings of the same"]:
        found.notes.append("Of several readers the first one's masks were taken; --masks takes another's.")
    return kept, bare


def _one_each(folder: Path, masks_of: Mapping[Item, Sequence[Item]], labels: Mapping[Item, str], found: Named) -> Named:
    """One mask a scan: of all organs, or of the organ that its folder or name says."""
    names = Counter(labels[mask] for masks in masks_of.values() for mask in masks)
    count = names.total()
    organs = [name for name in names if name]
    # A few words that come again are organs; as many as there are scans are something else, such as dates.
    named = 1 < len(names) <= max(2, count // 2) and len(organs) == len(names) and not any(map(str.isdecimal, organs))
    if named:
        every = [mask for some in masks_of.values() for mask in some]
        named = all(look(folder / mask.path).organs <= 1 for mask in every[:OPENED])
    for scan, masks in masks_of.items():
        found.organs[scan] = {labels[mask] if named else "": mask for mask in masks}
    if organs and not named and len(names) > 1:
        found.notes.append(
            f"Masks' names differ in {organs[0]!r} and {len(organs) - 1} more: not taken for organs, as every scan "
            "has one mask."
        )
    return found


def _check_instances(masks_of: Mapping[Item, Sequence[Item]], labels: Mapping[Item, str]) -> None:
    """Organs come again from scan to scan; names that do not are something else.

    Raises:
        InputError: Most names occur in one scan only.
    """
    scans: dict[str, set[Item]] = defaultdict(set)
    for scan, masks in masks_of.items():
        for mask in masks:
            scans[labels[mask]].add(scan)
    once = [label for label, where in scans.items() if len(where) == 1]
    if len(masks_of) > 2 and len(once) > max(len(scans) * 0.6, 3):
        raise InputError(
            f"what tells masks apart ({', '.join(sorted(once)[:3])}, …) occurs in one scan each: organs, or many "
            "drawings of one organ",
            remedy="Merge the drawings of an organ into one file a scan, or write the manifest by hand.",
        )


def _label_volumes(folder: Path, masks_of: Mapping[Item, Sequence[Item]], labels: Mapping[Item, str]) -> set[str]:
    """Labels whose files hold several organs."""
    examples: dict[str, Item] = {}
    for masks in masks_of.values():
        for mask in masks:
            examples.setdefault(labels[mask], mask)
    opened = list(examples.items())[:OPENED]
    return {label for label, mask in opened if look(folder / mask.path).organs > 1 and not _lossy(folder, mask)}


def _lossy(folder: Path, mask: Item) -> bool:
    """A picture that JPEG has blurred holds one organ in many values."""
    return look(folder / mask.path).looks != "mask"
