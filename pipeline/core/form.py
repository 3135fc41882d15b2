"""Versions of the form of what is kept: another version than this organseg's is refused, never read as if it were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import read_json, write_json
from pipeline.core.paths import StudyPaths

#: Of ``results/<study>``: to be counted up when a file there moves, or a column or key changes its meaning. Caches have
#: versions of their own in their keys, and are made anew.
RESULTS = 1


def check_format(content: object, known: int, path: Path, maker: str) -> None:
    """Refuse a description of another version than this one reads.

    Args:
        content: What was read; a description without ``format`` is of the first version.
        known: The version that is read here.
        path: The file, for the message.
        maker: The command that writes it.

    Raises:
        InputError: It has another version.
    """
    found = content.get("format", 1) if isinstance(content, Mapping) else known
    if found != known:
        raise InputError(
            f"has version {found!r} of its form, and this organseg reads version {known}",
            where=str(path),
            remedy=f"Take the organseg that wrote it, or run `{maker}` again.",
        )


def check_results(paths: StudyPaths) -> None:
    """Refuse a study's results of another version.

    Raises:
        InputError: They have another version, or the file that tells it is damaged.
    """
    if not paths.form.is_file():
        return
    found = read_json(paths.form)
    version = found.get("format") if isinstance(found, Mapping) else found
    if version != RESULTS:
        raise InputError(
            f"these results have version {version!r} of their form, and this organseg reads version {RESULTS}",
            where=str(paths.form),
            remedy=f"Take the organseg that wrote them, or move {paths.results} away and run the study again.",
        )


def mark_results(paths: StudyPaths) -> None:
    """Note the version of a study's results, before anything is written among them.

    Results without the note are of the first version, which had none.
    """
    if not paths.form.is_file():
        write_json(paths.form, {"format": RESULTS})
