"""The columns of ``scans.csv`` that ingestion fills in; all others come from the manifest and make subgroups."""

from __future__ import annotations

from collections.abc import Iterable

#: What is measured of every image, masks apart.
IMAGE_COLUMNS = (
    *("modality", "channels", "size_x", "size_y", "size_z", "spacing_x", "spacing_y", "spacing_z", "spacing_source"),
    *("orientation", "low", "high", "saturated", "greys"),
)
SCAN_COLUMNS = (
    *("scan_id", "patient_id", "shard", "split", "fold", "labelled"),
    *IMAGE_COLUMNS,
    *("organs", "annotated", "border", "findings"),
)
#: What is measured of every organ: each gives columns such as ``volume_heart``.
ORGAN_FAMILIES = ("volume", "components")


def scan_columns(organs: Iterable[str]) -> tuple[str, ...]:
    """All columns that ingestion fills in for a study with these organs, in the order of the table."""
    organs = list(organs)
    return (*SCAN_COLUMNS, *(f"{family}_{organ}" for family in ORGAN_FAMILIES for organ in organs))
