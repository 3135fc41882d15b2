"""Stage ``preprocess``: bring the development scans onto the plan's grid, ready to be memory-mapped by training.

``results/<study>/preprocessed/<recipe>/`` holds, for each scan, ``<scan>.image.npy`` ``(C, X, Y, Z)`` float16,
``<scan>.labels.npy`` ``(X, Y, Z)`` in the reading of a label map, ``<scan>.places.npy`` with voxels of each organ to
centre patches on, and ``<scan>.json`` with what they were made from.
Models whose plans have the same recipe share the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_json, read_table, sha256_of, whole_file, write_json
from pipeline.core.labels import LabelMap
from pipeline.core.locks import hold
from pipeline.core.machine import usable_threads
from pipeline.core.names import below
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan, read_plan
from pipeline.core.say import Say, quiet
from pipeline.core.scan import Array
from pipeline.core.splits import read_splits
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.imaging.preprocessing import prepare, prepare_labels

#: Changes whenever this module or the room imaging write something else for the same input.
VERSION = 1
#: Voxels of each organ that patches are centred on.
PLACES = 512


def run(
    study: Study,
    paths: StudyPaths,
    model: str,
    *,
    threads: int | None = None,
    say: Say = quiet,
) -> None:
    """Prepare every labelled development scan for ``model``, and write ``preprocessed/<model>.json``.

    Scans that were prepared from the same files before are left as they are. A scan that cannot be prepared is listed
    under ``skipped`` with its reason, and training goes on without it.

    Args:
        study: The study.
        paths: Its places.
        model: A model of the study.
        threads: Scans that are prepared at a time; by default as many as there are cores for this process.
        say: Takes lines about progress.

    Raises:
        InputError: The model has no plan, or no scan could be prepared.
    """
    plan = read_plan(paths.plan(model))
    recipe = plan.recipe_hash()
    folder = paths.preprocessed(recipe)
    splits = read_splits(paths.splits)
    rows = [
        row
        for row in read_table(paths.scans_csv)
        if row["labelled"] == "1" and splits[row["patient_id"]].split == "development"
    ]
    folder.mkdir(parents=True, exist_ok=True)
    workers = max(threads or usable_threads(), 1)
    # Two models with one recipe are prepared one after the other; the second finds it done.
    with hold(paths.lock("preprocess", recipe), say), ThreadPoolExecutor(workers) as pool:
        outcomes = list(pool.map(lambda row: _attempt(row, plan, paths, folder), rows))
    done = sorted((row["scan_id"], digest) for row, (digest, _) in zip(rows, outcomes, strict=True) if digest)
    skipped = {row["scan_id"]: why for row, (_, why) in zip(rows, outcomes, strict=True) if why}
    for scan_id, reason in skipped.items():
        say(f"{scan_id}: left out of training: {reason}")
    if not done:
        raise InputError("no scan could be prepared", where=model, remedy="; ".join(list(skipped.values())[:3]) or None)
    content = {
        "recipe": recipe,
        "scans": [scan_id for scan_id, _ in done],
        "digest": digest_of(done),
        "skipped": skipped,
    }
    write_json(paths.preprocessed_for(model), content)
    say(f"{model}: {len(done)} scans prepared by recipe {recipe}")


def _attempt(row: Mapping[str, str], plan: Plan, paths: StudyPaths, folder: Path) -> tuple[str | None, str | None]:
    """Prepare one scan; gives the digest of what it was made from, or the reason why it was not."""
    try:
        return _prepare_one(row, plan, paths, folder), None
    except InputError as error:
        return None, error.what


def _prepare_one(row: Mapping[str, str], plan: Plan, paths: StudyPaths, folder: Path) -> str:
    scan_id, shard = row["scan_id"], row["shard"]
    scan_file, mask_file = paths.scan(shard, scan_id), paths.mask(shard, scan_id)
    source = digest_of([VERSION, sha256_of(scan_file), sha256_of(mask_file)], 32)
    facts_file = below(folder, f"{scan_id}.json")
    if facts_file.is_file() and read_json(facts_file)["source"] == source:
        return source
    prepared = prepare(read_scan(scan_file), plan)
    labels = prepare_labels(read_labels(mask_file), plan, prepared)
    _save(below(folder, f"{scan_id}.image.npy"), prepared.image.astype(np.float16))
    _save(below(folder, f"{scan_id}.labels.npy"), labels.data)
    _save(below(folder, f"{scan_id}.places.npy"), _places(labels, source))
    facts: dict[str, Any] = {
        "source": source,
        "shape": list(prepared.grid.shape),
        "spacing": [round(step, 6) for step in prepared.grid.spacing],
        "annotated": [organ for organ in plan.organs if organ in labels.annotated],
    }
    # The facts come last: where they are, the arrays are whole.
    write_json(facts_file, facts)
    return source


def _places(labels: LabelMap, source: str) -> NDArray[np.int32]:
    """Voxels to centre patches on, ``(K, n, 3)``: drawn from each organ, −1 where it is absent."""
    draw = np.random.default_rng(int(source, 16))
    places = np.full((len(labels.organs), PLACES, 3), -1, np.int32)
    for index, mask in enumerate(labels.masks() & ~labels.ignored()):
        inside = np.flatnonzero(mask)
        if inside.size:
            places[index] = np.stack(np.unravel_index(draw.choice(inside, PLACES), mask.shape), axis=1)
    return places


def _save(path: Path, array: Array) -> None:
    with whole_file(path) as part:
        np.save(part, np.ascontiguousarray(array))
