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


#: How far readers agree on an organ, where several drew it: mean Dice of their pairs. ``readers_dice_heart``.
READERS_FAMILY = "readers_dice"


def scan_columns(organs: Iterable[str], *, readers: bool = False) -> tuple[str, ...]:
    """All columns that ingestion fills in for a study with these organs, in the order of the table.

    Args:
        organs: The study's organs.
        readers: Whether several readers drew them.
    """
    organs = list(organs)
    families = (*ORGAN_FAMILIES, *([READERS_FAMILY] if readers else []))
    return (*SCAN_COLUMNS, *(f"{family}_{organ}" for family in families for organ in organs))
