"""Ingestion without a study: files and folders in, volumes and two tables out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pipeline.core.columns import IMAGE_COLUMNS
from pipeline.core.errors import InputError
from pipeline.core.files import write_table
from pipeline.core.limits import LOOKING_AT_ONE, PROBING
from pipeline.core.machine import usable_threads
from pipeline.core.names import below
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Modality
from pipeline.core.study import Ingest, Study
from pipeline.formats.found import PASSED_OVER, Found
from pipeline.formats.store import write_scan
from pipeline.formats.table import find_scans, list_files
from pipeline.formats.worker import KilledError, Worker
from pipeline.ingest.quality import RejectedError, check_voxels, measure_scan, scan_findings
from pipeline.ingest.reasons import scrub

#: More readers wait for the disk, not for processors; each has its own copy of the headers.
_MOST_READERS = 4
#: A further reader pays for its look through the files only if it has this many scans to read.
_FEWEST_EACH = 4
_MANY_FILES = 200


@dataclass(frozen=True)
class Ingested:
    """What became of one scan or object.

    Attributes:
        source: Where it came from, for the terminal.
        kind: What it is.
        cells: Its row of ``scans.csv``, or of ``rejected.csv``.
        failed: Whether it should have been read and was not.
    """

    source: str
    kind: str
    cells: dict[str, Any]
    failed: bool

    @property
    def read(self) -> bool:
        """Whether a scan was written."""
        return "code" not in self.cells


def ingest_alone(
    scans: Sequence[Path],
    out: Path,
    modality: Modality | None,
    options: Ingest | None = None,
    say: Say = quiet,
) -> list[Ingested]:
    """Read every scan in files and folders; write ``scans/*.nii.gz``, ``scans.csv`` and ``rejected.csv`` in ``out``.

    The outputs are numbered and name no source; what came from where is in the outcomes alone.

    Args:
        scans: Files and folders.
        out: Folder for the results.
        modality: What the scans are; ``None`` to go by their headers.
        options: How to read.
        say: Takes a line for each scan.

    Raises:
        InputError: A path does not exist, or there is no file at all.
    """
    options = options or Ingest()
    names = (f"scan_{number:04d}" for number in itertools.count(1))
    readers = [_Reader(modality, options) for _ in range(_processes())]
    outcomes: list[Ingested] = []
    try:
        for path in scans:
            for item in _in_path(readers, path, out, names):
                outcomes.append(item)
                say(f"{item.kind}: " + (f"{item.cells['scan_id']}" if item.read else f"{item.cells['reason']}"))
    finally:
        for reader in readers:
            reader.worker.close()
    if not outcomes:
        raise InputError("holds no file", where=", ".join(map(str, scans)))
    good = [item.cells for item in outcomes if item.read]
    bad = [item.cells for item in outcomes if not item.read]
    write_table(out / "scans.csv", good, ["scan_id", *IMAGE_COLUMNS, "findings"])
    write_table(out / "rejected.csv", bad, ["scan_id", "kind", "files", "code", "reason"])
    return outcomes


def _processes() -> int:
    """One reader a processor that this process may use."""
    return max(1, min(usable_threads(), _MOST_READERS))


class _Reader:
    """A worker that has looked through files, and looks again if it had to be replaced."""

    def __init__(self, modality: Modality | None, options: Ingest) -> None:
        self.worker = Worker(options.seconds, options.memory_gib)
        self.request = {"modality": modality, "options": options.model_dump_json()}
        self.files: list[str] = []
        self.found: list[dict[str, Any]] = []
        self._looked = -1

    def look(self, files: list[str]) -> None:
        """Find the scans among files."""
        self.files = files
        seconds = self.worker.seconds + LOOKING_AT_ONE * len(files)
        self.found = self.worker.call("pipeline.ingest.alone:find", {"files": files, **self.request}, seconds)
        self._looked = self.worker.starts

    def look_at(self, files: list[str]) -> None:
        """Look at these files before the next scan is read, where that was not done yet."""
        if self.files != files:
            self.files, self._looked = files, -1

    def probe(self, file: str) -> str | None:
        """Why a file cannot even be looked at, or ``None``."""
        try:
            self.worker.call("pipeline.ingest.alone:find", {"files": [file], **self.request}, PROBING)
        except InputError as error:
            return error.what
        return None

    def convert(self, index: int, target: Path, source: str) -> dict[str, Any]:
        """Read one of the scans found and write it; its cells, or code and reason, which does not name the source."""
        try:
            if self._looked != self.worker.starts:
                self.look(self.files)
            answer: dict[str, Any] = self.worker.call(
                "pipeline.ingest.alone:convert", {"index": index, "target": str(target)}
            )
            return answer
        except KilledError as error:
            return {"code": "killed", "reason": scrub(error.what, [source])}
        except InputError as error:
            return {"code": "image", "reason": scrub(error.what, [source])}


def _in_path(readers: Sequence[_Reader], path: Path, out: Path, names: Iterator[str]) -> Iterator[Ingested]:
    files = [str(file) for file in list_files(path)]
    killed = _look(readers, files)
    found = readers[0].found
    scan_ids, wanted = [], []
    for item in found:
        passed = item["code"] in PASSED_OVER and path.is_dir()
        scan_ids.append("" if passed else next(names))
        wanted.append(not item["reason"])
    targets = [
        below(out, "scans", f"{name}.nii.gz") if want else None for name, want in zip(scan_ids, wanted, strict=True)
    ]
    answers = _convert_all(readers, targets)
    for item, scan_id, answer in zip(found, scan_ids, answers, strict=True):
        cells: dict[str, Any] = {"scan_id": scan_id, "kind": item["kind"], "files": item["files"]}
        answer = answer or {"code": item["code"], "reason": item["reason"]}
        yield Ingested(item["source"], item["kind"], cells | answer, "code" in answer and bool(scan_id))
    for file, reason in killed.items():
        reason = scrub(reason, [file])
        cells = {"scan_id": next(names), "kind": "a file", "files": 1, "code": "killed", "reason": reason}
        yield Ingested(file, "a file", cells, True)


def _look(readers: Sequence[_Reader], files: list[str]) -> dict[str, str]:
    """Find the scans; the files that bring the worker down are left out and returned with the reason.

    Of many files all readers look at once, because each must know them all before it can read one.
    """
    reader, *others = readers
    try:
        with ThreadPoolExecutor(len(readers)) as pool:
            ahead = [pool.submit(other.look, files) for other in others] if len(files) >= _MANY_FILES else []
            reader.look(files)
        for other in ahead:
            other.result()
        return {}
    except InputError:
        reasons = {file: reader.probe(file) for file in files}
    killed = {file: reason for file, reason in reasons.items() if reason is not None}
    reader.look([file for file in files if file not in killed])
    return killed


def _convert_all(readers: Sequence[_Reader], targets: Sequence[Path | None]) -> list[dict[str, Any] | None]:
    """Convert every scan that has a target, each reader taking the next one."""
    wanted = [(index, target) for index, target in enumerate(targets) if target is not None]
    busy = readers[: max(1, min(len(readers), len(wanted) // _FEWEST_EACH))]
    idle: SimpleQueue[_Reader] = SimpleQueue()
    for reader in busy:
        reader.look_at(readers[0].files)
        idle.put(reader)

    def work(job: tuple[int, Path]) -> dict[str, Any]:
        reader = idle.get()
        try:
            return reader.convert(*job, readers[0].found[job[0]]["source"])
        finally:
            idle.put(reader)

    answers: list[dict[str, Any] | None] = [None] * len(targets)
    with ThreadPoolExecutor(len(busy)) as pool:
        for (index, _), answer in zip(wanted, pool.map(work, wanted), strict=True):
            answers[index] = answer
    return answers


def find(files: list[str], modality: Modality | None, options: str) -> list[dict[str, Any]]:
    """In the worker: what is in files, as JSON without names in its reasons; kept for :func:`convert`."""
    _found[:] = find_scans([Path(file) for file in files], modality, Ingest.model_validate_json(options))
    return [
        {
            "source": str(f.source),
            "kind": f.kind,
            "files": f.files,
            "reason": scrub(f.reason, [str(f.source)]),
            "code": f.code,
        }
        for f in _found
    ]


#: In the worker: what :func:`find` found last.
_found: list[Found] = []


def convert(index: int, target: str) -> dict[str, Any]:
    """In the worker: read one of the scans found, check and write it.

    Returns:
        Its cells, or code and reason.
    """
    item = _found[index]
    if item.read is None:
        raise InputError("is passed over")
    try:
        scan = item.read().canonical(view=True)  # the writer copies the voxels, and once is enough
    except InputError as error:
        return {"code": "image", "reason": scrub(error.what, [str(item.source)])}
    try:
        check_voxels(scan, Study(modality=scan.modality, organs={"organ": {}}))  # type: ignore[dict-item]
    except RejectedError as error:
        return {"code": error.code, "reason": error.what}
    cells = measure_scan(scan)
    write_scan(Path(target), scan)
    return {**cells, "findings": ";".join(str(finding) for finding in scan_findings(scan, cells))}
