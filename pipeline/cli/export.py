"""``organseg export SCAN MASK`` without a study: one scan and its mask in other formats, each read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError


def export_files(
    scan: Path,
    mask: Path,
    out: Path,
    *,
    formats: Sequence[str],
    organs: str | None = None,
    modality: str | None = None,
    overlapping: bool = False,
    dialect: str = "organseg",
) -> int:
    """Write one scan and its mask in other formats, and read each back.

    Args:
        scan: DICOM file or series folder, NIfTI, picture.
        mask: Label volume, index picture, DICOM SEG or run lengths with all organs; or a folder with a file an organ.
        out: Folder to write to.
        formats: As in a study's ``export.formats``, but for ``nnunet``.
        organs: ``1=liver,2=spleen``; not needed for a folder, whose files' names are the organs.
        modality: ``xray``, ``mri``, ``ct`` or ``photo``; by default what the file says.
        overlapping: Keep overlaps of organs.
        dialect: Dialect of run lengths that are written.

    Returns:
        The exit code: 0.

    Raises:
        InputError: A file cannot be read, or what was read back differs from what was written.
    """
    from pipeline.core.files import write_table
    from pipeline.core.study import parse_study
    from pipeline.export.checks import COLUMNS
    from pipeline.export.forms import FORMS, Job, check_forms, export_scan, export_tables
    from pipeline.export.shared import FILES

    check_forms(formats, [*FORMS, *FILES])
    named, source = _organs(mask, organs)
    image = _read(scan, modality)
    study = parse_study(
        {
            "modality": image.modality,
            "organs": named,
            "overlapping": overlapping,
            "export": {"formats": list(formats), "rle_dialect": dialect},
        },
        "the options",
    )
    labels = _read_labels(source, image, study, scan.stem)
    job = Job(study, "organseg", "export", out)
    rows = export_scan(job, "scan", image, labels)
    rows += export_tables(job, lambda: [("scan", image, labels)])
    write_table(out / "checks.csv", rows, COLUMNS)
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        raise InputError(str(failed[0]["reason"]), where=str(scan), remedy="Do not use the files written.")
    agree = sum(row["status"] == "ok" for row in rows)
    unchecked = "".join(f", {count} were not checked" for count in [len(rows) - agree] if count)
    print(f"{out}: {', '.join(study.export.formats)}; {agree} checks agree{unchecked}")
    return 0


def _read_labels(source: Path | Mapping[str, Path], image: Any, study: Any, name: str) -> Any:
    """The masks on the scan's grid; what was assumed in reading them is printed."""
    from pipeline.formats.masks import read_masks, spoken

    notes: dict[str, Any] = {}
    kinds = {"overlapping": study.overlapping, "names": (name,), "notes": notes}
    labels = read_masks(source, image, study.organs, study.ingest, **kinds)
    for _, sentence in spoken(notes):
        print(sentence)
    return labels


def _organs(mask: Path, organs: str | None) -> tuple[dict[str, Any], Path | Mapping[str, Path]]:
    """The organs with their values, and where their masks are."""
    if organs is not None:
        from pipeline.core.labels import parse_organs

        return {name: {"value": value} for value, name in parse_organs(organs).items()}, mask
    files = sorted(p for p in mask.iterdir() if p.is_file()) if mask.is_dir() else []
    named = {path.name.split(".")[0]: path for path in files if not path.name.startswith(".")}
    if not named:
        raise InputError(
            "nothing says which organs the mask holds", where=str(mask), remedy="Give --organs 1=liver,2=spleen."
        )
    return {name: {} for name in named}, named


def _read(path: Path, modality: str | None) -> Any:
    from pipeline.core.study import Ingest
    from pipeline.formats.table import read_scan_file, read_scans

    if modality is not None:
        return read_scan_file([path], modality, Ingest())  # type: ignore[arg-type]
    readable = [item for item in read_scans(path, None, Ingest()) if item.read is not None]
    if len(readable) != 1 or readable[0].read is None:
        raise InputError(f"holds {len(readable)} scans, where one is needed", where=str(path))
    return readable[0].read().canonical()
