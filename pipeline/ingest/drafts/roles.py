"""Which files are drawings and which are recordings: names first, then what they hold."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.path_words import DRAWN, FOUND, GROUP, MASK, MOMENT, READER, SEQUENCE, VIEW, role
from pipeline.ingest.drafts.contents import look
from pipeline.ingest.drafts.listing import Item

#: Files that are opened of each family, and in all.
SAMPLE, MOST = 2, 80


def assign(folder: Path, items: Sequence[Item]) -> list[str]:
    """Set the role of every item.

    The part of a path that stands nearest to the file decides; where it says nothing, or what it says is not so in
    the files, the content does.

    Returns:
        What was assumed, in sentences.
    """
    by_stem = {id(item): role([t for t in item.tokens if t.at == len(item.parts) - 1]) for item in items}
    by_folder = {id(item): _by_folder(item) for item in items}
    # A word in every name, on both sides, is the data set's: `images/label_01` beside `labels/label_01`.
    recorded = [by_stem[id(item)] for item in items if by_folder[id(item)] == "image"]
    kinds = set(by_stem.values())
    if (recorded and all(word == "mask" for word in recorded)) or len(kinds) == 1:
        by_stem = dict.fromkeys(by_stem, "")
    said = {item.parts[:-1] for item in items if by_stem[id(item)] == "mask"}
    for item in items:
        named = by_stem[id(item)]
        if by_folder[id(item)] == "mask" and named == "" and item.parts[:-1] in said:
            continue  # `Labels_2/a_01` beside `Labels_2/a_01_gt`: not all of the folder are masks
        # In a folder of masks a name such as `img_01` is that of the image that the mask belongs to.
        item.role = "mask" if by_folder[id(item)] == "mask" and named == "image" else named or by_folder[id(item)]
        if item.header.get("modality") in {"SEG", "RTSTRUCT"}:
            item.role = "mask"
        elif item.kind == "series" and (item.role != "mask" or look(folder / item.path).looks != "mask"):
            item.role = "image"  # a folder may be called `seg` for the segmentation that lies in it too
    _by_weak_words(items)
    return _by_content(folder, items)


def _by_weak_words(items: Sequence[Item]) -> None:
    """Names that say what is drawn, or who drew it, beside names that do not."""
    for item in items:
        if item.role == "" and is_found(item):
            item.role = "mask"
    silent = [item for item in items if item.role == ""]
    said = [item for item in silent if _says_what_is_drawn(item)]
    plain = any(item.role == "image" for item in items) or len(said) < len(silent)
    if plain and not any(item.role == "mask" and not is_found(item) for item in items):
        for item in said:
            item.role = "mask"


def _says_what_is_drawn(item: Item) -> bool:
    last = len(item.parts) - 1
    own = [token.low for token in item.tokens if token.at >= last - 1]
    reader = any(re.fullmatch(rf"\d(?:st|nd|rd|th){READER.pattern}|reader|rater|observer", word, re.I) for word in own)
    return reader or bool(set(own) & DRAWN)


def _by_folder(item: Item) -> str:
    for at in range(len(item.parts) - 2, -1, -1):
        if found := role([token for token in item.tokens if token.at == at]):
            return found
    return ""


def family(item: Item) -> tuple[str, ...]:
    """What files of one kind have in common: their names without numbers, and their ending."""
    words = ["#" if any(map(str.isdigit, token.low)) else token.low for token in item.tokens]
    return (*words, Path(item.path).suffix.lower())


def _by_content(folder: Path, items: Sequence[Item]) -> list[str]:
    families: dict[tuple[str, ...], list[Item]] = defaultdict(list)
    for item in items:
        if item.kind in {"volume", "picture"}:
            families[family(item)].append(item)
    looks: dict[tuple[str, ...], str] = {}
    budget = MOST
    for name, group in sorted(families.items(), key=lambda pair: (pair[1][0].role != "", -len(pair[1]))):
        if budget <= 0:
            break
        seen = {look(folder / item.path).looks for item in group[:SAMPLE]}
        budget -= len(group[:SAMPLE])
        looks[name] = seen.pop() if len(seen) == 1 else ""
    _check_known(folder, families)
    notes: list[str] = []
    recorded = any(item.role == "image" for item in items) or "image" in looks.values()
    # Volumes of few values are drawings, even where nothing else is there.
    alone = not any(item.role == "mask" for item in items) and all(item.kind == "volume" for item in items)
    for name, found in looks.items():
        group = families[name]
        if group[0].role == "mask" and found == "image":
            for item in group:
                item.role = "image"
            notes.append(f"{_example(group)} taken for scans, though named as masks: they hold many values.")
        elif group[0].role == "" and found == "mask" and (recorded or alone):
            for item in group:
                item.role, item.by_content = "mask", not _says_what_is_drawn(item)
            notes.append(f"{_example(group)} taken for masks by what is in them: few values.")
    for item in items:
        item.role = item.role or "image"
    return notes


def _check_known(folder: Path, families: dict[tuple[str, ...], list[Item]]) -> None:
    """Refuse files that neither names nor contents tell.

    Raises:
        InputError: No name says mask, files of one person have several names, and none can be opened.
    """
    if any(item.role == "mask" for group in families.values() for item in group):
        return
    silent = [group[0] for group in families.values() if group[0].role == ""]
    unread = [item for item in silent if not look(folder / item.path).grid]
    kinds: dict[tuple[str, ...], Item] = {}
    for item in unread:
        words = [token.low for token in item.tokens if token.at == len(item.parts) - 1]
        kinds.setdefault(tuple(w for w in words if w not in SEQUENCE | MOMENT | VIEW and not w.isdecimal()), item)
    if len(kinds) > 1 and len(unread) == len(silent):
        one, two = list(kinds.values())[:2]
        if {token.low for token in one.tokens if token.is_number} & {t.low for t in two.tokens if t.is_number} or (
            one.parts[:-1] == two.parts[:-1] != ()
        ):
            raise InputError(
                f"{one.path} and {two.path} may be scan and mask, or two scans: their names do not say it, and they "
                "cannot be opened",
                remedy="Fetch the files again, or name masks so, such as case1_mask.nii.gz.",
            )


def _example(group: Sequence[Item]) -> str:
    more = f" and {len(group) - 1} like it were" if len(group) > 1 else " was"
    return f"{group[0].path}{more}"


def is_found(item: Item) -> bool:
    """Whether a path says that a model drew what is there."""
    return bool({token.low for token in item.tokens} & FOUND)


def is_plain_mask(item: Item) -> bool:
    """Whether a mask is called nothing but a mask, which may also be the field of view."""
    words = {token.low for token in item.tokens} & MASK
    return bool(words) and words <= {"mask", "masks", "msk", "msks", "roi", "rois"}


def is_group(words: Sequence[str]) -> bool:
    """Whether words name a group of people, such as ``train`` or ``site``."""
    return any(word in GROUP for word in words)
