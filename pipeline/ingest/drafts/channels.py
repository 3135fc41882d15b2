"""Files that are channels of one scan, told from files that are scans of their own."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.formats.path_words import MOMENT, SEQUENCE, VIEW, WORKED, Token, cut
from pipeline.ingest.drafts.contents import look
from pipeline.ingest.drafts.listing import Item
from pipeline.ingest.drafts.pairing import REMEDY, on_grid

_NUMBERED = re.compile(r"(.+)_(\d{4})$")


@dataclass
class Channels:
    """Scans with their channels.

    Attributes:
        names: Names of the channels, in order; empty where every file is a scan.
        scans: First file of a scan → its files.
        left_out: Reason → paths.
        notes: What was assumed.
    """

    names: tuple[str, ...] = ()
    scans: dict[Item, tuple[Item, ...]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)


def numbered(images: Sequence[Item], masks: Sequence[Item]) -> Channels | None:
    """Channels by nnU-Net's suffix ``_0000``, ``_0001``, …, which the masks' names lack; ``None`` where not so."""
    cases: dict[tuple[tuple[str, ...], str], dict[int, Item]] = defaultdict(dict)
    for item in images:
        match = _NUMBERED.fullmatch(item.stem)
        if match is None or int(match[2]) > 15:
            return None
        cases[(item.parts[:-1], match[1])][int(match[2])] = item
    stems = {mask.stem for mask in masks}
    labelled = sum(case in stems for _, case in cases)
    if not cases or labelled < max(1, min(len(masks), len(cases)) // 2):
        return None
    usual = Counter(tuple(sorted(files)) for files in cases.values()).most_common(1)[0][0]
    found = Channels(tuple(f"{number:04d}" for number in usual) if len(usual) > 1 else ())
    for files in cases.values():
        if tuple(sorted(files)) != usual:
            found.left_out["lacks channels that other scans have"] += [item.path for item in files.values()]
            continue
        first = files[usual[0]]
        found.scans[first] = tuple(files[number] for number in usual)
        for item in found.scans[first]:
            item.parts = (*item.parts[:-1], item.stem[:-5])
            item.tokens = [token for at, part in enumerate(item.parts) for token in cut(part, at)]
    return found


def shared(folder: Path, images_of: Mapping[Item, Sequence[Item]]) -> Channels:
    """What several files are that one mask fits: channels of one scan, or one of them is the scan.

    Args:
        folder: The folder that is drafted.
        images_of: Mask → the files that it fits equally well, two or more.

    Raises:
        InputError: Neither names nor grids decide.
    """
    found = Channels()
    decided: dict[tuple[str, ...], tuple[str, ...]] = {}
    named = {mask: differing(images) for mask, images in images_of.items()}
    usual = Counter(tuple(sorted(names.values())) for names in named.values())
    for mask, images in images_of.items():
        names = named[mask]
        structure = tuple(sorted(names.values()))
        if structure not in decided:
            decided[structure] = _decide(folder, mask, images, names, again=usual[structure] > 0.5 * len(named) > 0.5)
        kept = [image for image in images if names[image] in decided[structure]]
        kept.sort(key=lambda image: _order(names[image]))
        found.scans.setdefault(kept[0], tuple(kept))
        if len(kept) > 1:
            found.names = tuple(names[image] for image in kept)
    return found


def _order(name: str) -> tuple[str, str]:
    return name.lower(), name


def _decide(
    folder: Path, mask: Item, images: Sequence[Item], names: Mapping[Item, str], *, again: bool
) -> tuple[str, ...]:
    """Names of the files that make the scan of a mask; ``again`` where most scans have files of just these names."""
    fits = on_grid(folder, mask, images)
    both = f"{images[0].path} and {images[1].path}"
    if not fits:
        raise InputError(f"{mask.path} fits {both} by name, and neither by its grid", remedy=REMEDY)
    if len(fits) == 1:
        return (names[fits[0]],)
    words = {image: {token.low for token in cut(names[image])} for image in fits}
    plain = all(words.values()) and not any(words[image] & (WORKED | MOMENT | VIEW) for image in fits)
    known = sum(bool(words[image] & SEQUENCE) for image in fits)
    if (
        plain
        and len(set(names.values())) == len(names)
        and (known >= len(fits) - 1 or (again and look(folder / mask.path).grid))
    ):
        return tuple(names[image] for image in fits)
    odd = next((image for image in fits[1:] if words[image] & (WORKED | MOMENT | VIEW)), fits[1])
    other = next(image for image in fits if image is not odd)
    word = names[odd].split("_")[0] or odd.stem
    raise InputError(
        f"{mask.path} fits {other.path} and {odd.path}: channels of one scan, or one of the two is not its scan",
        remedy=f"Say which with --images, such as --images {word!r}, or write the manifest by hand.",
    )


def differing(images: Sequence[Item]) -> dict[Item, str]:
    """What tells files of one group apart: the words of their paths that not all of them have."""
    counts = {image: Counter(token.low for token in image.tokens) for image in images}
    common = counts[images[0]].copy()
    for count in counts.values():
        common &= count
    return {image: "_".join(t.text for t in _less(image.tokens, common)) for image in images}


def _less(tokens: Sequence[Token], common: Counter[str]) -> list[Token]:
    left = common.copy()
    kept = []
    for token in tokens:
        if left[token.low] > 0:
            left[token.low] -= 1
        else:
            kept.append(token)
    return kept


def unlabelled(images: Sequence[Item], names: Sequence[str]) -> tuple[dict[Item, tuple[Item, ...]], list[Item]]:
    """Scans of the same channels among files that no mask fits.

    Returns:
        First file of a scan → its files; and files that are no channel, or whose scan lacks one.
    """
    cases: dict[tuple[str, ...], dict[str, Item]] = defaultdict(dict)
    left: list[Item] = []
    wanted = {name: Counter(token.low for token in cut(name)) for name in names}
    for image in images:
        have = Counter(token.low for token in image.tokens)
        fits = [name for name, words in wanted.items() if words <= have]
        if not fits:
            left.append(image)
            continue
        name = max(fits, key=len)
        key = tuple(token.low for token in _less(image.tokens, wanted[name]))
        cases[key][name] = image
    scans = {}
    for files in cases.values():
        if set(files) == set(names):
            scans[files[names[0]]] = tuple(files[name] for name in names)
        else:
            left += files.values()
    return scans, left
