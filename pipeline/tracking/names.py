"""Names that MLflow takes: metric keys of organs, flattened parameters, titles of runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Longest key, and longest value of a parameter, that MLflow stores.
KEY_LENGTH = 250
VALUE_LENGTH = 6000
#: Stands for the mean over organs in metric keys.
ALL = "all organs"


def safe_part(text: str) -> str:
    """One part of a metric key: letters, digits, ``_``, ``-``, ``.`` and single blanks, never empty.

    >>> safe_part("left lung (upper)")
    'left lung upper'
    """
    cleaned = re.sub(r"[^A-Za-z0-9_.\- ]+", " ", text)
    cleaned = re.sub(r"\s+", " ", cleaned).strip(" .")
    return cleaned[:100].strip(" .") or "unnamed"


def metric_names(organs: Iterable[str]) -> dict[str, str]:
    """Organ → the part of a metric key that stands for it; two organs never share one.

    Names that become equal are numbered in the order of the organs: ``lung (l)``, ``lung [l]`` → ``lung l``,
    ``lung l 2``. Equality ignores case, because MLflow's artifact stores may lie on file systems that do.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for organ in organs:
        base = name = safe_part(organ)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{base} {number}"
        taken.add(name.casefold())
        names[organ] = name
    return names


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as parameters: ``{"network": {"name": "unet"}}`` → ``{"network.name": "unet"}``.

    Lists stay whole, as JSON; what has no value is left out.
    """
    flat: dict[str, str] = {}
    for name, value in values.items():
        key = f"{prefix}{safe_part(str(name))}"[:KEY_LENGTH]
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{key}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            if text:
                flat[key] = text[:VALUE_LENGTH]
    return flat


def registered_name(study: str) -> str:
    """Name of a study's model in the registry."""
    return f"organseg-{study}"
