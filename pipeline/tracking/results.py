"""Final figures, tables, worst cases and the report, each at the run that a reader looks for it in."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError
from pipeline.core.files import Cells, digest_of, number, read_table, sha256_of
from pipeline.core.journal import read_journal
from pipeline.tracking import facts, registry, store_sqlite, tree
from pipeline.tracking.delivery import send_pictures
from pipeline.tracking.events import Event
from pipeline.tracking.figures import (
    MEAN,
    PARTS,
    final_metrics,
    headline_table,
    metric_key,
    model_card,
    per_scan_rows,
    summary_rows,
)
from pipeline.tracking.jobs import describe
from pipeline.tracking.names import ALL, metric_names, safe_part
from pipeline.tracking.pictures import curves_picture, spread_picture
from pipeline.tracking.tree import StudyRuns

if TYPE_CHECKING:
    import pandas as pd

WORST = 10
DELIVERED = f"{store_sqlite.HIDDEN}.delivered"
#: Columns of names, which stay text where they look like numbers.
TEXT = ("scan_id", "model", "organ")


class Results:
    """Delivers what ``evaluate``, ``select`` and ``report`` made; what is unchanged is not sent again.

    Args:
        runs: The study's runs in the store.
    """

    def __init__(self, runs: StudyRuns) -> None:
        self.runs = runs
        self.store, self.study, self.paths = runs.store, runs.study, runs.paths
        self.organs = self.study.organ_names()
        self.summaries = {part: summary_rows(self.paths, part) for part in PARTS}
        self.per_scan = {part: per_scan_rows(self.study, self.paths, part) for part in PARTS}

    def deliver(self) -> None:
        """Deliver the figures of every model and of the champion, and the report."""
        models = dict.fromkeys(row["model"] for rows in self.summaries.values() for row in rows)
        run_ids = {model: run_id for model in models if (run_id := self._run_of(model)) is not None}
        for model, run_id in run_ids.items():
            self._deliver_model(model, run_id)
        champion = run_ids.get("champion")
        if champion is not None:
            self._deliver_worst(champion)
        reader = champion or next(iter(run_ids.values()), None)
        if reader is not None and self.paths.report.is_file():
            send = partial(self.store.client.log_artifact, reader, str(self.paths.report))
            self._once(reader, "report", sha256_of(self.paths.report), send)
        self._describe_experiment()

    def _run_of(self, model: str) -> str | None:
        """Id of the run that a model's figures belong to; ``None`` for what is no model of the study."""
        if model == "champion":
            return str(registry.champion_run(self.runs).info.run_id) if self.paths.champion_yaml.is_file() else None
        if model in self.study.models:
            if not self.paths.plan(model).is_file():
                return None
            job = describe(self.study, self.paths, model, 0, self.paths.model(model, 0) / "journal.jsonl")
            run = self.runs.find(job["parent"]) or self.runs.parent(job)
            if run.info.status == "RUNNING":
                tree.settle_parent(self.store, self.runs.experiment, run.info.run_id)
            return str(run.info.run_id)
        key = digest_of([self.paths.study, model, facts.manifest_digest(self.paths)])
        tags = {tree.ROLE: "baseline", "model": model, facts.SOURCE_TAG: "organseg evaluate"}
        run = self.runs.ensure(key, f"{model} (baseline)", tags)
        tree.set_status(self.store, run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def _deliver_model(self, model: str, run_id: str) -> None:
        summaries = {part: [row for row in rows if row["model"] == model] for part, rows in self.summaries.items()}
        self._set_metrics(run_id, final_metrics(summaries, self.organs))
        for part in PARTS:
            rows = [row for row in self.per_scan[part] if row["model"] == model]
            if rows:
                self._once(run_id, f"per_scan {part}", rows, partial(self._send_scans, run_id, model, part, rows))
        journals = {fold: self.paths.model(model, fold) / "journal.jsonl" for fold in range(self.study.split.folds)}
        folds = {fold: list(read_journal(path)) for fold, path in journals.items() if path.is_file()}
        if folds:
            self._once(run_id, "curves", list(folds.items()), partial(self._send_curves, run_id, model, folds))
        note = headline_table({title: summaries[part] for part, title in PARTS.items()}, self.organs)
        if model == "champion":
            from pipeline.inference.champion import read_champion

            note = model_card(self.study, self.paths, read_champion(self.paths.champion))
            registry.describe_version(self.runs, note)
        if note:
            self.runs.set_note(run_id, note)

    def _set_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log the metrics whose value differs from the one in the store."""
        from mlflow.entities import Metric

        there = self.store.client.get_run(run_id).data.metrics
        now = round(time.time() * 1000)
        changed = [Metric(key, value, now, 0) for key, value in metrics.items() if there.get(key) != value]
        self.store.client.log_batch(run_id, metrics=changed)

    def _once(self, run_id: str, what: str, content: object, send: Callable[[], object]) -> None:
        """Send something whose content differs from what was delivered before."""
        tag = {f"{DELIVERED}.{safe_part(what)}": digest_of(content)}
        if not tag.items() <= self.store.client.get_run(run_id).data.tags.items():
            send()
            self.store.tag(run_id, tag)

    def _send_scans(self, run_id: str, model: str, part: str, rows: Sequence[Cells]) -> None:
        """The figures of every scan, as a table and as a picture."""
        name = f"per_scan_{part}.json"
        # MLflow appends to a table that is there.
        self.store.remove_files(run_id, name)
        self.store.client.log_table(run_id, scan_table(rows), name)
        title = f"Dice of {model}, {PARTS[part]}; each dot a scan, bars at the median"
        picture = spread_picture(rows, self.organs, self.study.colors(), title)
        self.store.client.log_text(run_id, picture, f"dice_{part}.svg")

    def _send_curves(self, run_id: str, model: str, folds: Mapping[int, Sequence[Event]]) -> None:
        """A picture of the curves of a model's folds; the folds' own runs have them as metrics."""
        self.store.client.log_text(run_id, curves_picture(folds, f"Trainings of {model}"), "curves.svg")

    def _deliver_worst(self, run_id: str) -> None:
        """Pictures of the champion's worst test cases."""
        worst = worst_scans([row for row in self.per_scan["test"] if row["model"] == "champion"])
        files = [self._prediction(scan) for scan, _ in worst]
        content = [worst, [sha256_of(file) if file.is_file() else "" for file in files]]
        if worst:
            self._once(run_id, "worst cases", content, partial(self._send_worst, run_id, worst))

    def _send_worst(self, run_id: str, worst: Sequence[tuple[str, float]]) -> None:
        """Pictures, worst first, for the slider and as files."""
        with tempfile.TemporaryDirectory() as name:
            events = self._draw_worst(worst, Path(name))
            # The names of the old pictures tell their rank and Dice; they would stay beside the new ones.
            self.store.remove_files(run_id, "worst cases", "images")
            self.store.client.log_artifacts(run_id, name, "worst cases")
            send_pictures(self.store, run_id, events, Path(name))

    def _draw_worst(self, worst: Sequence[tuple[str, float]], folder: Path) -> list[dict[str, Any]]:
        """Draw overlays into a folder, and describe them as picture events."""
        from pipeline.formats.store import read_labels, read_scan
        from pipeline.imaging.pictures import overlay

        shards = {row["scan_id"]: row["shard"] for row in read_table(self.paths.scans_csv)}
        events = []
        for rank, (scan, dice) in enumerate(worst, 1):
            try:
                image = read_scan(self.paths.scan(shards[scan], scan))
                found = read_labels(self._prediction(scan))
                reference = read_labels(self.paths.mask(shards[scan], scan))
            except (InputError, KeyError):
                # Figures may be older than the files; what can be drawn is drawn.
                continue
            title = f"{rank}. {scan}, mean Dice {dice:.3f}"
            file = f"{rank:02d} {scan} dice {dice:.3f}.png"
            overlay(image, found, reference, self.study.colors(), title=title).save(folder / file)
            events.append({"kind": "picture", "time": 0.0, "step": rank, "name": "worst test cases", "file": file})
        return events

    def _prediction(self, scan: str) -> Path:
        return self.paths.predictions("test", "champion") / f"{scan}.nii.gz"

    def _describe_experiment(self) -> None:
        """Put the champion's headline above the list of runs, and its figures into the columns of the list."""
        test = [row for row in self.summaries["test"] if row["model"] == "champion"]
        table = headline_table({"test": test}, self.organs)
        head = f"**{self.study.title or self.paths.study}**"
        note = "\n\n".join(part for part in (head, self.study.description, table and f"Champion:\n\n{table}") if part)
        names = metric_names([ALL, *self.organs])
        figures = [f"metrics.`{metric_key('test', 'dice', name)}`" for name in names.values()]
        out_of_fold = f"metrics.`{metric_key('oof', 'dice', ALL)}`"
        columns = [*figures, out_of_fold, "attributes.`Models`", "attributes.`Duration`"]
        view = store_sqlite.view_tag(columns, figures[0])
        self.store.tag_experiment(self.runs.experiment, {tree.NOTE_TAG: note[: tree.EXPERIMENT_NOTE_LENGTH], **view})


def scan_table(rows: Sequence[Cells]) -> pd.DataFrame:
    """Rows of single scans as a table whose columns of numbers are numbers."""
    import pandas as pd

    table = pd.DataFrame(rows)
    for column in table.columns.difference(list(TEXT)):
        try:
            table[column] = pd.to_numeric(table[column])
        except ValueError:
            continue
    return table


def worst_scans(rows: Sequence[Cells], count: int = WORST) -> list[tuple[str, float]]:
    """Scans with the lowest mean Dice over their organs, worst first."""
    gathered: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["organ"] != MEAN and (value := number(row.get("dice"))) == value:
            gathered[row["scan_id"]].append(value)
    means = {scan: sum(values) / len(values) for scan, values in gathered.items()}
    return sorted(means.items(), key=lambda item: (item[1], item[0]))[:count]
