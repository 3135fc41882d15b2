"""What readers noticed in a scan's header, in sentences: said of every scan, whether it is ingested or predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def noticed(notes: Mapping[str, Any], modality: str) -> Iterator[tuple[str, str]]:
    """What was assumed or looks odd.

    Args:
        notes: Of a scan.
        modality: What it was read as.

    Yields:
        A short name, and a sentence without a final full stop that names nothing of the source.
    """
    if "modality_differs" in notes:
        yield ("modality", f"the header says {notes['modality_differs']}, the study {modality}")
    if notes.get("duplicates"):
        yield ("duplicate_slices", f"{notes['duplicates']} slices came twice and were dropped")
    if notes.get("forms_differ"):
        yield ("forms_differ", "qform and sform disagree, and the sform was used")
    if "sizes_differ" in notes:
        yield ("sizes_differ", f"the header gives voxels of {notes['sizes_differ']}, and the sform was used")
    if "rounded" in notes:
        yield ("rounded", f"the slice positions are {notes['rounded']}")
    if "no_rescale" in notes:
        yield ("no_rescale", f"{notes['no_rescale']}, and its values were taken as they are stored")
    if notes.get("format") == "stack":
        yield (
            "stack_axes",
            "the pictures were stacked as axial slices: columns run to the left, rows to the back, and numbers upwards",
        )
    if notes.get("orientation") == "assumed":
        yield ("orientation", "the header gives no orientation, and RAS+ was assumed")
    if notes.get("spacing") == "assumed" or notes.get("step_assumed"):
        yield ("spacing", "the header lacks a voxel size, and 1 mm was assumed")
    if "unusable" in (notes.get("sform"), notes.get("qform")):
        yield ("form_unusable", "one of the header's two geometries cannot be used")
    if notes.get("sheared"):
        yield ("sheared", "the slices are stacked askew, as with a tilted gantry, and the affine keeps that")
    if str(notes.get("colour", "")).startswith("luma"):
        yield ("colour", "the radiograph is in colour, and its luma was used")
