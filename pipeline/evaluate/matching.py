"""Scans of two folders matched by name: as they are, by one part of their paths, or by what varies in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from pipeline.core.errors import InputError
from pipeline.core.names import plain
from pipeline.evaluate.sources import Files, Source
from pipeline.formats.mask_words import MASK_WORDS, constant_words, is_anatomy, tokens

_Key = Callable[[str], object]


def match_scans(ours: Source, theirs: Source) -> tuple[dict[str, str], str]:
    """Scan of the references → scan of the predictions, and how they were matched where names differ.

    Names are tried as they are, then by their last or first folder and by the names of files, then by their words and
    numbers without those that all names of a side have and those such as ``gt`` and ``pred``.

    Raises:
        InputError: The words that are left away name two parts of the body.
    """
    names, other = ours.names(), theirs.names()
    if len(names) == len(other) == 1:
        return {other[0]: names[0]}, ""
    best: dict[str, str] = {}
    how = ""
    for told, our_key, their_key in _keys(ours, theirs):
        found = _by_key(names, other, our_key, their_key)
        if len(found) > len(best):
            best, how = found, told
    found = _by_part(names, other)
    if len(found) > len(best):
        best, how = found, "a part of their names"
    if how.startswith("the words"):
        _check_words(names, other)
    return best, how


def _by_part(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Pairs where one side's name is a part of one name of the other, between ``_``, ``-`` or ``/``."""
    sides = ((theirs, ours, False), (ours, theirs, True))
    best: dict[str, str] = {}
    for short, long, turned in sides:
        holders: dict[str, list[str]] = {}
        for name in long:
            for part in {plain(part) for part in re.split(r"[_\-/]+", name)}:
                holders.setdefault(part, []).append(name)
        found = {name: own[0] for name in short if len(own := holders.get(plain(name), [])) == 1}
        if len(set(found.values())) == len(found) > len(best):
            best = {value: key for key, value in found.items()} if turned else found
    return best


def _keys(ours: Source, theirs: Source) -> list[tuple[str, _Key, _Key]]:
    """Ways to compare names: in words, and what is compared on each side."""
    sides: list[dict[str, _Key]] = []
    for side in (ours, theirs):
        files = side.file_names()
        sides.append({"": str, "the last part of their paths": _last, "the first part of their paths": _first})
        if files:
            sides[-1]["the names of their files"] = _of(files, str)
    keys = [(b or a, f, g) for a, f in sides[0].items() for b, g in sides[1].items()]
    words = "the words and numbers that vary"
    keys.append((words, _varying(ours.names()), _varying(theirs.names())))
    files, others = ours.file_names(), theirs.file_names()
    if files or others:
        plain = [list(found.values()) or side.names() for found, side in ((files, ours), (others, theirs))]
        keys.append((words, _of(files, _varying(plain[0])), _of(others, _varying(plain[1]))))
    return keys


def _of(files: Mapping[str, str], key: _Key) -> _Key:
    return lambda name: key(files.get(name, name))


def _by_key(ours: Sequence[str], theirs: Sequence[str], our_key: _Key, their_key: _Key) -> dict[str, str]:
    """Pairs of one key; nothing where two scans of a side have the same."""
    known: Mapping[object, str] = {our_key(name): name for name in ours}
    other = [their_key(name) for name in theirs]
    if len(known) < len(ours) or len(set(other)) < len(theirs):
        return {}
    return {name: known[key] for name, key in zip(theirs, other, strict=True) if key in known}


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _first(name: str) -> str:
    return name.split("/", 1)[0]


def _varying(names: Sequence[str]) -> _Key:
    constant = set(constant_words(names)) if len(names) > 1 else set()

    def key(name: str) -> tuple[str, ...]:
        found = [token for token in tokens(name) if token not in MASK_WORDS and token not in constant]
        return tuple(token.lstrip("0") or "0" if token.isdecimal() else token for token in found)

    return key


def _check_words(ours: Sequence[str], theirs: Sequence[str]) -> None:
    first, second = set(constant_words(ours)), set(constant_words(theirs))
    parts = [
        sorted(word for word in own - other if is_anatomy(word)) for own, other in ((first, second), (second, first))
    ]
    if all(parts):
        raise InputError(
            f"the predictions are named after {', '.join(parts[0])} and the references after {', '.join(parts[1])}",
            remedy="Compare masks of one organ, or give files of one scan the same name.",
        )


def choose_pair(ours: Sequence[Source], theirs: Sequence[Source]) -> tuple[Source, Source]:
    """The reading of each side under which most scans, and most organs, have the same name on both.

    Raises:
        InputError: Several fit equally well.
    """
    fits: list[tuple[tuple[float, float], Source, Source]] = []
    for first in ours:
        for second in theirs:
            pairs, _ = match_scans(first, second)
            scans = 2 * len(pairs) / (len(first.names()) + len(second.names()))
            named, other = set(first.organs()), set(second.organs())
            fits.append(((scans, len(named & other) / len(named | other) if named and other else 1.0), first, second))
    best = max(score for score, *_ in fits)
    chosen = [(first, second) for score, first, second in fits if score == best]
    doubtful = [side for options in (ours, theirs) if len(options) > 1 for side in options if isinstance(side, Files)]
    if len(chosen) > 1 and doubtful:
        told = " Or ".join(side.told() + "." for side in doubtful if side.path == doubtful[0].path)
        raise InputError(
            f"scans and organs cannot be told apart. {told}",
            remedy="Say it with --layout scan/organ, organ/scan or scan.",
        )
    return chosen[0]
