"""The manifest: one row a scan, read from ``data_manifests/<study>.csv`` and checked when it is read.

Columns:

- ``scan_id``: a name for the scan, unique, free of anything that identifies the patient. It names every output.
- ``patient_id``: whom the scan is of. All scans of a patient stay on one side of a split.
- ``image``: file or folder, relative to the data root; several channels are separated by ``;``.
- ``mask``: one file with all organs, or ``mask_<organ>``: one file an organ. What an empty cell of an organ means,
  where other rows have it, the config says in ``ingest.empty_mask_cell``.
- ``mask_<organ>@<reader>``: one file an organ and reader, where several readers drew it; ``ingest.readers`` says whose
  counts.
- ``image_sha256``, ``mask_sha256``: optional checksums.
- ``not_annotated``: organs that nobody looked for in this scan, separated by ``;``.
- ``split``: ``test`` or ``development``; ``fold``: 0, 1, … . Empty cells are drawn.
- any other column is kept for subgroups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.names import SCAN_ID, within
from pipeline.core.study import Study

KNOWN = ("scan_id", "patient_id", "image", "mask", "image_sha256", "mask_sha256", "not_annotated", "split", "fold")
#: Endings of files that hold the masks of many images.
_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".json", ".jsonl", ".parquet", ".xml")
#: Column ``mask_<organ>`` or ``mask_<organ>@<reader>`` → organ and reader, which is empty where none is named.
MaskColumns = dict[str, tuple[str, str]]
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Row:
    """One scan of a manifest.

    Attributes:
        line: Line in the manifest, for messages.
        images: Paths relative to the data root, one a channel file.
        mask: One file with all organs, relative to the data root.
        organ_masks: Organ → file, where there is one file an organ.
        reader_masks: Organ → reader → file, where several readers drew an organ.
        absent: Organs that the scan has not, as an empty cell says.
        not_annotated: Organs that nobody looked for.
        split: ``test``, ``development`` or empty.
        fold: Validation fold, where given.
        extra: All other columns.
    """

    line: int
    scan_id: str
    patient_id: str
    images: tuple[str, ...]
    mask: str | None = None
    organ_masks: dict[str, str] = field(default_factory=dict)
    reader_masks: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    image_sha256: str | None = None
    mask_sha256: str | None = None
    not_annotated: frozenset[str] = frozenset()
    split: str = ""
    fold: int | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether somebody looked for an organ: a mask came along, or an empty cell says that there is none."""
        return self.mask is not None or bool(self.organ_masks or self.reader_masks or self.absent)

    @property
    def drawn(self) -> frozenset[str]:
        """The organs that have files of their own."""
        return frozenset(self.organ_masks) | frozenset(self.reader_masks)

    def files(self) -> tuple[str, ...]:
        """Every file or folder that the row names, relative to the data root."""
        return (*self.images, *self.mask_files())

    def mask_files(self) -> tuple[str, ...]:
        """Every mask file that the row names, relative to the data root."""
        read = (file for files in self.reader_masks.values() for file in files.values())
        return (*([self.mask] if self.mask else []), *self.organ_masks.values(), *read)

    def fields(self) -> dict[str, Any]:
        """The row in types that JSON has; :meth:`of_fields` makes it a row again."""
        sets = {name: sorted(getattr(self, name)) for name in ("not_annotated", "absent")}
        return {**asdict(self), "images": list(self.images), **sets}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Row:
        """A row from its :meth:`fields`."""
        sets = {name: frozenset(fields[name]) for name in ("not_annotated", "absent")}
        return cls(**{**fields, "images": tuple(fields["images"]), **sets})


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read as a scan."""

    line: int
    scan_id: str
    patient_id: str
    code: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """A manifest's rows: those that can be read, and those that cannot, with their reasons; and what was assumed."""

    rows: tuple[Row, ...]
    bad: tuple[BadRow, ...]
    extra_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()


def manifest_path(name: str, root: Path | None = None) -> Path:
    """Where a study's manifest lies."""
    return (root or Path()) / "data_manifests" / f"{name}.csv"


def load_manifest(path: Path, study: Study) -> Manifest:
    """Read and check a manifest.

    What spoils the whole study (a missing column, a patient in two folds or on both sides of the test) is an error;
    what spoils one row makes that row a :class:`BadRow`.

    Raises:
        InputError: The manifest as a whole cannot be used.
    """
    notes: list[str] = []
    table = read_table(path, notes.append)
    if not table:
        raise InputError("has no rows", where=str(path), remedy="`organseg manifest init FOLDER` drafts one.")
    columns = list(table[0])
    for needed in ("scan_id", "patient_id", "image"):
        if needed not in columns:
            raise InputError(
                f"has no column {needed!r}",
                where=str(path),
                remedy=f"Its columns are {', '.join(columns)}; add {needed!r}.",
            )
    mask_columns = _mask_columns(columns, study, path)
    extra = tuple(c for c in columns if c not in KNOWN and c not in mask_columns)
    rows: list[Row] = []
    bad: list[BadRow] = []
    seen: dict[str, int] = {}
    for line, cells in enumerate(table, 2):
        try:
            row = parse_row(line, {k: v.strip() for k, v in cells.items()}, mask_columns, extra, study)
            if row.scan_id in seen:
                raise InputError(f"scan_id {row.scan_id!r} stands in line {seen[row.scan_id]} already")
            seen[row.scan_id] = line
            rows.append(row)
        except InputError as error:
            name = cells["scan_id"].strip()
            safe = name if SCAN_ID.fullmatch(name) and name not in seen else f"line-{line}"
            bad.append(BadRow(line, safe, cells["patient_id"].strip(), "row", str(error)))
    _check_patients(rows, path)
    _check_empty_cells(rows, mask_columns, study, path)
    return Manifest(tuple(rows), tuple(bad), extra, tuple(notes))


def _mask_columns(columns: Sequence[str], study: Study, path: Path) -> MaskColumns:
    """The columns of one file an organ, and whose they are.

    Raises:
        InputError: A column names no organ of the study or no reader, or the study does not say which reader counts.
    """
    found: MaskColumns = {}
    for column in columns:
        if column.startswith("mask@"):
            raise InputError(
                f"column {column!r} names a reader and no organ",
                where=str(path),
                remedy="Readers' masks have a column an organ, such as mask_<organ>@<reader>.",
            )
        if not column.startswith("mask_") or column in KNOWN:
            continue
        organ, at, reader = column.removeprefix("mask_").partition("@")
        if organ not in study.organs:
            raise InputError(
                f"column {column!r} names an organ that is not in the study",
                where=str(path),
                remedy=f"The study's organs are {', '.join(study.organs)}.",
            )
        if at and not reader:
            raise InputError(f"column {column!r} names no reader", where=str(path))
        found[column] = organ, reader
    _check_readers(found, study, path)
    return found


def _check_readers(columns: MaskColumns, study: Study, path: Path) -> None:
    """Where several readers drew an organ, the study says which of them counts."""
    readers = list(dict.fromkeys(reader for _, reader in columns.values() if reader))
    chosen = study.ingest.readers
    if not readers and chosen is None:
        return
    named = {organ for organ, reader in columns.values() if reader}
    both = sorted(organ for organ, reader in columns.values() if not reader and organ in named)
    if both:
        raise InputError(
            f"columns mask_{both[0]} and mask_{both[0]}@… both hold masks of {both[0]}",
            where=str(path),
            remedy=f"Give the first a reader too: mask_{both[0]}@<reader>.",
        )
    odd = sorted({"majority", "all"} & set(readers))
    if odd:
        raise InputError(f"a reader cannot be called {odd[0]!r}, which means readers together", where=str(path))
    remedy = f"Set it to majority, to all{''.join(f', or to {r}' for r in readers[:6])}."
    if chosen is None:
        raise InputError(
            f"masks of {len(readers)} readers ({', '.join(readers[:6])}), and ingest.readers does not say which counts",
            where=str(path),
            remedy=remedy,
        )
    if chosen not in {"majority", "all", *readers}:
        raise InputError(
            f"ingest.readers is {chosen!r}, and no column is that reader's", where=str(path), remedy=remedy
        )


def parse_row(line: int, cells: dict[str, str], masks: MaskColumns, extra: Sequence[str], study: Study) -> Row:
    """Read one row.

    Args:
        line: Its line in the manifest.
        cells: Column → text.
        masks: Column → organ and reader, for the columns that hold one file an organ.
        extra: Columns to keep as they are.
        study: The study that the manifest belongs to.

    Raises:
        InputError: The row cannot be read as a scan.
    """
    scan_id = cells["scan_id"]
    if not SCAN_ID.fullmatch(scan_id) or scan_id.startswith("line-"):
        raise InputError(
            f"scan_id {scan_id!r} cannot name files", remedy="Use up to 100 letters, digits, '_', '-' and '.'."
        )
    images = tuple(part.strip() for part in cells["image"].split(";") if part.strip())
    if not images:
        raise InputError("the image cell is empty")
    for path in (*images, cells.get("mask", ""), *(cells[c] for c in masks)):
        if path:
            within(Path(), path, called="the data root")
    missing = frozenset(part.strip() for part in cells.get("not_annotated", "").split(";") if part.strip())
    if missing - set(study.organs):
        raise InputError(f"not_annotated names {sorted(missing - set(study.organs))}, not organs of the study")
    split = cells.get("split", "").lower()
    if split not in {"", "test", "development"}:
        raise InputError(f"split is {split!r}", remedy="Write test, development or nothing.")
    fold = cells.get("fold", "")
    if fold and not (fold.isdecimal() and int(fold) < study.split.folds):
        raise InputError(f"fold is {fold!r}", remedy=f"The study has folds 0 to {study.split.folds - 1}.")
    for column in ("image_sha256", "mask_sha256"):
        if cells.get(column) and not SHA256.fullmatch(cells[column].lower()):
            raise InputError(f"{column} is not a sha256 (64 hexadecimal digits)")
    return Row(
        line=line,
        scan_id=scan_id,
        patient_id=cells["patient_id"] or scan_id,
        images=images,
        **_masks_of(cells, masks, missing, study),
        image_sha256=cells.get("image_sha256", "").lower() or None,
        mask_sha256=cells.get("mask_sha256", "").lower() or None,
        not_annotated=missing,
        split=split,
        fold=int(fold) if fold else None,
        extra={column: cells[column] for column in extra},
    )


def _masks_of(cells: Mapping[str, str], masks: MaskColumns, missing: frozenset[str], study: Study) -> dict[str, Any]:
    """The fields of a row that speak of its masks.

    Raises:
        InputError: It has masks of two kinds, or the reader who counts did not draw an organ that others drew.
    """
    organ_masks = {organ: cells[column] for column, (organ, by) in masks.items() if cells[column] and not by}
    reader_masks: dict[str, dict[str, str]] = {}
    for column, (organ, reader) in masks.items():
        if reader and cells[column]:
            reader_masks.setdefault(organ, {})[reader] = cells[column]
    mask = cells.get("mask") or None
    if mask and (organ_masks or reader_masks):
        raise InputError("has a mask of all organs and masks of single organs", remedy="Keep one of the two.")
    one = study.ingest.readers if study.ingest.readers not in {"majority", "all"} else None
    if lacking := [organ for organ, by in reader_masks.items() if one and one not in by and organ not in missing]:
        raise InputError(
            f"{lacking[0]} was drawn by {', '.join(reader_masks[lacking[0]])} and not by {one}, whose masks count",
            remedy=f"Name {lacking[0]} in the column not_annotated, or set ingest.readers otherwise.",
        )
    absent: frozenset[str] = frozenset()
    if mask is None and study.ingest.empty_mask_cell == "absent":
        absent = frozenset(organ for organ, _ in masks.values()) - organ_masks.keys() - reader_masks.keys() - missing
    return {"mask": mask, "organ_masks": organ_masks, "reader_masks": reader_masks, "absent": absent}


def _check_patients(rows: Sequence[Row], path: Path) -> None:
    """A patient in two parts of a split, or one image under two patients, leaks test data into training."""
    placed: dict[str, tuple[str, Row]] = {}
    images: dict[tuple[str, ...], Row] = {}
    for row in rows:
        place = row.split if row.fold is None else f"{row.split or 'development'} fold {row.fold}"
        if place:
            before, other = placed.setdefault(row.patient_id, (place, row))
            if before != place:
                raise InputError(
                    f"patient {row.patient_id!r} is in {before} (line {other.line}) and in {place} (line {row.line})",
                    where=str(path),
                    remedy="Put all scans of a patient into one part.",
                )
        twin = images.setdefault(row.images, row)
        if twin.patient_id != row.patient_id:
            raise InputError(
                f"one image stands for two patients, in lines {twin.line} and {row.line}",
                where=str(path),
                remedy="Give both rows the same patient_id, or drop one.",
            )


def check_masks(rows: Sequence[Row], path: Path) -> None:
    """Check that no mask file stands for several images; tables hold the masks of many.

    Raises:
        InputError: One does. It is right for one of them at most, or the images are channels of one scan.
    """
    first: dict[str, Row] = {}
    for row in rows:
        for mask in row.mask_files():
            if mask.lower().endswith(_TABLES):
                continue
            other = first.setdefault(mask, row)
            if other.images != row.images:
                raise InputError(
                    f"one mask, {mask!r}, stands for two images, in lines {other.line} and {row.line}",
                    where=str(path),
                    remedy="Give each image its own mask; channels of one scan stand in one row, separated by ';'.",
                )


def _check_empty_cells(rows: Sequence[Row], columns: MaskColumns, study: Study, path: Path) -> None:
    """An empty cell of an organ that other rows have is ambiguous, unless the study says what it means.

    A row with no mask of several organs waits for a model, as a row of a manifest without masks does. Where one organ
    alone has a column, such a row may as well be of a scan that has it not.
    """
    if study.ingest.empty_mask_cell is not None:
        return
    organs = dict.fromkeys(organ for organ, _ in columns.values())
    drawn = frozenset[str]().union(*(row.drawn for row in rows))
    for row in rows:
        if row.mask or not (row.drawn or len(organs) == 1):
            continue
        open_cells = [organ for organ in organs if organ in drawn - row.drawn - row.not_annotated]
        if open_cells:
            raise InputError(
                f"scan {row.scan_id} (line {row.line}) has no mask of {open_cells[0]}, which other scans have: it may "
                "be absent there, or nobody looked for it",
                where=str(path),
                remedy="Set ingest.empty_mask_cell in the config to absent or to not_annotated; organs of single rows "
                "that nobody looked for can stand in a column not_annotated.",
            )
