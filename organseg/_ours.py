"""Finds the package ``pipeline`` that belongs to organseg, whatever else goes by that name."""

from __future__ import annotations

import importlib.util
import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Programs of ours that Python starts as modules, and so with the working folder first on its path.
PROGRAMS = ("organseg", "monai.bundle")


def find_ours() -> None:
    """Make sure that ``import pipeline`` gives the package beside this one.

    Where Python was started as one of :data:`PROGRAMS`, nobody can have meant another ``pipeline``: the folder that
    holds it is taken off the path, for this process and those that it starts. In a session or script of the user it is
    left alone, since the user's own ``import pipeline`` would give another module than before.

    Raises:
        ImportError: Another module of that name comes first; the message says which, and how to mend it.
    """
    other = _other()
    if other and _program() in PROGRAMS:
        folder = os.path.dirname(other if os.path.basename(other) != "__init__.py" else os.path.dirname(other))
        sys.path[:] = [entry for entry in sys.path if not _same(entry or os.getcwd(), folder)]
        os.environ["PYTHONSAFEPATH"] = "1"
        importlib.invalidate_caches()
        other = _other()
    if other:
        raise ImportError(
            f"organseg needs its own package pipeline, in {HOME}, and Python finds another one first: {other}. "
            "Rename that file or folder, start Python in another folder, or set PYTHONSAFEPATH=1; "
            "the commands (organseg …, python -m organseg …) work here as they are."
        )


def _other() -> str:
    """The file of a ``pipeline`` that is not ours and comes first; empty where there is none."""
    loaded = sys.modules.get("pipeline")
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec("pipeline")
    if spec is None:
        return ""
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "pipeline")
    return "" if _same(found, os.path.join(HOME, "pipeline", "__init__.py")) else found


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _program() -> str:
    """The module that ``python -m`` was given, if that is how Python was started."""
    words = sys.orig_argv
    return words[words.index("-m") + 1] if "-m" in words[:-1] else ""
