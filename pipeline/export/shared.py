"""Forms that hold all scans in one file: run lengths in a table, and COCO's annotations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from pipeline.core.errors import InputError, raise_passing
from pipeline.core.labels import LabelMap
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.export.checks import Check, Tolerance, compare, expected, failed_row
from pipeline.export.run_readers import CocoFile, RunTable
from pipeline.formats.rle import write_masks
from pipeline.formats.rle.volume import on_stored_grid

Each = Callable[[], Iterable[tuple[str, Scan, LabelMap]]]
FILES = {"rle": "masks.csv", "coco": "annotations.json"}


def write_shared(study: Study, out: Path, form: str, each: Each) -> list[Check]:
    """Write one form and read it back.

    Where scans differ from what was predicted, the file that has them is set aside and one without them written.

    Args:
        study: The study.
        out: Folder of the exports.
        form: A name in :data:`FILES`.
        each: Gives name, scan and organs of every scan.

    Returns:
        A row a scan and organ.
    """
    rows = _attempt(study, out, form, each, frozenset())
    wrong = _failed(rows)
    if not wrong:
        return rows
    _set_aside(out, form)
    kept = [row for row in rows if row["scan_id"] in wrong]
    rest = {str(row["scan_id"]) for row in rows} - wrong
    if not rest:
        return kept
    again = _attempt(study, out, form, each, frozenset(wrong))
    if _failed(again):
        _set_aside(out, form)
        again = [failed_row(scan_id, form, "the file that holds it is wrong in other scans") for scan_id in rest]
    return kept + again


def _failed(rows: Iterable[Check]) -> set[str]:
    return {str(row["scan_id"]) for row in rows if row["status"] == "failed"}


def _set_aside(out: Path, form: str) -> None:
    path = out / form / FILES[form]
    target = out / "failed" / form / FILES[form]
    if path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        path.parent.rmdir()


def _attempt(study: Study, out: Path, form: str, each: Each, without: frozenset[str]) -> list[Check]:
    """Write all scans but some, and check each."""
    path = out / form / FILES[form]
    dialect = "coco" if form == "coco" else study.export.rle_dialect
    organs = study.organ_names()

    def items() -> Iterator[tuple[str, LabelMap, LabelMap, str]]:
        for name, scan, labels in each():
            if name not in without:
                # On the grid of the scan's own file, as the NIfTI export is.
                yield name, labels, on_stored_grid(scan, labels), scan.unit

    try:
        write_masks(path, ((name, stored, unit) for name, _, stored, unit in items()), dialect, organs=organs)
        file = CocoFile(path) if form == "coco" else RunTable(path, dialect, organs)
    except Exception as error:  # nothing stands of a file that cannot be written or opened; the other forms go on
        raise_passing(error)
        reason = error.what if isinstance(error, InputError) else f"{type(error).__name__} while writing"
        return [failed_row(name, form, reason) for name, *_ in items()]
    rows: list[Check] = []
    with closing(file):
        for name, labels, stored, _ in items():
            try:
                read = file.read(name, stored)
            except InputError as error:
                rows.append(failed_row(name, form, error.what))
                continue
            except Exception as error:  # whatever a wrong file makes of a reader
                raise_passing(error)
                rows.append(failed_row(name, form, f"{type(error).__name__} while reading it back"))
                continue
            rows += compare(name, form, expected(labels), read, stored, Tolerance())
        left = file.left()
    if left and not _failed(rows):
        rows += [failed_row(name, form, f"{left} rows of the file belong to no scan") for name, *_ in items()]
    return rows
