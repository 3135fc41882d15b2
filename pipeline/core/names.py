"""Names that become parts of paths, and the one way from a word to a path.

Words come out of files, manifests, models and the command line. One that were a path itself, such as ``../x``, would
write outside the folder that was named, so a word becomes a path only here.
"""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from pipeline.core.errors import InputError

#: A study, a model, a version: also parts of web addresses, of MLflow names and of command lines.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: A scan; its names are often made of longer ones.
SCAN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
PLAIN = "letters, digits, '_', '-' and '.', with a letter or digit first"
#: Bytes of a file's name that every file system of today takes, and of an organ's, to which endings are added.
LONGEST, LONGEST_ORGAN = 240, 150


def is_part(word: str) -> bool:
    """Whether a word can be one part of a path: a name in any language, and nothing that a file system acts on."""
    return (
        0 < len(word.encode("utf-8", "replace")) <= LONGEST
        and not word.startswith(".")
        and word == word.strip()
        and not any(letter in "/\\:" or unicodedata.category(letter).startswith("C") for letter in word)
    )


def below(folder: Path, *words: str) -> Path:
    """The path of words inside a folder.

    Args:
        folder: The folder.
        words: Parts of the path, from outside in.

    Raises:
        InputError: A word is no single part of a path.
    """
    for word in words:
        if not is_part(word):
            raise InputError(f"{word!r} cannot be part of a path", remedy="Rename it.")
    return folder.joinpath(*words)


def within(folder: Path, text: str, *, called: str = "its folder") -> Path:
    """The path of a relative path such as ``images/case7.nii.gz`` inside a folder; ``.`` is the folder itself.

    Links that a person has put into the folder are followed: they are theirs. A letter with an accent may be written
    in two ways, as one sign or as two (NFC, NFD), and systems differ in which they keep: where a name is not there as
    it was given, one that reads the same is taken.

    Raises:
        InputError: The text is absolute, or leaves the folder, or holds what no path holds.
    """
    if "\\" in text:
        raise InputError(f"the path {text!r} has a backslash", remedy="Write / between folders.")
    parts = PurePosixPath(text).parts
    odd = any(unicodedata.category(letter) == "Cc" for letter in text)
    if (not parts and text != ".") or odd or text.startswith("/") or ".." in parts:
        raise InputError(
            f"the path {text!r} is absolute or leaves {called}", remedy=f"Give paths relative to {called}."
        )
    path = folder.joinpath(*parts)
    return path if text.isascii() or path.exists() else _reading_alike(folder, parts)


def same_text(word: str) -> str:
    """A word in the one form of accents (NFC) in which words are compared."""
    return unicodedata.normalize("NFC", word)


def _reading_alike(folder: Path, parts: Sequence[str]) -> Path:
    """The path whose parts read like the given ones; as given from the first part on that has no such name."""
    for index, part in enumerate(parts):
        try:
            there = [name for name in os.listdir(folder) if same_text(name) == same_text(part)]
        except OSError:
            there = []
        if not there:
            return folder.joinpath(*parts[index:])
        folder = folder / (part if part in there else there[0])
    return folder


def plain(word: str) -> str:
    """A word as names are compared: letters and digits of any language, whatever their case and way of writing."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", word).casefold() if letter.isalnum())


def joined_aliases(names: Mapping[str, str], aliases: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Organ → all its aliases: its own, and the names that a study says stand for it.

    Args:
        names: Word in mask files → organ.
        aliases: Organ → its own aliases.

    Raises:
        ValueError: A name stands for no organ, or a word for two.
    """
    joined = {organ: list(words) for organ, words in aliases.items()}
    for word, organ in names.items():
        if organ not in joined:
            near = difflib.get_close_matches(organ, joined, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; organs: {', '.join(joined)}"
            raise ValueError(f"names: {word!r} stands for {organ!r}, which is not an organ of the study{hint}")
        joined[organ] += [] if word in joined[organ] else [word]
    meant = {plain(organ): organ for organ in joined}
    for organ, words in joined.items():
        for word in words:
            if meant.setdefault(plain(word), organ) != organ:
                raise ValueError(f"organs: {word!r} stands for {meant[plain(word)]!r} and for {organ!r}")
    return joined


def checked_name(word: str, what: str = "a name") -> str:
    """A word that can be the name of a study, a model or a version.

    Raises:
        InputError: It cannot.
    """
    if not NAME.fullmatch(word):
        raise InputError(f"{word!r} cannot be {what}", remedy=f"Use up to 64 {PLAIN}.")
    return word


def _name(word: str) -> str:
    try:
        return checked_name(word)
    except InputError as error:
        raise ValueError(str(error)) from None


def _organ(word: str) -> str:
    if not is_part(word) or len(word.encode()) > LONGEST_ORGAN:
        raise ValueError(f"{word!r} cannot be a name: it is empty, too long, or has '/', '\\', ':' or a first '.'")
    return same_text(word)


def _place(text: str) -> str:
    try:
        within(Path(), text)
    except InputError as error:
        raise ValueError(error.what) from None
    return text


#: In pydantic models: a path relative to a folder, which it does not leave.
Place = Annotated[str, AfterValidator(_place)]
#: In pydantic models: a study, a model, a version.
Name = Annotated[str, AfterValidator(_name)]
#: In pydantic models: an organ, in any language.
OrganName = Annotated[str, AfterValidator(_organ)]
#: In pydantic models: a word that is compared with words out of files.
Word = Annotated[str, AfterValidator(same_text)]
