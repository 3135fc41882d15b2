"""Reasons of rejections, without anything that identifies a patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.manifest import Row

#: Names of folders that are words of our own sentences.
_PLAIN = {"data", "dicom", "image", "images", "label", "labels", "mask", "masks", "nifti", "scan", "scans", "series"}


def rejection(code: str, error: InputError, row: Row) -> dict[str, Any]:
    """A rejected row: the reason without anything from the source's path."""
    reason = f"{error.what}. {error.remedy}" if error.remedy else error.what
    return {"code": code, "reason": scrub(reason, row.files(), row.scan_id)}


def scrub(text: str, paths: Sequence[str], keep: str = "") -> str:
    """Text without names of files and folders, which may identify the patient.

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
                    words.add(word)
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "(file)")
    return text
