"""Reasons of rejections, without anything that identifies a patient."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.abc import InspectLoader
from pathlib import Path
from types import CodeType
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.manifest import Row

#: Names of folders that are words of our own sentences, quoted ones too.
_PLAIN = {"data", "dicom", "image", "images", "label", "labels", "mask", "masks", "nifti", "scan", "scans", "series"}
_HIDDEN = "(file)"


def rejection(code: str, error: InputError, row: Row) -> dict[str, Any]:
    """A rejected row: the reason without anything from the source's path."""
    reason = f"{error.what}. {error.remedy}" if error.remedy else error.what
    return {"code": code, "reason": scrub(reason, row.files(), row.scan_id)}


def scrub(text: str, paths: Sequence[str], keep: str = "") -> str:
    """Text without names of files and folders, which may identify the patient.

    A name that is also a word of our own sentences (a file called ``missing``) is hidden where it is quoted or part of
    a path, and else is taken for our word.

    Args:
        text: A reason.
        paths: Paths that the reason may speak of.
        keep: A word that is no secret: the scan's id.
    """
    words = set()
    for name in paths:
        for part in Path(name).parts:
            for word in (part, part.split(".")[0]):
                if len(word) > 3 and word not in keep and word.lower() not in _PLAIN:
                    words |= {unicodedata.normalize(form, word) for form in ("NFC", "NFD")} | {word}
    for word in sorted(words, key=len, reverse=True):
        text = re.sub(re.escape(word), lambda found: _HIDDEN if _is_name(found) else found[0], text)
    return text


def _is_name(found: re.Match[str]) -> bool:
    """Whether a name of the input that was found in a sentence stands there as a name, and not as a word of ours."""
    text, (start, end) = found.string, found.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    # A name is quoted, a part of a path, or goes on with an ending; a sentence goes on with a blank after its stop.
    quoted = before in {"'", '"', "`"} and before == after
    ending = after == "." and text[end + 1 : end + 2].isalnum()
    if quoted or before in {"/", "\\"} or after in {"/", "\\"} or ending:
        return True
    if not all(letter.isalpha() or letter == " " for letter in found[0]):
        return not _is_size(text, start, end)
    first, last = start, end
    while first > 0 and text[first - 1].isalpha():
        first -= 1
    while last < len(text) and text[last].isalpha():
        last += 1
    ours = own_words(len(sys.modules))
    return any(word not in ours for word in text[first:last].split())


def _is_size(text: str, start: int, end: int) -> bool:
    """Whether a number stands in a size such as ``1024 × 768``."""
    return text[end : end + 2] == " ×" or text[max(start - 2, 0) : start] == "× "


@lru_cache(maxsize=1)
def own_words(modules: int) -> frozenset[str]:
    """The words of the sentences that this program can say: those of the texts in its modules that are loaded.

    A sentence that was made in this process comes from a module that is loaded in it.

    Args:
        modules: How many are loaded; more of them may bring more words.
    """
    words: set[str] = set()
    for name, module in list(sys.modules.items()):
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if name.partition(".")[0] == "pipeline" and isinstance(loader, InspectLoader):
            code = loader.get_code(name)
            for text in _texts(code) if code is not None else ():
                words.update(re.findall(r"[^\W\d_]+", text))
    return frozenset(words)


def _texts(code: CodeType) -> Iterator[str]:
    """Texts in a module's code, without docstrings of several lines."""
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _texts(value)
        for text in value if isinstance(value, (tuple, frozenset)) else (value,):
            if isinstance(text, str) and "\n" not in text:
                yield text
