"""Commands about manifests."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import StudyName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.core.manifest import Row
    from pipeline.core.study import Study

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


class Patients(StrEnum):
    """How a draft tells patients."""

    names = "names"
    scans = "scans"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of scans and masks, dataset.json, nnU-Net raw, or BIDS.")],
    out: Annotated[Path, typer.Option(help="Manifest to write.", show_default=False)],
    checksums: Annotated[bool, typer.Option("--sha256", help="Add checksums of images and masks.")] = False,
    images: Annotated[str, typer.Option(help="Take only scans with this text in their path; * stands for any.")] = "",
    masks: Annotated[str, typer.Option(help="Take only masks with this text in their path; * stands for any.")] = "",
    patients: Annotated[
        Patients, typer.Option(help="By names, folders and headers, or each scan one.")
    ] = Patients.names,
) -> None:
    """Draft a manifest from a folder; look it over before use."""
    from pipeline.core.errors import InputError
    from pipeline.core.files import sha256_of, write_table
    from pipeline.ingest.drafts import Choices, draft

    if out.exists():
        raise InputError("exists already", where=str(out), remedy="Choose another name, or remove it first.")
    found = draft(folder, Choices(images, masks, each=patients is Patients.scans))
    if checksums:
        for row in found.rows:
            row["image_sha256"] = sha256_of(folder / row["image"]) if (folder / row["image"]).is_file() else ""
            row["mask_sha256"] = sha256_of(folder / row["mask"]) if row.get("mask") else ""
    first = ["scan_id", "patient_id", "image"]
    columns = first + [c for c in dict.fromkeys(c for row in found.rows for c in row) if c not in first]
    write_table(out, found.rows, columns)
    print(f"{out}: from a {found.kind}; paths start from {folder}")
    for line in [*found.notes, *found.summary()]:
        print(f"  {line}")


@app.command()
def check(
    study: StudyName,
    masks: Annotated[
        bool | None,
        typer.Option("--open-masks/--no-masks", help="Look into masks; by default those of up to 200 scans."),
    ] = None,
) -> None:
    """Check a study's config and manifest, that every file is there, and how many scans have each organ."""
    from pipeline.core.errors import EXIT_SOME_FAILED
    from pipeline.core.manifest import check_masks, load_manifest, manifest_path
    from pipeline.core.names import within
    from pipeline.core.study import data_root, load_study
    from pipeline.early import check_study

    config = load_study(study)
    check_study(config)
    manifest = load_manifest(manifest_path(study), config)
    data = data_root(config)
    absent = [(row, name) for row in manifest.rows for name in row.files() if not within(data, name).exists()]
    for note in manifest.notes:
        print(note)
    for bad in manifest.bad:
        print(f"line {bad.line}: {bad.reason}")
    for row, name in absent:
        print(f"line {row.line}: {row.scan_id}: {data / name} does not exist")
    patients = len({row.patient_id for row in manifest.rows})
    labelled = sum(row.labelled for row in manifest.rows)
    print(f"{study}: {len(manifest.rows)} scans of {patients} patients, {labelled} with masks")
    if patients == 1 < len(manifest.rows):
        print("all scans are of one patient, so nothing can be set apart for validation or test")
    check_masks(manifest.rows, manifest_path(study))
    _organs(config, manifest.rows, data, {row.scan_id for row, _ in absent}, masks)
    if manifest.bad or absent:
        print(f"{len(manifest.bad) + len({row.scan_id for row, _ in absent})} rows would be rejected")
        raise typer.Exit(EXIT_SOME_FAILED)


def _organs(study: Study, rows: Sequence[Row], data: Path, absent: set[str], masks: bool | None) -> None:
    """Say how many scans have each organ, and which of them cannot be opened."""
    from pipeline.ingest.organs import MOST_OPENED, by_manifest, look, organ_lines

    labelled = [row for row in rows if row.labelled and row.scan_id not in absent]
    if masks or (masks is None and len(labelled) <= MOST_OPENED):
        known, bad = look(study, labelled, data)
        for row, reason in bad:
            print(f"line {row.line}: {row.scan_id} cannot be read and is not counted: {reason}")
    else:
        known, unknown = by_manifest(labelled)
        of_all = f", and {unknown} masks of all organs are not counted" if unknown else ""
        print(f"masks were not opened (--open-masks does that): an organ with a file counts as present{of_all}")
    if known:
        for line in organ_lines(study, known):
            print(f"  {line}")


@app.command()
def pseudonymise(
    manifest: Annotated[Path, typer.Argument(help="Manifest to read.")],
    key_file: Annotated[Path, typer.Option(help="File with a secret of 16 bytes or more; made if absent.")],
    out: Annotated[Path, typer.Option(help="Manifest to write.", show_default=False)],
    scan_ids: Annotated[bool, typer.Option("--scan-ids", help="Replace scan ids too.")] = False,
) -> None:
    """Replace patient ids by keyed hashes; the same key gives the same hashes again."""
    import hashlib
    import hmac
    import secrets

    from pipeline.core.errors import InputError
    from pipeline.core.files import check_regular, read_table, write_bytes, write_table

    if not key_file.exists():
        write_bytes(key_file, secrets.token_bytes(32))
        key_file.chmod(0o600)
        print(f"{key_file}: made a new key; keep it apart from the data, and keep it")
    key = check_regular(key_file).read_bytes()
    if len(key) < 16:
        raise InputError("the key is shorter than 16 bytes", where=str(key_file), remedy="Remove it; one is made.")
    rows = read_table(manifest)
    if not rows or "patient_id" not in rows[0]:
        raise InputError("has no column 'patient_id'", where=str(manifest))
    names = ["patient_id", "scan_id"] if scan_ids else ["patient_id"]
    for row in rows:
        for name in names:
            digest = hmac.new(key, f"{name}\0{row[name]}".encode(), hashlib.sha256).hexdigest()
            row[name] = f"{name[0]}{digest[:16]}"
    write_table(out, rows, list(rows[0]))
    print(f"{out}: {len(rows)} rows with {' and '.join(names)} as keyed hashes")


@app.command()
def add(
    study: StudyName,
    masks: Annotated[Path, typer.Argument(help="Folder of corrected masks, each named by its scan id.")],
    version: Annotated[str | None, typer.Option(help="Name of the folder the masks are copied to.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over masks corrected before, of this version.")] = False,
) -> None:
    """Take corrected masks into a study: copy them beside its data and name them in its manifest.

    Give the correction folder of `organseg predict`, or a folder of masks: CASE7.nii.gz with all organs, or a folder
    CASE7 with a file an organ. Masks that are as the model wrote them are left out.
    """
    from pipeline.ingest.corrections import add_masks

    for line in add_masks(study, masks, version, force=force):
        print(line)
