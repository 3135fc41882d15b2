"""Final figures, tables, worst cases and the report, each at the run that a reader looks for it in."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_table, sha256_of
from pipeline.core.journal import read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import facts, registry, store_sqlite, tree
from pipeline.tracking.delivery import send_pictures
from pipeline.tracking.figures import (
    HEADLINES,
    MEAN,
    headline_table,
    metric_key,
    number,
    per_scan_rows,
    spread_picture,
    summary_rows,
)
from pipeline.tracking.jobs import describe
from pipeline.tracking.names import ALL, metric_names, safe_part
from pipeline.tracking.store import Store
from pipeline.tracking.training import curves_picture

PARTS = ("test", "oof")
WORST = 10
DELIVERED = f"{store_sqlite.HIDDEN}.delivered"


def deliver(store: Store, study: Study, paths: StudyPaths) -> None:
    """Deliver the figures of every model and of the champion, and the report.

    What was delivered before and is unchanged is not sent again.
    """
    summaries = {part: summary_rows(paths, part) for part in PARTS}
    models = list(dict.fromkeys(row["model"] for part in PARTS for row in summaries[part]))
    champion_id = None
    for model in models:
        run_id = _run_of(store, study, paths, model)
        if run_id is None:
            continue
        if model == "champion":
            champion_id = run_id
        own = {part: [row for row in summaries[part] if row["model"] == model] for part in PARTS}
        _deliver_model(store, study, paths, model, run_id, own)
    if champion_id is not None:
        _deliver_worst(store, study, paths, champion_id)
    if paths.report.is_file():
        _deliver_report(store, paths, champion_id or _any_run(store, study, paths, models))
    _describe_experiment(store, study, paths, summaries)


def _run_of(store: Store, study: Study, paths: StudyPaths, model: str) -> str | None:
    """Id of the run that a model's figures belong to; ``None`` for what is no model of the study."""
    if model == "champion":
        return str(registry.champion_run(store, study, paths).info.run_id) if paths.champion_yaml.is_file() else None
    experiment = tree.experiment(store, paths.study, study.title, study.description)
    if model in study.models:
        if not paths.plan(model).is_file():
            return None
        job = describe(study, paths, model, 0, paths.model(model, 0) / "journal.jsonl")
        run = tree.find_run(store, experiment, job["parent"]) or tree.parent_run(store, paths, experiment, job)
        if run.info.status == "RUNNING":
            tree.settle_parent(store, experiment, run.info.run_id)
        return str(run.info.run_id)
    key = digest_of([paths.study, model, facts.manifest_digest(paths)])
    tags = {tree.ROLE: "baseline", "study": paths.study, "model": model, tree.SOURCE_TAG: "organseg evaluate"}
    run = tree.ensure_run(store, paths, experiment, key, name=f"{model} (baseline)", tags=tags)
    tree.set_status(store, run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def _any_run(store: Store, study: Study, paths: StudyPaths, models: Sequence[str]) -> str | None:
    return next((run for model in models if (run := _run_of(store, study, paths, model)) is not None), None)


def final_metrics(summaries: Mapping[str, Sequence[Mapping[str, str]]], organs: Sequence[str]) -> dict[str, float]:
    """Metric key → value, such as ``test Dice/heart``; see :func:`pipeline.tracking.figures.metric_key`.

    The mean of the organs is ``test Dice/all organs``; an organ of that name would be numbered.
    """
    names = metric_names([ALL, *organs])
    names[MEAN] = ALL
    metrics: dict[str, float] = {}
    for part, rows in summaries.items():
        for row in rows:
            if row["metric"] not in HEADLINES or row["organ"] not in names:
                continue
            for end in ("", "low", "high"):
                value = number(row.get(end or "mean"))
                if value is not None:
                    key = metric_key(part, row["metric"], names[row["organ"]], row.get("unit", ""), end)
                    # Six digits are more than any of these figures means, and columns stay narrow.
                    metrics[key] = round(value, 6)
    return metrics


def _deliver_model(
    store: Store,
    study: Study,
    paths: StudyPaths,
    model: str,
    run_id: str,
    summaries: Mapping[str, Sequence[Mapping[str, str]]],
) -> None:
    _set_metrics(store, run_id, final_metrics(summaries, study.organ_names()))
    note = headline_table({"test": summaries["test"], "out of fold": summaries["oof"]}, study.organ_names())
    if model == "champion":
        from pipeline.inference.champion import read_champion
        from pipeline.tracking.card import model_card

        note = model_card(study, paths, read_champion(paths.champion))
    for part in PARTS:
        rows = [row for row in per_scan_rows(study, paths, part) if row["model"] == model]
        if not rows or not _news(store, run_id, f"per_scan {part}", digest_of(rows)):
            continue
        _log_table(store, run_id, rows, f"per_scan_{part}.json")
        title = f"Dice of {model}, {'test' if part == 'test' else 'out of fold'}; each dot a scan, bars at the median"
        picture = spread_picture(rows, study.organ_names(), study.colors(), title)
        store.text(run_id, picture, f"dice_{part}.svg")
        _note(store, run_id, f"per_scan {part}", digest_of(rows))
    _deliver_curves(store, study, paths, model, run_id)
    if model == "champion":
        registry.describe_version(store, paths, note)
    if note:
        tree.set_note(store, run_id, note)


def _deliver_curves(store: Store, study: Study, paths: StudyPaths, model: str, run_id: str) -> None:
    """A picture of the curves of a model's folds; the folds' own runs have them as metrics."""
    journals = {fold: paths.model(model, fold) / "journal.jsonl" for fold in range(study.split.folds)}
    folds = {fold: list(read_journal(path)) for fold, path in journals.items() if path.is_file()}
    digest = digest_of([[fold, events] for fold, events in folds.items()])
    if folds and _news(store, run_id, "curves", digest):
        store.text(run_id, curves_picture(folds, f"Trainings of {model}"), "curves.svg")
        _note(store, run_id, "curves", digest)


def _set_metrics(store: Store, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log the metrics whose value differs from the one in the store."""
    from mlflow.entities import Metric

    there = store.run(run_id).data.metrics
    now = round(time.time() * 1000)
    store.log(run_id, [Metric(key, value, now, 0) for key, value in metrics.items() if there.get(key) != value])


def _log_table(store: Store, run_id: str, rows: Sequence[Mapping[str, str]], name: str) -> None:
    """Log a table the way MLflow's own function does, but over the one that is there rather than appended to it."""
    columns = list(rows[0])
    data = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    store.text(run_id, json.dumps({"columns": columns, "data": data}), name)
    present = store.run(run_id).data.tags.get(store_sqlite.TABLES)
    store.tag(run_id, store_sqlite.TABLES, store_sqlite.table_tag(present, name))


def _cell(text: str) -> float | str | None:
    try:
        value = float(text)
    except ValueError:
        return text or None
    return value if math.isfinite(value) else None


def _news(store: Store, run_id: str, what: str, digest: str) -> bool:
    """Whether something differs from what was delivered before."""
    return bool(store.run(run_id).data.tags.get(f"{DELIVERED}.{safe_part(what)}") != digest)


def _note(store: Store, run_id: str, what: str, digest: str) -> None:
    store.tag(run_id, f"{DELIVERED}.{safe_part(what)}", digest)


def worst_scans(rows: Sequence[Mapping[str, str]], count: int = WORST) -> list[tuple[str, float]]:
    """Scans with the lowest mean Dice over their organs, worst first."""
    gathered: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        value = number(row.get("dice"))
        if row["organ"] != MEAN and value is not None:
            gathered[row["scan_id"]].append(value)
    means = {scan: sum(values) / len(values) for scan, values in gathered.items()}
    return sorted(means.items(), key=lambda item: (item[1], item[0]))[:count]


def _deliver_worst(store: Store, study: Study, paths: StudyPaths, run_id: str) -> None:
    """Pictures of the champion's worst test cases, worst first, for the slider and as files."""
    import tempfile

    rows = [row for row in per_scan_rows(study, paths, "test") if row["model"] == "champion"]
    worst = worst_scans(rows)
    digest = digest_of([worst, [_digest(_prediction(paths, scan)) for scan, _ in worst]])
    if not worst or not _news(store, run_id, "worst cases", digest):
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = _draw_worst(study, paths, worst, folder)
        # The names of the old pictures tell their rank and Dice; they would stay beside the new ones.
        for old in ("worst cases", "images"):
            if store.file_names(run_id, old):
                place = store.run(run_id).info.artifact_uri
                store.write(store_sqlite.remove_artifacts, place, store.uri, old)
        store.write(store.client.log_artifacts, run_id, str(folder), "worst cases")
        send_pictures(store, run_id, events, folder)
    _note(store, run_id, "worst cases", digest)


def _draw_worst(
    study: Study, paths: StudyPaths, worst: Sequence[tuple[str, float]], folder: Path
) -> list[dict[str, Any]]:
    """Draw overlays into a folder, and describe them as picture events."""
    from pipeline.formats.store import read_labels, read_scan
    from pipeline.imaging.pictures import overlay

    shards = {row["scan_id"]: row["shard"] for row in read_table(paths.scans_csv)}
    events = []
    for rank, (scan, dice) in enumerate(worst, 1):
        try:
            image = read_scan(paths.scan(shards[scan], scan))
            found = read_labels(_prediction(paths, scan))
            reference = read_labels(paths.mask(shards[scan], scan))
        except (InputError, KeyError):
            # Figures may be older than the files; what can be drawn is drawn.
            continue
        picture = overlay(image, found, reference, study.colors(), title=f"{rank}. {scan}, mean Dice {dice:.3f}")
        file = f"{rank:02d} {scan} dice {dice:.3f}.png"
        picture.save(folder / file)
        events.append({"kind": "picture", "time": 0.0, "step": rank, "name": "worst test cases", "file": file})
    return events


def _prediction(paths: StudyPaths, scan: str) -> Path:
    return paths.predictions("test", "champion") / f"{scan}.nii.gz"


def _digest(path: Path) -> str:
    return sha256_of(path) if path.is_file() else ""


def _deliver_report(store: Store, paths: StudyPaths, run_id: str | None) -> None:
    if run_id is None:
        return
    digest = sha256_of(paths.report)[:12]
    if _news(store, run_id, "report", digest):
        store.write(store.client.log_artifact, run_id, str(paths.report))
        _note(store, run_id, "report", digest)


def _describe_experiment(
    store: Store, study: Study, paths: StudyPaths, summaries: Mapping[str, Sequence[Mapping[str, str]]]
) -> None:
    """Put the champion's headline above the list of runs."""
    test = [row for row in summaries["test"] if row["model"] == "champion"]
    table = headline_table({"test": test}, study.organ_names())
    head = f"**{study.title or paths.study}**"
    note = "\n\n".join(part for part in (head, study.description, table and f"Champion:\n\n{table}") if part)
    experiment = tree.experiment(store, paths.study)
    names = metric_names([ALL, *study.organ_names()])
    figures = [f"metrics.`{metric_key('test', 'dice', name)}`" for name in names.values()]
    out_of_fold = f"metrics.`{metric_key('oof', 'dice', ALL)}`"
    columns = [*figures, out_of_fold, "attributes.`Models`", "attributes.`Duration`"]
    view, shown = store_sqlite.view_tag(columns, figures[0])
    store.tag_experiment(experiment, {tree.NOTE_TAG: note[: tree.EXPERIMENT_NOTE_LENGTH], view: shown})
