"""What can be fetched again (encoders' weights, a server's models) is kept in the user's cache, outside any project."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from pipeline.core.locks import tell


def cached(*parts: str) -> Path:
    """A place in the cache: below ``ORGANSEG_CACHE``, else below ``organseg`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    given = os.environ.get("ORGANSEG_CACHE")
    if given:
        return Path(given).expanduser().joinpath(*parts)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").joinpath("organseg", *parts)


def writable(place: Path) -> Path:
    """A place in the cache that is to be written, with its folder made.

    Where the cache cannot be written, as in a home that is read-only, a place in a folder of ``TMPDIR`` that goes with
    this process: what is fetched then is fetched again by the next one.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fault = "" if os.access(place.parent, os.W_OK) else "it is not yours to write"
    except OSError as error:
        fault = error.strerror or type(error).__name__
    if not fault:
        return place
    tell(f"the cache {place.parent} cannot be written ({fault}); what is fetched is kept for this command alone")
    return _passing_folder() / place.name


@cache
def _passing_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="organseg-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
