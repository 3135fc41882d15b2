"""Who the scans are of: headers, folders and names, and which scans are of one person."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.formats.path_words import GROUP, GROUPS, PERSON, Token, cut, is_closing, written

#: Words for a part of a set that also name people, with a number: ``training01``.
_NUMBERED = {"train", "training", "test"}
OTHER = "if they are of different people, draft again with --patients scans"


@dataclass
class Named:
    """A scan as its path names it.

    Attributes:
        parts: Folders and name, without those that only say image, mask or a format.
        header: PatientID of its DICOM header, where it has one.
    """

    parts: tuple[str, ...]
    header: str = ""


@dataclass
class People:
    """The patients of scans.

    Attributes:
        ids: A patient for each scan.
        columns: Column → a text for each scan: the folders that name a group of people.
        notes: What was assumed.
    """

    ids: list[str]
    columns: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Path:
    """A path on its way to a patient: what is left of the folders and of the name."""

    folders: list[list[Token]]
    texts: list[str]
    name: list[Token]


def assign(scans: Sequence[Named], *, each: bool = False) -> People:
    """Tell the patients of scans.

    The PatientID of DICOM headers, if it differs between scans; a word such as ``patient`` with a number; a folder
    that holds scans of like names, or whose name theirs begin with; else the name, without closing words that tell
    scans of one person apart (visit, time, frame, run, view, side, sequence).

    Args:
        scans: The scans.
        each: Take every scan for a patient of its own.
    """
    paths = [_Path(*_folders(scan.parts), cut(scan.parts[-1])) for scan in scans]
    columns = _columns(paths)
    if each:
        return People(["-".join(scan.parts) for scan in scans], columns)
    keys = _keys(paths)
    notes: list[str] = []
    headers = {scan.header for scan in scans}
    if all(headers) and len(scans) > 0:
        if len(headers) > 1 or len(set(keys)) == 1:
            keys = [(scan.header,) for scan in scans]
            notes.append("patient_id is DICOM's PatientID; `organseg manifest pseudonymise` replaces it.")
        else:
            notes.append(
                "PatientID is the same in every DICOM header and was passed over: paths tell the patients apart."
            )
    ids = _short(keys)
    notes += _said(scans, ids)
    return People(ids, columns, notes)


def _folders(parts: Sequence[str]) -> tuple[list[list[Token]], list[str]]:
    """Folders without what says visit, side or sequence; those that say nothing else fall out."""
    tokens, texts = [], []
    for at, part in enumerate(parts[:-1]):
        words = _stripped(cut(part, at), least=0)
        if words:
            tokens.append(words)
            texts.append(written(words) if len(words) < len(cut(part)) else part)
    return tokens, texts


def _stripped(tokens: list[Token], least: int) -> list[Token]:
    """Tokens without closing words; ``least`` of them stay."""
    tokens = list(tokens)
    while (count := is_closing(tokens)) and len(tokens) - count >= least:
        tokens = tokens[: len(tokens) - count]
    return tokens


def _is_group(tokens: Sequence[Token]) -> bool:
    words = {token.low for token in tokens} | {re.sub(r"[a-z]$", "", token.text) for token in tokens}
    camel = {word.lower() for token in tokens for word in re.findall(r"[A-Z]?[a-z]+", token.text)}
    return bool((words | camel) & GROUP) and not {token.low for token in tokens} & PERSON


def _columns(paths: Sequence[_Path]) -> dict[str, list[str]]:
    """Folders that name groups of people, as columns: site, part of a set, or any other group."""
    columns: dict[str, list[str]] = {}
    depth = max((len(path.folders) for path in paths), default=0)
    for at in range(depth):
        here = [path.texts[at] if len(path.texts) > at else "" for path in paths]
        kinds = {text for text in here if text}
        tokens = [path.folders[at] for path in paths if len(path.folders) > at]
        worded = not any(re.search(r"\d", text) for text in kinds)
        if len(kinds) < 2 or not (worded or all(_is_group(one) for one in tokens)):
            continue
        if len(kinds) > max(2, len(paths) // 2):
            continue
        columns.setdefault(_column(tokens[0]), here)
    return columns


def _column(tokens: Sequence[Token]) -> str:
    words = " ".join(token.text for token in tokens)
    for column, known in GROUPS.items():
        if any(word.lower() in known for word in re.findall(r"[A-Z]?[a-z]+", words)):
            return column
    return "group"


def _keys(paths: Sequence[_Path]) -> list[tuple[str, ...]]:
    at, begins = _patient_folder(paths)
    closing = [written(path.name) for path in paths if not _stripped(path.name, least=0)]
    again = len(set(closing)) < len(closing)
    found: list[tuple[list[str], list[Token], bool]] = []  # what stands before, the name, and whether it is a person's
    for path in paths:
        before: list[str] = []
        for tokens in path.folders:
            person = _person(tokens)
            if person and len(before) >= (at or 0):
                found.append((before, person, True))
                break
            if at is not None and len(before) == at and (begins or not _is_group(tokens)):
                found.append((before, tokens, False))
                break
            before = [*before, written(tokens)]
        else:
            person = _person(path.name)
            if again and before and not person and not _stripped(path.name, least=0):
                # `doe_jane/scan1`: a name that says which scan it is, and not whose.
                found.append((before[:-1], path.folders[-1], False))
            else:
                found.append((before, person or path.name, bool(person)))
    names = iter(_names([name for _, name, known in found if not known]))
    keys = []
    for before, name, known in found:
        own = written(name) if known else next(names)
        # A long number is one person's wherever it lies; a count starts anew in every folder.
        keys.append((own,) if re.search(r"(?<!\d)[1-9]\d{4,}", own) else (*before, own))
    return keys


def _person(tokens: Sequence[Token]) -> list[Token]:
    """The name of a person up to the number after a word such as ``patient``; empty where there is none."""
    for index, token in enumerate(tokens[:-1]):
        if token.low in PERSON and any(letter.isdigit() for letter in tokens[index + 1].low):
            return list(tokens[: index + 2])
    return []


def _patient_folder(paths: Sequence[_Path]) -> tuple[int | None, bool]:
    """Which folder, from outside in, is a patient's, and whether the names of files begin with the folder's.

    Folders of patients are numbered, and differ in the number; and either the names in them begin with theirs, or
    the same names come again from folder to folder, or they have long numbers and several scans.
    """
    depth = max((len(path.folders) for path in paths), default=0)
    for at in range(depth):
        here = [path for path in paths if len(path.folders) > at]
        if len(here) == len(paths) and all(_begins(path, at) for path in here):
            if any({token.low for token in path.folders[at]} & (GROUP - _NUMBERED) for path in here):
                continue
            if len({written(path.folders[at]) for path in here}) > 1:
                return at, True
            continue
        inside: dict[str, list[str]] = defaultdict(list)
        for path in here:
            text = written(path.folders[at]).lower()
            later = [written(tokens).lower() for tokens in (*path.folders[at + 1 :], path.name)]
            inside["/".join([*path.texts[:at], text])].append("/".join(later))
        last = [name.rsplit("/", 1)[-1] for name in inside]
        groups = any(_is_group(path.folders[at]) for path in here)
        if groups or len(set(last)) < 2 or sum(re.search(r"\d", name) is not None for name in last) < 0.8 * len(last):
            continue
        rests = Counter(rest for files in inside.values() for rest in set(files))
        again = sum(count > 1 for count in rests.values())
        long = sum(re.search(r"\d{2}", name) is not None for name in last)
        several = len(inside) > 2 and len(inside) < len(here) <= 20 * len(inside)
        if (again and again >= 0.5 * len(rests)) or (long >= 0.8 * len(inside) and several):
            return at, False
    return None, False


def _begins(path: _Path, at: int) -> bool:
    """Whether a folder's name has a number, and a folder below it or the file's name begins with it."""
    text = written(path.folders[at]).lower()
    later = [written(tokens).lower() for tokens in (*path.folders[at + 1 :], path.name)]
    return re.search(r"\d", text) is not None and any(name.startswith(text) for name in later)


def _names(given: Sequence[list[Token]]) -> list[str]:
    """Names without what tells scans of one person apart."""
    names = [_stripped(name, least=1) for name in given]
    differ = len({written(name) for name in names}) > 1
    names = [
        kept if differ or any(token.is_number or len(token.low) > 2 for token in kept) else name
        for kept, name in zip(names, given, strict=True)
    ]
    for _ in range(2):
        shorter = _without_last_number(names)
        if shorter is None:
            break
        names = shorter
    return [written(name) for name in names]


def _without_last_number(names: Sequence[list[Token]]) -> list[list[Token]] | None:
    """Names up to a second number, such as ``00005`` of ``00005-001``; ``None`` where no two names are joined by it.

    The second number counts scans where it comes again from one person to the next; where it is new each time, it is
    a part of the person's own name (``TCGA-06-0119``), and so it is after a year (``2007_000032``).
    """
    different = {written(name): name for name in names}
    cut_off = {}
    firsts: set[str] = set()
    for text, name in different.items():
        numbers = [token.low for token in name[:-1] if token.is_number]
        if name[-1].is_number and numbers:
            firsts.add(numbers[-1])
            cut_off[text] = _stripped(name[:-1], least=1)
    if len(cut_off) <= 0.5 * len(different):
        return None
    different = {text: name for text, name in different.items() if text in cut_off}
    dates = all(re.fullmatch(r"(?:19|20)\d\d(?:\d{4})?", first) for first in firsts)
    groups = Counter(written(name) for name in cut_off.values())
    seconds = {name[-1].low for name in different.values()}
    if dates or len(firsts) < 2 or len(groups) == len(different) or len(seconds) > 0.5 * len(different):
        return None
    return [cut_off.get(written(name), name) for name in names]


def _short(keys: Sequence[tuple[str, ...]]) -> list[str]:
    """The last word of a key where it is no other patient's, else all of it."""
    last: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for key in keys:
        last[key[-1]].add(key)
    return [key[-1] if len(last[key[-1]]) == 1 else "-".join(key) for key in keys]


def _said(scans: Sequence[Named], ids: Sequence[str]) -> list[str]:
    """What a person should know of the patients."""
    of: dict[str, list[str]] = defaultdict(list)
    for scan, patient in zip(scans, ids, strict=True):
        of[patient].append("/".join(scan.parts))
    several = {patient: names for patient, names in of.items() if len(names) > 1}
    if not several:
        return ["Each scan counts as a patient of its own; where that is not so, mend patient_id."]
    if len(of) == 1:
        return [
            f"All {len(scans)} scans count as scans of one patient, {next(iter(of))}, so nothing can be split; {OTHER}."
        ]
    patient, names = next(iter(several.items()))
    more = ", …" if len(names) > 2 else ""
    return [
        f"{len(several)} patient{'s have' if len(several) > 1 else ' has'} several scans, such as {patient}: "
        f"{', '.join(names[:2])}{more}; {OTHER}."
    ]
