"""The form ``nnunet``: all scans of a study with the readers' masks as an nnU-Net raw folder, read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError, raise_passing
from pipeline.core.files import read_table
from pipeline.core.names import below
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say
from pipeline.core.scan import Scan
from pipeline.core.splits import read_splits
from pipeline.core.study import Study
from pipeline.export.checks import Check, Tolerance, compare, expected, failed_row
from pipeline.export.readers import on_grid, read_nnunet_organs
from pipeline.formats.nnunet import NnunetFolder
from pipeline.formats.pictures.borders import uncropped
from pipeline.formats.rle.volume import on_stored_grid
from pipeline.formats.store import read_labels, read_scan

FORM = "nnunet"


def write_nnunet(study: Study, paths: StudyPaths, out: Path, say: Say) -> list[Check]:
    """Write the folder; the test's scans go where nnU-Net expects what it does not train on.

    Scans that cannot be read, or that differ when they are read back, are taken out of it into ``failed/``.

    Returns:
        A row a labelled scan and organ, and a failed row of each other scan that is wrong.
    """
    splits = read_splits(paths.splits) if paths.splits.is_file() else {}
    name = "".join(letter if letter.isalnum() else "_" for letter in paths.study)
    folder = NnunetFolder(below(out, FORM, f"Dataset001_{name}"), study.organ_names(), study.overlapping)
    scans = read_table(paths.scans_csv)
    wrong: dict[str, str] = {}
    for row in scans:
        scan_id, patient = row["scan_id"], row["patient_id"]
        labelled = row["labelled"] == "1"
        test = not labelled or (patient in splits and splits[patient].split == "test")

        def write(row: dict[str, str] = row, labelled: bool = labelled, test: bool = test) -> None:
            scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
            labels = read_labels(paths.mask(row["shard"], row["scan_id"])) if labelled else None
            folder.add(row["scan_id"], scan, labels, training=not test)
            check_images(folder.images(row["scan_id"]), uncropped(scan))

        reason = _tried(write)
        if reason:
            wrong[scan_id] = reason
    folder.close()  # whose values say what the masks mean
    rows: list[Check] = []
    for row in scans:
        scan_id, shard = row["scan_id"], row["shard"]
        if row["labelled"] == "1" and scan_id not in wrong:

            def check(scan_id: str = scan_id, shard: str = shard) -> None:
                labels = read_labels(paths.mask(shard, scan_id))
                read = read_nnunet_organs(folder.folder, scan_id)
                whole = on_stored_grid(read_scan(paths.scan(shard, scan_id)), labels)
                rows.extend(compare(scan_id, FORM, expected(labels), read, whole, Tolerance()))

            reason = _tried(check)
            if reason:
                wrong[scan_id] = reason
    rows += [failed_row(scan_id, FORM, reason) for scan_id, reason in wrong.items()]
    failed = {str(row["scan_id"]) for row in rows if row["status"] == "failed"}
    for scan_id in failed:
        folder.take_out(scan_id, out / "failed" / FORM / folder.folder.name)
    if failed:
        folder.close()
    say(f"{len(scans) - len(failed)} scans as an nnU-Net raw folder")
    return rows


def _tried(step: Callable[[], None]) -> str:
    """Why a step on one scan failed, or nothing; the other scans go on."""
    try:
        step()
    except InputError as error:
        return error.what
    except Exception as error:  # whatever a writer makes of an odd scan
        raise_passing(error)
        return f"{type(error).__name__} while writing"
    return ""


def check_images(files: list[Path], scan: Scan) -> None:
    """Read a scan's channels back with nibabel: grid and voxels are the scan's.

    Args:
        files: The images, a channel each.
        scan: The scan on canonical axes, in the size of its file.

    Raises:
        InputError: An image lies elsewhere, or holds other values.
    """
    import nibabel as nib

    if len(files) != len(scan.voxels):
        raise InputError(f"read back, the scan has {len(files)} images for {len(scan.voxels)} channels")
    for number, (path, channel) in enumerate(zip(files, scan.voxels, strict=True)):
        image = nib.Nifti1Image.from_filename(path)
        if sorted(image.shape) != sorted(scan.shape):
            raise InputError(f"read back, image {number} is {image.shape}, and the scan {scan.shape}")
        values = on_grid(np.asanyarray(image.dataobj), image.affine, scan.grid)
        if not np.array_equal(values, channel, equal_nan=channel.dtype.kind == "f"):
            raise InputError(f"read back, image {number} holds other values than the scan")
