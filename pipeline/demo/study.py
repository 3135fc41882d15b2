"""Makes a demo study: its scans, masks and manifest, the same bytes for the same seed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import sha256_of, write_table
from pipeline.core.say import Say, quiet
from pipeline.demo import radiographs, volumes
from pipeline.demo.chest import ORGANS as CHEST_ORGANS
from pipeline.demo.cohort import DemoScan, cohort
from pipeline.formats.rle import write_masks

MARK = ".demo.json"
COUNTS = {"demo_xray": 30, "demo_mri": 20}


def make(
    study_name: str,
    manifest_path: Path,
    data_folder: Path,
    seed: int,
    count: int | None = None,
    *,
    data_root: Path | None = None,
    say: Say = quiet,
) -> None:
    """Make the scans of a demo study and their manifest; what an earlier call made is replaced.

    Args:
        study_name: ``demo_xray`` or ``demo_mri``.
        manifest_path: Manifest to write, last.
        data_folder: Folder to make; it appears whole or not at all.
        seed: Everything is drawn from it.
        count: Good scans, by default 30 radiographs or 20 volumes; two faulty ones are added.
        data_root: Folder that the manifest's paths start from, by default ``data_folder``.
        say: Is told about progress.

    Raises:
        InputError: There is no such demo, the count is below 4, or ``data_folder`` holds other files.
    """
    if study_name not in COUNTS:
        raise InputError(f"there is no demo {study_name!r}", remedy=f"The demos are {' and '.join(COUNTS)}.")
    count = COUNTS[study_name] if count is None else count
    if count < 4:
        raise InputError(f"a demo of {count} scans cannot be split", where="demo.count", remedy="Make at least 4.")
    data_folder, manifest_path = Path(data_folder), Path(manifest_path)
    root = data_folder if data_root is None else Path(data_root)
    prefix = data_folder.absolute().relative_to(root.absolute())
    _check_free(data_folder)
    part = data_folder.with_name(f".part-{data_folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    for name in ("images", "masks"):
        (part / name).mkdir(parents=True)
    scans = _made(study_name, seed, count, part, say)
    (part / MARK).write_text(json.dumps({"study": study_name, "seed": seed, "count": count}) + "\n")
    shutil.rmtree(data_folder, ignore_errors=True)
    part.rename(data_folder)
    for scan in scans:
        for column in [name for name in scan.cells if name == "image" or _is_mask_path(name)]:
            scan.cells[column] = (prefix / scan.cells[column]).as_posix()
    write_table(manifest_path, [scan.cells for scan in scans], _columns(study_name))


def _made(study: str, seed: int, count: int, part: Path, say: Say) -> list[DemoScan]:
    xray = study == "demo_xray"
    scans = cohort(study, seed, count, radiographs.FAULTS if xray else volumes.FAULTS)
    for scan in scans:
        (radiographs.make_radiograph if xray else volumes.make_volume)(scan, part)
        say(f"{scan.scan_id} made, {scan.number + 1} of {len(scans)}")
    _write_runs(scans, part)
    return scans


def _write_runs(scans: list[DemoScan], part: Path) -> None:
    """Write the masks that go into the study's one table of run lengths, which its rows are found in by scan id."""
    chosen = [(scan, scan.labels) for scan in scans if scan.labels is not None]
    if not chosen:
        return
    path = part / "masks" / "runs.csv"
    unit = "px" if scans[0].study == "demo_xray" else "mm"
    write_masks(path, ((scan.scan_id, labels, unit) for scan, labels in chosen), "organseg")
    for scan, _ in chosen:
        scan.cells |= {"mask": path.relative_to(part).as_posix(), "mask_sha256": sha256_of(path)}


def _is_mask_path(column: str) -> bool:
    return column.startswith("mask") and not column.endswith("sha256")


def _columns(study: str) -> list[str]:
    organs = [f"mask_{organ}" for organ in CHEST_ORGANS] if study == "demo_xray" else []
    subgroup = "exposure" if study == "demo_xray" else "contrast"
    checks = ["image_sha256", "mask_sha256"]
    return ["scan_id", "patient_id", "image", "mask", *organs, *checks, "split", "site", subgroup]


def _check_free(folder: Path) -> None:
    """A folder that holds anything but an earlier demo is left alone."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise InputError(
            "holds files that the demo did not make",
            where=str(folder),
            remedy="Give the demo a folder of its own, or empty this one.",
        )
