"""Tables beside a mask that name its values: dataset.json, colour tables of ITK-SNAP and 3D Slicer, BIDS' _dseg.tsv.

Sources: the documentation of nnU-Net ("dataset format", v1 and v2; that of the Medical Segmentation Decathlon is v1's),
ITK-SNAP's label description files, 3D Slicer's colour table files, BIDS 1.9 ("image-derived labels", "the inheritance
principle").
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import OrganMasks
from pipeline.core.names import plain
from pipeline.core.organs import organ_values
from pipeline.core.study import Ingest, Organ
from pipeline.formats.naming import Segment, called_by_name, match_regions, match_segments, says_nothing
from pipeline.formats.pictures.masks import by_values, whole_numbers

#: Bytes of a table at most; dataset.json lists the scans too.
_LONGEST, _LONGEST_JSON = 1 << 18, 1 << 24
#: A folder with more files that might be tables has one for each scan, not one for all.
_MOST_TABLES = 20
_SHARED_ENDINGS = (".ctbl", ".label", ".lut", ".txt")
_TABLE_ENDINGS = (*_SHARED_ENDINGS, ".csv", ".tsv")
_MASK_ENDING = re.compile(r"(\.(seg|nii|nrrd|nhdr|mha|mhd|gz|png|tiff?|gif|bmp))+$", re.IGNORECASE)
#: ITK-SNAP: index, red, green, blue, opacity, visible, mesh visible, "name".
_SNAP = re.compile(r'\s*(\d+)(?:\s+[\d.]+){4}\s+[01]\s+[01]\s+"([^"]*)"\s*')
#: 3D Slicer (and FreeSurfer): index, name without blanks, red, green, blue, opacity.
_SLICER = re.compile(r"\s*(\d+)\s+(?=\S*[^\W\d])(\S+)(?:\s+\d+){3,4}\s*")
#: Folders above the mask in which BIDS lets a table lie.
_BIDS_LEVELS = 4

Table = dict[int, str]


def names_beside(path: Path, used: set[int]) -> tuple[Table, dict[str, tuple[int, ...]]]:
    """What the tables beside a mask call its values.

    A table whose name begins as the mask's does counts, else those that speak for its whole folder; and dataset.json,
    there or one folder up. Names that are only numbers (``Label 1``) are left out.

    Args:
        path: The mask.
        used: The values that occur in it.

    Returns:
        Value → name; and name → values for nnU-Net's regions, which share values.

    Raises:
        InputError: Two tables name a value that occurs in two ways.
    """
    table: Table = {}
    regions: dict[str, tuple[int, ...]] = {}
    origin: dict[int, str] = {}
    for name, found, more in _tables(path):
        regions |= more
        for value, word in found.items():
            if says_nothing(word, value):
                continue
            if value in used and value in table and plain(table[value]) != plain(word):
                raise InputError(
                    f"two tables beside the mask name its value {value}: {table[value]} ({origin[value]}) and {word} "
                    f"({name})",
                    remedy="Keep the one that is right.",
                )
            table.setdefault(value, word)
            origin.setdefault(value, name)
    return table, regions


def _tables(path: Path) -> Iterator[tuple[str, Table, dict[str, tuple[int, ...]]]]:
    """Every table that speaks of a mask: what it is, its names, its regions."""
    stem = _MASK_ENDING.sub("", path.name)
    folder = path.parent
    tables, shared = _listed(folder, folder.stat().st_mtime_ns)
    first = bisect_left(tables, stem)
    named = itertools.takewhile(lambda entry: entry.startswith(stem), tables[first:])
    found = [folder / entry for entry in named if not entry[len(stem) :][:1].isalnum()]
    if stem.endswith("dseg") and not found:
        found = _inherited(path, stem)
    for file in found or [folder / entry for entry in shared]:
        if names := _read(file):
            yield f"{file.suffix} table", names, {}
    for place in (folder, folder.parent):
        file = place / "dataset.json"
        if file.is_file():
            names, regions = _read_json(file, file.stat().st_mtime_ns)
            yield "dataset.json", names, regions
            return


@lru_cache(maxsize=64)
def _listed(folder: Path, changed: int) -> tuple[list[str], list[str]]:
    """Names of what may be tables in a folder, in order, and those of them that are no one mask's and not many."""
    names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    tables = [name for name in names if name.lower().endswith(_TABLE_ENDINGS)]
    masks = {_MASK_ENDING.sub("", name) for name in names if _MASK_ENDING.search(name)}
    shared = [
        name
        for name in tables
        if name.lower().endswith(_SHARED_ENDINGS)
        and not any(name[:end] in masks for end, letter in enumerate(name) if not letter.isalnum())
    ]
    return tables, shared if len(shared) <= _MOST_TABLES else []


def _inherited(path: Path, stem: str) -> list[Path]:
    """The nearest ``_dseg.tsv`` whose entities the mask has too."""
    entities = set(stem.split("_"))
    for folder in list(path.parents)[:_BIDS_LEVELS]:
        tables = _dseg_tables(folder, folder.stat().st_mtime_ns)
        fitting = [file for file in tables if set(file.stem.split("_")) <= entities]
        if fitting:
            return [max(fitting, key=lambda file: len(file.stem.split("_")))]
    return []


@lru_cache(maxsize=64)
def _dseg_tables(folder: Path, changed: int) -> list[Path]:
    return sorted(folder.glob("*dseg.tsv"))


def _read(file: Path) -> Table:
    """A table's names; empty where the file is something else."""
    if not file.is_file():
        return {}
    facts = file.stat()
    return _read_table(file, facts.st_mtime_ns) if facts.st_size <= _LONGEST else {}


@lru_cache(maxsize=256)
def _read_table(file: Path, changed: int) -> Table:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    if file.suffix.lower() in {".tsv", ".csv"}:
        return _columns(text, "\t" if file.suffix.lower() == ".tsv" else ",")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for form in (_SNAP, _SLICER):
        rows = [form.fullmatch(line) for line in lines]
        if rows and all(rows):
            return {int(row[1][:9]): row[2].replace("_", " ") for row in rows if row}
    return {}


def _columns(text: str, delimiter: str) -> Table:
    """Rows of a table with columns ``index`` and ``name`` (BIDS), or ``LabelValue`` and ``Name`` (3D Slicer)."""
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    names = {plain(column): column for column in rows.fieldnames or []}
    value, name = names.get("index") or names.get("labelvalue"), names.get("name")
    if value is None or name is None:
        return {}
    try:
        return {int(row[value].strip()): row[name].strip() for row in rows if (row[name] or "").strip()}
    except (ValueError, AttributeError, csv.Error):
        return {}


@lru_cache(maxsize=64)
def _read_json(file: Path, changed: int) -> tuple[Table, dict[str, tuple[int, ...]]]:
    """``labels`` of a dataset.json: value → name (v1, Decathlon) or name → value or values (v2)."""
    if file.stat().st_size > _LONGEST_JSON:
        return {}, {}
    try:
        content: Any = json.loads(file.read_bytes())
    except (ValueError, RecursionError, OSError):
        return {}, {}
    labels = content.get("labels") if isinstance(content, dict) else None
    table: Table = {}
    regions: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, str) and key.strip().isdecimal():
            table[int(key)] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            table[value] = key
        elif isinstance(value, list) and all(type(item) is int for item in value):
            regions[key] = tuple(value)
    return table, regions


def by_names_beside(
    path: Path,
    data: NDArray[Any],
    organs: Mapping[str, Organ],
    options: Ingest,
    notes: dict[str, Any],
    *,
    picture: bool = False,
) -> tuple[OrganMasks, NDArray[np.bool_] | None]:
    """Organs of an index image or label volume, by the names that a table beside it gives to values, else by values.

    Args:
        path: The mask.
        data: Its values, of any shape.
        organs: The study's organs.
        options: Background and ignored values.
        notes: Takes what was assumed, as in :func:`~pipeline.formats.naming.match_segments`.
        picture: As in :func:`~pipeline.formats.pictures.masks.by_values`.

    Raises:
        InputError: A value or its name is not the study's, or two tables contradict each other.
    """
    if any(organ.values for organ in organs.values()):
        _check_regions(path, data, organs)
        return by_values(data, organs, options, picture=picture)
    if next(_tables(path), None) is None:
        return by_values(data, organs, options, picture=picture)
    whole = whole_numbers(data)
    used = {int(value) for value in np.unique(whole)} - {0, *options.ignore}
    table, regions = names_beside(path, used)
    ignore = [value for value, word in table.items() if plain(word) == "ignore"] + options.ignore
    used -= set(ignore)
    spoken_of = {*table, *itertools.chain(*regions.values())}
    if used and not used & spoken_of:
        return by_values(data, organs, options, picture=picture)  # the tables are of other masks
    shared = match_regions(regions, organs)
    covered = set(itertools.chain(*shared.values()))
    segments = {value: Segment(word) for value, word in table.items() if value not in ignore}
    matched = match_segments(segments, used - covered, organs, options, notes)
    values = {name: list(found) for name, found in shared.items()}
    for value, name in matched.items():
        values.setdefault(name, []).append(value)
    masks = {name: np.isin(whole, found) for name, found in values.items()}
    for name in organs:
        masks.setdefault(name, np.zeros(whole.shape, bool))
    return masks, np.isin(whole, ignore) if ignore else None


def _check_regions(path: Path, data: NDArray[Any], organs: Mapping[str, Organ]) -> None:
    """Refuse a table beside the mask that gives an organ other values than the study's lists of values do.

    Names of parts, such as the oedema of a whole tumour, say nothing against them.

    Raises:
        InputError: As it says.
    """
    used = {int(value) for value in np.unique(whole_numbers(data))}
    table, regions = names_beside(path, used)
    own = organ_values(organs)
    parts = called_by_name({value: Segment(word) for value, word in table.items() if value in used}, organs)
    told = {**{name: (value,) for value, name in parts.items()}, **match_regions(regions, organs)}
    for name, values in told.items():
        if set(values) - set(own[name]) or (name not in parts.values() and set(values) != set(own[name])):
            raise InputError(
                f"a table beside the mask says that {name} is {' or '.join(map(str, values))}, and the study that it "
                f"is {' or '.join(map(str, own[name]))}",
                remedy=f"Correct organs.{name}.values, or the table.",
            )
