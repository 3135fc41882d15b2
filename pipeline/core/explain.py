"""What is wrong with a config or a word in it, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line what is wrong with a value, with the nearest right key for an unknown one."""
    parts = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(model, item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, 1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            parts.append(f"{place} is not a key here; {hint}")
        elif item["type"] == "missing":
            parts.append(f"{place} is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            given = "" if item["type"] == "value_error" else f", not {item['input']!r}"
            parts.append(f"{place}: {message}{given}" if place else message)
    return "; ".join(parts)


def nearest(word: str, known: Iterable[str], kind: str) -> str:
    """A remedy that gives the nearest right word."""
    known = list(known)
    near = difflib.get_close_matches(word, known, 1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known {kind}: {', '.join(known)}."


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that a nested section knows, following a validation error's location."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = _section_in(current.model_fields[str(part)].annotation)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _section_in(annotation: Any) -> Any:
    """The section inside ``X``, ``X | None`` or ``dict[str, X]``."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), annotation)
