"""Names against values: which organ a segment or value of a mask file is, by its name there and by its number.

Names that equal the study's organs win. Where no name does, numbers count only if the names say nothing of their own,
or if there is one reading alone; all else is refused with both readings named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.names import plain
from pipeline.core.organs import organ_values
from pipeline.core.study import Ingest, Organ

#: Words for a segment that say no more than its number.
_NUMBERED = re.compile(
    r"(?:segments?|labels?|regions?|class|classes|rois?|masks?|values?|structures?|objects?)?0*(\d*)"
)
_BACKGROUND = {"background", "clearlabel", "unlabeled", "unlabelled"}
_REMEDY = "Say which they are: names: {WORD: organ} in the config, or ingest.background for what is none."


@dataclass(frozen=True)
class Segment:
    """What a mask file calls one of its segments or values.

    Attributes:
        label: The name that a person gave; empty where there is none.
        more: Further words: description, kind, code.
        organ: The organ that a code in it means, where it has one of the study's.
    """

    label: str
    more: tuple[str, ...] = ()
    organ: str | None = None


def organ_numbers(organs: Mapping[str, Organ]) -> dict[int, str]:
    """Value → organ, as the study numbers them; values that several organs share name none."""
    owners: dict[int, list[str]] = {}
    for name, values in organ_values(organs).items():
        for value in values:
            owners.setdefault(value, []).append(name)
    return {value: names[0] for value, names in owners.items() if len(names) == 1}


def says_nothing(label: str, number: int) -> bool:
    """Whether a segment's name is no more than its number: ``Segment_1``, ``Label 1`` or nothing."""
    found = _NUMBERED.fullmatch(plain(label))
    return found is not None and found[1] in ("", str(number))


def match_segments(
    segments: Mapping[int, Segment],
    used: Collection[int],
    organs: Mapping[str, Organ],
    options: Ingest,
    notes: dict[str, Any] | None = None,
) -> dict[int, str]:
    """Segment number → organ, by name where a name is an organ's, else by number where nothing speaks against it.

    Args:
        segments: What the file calls each number.
        used: The numbers that have voxels.
        organs: The study's organs.
        options: Numbers and names in ``background`` are passed over.
        notes: Takes what was assumed: ``names_won`` and ``numbers_taken``, sentences for a finding.

    Raises:
        InputError: A segment that has voxels is no organ of the study, or may be two.
    """
    notes = {} if notes is None else notes
    matched = called_by_name(segments, organs)
    passed = {plain(word) for word in options.background if isinstance(word, str)} | _BACKGROUND
    numbers = organ_numbers(organs)

    def is_passed(number: int) -> bool:
        return number in options.background or plain(segments.get(number, Segment("")).label) in passed

    unknown = [number for number in sorted(used) if number not in matched and not is_passed(number)]
    if unknown and not matched:
        return _by_number(unknown, segments, organs, notes)
    if unknown:
        raise InputError(
            f"the mask holds segments that are no organ of the study: {_shown(unknown, segments)}", remedy=_REMEDY
        )
    differ = [n for n in sorted(used) if n in matched and numbers.get(n) != matched[n]]
    if differ:
        own = {name: value for value, name in numbers.items()}
        said = (f"{matched[n]} is {n} in the file and {own.get(matched[n], 'another')} in the study" for n in differ)
        notes["names_won"] = "; ".join(said)
    return matched


def called_by_name(segments: Mapping[int, Segment], organs: Mapping[str, Organ]) -> dict[int, str]:
    """Segments whose words or codes are an organ's; its label counts before its other words."""
    wanted: dict[str, str] = {}
    for name, organ in organs.items():
        for word in (name, *organ.aliases, *([organ.snomed] if organ.snomed else [])):
            if plain(word):
                wanted.setdefault(plain(word), name)
    called = {n: wanted[plain(segment.label)] for n, segment in segments.items() if plain(segment.label) in wanted}
    taken = set(called.values())
    for number, segment in segments.items():
        if number in called:
            continue
        found = next((wanted[plain(word)] for word in segment.more if plain(word) in wanted), segment.organ)
        # "liver" and "liver tumour" may share the code of the liver: then the one that is called so is meant.
        if found is not None and found not in taken:
            called[number] = found
    return called


def _by_number(
    unknown: list[int], segments: Mapping[int, Segment], organs: Mapping[str, Organ], notes: dict[str, Any]
) -> dict[int, str]:
    """Segments of which none is called as an organ of the study is."""
    numbers = organ_numbers(organs)
    labels = {number: segments.get(number, Segment("")).label for number in unknown}
    nameless = all(says_nothing(label, number) for number, label in labels.items())
    # Organs that are called by their numbers alone, as where two files are compared without names, have no other.
    nameless = nameless or all(says_nothing(name, number) for number, name in numbers.items())
    if len(unknown) == 1 and len(organs) == 1:
        only = next(iter(organs))
        called = "" if nameless else ", which the file calls otherwise"
        notes["numbers_taken"] = f"segment {unknown[0]}{called} was taken for {only}, the study's one organ"
        return {unknown[0]: only}
    read = ", ".join(f"{n} would be {numbers.get(n, 'no organ')}" for n in unknown[:5])
    if nameless and all(number in numbers for number in unknown):
        notes["numbers_taken"] = "; ".join(f"segment {n} was taken for {numbers[n]}" for n in unknown)
        return {number: numbers[number] for number in unknown}
    if nameless:
        raise InputError(
            f"the mask holds segments that are no organ of the study: {_shown(unknown, segments)}", remedy=_REMEDY
        )
    raise InputError(
        f"the mask names its segments {_shown(unknown, segments)}, none of them as the study does; by number {read}",
        remedy=_REMEDY,
    )


def _shown(numbers: Collection[int], segments: Mapping[int, Segment]) -> str:
    shown = ", ".join(f"{n} ({segments.get(n, Segment('')).label or '?'})" for n in list(numbers)[:5])
    return shown + (", …" if len(numbers) > 5 else "")


def match_one(
    segments: Mapping[int, Segment],
    used: Collection[int],
    organ: str,
    organs: Mapping[str, Organ],
    options: Ingest,
    notes: dict[str, Any],
) -> set[int]:
    """The segments that are one organ, in a file that is given for that organ.

    Those called so; where none is, the only one that has voxels, unless it is called as another organ.

    Raises:
        InputError: Nothing says which of several it is, or the file's one segment is another organ.
    """
    matched = called_by_name(segments, organs)
    own = {number for number, name in matched.items() if name == organ}
    if own:
        return own
    passed = {plain(word) for word in options.background if isinstance(word, str)} | _BACKGROUND
    left = [n for n in sorted(used) if plain(segments.get(n, Segment("")).label) not in passed and n != 0]
    if len(left) > 1:
        raise InputError(
            f"the file is given for {organ} and holds several segments, none called so: {_shown(left, segments)}",
            remedy=f"Say which it is: names: {{WORD: {organ}}} in the config.",
        )
    if left and left[0] in matched:
        raise InputError(
            f"the file is given for {organ}, and its one segment is called {matched[left[0]]}",
            remedy="Correct the manifest, or the file.",
        )
    if left and not says_nothing(segments.get(left[0], Segment("")).label, left[0]):
        notes["numbers_taken"] = f"the one segment of {organ}'s file, which is called otherwise, was taken for it"
    return set(left)


def match_regions(regions: Mapping[str, tuple[int, ...]], organs: Mapping[str, Organ]) -> dict[str, tuple[int, ...]]:
    """Organ → the values that it shares with others, where regions of a file are called as the study's organs."""
    numbered = dict(enumerate(regions))
    called = called_by_name({number: Segment(word) for number, word in numbered.items()}, organs)
    return {name: regions[numbered[number]] for number, name in called.items()}


def resolve(
    segments: Mapping[int, Segment],
    used: Collection[int],
    organs: Mapping[str, Organ],
    options: Ingest,
    notes: dict[str, Any],
    only: str | None,
) -> dict[int, str]:
    """Segment number → organ: of a file with all organs, or of one that is given for ``only`` one."""
    if only is None:
        return match_segments(segments, used, organs, options, notes)
    return dict.fromkeys(match_one(segments, used, only, organs, options, notes), only)
