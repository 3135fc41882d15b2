"""Which mask belongs to which scan: by the words and numbers that vary among the scans and are found in both paths."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from pipeline.formats.path_words import FORMAT, IMAGE, MASK, SEQUENCE, Token
from pipeline.ingest.drafts.contents import look, same_grid
from pipeline.ingest.drafts.listing import Item

REMEDY = "Take some of them with --images or --masks, or write the manifest by hand."
_ROLES = MASK | IMAGE | FORMAT


@dataclass
class Pairs:
    """Masks with the scans that they belong to.

    Attributes:
        images: Mask → its scans; several only where the names do not tell them apart.
        rest: Mask → what its path says beyond the scan's, a text for each part.
        lonely: Masks of no scan.
    """

    images: dict[Item, list[Item]] = field(default_factory=dict)
    rest: dict[Item, tuple[str, ...]] = field(default_factory=dict)
    lonely: list[Item] = field(default_factory=list)


def telling(item: Item) -> list[Token]:
    """The tokens that may tell one scan from another: no words for mask, image or format."""
    return [token for token in item.tokens if token.low not in _ROLES]


def pair(images: Sequence[Item], masks: Sequence[Item]) -> Pairs:
    """Find the scans of each mask.

    What both paths share of the words and numbers that vary is the scan's name. The scan of a mask is the one that
    shares most; of those that share as much, the one with the words in the same order, then the one whose folders
    are the same, then the one whose name the mask's begins with.
    """
    found = Pairs()
    by_series = {item.header["series"]: item for item in images if item.header.get("series")}
    open_masks = []
    for mask in masks:
        refers = by_series.get(mask.header.get("refers", ""))
        if refers is not None:
            found.images[mask], found.rest[mask] = [refers], ()
        elif mask.header.get("refers") and by_series:
            found.lonely.append(mask)  # its header names a series, and none of these is it
        else:
            open_masks.append(mask)
    index = _Index(images, open_masks, as_written=True)
    matched = {mask: index.best(mask) for mask in open_masks}
    if not all(matched.values()):  # then 7 for 007, if that finds more and no mask fits several
        numbers = _Index(images, open_masks, as_written=False)
        again = {mask: numbers.best(mask) for mask in open_masks}
        more = sum(map(bool, again.values())) > sum(map(bool, matched.values()))
        if more and all(len(best) <= 1 for best in again.values()):
            index, matched = numbers, again
    named = {
        mask: any(index.names_of(mask) & index.names_of(image) for image in best) for mask, best in matched.items()
    }
    usual = sum(named.values()) > 0.5 * sum(map(bool, matched.values()))
    for mask, best in matched.items():
        # Where names agree as a rule, a folder in common is not enough.
        if best and (named[mask] or not usual):
            found.images[mask] = best
            found.rest[mask] = index.rest(mask, best[0])
        else:
            found.lonely.append(mask)
    _add_sequences(found, images)
    _drop_constants(found)
    return found


def _add_sequences(found: Pairs, images: Sequence[Item]) -> None:
    """Files beside a mask's scan that differ from it in the sequence alone are fitted by the mask too.

    Not where the mask names the sequence (``t2_tumor`` beside ``t2`` and ``adc``), nor where they have masks.
    """
    taken = {image for fitted in found.images.values() for image in fitted}
    free: dict[tuple[object, ...], list[Item]] = defaultdict(list)
    for image in images:
        if image not in taken and (base := _without_sequence(image)) is not None:
            free[base[0]].append(image)
    for mask, fitted in found.images.items():
        if len(fitted) > 1 or (base := _without_sequence(fitted[0])) is None:
            continue
        have = Counter(token.low for token in mask.tokens)
        named = Counter(token.low for token in fitted[0].tokens)
        if named[base[1]] > have[base[1]]:
            found.images[mask] = [*fitted, *free.get(base[0], [])]


def _without_sequence(image: Item) -> tuple[tuple[object, ...], str] | None:
    """What a file's name is without the sequence at its end, and the sequence; ``None`` where none is there."""
    own = [token.low for token in image.tokens if token.at == len(image.parts) - 1]
    if not own or own[-1] not in SEQUENCE:
        return None
    return (*image.parts[:-1], *own[:-1]), own[-1]


class _Index:
    """Scans by what their names share with those of masks."""

    def __init__(self, images: Sequence[Item], masks: Sequence[Item], *, as_written: bool) -> None:
        self.as_written = as_written
        of_images = {item: self._words(item) for item in images}
        of_masks = {item: self._words(item) for item in masks}
        shared = _union(of_images.values()) & _union(of_masks.values())
        # What every scan's and every mask's name has tells none.
        constant = _constant(list(of_images.values())) & _constant(list(of_masks.values()))
        self.images = {item: _less(words, shared, constant) for item, words in of_images.items()}
        self.masks = {item: _less(words, shared, constant) for item, words in of_masks.items()}
        self.only = list(images) if len(images) == 1 else []
        self.holding: dict[str, list[Item]] = defaultdict(list)
        self.exact: dict[tuple[str, ...], list[Item]] = defaultdict(list)
        for item, words in self.images.items():
            self.exact[words].append(item)
            for word in set(words):
                self.holding[word].append(item)

    def _words(self, item: Item) -> list[str]:
        return [self.word(token) for token in telling(item)]

    def word(self, token: Token) -> str:
        """A token as it is compared."""
        number = token.is_number and "." not in token.low and not self.as_written
        return str(int(token.low)) if number else token.low

    def best(self, mask: Item) -> list[Item]:
        """The scans that a mask fits equally well, best of all; none where it fits none."""
        words = self.masks[mask]
        if not words:
            return self.only
        if len(same := self.exact.get(words, [])) == 1:
            return same
        have = Counter(words)
        near: dict[Item, None] = {}
        for word in sorted(have, key=lambda w: len(self.holding[w])):
            near |= dict.fromkeys(self.holding[word])
            if len(near) > 500:
                break
        ranked: dict[tuple[int, ...], list[Item]] = defaultdict(list)
        for image in near:
            theirs = Counter(self.images[image])
            common = sum((have & theirs).values())
            if common < min(sum(have.values()), sum(theirs.values())) or _denies(mask, image):
                continue  # each says something that the other denies
            ranked[self._rank(mask, image, common)].append(image)
        return ranked[max(ranked)] if ranked else []

    def _rank(self, mask: Item, image: Item, common: int) -> tuple[int, ...]:
        folders = 0
        for one, other in zip(mask.parts[:-1], image.parts[:-1], strict=False):
            if one != other:
                break
            folders += 1
        begins = mask.stem.lower().startswith(image.stem.lower())
        # A number of the file's own name tells more than one of a folder's (`volume_pt1/volume-0`).
        own = len(self.names_of(mask) & self.names_of(image))
        return (
            common,
            self.masks[mask] == self.images[image],
            folders,
            own,
            _prefix(mask, image),
            begins * len(image.stem),
        )

    def names_of(self, item: Item) -> set[str]:
        """The telling words of the file's own name."""
        last = len(item.parts) - 1
        telling_words = set(self.images.get(item) or self.masks.get(item) or ())
        return {word for token in item.tokens if token.at == last and (word := self.word(token)) in telling_words}

    def rest(self, mask: Item, image: Item) -> tuple[str, ...]:
        """What a mask's path says beyond its scan's, a text for each part of the path."""
        words, telling_tokens = self._words(image), telling(mask)
        mine = [self.word(token) for token in telling_tokens]
        # Runs of words first: in `Expert1/G-1-L-Cup` it is `G-1-L` that names the scan, not the first 1.
        taken: set[int] = set()
        left = Counter(words)
        for block in SequenceMatcher(None, words, mine, autojunk=False).get_matching_blocks():
            taken.update(range(block.b, block.b + block.size))
        left.subtract(mine[index] for index in taken)
        for index, word in enumerate(mine):
            if index not in taken and left[word] > 0:
                left[word] -= 1
                taken.add(index)
        said = {id(token) for index, token in enumerate(telling_tokens) if index in taken}
        names = _numbered_parts(image)
        texts = []
        for at, part in enumerate(mask.parts):
            tokens = [token for token in mask.tokens if token.at == at]
            lows = tuple(token.low for token in tokens)
            # `drishtiGS_002/drishtiGS_002_cup` says the scan's name twice, and the organ's once.
            again = max((len(name) for name in names if lows[: len(name)] == name), default=0)
            own = [token for token in tokens if id(token) in said]
            if any(token.is_number for token in own):
                names.append(tuple(token.low for token in own))
            kept = [
                token.text
                for index, token in enumerate(tokens)
                if id(token) not in said and token.low not in _ROLES and index >= again
            ]
            texts.append(part if len(kept) == len(tokens) else "_".join(kept))
        return tuple(texts)


def _prefix(mask: Item, image: Item) -> int:
    """How many telling words of their own names are the same from the start."""
    mine, theirs = ([t.low for t in telling(item) if t.at == len(item.parts) - 1] for item in (mask, image))
    return next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))


def _numbered_parts(item: Item) -> list[tuple[str, ...]]:
    """The parts of a path that have a number, as words."""
    parts = [[token for token in item.tokens if token.at == at] for at in range(len(item.parts))]
    return [tuple(t.low for t in part) for part in parts if any(t.is_number for t in part)]


def _constant(named: Sequence[Sequence[str]]) -> Counter[str]:
    """The words that all names have, as often as all have them; none of one name alone."""
    if len(named) < 2:
        return Counter()
    constant = Counter(named[0])
    for words in named:
        constant &= Counter(words)
    return constant


def _less(words: Sequence[str], shared: set[str], constant: Counter[str]) -> tuple[str, ...]:
    """The shared words of a name without the constant ones."""
    left = constant.copy()
    kept = []
    for word in reversed(words):
        if left[word] > 0:
            left[word] -= 1
        elif word in shared:
            kept.append(word)
    return tuple(reversed(kept))


def _slots(item: Item) -> dict[str, set[str]]:
    """The numbers of a name by the word that stands before them: ``hippocampus_281`` is hippocampus 281."""
    slots: dict[str, set[str]] = defaultdict(set)
    before = ""
    for token in item.tokens:
        if token.at != len(item.parts) - 1:
            continue
        if token.is_number:
            slots[before].add(token.low.lstrip("0"))
        elif token.low not in _ROLES:
            before = token.low
    return {word: numbers for word, numbers in slots.items() if word}


def _denies(mask: Item, image: Item) -> bool:
    """Whether two names count the same thing and differ in the number."""
    mine, theirs = _slots(mask), _slots(image)
    return any(not mine[word] & theirs[word] for word in mine.keys() & theirs.keys())


def _union(words: object) -> set[str]:
    return {word for some in words for word in some}  # type: ignore[attr-defined]


def _drop_constants(found: Pairs) -> None:
    """What every mask's path says names no organ."""
    if len(found.rest) < 2:
        found.rest = dict.fromkeys(found.rest, ())
        return
    depth = max(len(texts) for texts in found.rest.values())
    # Counted from the end: masks may lie at different depths.
    for at in range(1, depth + 1):
        texts = {rest[-at] if len(rest) >= at else "" for rest in found.rest.values()}
        if len(texts) == 1 and texts != {""}:
            found.rest = {
                mask: (*rest[:-at], "", *rest[len(rest) - at + 1 :]) if len(rest) >= at else rest
                for mask, rest in found.rest.items()
            }


def on_grid(folder: Path, mask: Item, images: Sequence[Item]) -> list[Item]:
    """Of several scans those on a mask's grid; all where a grid is not known."""
    mine = look(folder / mask.path).grid
    theirs = {image: look(folder / image.path).grid for image in images}
    if not mine or not all(theirs.values()):
        return list(images)
    return [image for image in images if same_grid(theirs[image], mine)]
