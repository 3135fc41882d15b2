"""``organseg forget``: where a patient lies under ``results/``, which models learnt from it, and how it is taken out.

Runs in MLflow hold no scan's name in their tables, only in artefacts, which are files here; an MLflow server's
artefacts lie with the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import read_json, read_table, write_json, write_table, write_text
from pipeline.core.manifest import manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.inference.champion import FILE, MODEL, read_champion

RECORD = "forgotten.csv"
COLUMNS = ("date", "scans", "files_removed", "files_rewritten", "models_trained_on_them")
#: What takes the place of a name in a model's own facts, so that their number stays true.
GONE = "forgotten"
#: Endings of files that may name a scan; all others are named by their scan, or hold no name.
TEXTS = {".csv", ".json", ".jsonl", ".yaml", ".md", ".html", ".log", ".txt", ".tsv", ".geojson"}


@dataclass
class Traces:
    """Where a patient lies.

    Attributes:
        patient: Its id in the manifest.
        scans: Ids of its scans.
        sources: Its files under the data root, as the manifest names them; they are not ours to remove.
        files: Its own files: scans, masks, caches, predictions, exports, pictures.
        derived: Files of all patients that name it or show it, and that the next run makes again.
        tables: Tables with rows of it.
        facts: Facts of models that name it.
        models: Folders of models that were trained on it.
    """

    patient: str
    scans: list[str]
    sources: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    derived: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    facts: list[Path] = field(default_factory=list)
    models: list[Path] = field(default_factory=list)


def find_traces(paths: StudyPaths, patient: str) -> Traces:
    """Look through everything of a study, and its artefacts in MLflow.

    Args:
        paths: The study's places.
        patient: The patient's id in the manifest.

    Raises:
        InputError: Neither the manifest nor the results know the patient.
    """
    manifest = manifest_path(paths.study, paths.root)
    rows = read_table(manifest) if manifest.is_file() else []
    known = rows + (read_table(paths.scans_csv) if paths.scans_csv.is_file() else [])
    own = sorted({row["scan_id"] for row in known if row["patient_id"] == patient})
    if not own:
        raise InputError(f"no scan is of a patient {patient!r}", where=str(manifest))
    found = Traces(patient, own)
    found.sources = [
        cell for row in rows if row["patient_id"] == patient for name, cell in row.items() if cell and _is_file(name)
    ]
    others = {row["scan_id"] for row in known} - set(own)
    mine = _finder(own, others)
    named = _finder([*own, patient], others | {row["patient_id"] for row in known} - {patient})
    for file in _files(paths):
        if mine(file.name) or any(mine(part) for part in file.relative_to(paths.results.parent).parts[3:-1]):
            found.files.append(file)
        elif _shows(file) or (file.suffix in TEXTS and named(file.read_text(encoding="utf-8", errors="replace"))):
            _sort(file, found)
    return found


def _is_file(column: str) -> bool:
    return column in {"image", "mask"} or (column.startswith("mask_") and not column.endswith("sha256"))


def _files(paths: StudyPaths) -> Iterator[Path]:
    for folder in (paths.results, paths.results.parent / "mlartifacts" / paths.study):
        yield from sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD) if folder.is_dir() else ()


def _finder(words: list[str], others: set[str]) -> Callable[[str], bool]:
    """Tells whether a text holds one of the words, by itself and not as part of another one's longer name."""
    longer = sorted({o for o in others for word in words if word in o and word != o}, key=len, reverse=True)
    hidden = re.compile("|".join(map(re.escape, longer))) if longer else None
    wanted = re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(map(re.escape, words)) + r")(?![A-Za-z0-9])")
    return lambda text: wanted.search(hidden.sub(" ", text) if hidden else text) is not None


def _shows(file: Path) -> bool:
    """Pictures and pages that show all scans without saying whose they are."""
    return file.name in {"report.html", "overview.png"} or file.parent.name == "contact_sheets"


def _sort(file: Path, found: Traces) -> None:
    if file.name == MODEL:
        found.facts.append(file)
        facts = read_json(file).get("facts", {})
        if set(found.scans) & set(facts.get("training_scans", ())):
            found.models.append(file.parent)
    elif file.suffix == ".csv" and {"scan_id", "patient_id"} & set(next(iter(read_table(file)), ())):
        found.tables.append(file)
    else:
        found.derived.append(file)


def remove(paths: StudyPaths, found: Traces) -> None:
    """Take a patient out: its files, its rows, its name in models' facts, its rows of the manifest.

    What the next run makes again of the others' scans is removed whole. A model that learnt from the patient is left:
    whether its weights may stay is not for a program to say. ``forgotten.csv`` gets a row that names nobody.

    Raises:
        InputError: A champion cannot be read. Nothing is removed then.
    """
    # A champion's members lie two folders below its description.
    folders = {file.parents[2] for file in found.facts if (file.parents[2] / FILE).is_file()}
    champions = {folder: read_champion(folder) for folder in folders}  # before anything is removed
    for file in [*found.files, *found.derived]:
        file.unlink(missing_ok=True)
    for folder in sorted({file.parent for file in found.files}, key=lambda path: len(path.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for table in [*found.tables, manifest_path(paths.study, paths.root)]:
        _drop_rows(table, found)
    for file in found.facts:
        write_json(file, _without(read_json(file), {*found.scans, found.patient}))
    for folder, champion in champions.items():
        champion.sealed(folder).write(folder / FILE)
    if paths.champion_yaml.is_file() and (paths.champion / FILE).is_file():
        write_text(paths.champion_yaml, (paths.champion / FILE).read_text(encoding="utf-8"))
    record = paths.results / RECORD
    before = read_table(record) if record.is_file() else []
    row = {
        "date": date.today().isoformat(),
        "scans": len(found.scans),
        "files_removed": len(found.files) + len(found.derived),
        "files_rewritten": len(found.tables) + len(found.facts),
        "models_trained_on_them": len(found.models),
    }
    write_table(record, [*before, row], COLUMNS)


def _drop_rows(table: Path, found: Traces) -> None:
    if not table.is_file():
        return
    rows = read_table(table)
    kept = [r for r in rows if r.get("scan_id") not in found.scans and r.get("patient_id") != found.patient]
    if len(kept) < len(rows):
        write_table(table, kept, list(rows[0]))


def _without(value: Any, names: set[str]) -> Any:
    """A JSON value in which a word stands for each of the names."""
    if isinstance(value, dict):
        return {key: _without(part, names) for key, part in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(part, names) for part in value]
    return GONE if isinstance(value, str) and value in names else value
