"""Cells of tables that hold an object: JSON, or what Python prints of one."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from pipeline.core.errors import InputError

#: Counts as Python prints bytes; its quotes are no characters of COCO's scheme.
_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)
#: Counts may begin with a bracket too, which is a character of that scheme; a list holds nothing but numbers.
_LIST = re.compile(r"\[[0-9eE+.,\s\[\]-]*\]")
_OBJECT = re.compile(r"""\s*(\{.*['"]counts['"]|b(['"])[0-o\\]{2,}\2\s*$)""", re.DOTALL)


def holds_object(text: str) -> bool:
    """Whether a cell is an object with COCO's counts, or such counts as Python prints bytes."""
    return bool(_OBJECT.match(text))


def parsed_text(text: str) -> Any:
    """The value of a cell's text, JSON or what Python prints (``{'size': [h, w], 'counts': b'…'}``, ``b'…'``).

    Other text is given back as it is.

    Raises:
        InputError: It begins like one of them and is not.
    """
    body = text.strip()
    if not (body.startswith("{") or _BYTES.fullmatch(body) or _LIST.fullmatch(body)):
        return text
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        try:
            value = ast.literal_eval(body)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            raise InputError(f"is not JSON ({error})") from None
    if isinstance(value, dict) and "counts" in value:
        value = {**value, "counts": plain_counts(value["counts"])}
    return _ascii(value) if isinstance(value, bytes) else value


def plain_counts(counts: Any) -> Any:
    """Compressed counts without the ``b'…'`` that Python prints around bytes; others as they are."""
    if isinstance(counts, str) and _BYTES.fullmatch(counts.strip()):
        return parsed_text(counts)
    return _ascii(counts) if isinstance(counts, bytes) else counts


def _ascii(counts: bytes) -> str:
    """Bytes as text; letters beyond ASCII stay visible, and are refused where they are read."""
    return counts.decode("ascii", errors="backslashreplace")
