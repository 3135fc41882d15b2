"""Shards: a study's scans spread over a fixed number of jobs, so that one changed scan reruns one job."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.core.files import digest_of, format_table, read_table, write_if_changed
from pipeline.core.manifest import KNOWN, Manifest, Row, parse_row
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study


def shard_of(scan_id: str, count: int) -> int:
    """The shard a scan falls into: a hash of its id, modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(scan_id.encode()).digest()[:8], "big") % count


def write_shards(paths: StudyPaths, study: Study, manifest: Manifest, data: Path) -> list[int]:
    """Write each shard's manifest, where it differs from the one that is there.

    A shard's manifest holds, beside the manifest's columns, the state of each row: sizes and modification times of its
    files, and the settings that ingestion reads. So a scan that changed on disk, or a changed setting, changes the
    shard's manifest, and with it what the workflow runs again; a changed learning rate does not.

    Returns:
        The shards whose manifests were written.
    """
    count = study.ingest.shards
    settings = _ingest_settings(study)
    members: dict[int, list[dict[str, str]]] = {shard: [] for shard in range(count)}
    for row in manifest.rows:
        members[shard_of(row.scan_id, count)].append(_cells(row, data, settings))
    columns = [*KNOWN, *(f"mask_{organ}" for organ in study.organs), *manifest.extra_columns, "line", "state"]
    changed = []
    for shard, cells in members.items():
        if write_if_changed(paths.shard_manifest(shard), format_table(cells, columns)):
            changed.append(shard)
    return changed


def read_shard(path: Path, study: Study) -> list[Row]:
    """Rows of a shard's manifest."""
    masks = {f"mask_{organ}": organ for organ in study.organs}
    rows = []
    for cells in read_table(path):
        extra = [c for c in cells if c not in KNOWN and c not in masks and c not in {"line", "state"}]
        rows.append(parse_row(int(cells["line"]), cells, masks, extra, study))
    return rows


def _ingest_settings(study: Study) -> str:
    organs = {name: [organ.value, organ.color, organ.aliases] for name, organ in study.organs.items()}
    return digest_of([study.modality, study.overlapping, organs, study.ingest.model_dump(mode="json")])


def _cells(row: Row, data: Path, settings: str) -> dict[str, str]:
    return {
        "scan_id": row.scan_id,
        "patient_id": row.patient_id,
        "image": ";".join(row.images),
        "mask": row.mask or "",
        "image_sha256": row.image_sha256 or "",
        "mask_sha256": row.mask_sha256 or "",
        "not_annotated": ";".join(sorted(row.not_annotated)),
        "split": row.split,
        "fold": "" if row.fold is None else str(row.fold),
        **{f"mask_{organ}": path for organ, path in row.organ_masks.items()},
        **row.extra,
        "line": str(row.line),
        "state": _state(row, data, settings),
    }


def _state(row: Row, data: Path, settings: str) -> str:
    """Hash of the settings and of the sizes and modification times of a row's files; absent files count as such."""
    outer = hashlib.sha256(settings.encode())
    for name in row.files():
        path = data / name
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in members:
            try:
                stat = file.stat()
                outer.update(f"{file.relative_to(data)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            except OSError:
                outer.update(f"{name}\0absent\n".encode())
    return outer.hexdigest()[:16]
