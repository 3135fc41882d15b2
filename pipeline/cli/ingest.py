"""``organseg ingest PATH… --out DIR``: scans without a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.ingest.alone import Ingested


def ingest_files(scans: list[Path], out: Path, modality: str | None) -> int:
    """Read files and folders, write volumes and tables, print what became of each.

    Returns:
        0 when all were read, 3 when some were rejected.

    Raises:
        InputError: A path does not exist, or the modality is not known.
    """
    from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, InputError
    from pipeline.ingest.alone import ingest_alone

    if modality is not None and modality not in ("xray", "mri", "ct", "photo"):
        raise InputError(f"there is no modality {modality!r}", remedy="Known: xray, mri, ct, photo.")
    outcomes = ingest_alone(scans, out, modality)  # type: ignore[arg-type]
    _print_table(outcomes)
    return EXIT_SOME_FAILED if any(item.failed for item in outcomes) else EXIT_OK


def _print_table(outcomes: Sequence[Ingested]) -> None:
    """One line a scan; the only place where its source stands beside its new name."""
    from pipeline.core.units import length_unit

    rows = [("scan", "what", "size", "spacing", "result", "source")]
    for item in outcomes:
        cells = item.cells
        if item.read:
            size = " × ".join(str(cells[f"size_{axis}"]) for axis in "xyz")
            size += f" × {cells['channels']}" if cells["channels"] > 1 else ""
            unit = length_unit(cells["spacing_source"])
            spacing = " × ".join(f"{cells[f'spacing_{axis}']:.3g}" for axis in "xyz") + f" {unit}"
            result = cells["findings"] or "read"
        else:
            size = spacing = ""
            result = ("rejected: " if item.failed else "passed over: ") + cells["reason"]
        rows.append((cells["scan_id"] or "-", item.kind, size, spacing, result, item.source))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), *row[4:]]))
    read = sum(item.read for item in outcomes)
    failed = sum(item.failed for item in outcomes)
    print(f"{read} scans read, {failed} rejected, {len(outcomes) - read - failed} objects passed over")
