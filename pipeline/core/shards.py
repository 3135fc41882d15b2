"""Shards: a study's scans spread over a fixed number of jobs, so that one changed scan reruns one job."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, format_table, read_table, write_if_changed
from pipeline.core.manifest import Manifest, Row
from pipeline.core.names import within
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study, data_root

COLUMNS = ("scan_id", "row", "state")


def shard_of(scan_id: str, count: int) -> int:
    """The shard a scan falls into: a hash of its id, modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(scan_id.encode()).digest()[:8], "big") % count


def shard_lists(paths: StudyPaths, study: Study, manifest: Manifest, data: Path) -> dict[Path, str]:
    """Each shard's list of rows, by the file that it belongs into.

    A list names its scans and holds the state of each: a hash of the manifest's row, of the sizes and modification
    times of its files, and of the settings that ingestion reads. So a scan that changed on disk, or a changed setting,
    changes the list, and with it what the workflow runs again; a changed learning rate does not. The files' names stay
    in the manifest: results may be handed on.
    """
    count = study.ingest.shards
    settings = _ingest_settings(study)
    members: dict[int, list[dict[str, str]]] = {shard: [] for shard in range(count)}
    for row in manifest.rows:
        cells = {"scan_id": row.scan_id, "row": _row_digest(row), "state": _state(row, data, settings)}
        members[shard_of(row.scan_id, count)].append(cells)
    return {paths.shard_manifest(shard): format_table(rows, COLUMNS) for shard, rows in members.items()}


def write_shards(paths: StudyPaths, study: Study, manifest: Manifest, data: Path) -> list[int]:
    """Write each list of :func:`shard_lists` that differs from the one that is there; give the shards of those."""
    lists = shard_lists(paths, study, manifest, data)
    return [int(path.stem) for path, text in lists.items() if write_if_changed(path, text)]


def data_folder(study: Study, root: Path | None = None) -> Path:
    """The folder that the manifest's paths start from, where it is there and holds anything.

    Raises:
        InputError: It is not there, or empty as a share is that was not mounted.
    """
    data = data_root(study, root)
    if not data.is_dir() or not any(data.iterdir()):
        fault = "is empty" if data.is_dir() else "does not exist"
        raise InputError(f"the folder of the study's data {fault}", where=str(data.absolute()), remedy=_SET)
    return data


_SET = "Set ORGANSEG_DATA, or data_root in the study's config, to where it lies."


def check_data(paths: StudyPaths, study: Study, manifest: Manifest) -> Path:
    """Check that a study's data are where they are looked for.

    A forgotten ``ORGANSEG_DATA``, or a share that is not there, would else reject every scan and empty what came of a
    study that is finished.

    Returns:
        The folder that the manifest's paths start from.

    Raises:
        InputError: The folder does not exist, or all or most of the files of scans that were ingested before are not in
            it.
    """
    data = data_folder(study, paths.root)
    before = {row["scan_id"] for row in read_table(paths.scans_csv)} if paths.scans_csv.is_file() else set()
    files = [name for row in manifest.rows if row.scan_id in before for name in row.files()]
    absent = [name for name in files if not within(data, name).exists()]
    if len(absent) * 2 > len(files):
        raise InputError(
            f"{len(absent)} of {len(files)} files of scans that were ingested before are not in this folder, such as "
            f"{absent[0]}; nothing was changed",
            where=str(data.absolute()),
            remedy=_SET,
        )
    return data


def rows_digest(paths: StudyPaths) -> str | None:
    """Digest of the manifest's rows as they were when the shards were cut, from which ingestion reads.

    The order of the rows and the number of shards do not count. ``None`` where no shards were cut.
    """
    lists = sorted(paths.shard_manifest(0).parent.glob("*.csv"))
    rows = sorted((cells["scan_id"], cells["row"]) for path in lists for cells in read_table(path))
    return digest_of(rows, length=64) if lists else None


def read_shard(path: Path, manifest: Manifest) -> list[Row]:
    """The manifest's rows that a shard lists.

    Raises:
        InputError: The manifest was changed after the shards were cut.
    """
    rows = {row.scan_id: row for row in manifest.rows}
    found = []
    for cells in read_table(path):
        row = rows.get(cells["scan_id"])
        if row is None or _row_digest(row) != cells["row"]:
            raise InputError(
                f"the manifest's row of {cells['scan_id']} was changed while it was being worked on",
                where=str(path),
                remedy="Run the same command again; it takes the changed manifest.",
            )
        found.append(row)
    return found


def _ingest_settings(study: Study) -> str:
    organs = {name: [organ.value, organ.values, organ.color, organ.aliases] for name, organ in study.organs.items()}
    return digest_of([study.modality, study.overlapping, organs, study.ingest.model_dump(mode="json")])


def _row_digest(row: Row) -> str:
    # Where a row stands in the manifest changes nothing of what comes of it.
    return digest_of({**row.fields(), "line": 0})


def _state(row: Row, data: Path, settings: str) -> str:
    """Hash of the settings and of the sizes and modification times of a row's files; absent files count as such."""
    outer = hashlib.sha256(settings.encode())
    for name in row.files():
        path = within(data, name)
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in members:
            try:
                stat = file.stat()
                outer.update(f"{file.relative_to(data)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            except OSError:
                outer.update(f"{name}\0absent\n".encode())
    return outer.hexdigest()[:16]
