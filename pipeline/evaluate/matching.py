"""Scans of two folders matched by name: as they are, by one part of their paths, or by what varies in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.core.errors import InputError
from pipeline.evaluate.sources import Files, Source
from pipeline.formats.mask_words import MASK_WORDS, constant_words, is_anatomy, tokens

_Key = Callable[[str], object]


def match_scans(ours: Sequence[str], theirs: Sequence[str]) -> tuple[dict[str, str], str]:
    """Scan of the references → scan of the predictions, and how they were matched where names differ.

    Names are tried as they are, then by their last or first folder, then by their words and numbers without those that
    all names of a side have and those such as ``gt`` and ``pred``.

    Raises:
        InputError: The words that are left away name two parts of the body.
    """
    if len(ours) == len(theirs) == 1:
        return {theirs[0]: ours[0]}, ""
    keys: list[tuple[str, _Key, _Key]] = [("", str, str)]
    ends: list[tuple[str, _Key]] = [("", str), ("the last part of their paths", _last), ("the first part", _first)]
    keys += [(f"{b or a}", f, g) for a, f in ends for b, g in ends]
    keys.append(("the words and numbers that vary", _varying(ours), _varying(theirs)))
    best: dict[str, str] = {}
    how = ""
    for told, our_key, their_key in keys:
        found = _by_key(ours, theirs, our_key, their_key)
        if len(found) > len(best):
            best, how = found, told
    if how.startswith("the words"):
        _check_words(ours, theirs)
    return best, how


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
    fits: list[tuple[tuple[float, int], Source, Source]] = []
    for first in ours:
        for second in theirs:
            pairs, _ = match_scans(first.names(), second.names())
            organs = set(first.organs()) & set(second.organs())
            fits.append(((2 * len(pairs) / (len(first.names()) + len(second.names())), len(organs)), first, second))
    best = max(score for score, *_ in fits)
    chosen = [(first, second) for score, first, second in fits if score == best]
    if len(chosen) > 1 and any(isinstance(side, Files) for side in chosen[0] if side in _doubtful(ours, theirs)):
        told = " Or ".join(dict.fromkeys(side.told() + "." for pair in chosen for side in pair))
        raise InputError(
            f"scans and organs cannot be told apart. {told}",
            remedy="Say it with --layout scan/organ, organ/scan or scan.",
        )
    return chosen[0]


def _doubtful(*sides: Sequence[Source]) -> list[Source]:
    return [source for side in sides if len(side) > 1 for source in side]
