"""From a training's journal to its run: delivering a part, the rest, or all of it once more ends in the same run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.core.journal import read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say
from pipeline.tracking import jobs, store_sqlite, tree
from pipeline.tracking.events import Event, first_event, has_ended, new_points, training_note
from pipeline.tracking.jobs import Record
from pipeline.tracking.names import ALL, metric_names, safe_part
from pipeline.tracking.store import Store, TrackingError
from pipeline.tracking.tree import StudyRuns

#: Points a request; between two of them another process may have its turn at the store.
BATCH = 500


class Delivery:
    """Delivers one journal; an object of it remembers what the store has, so that only news are sent.

    Args:
        runs: The study's runs in the store.
        job: The training's record.
        journal: Its journal.
    """

    def __init__(self, runs: StudyRuns, job: Record, journal: Path) -> None:
        self.runs = runs
        self.store = runs.store
        self.job = job
        self.journal = journal
        self.organs = metric_names([ALL, *job["organs"]])
        self._first: dict[str, Any] | None = None
        self._ids: tuple[str, str] | None = None
        self._known: set[tuple[str, int]] | None = None

    def _begin(self) -> tuple[str, str] | None:
        """Ids of parent run and child run, made where needed; ``None`` while the journal is empty.

        A journal that was begun anew is another training, with another run.
        """
        first = first_event(self.journal)
        if first is None:
            return None
        if self._ids is None or first != self._first:
            parent = self.runs.parent(self.job, first["time"]).info.run_id
            child = self.runs.child(parent, self.job, first).info.run_id
            self._first, self._ids, self._known = first, (parent, child), None
        return self._ids

    def resume(self) -> bool:
        """Say in the store that the training is running (again); gives whether its journal has begun."""
        ids = self._begin()
        for run_id in reversed(ids or ()):
            tree.set_status(self.store, run_id, "RUNNING")
        return ids is not None

    def send(self) -> int:
        """Deliver what the store does not have yet.

        Returns:
            The number of points that were sent.

        Raises:
            TrackingError: The store took only a part, or nothing; call again later.
        """
        ids = self._begin()
        if ids is None or self._first is None:
            return 0
        from mlflow.entities import Metric

        run_id, began = ids[1], self._first["time"]
        known = self._known if self._known is not None else stored_points(self.store, run_id)
        # Where the answer to a batch is lost, the store is asked next time what it has.
        self._known = None
        events = list(read_journal(self.journal))
        # The load of an earlier training of the same plan stands in the same file.
        system = jobs.system_journal(self.runs.paths, self.job["key"])
        load = [event for event in read_journal(system) if event["time"] >= began]
        points = new_points([*events, *load], self.organs, known)
        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        for start in range(0, len(metrics), BATCH):
            self.store.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        send_pictures(self.store, run_id, events, self.journal.parent)
        self._known = known
        return len(points)

    def finish(self, outcome: str | None) -> None:
        """Deliver the rest and close the run.

        Args:
            outcome: ``FINISHED``, ``FAILED``, ``KILLED``, or ``None`` to tell from the journal.

        Raises:
            TrackingError: The store is away; nothing is marked as delivered.
        """
        marks = jobs.marks_of(self.journal, self.store.uri) if self.journal.is_file() else {}
        self.send()
        if self._ids is None:
            return
        events = list(read_journal(self.journal))
        outcome = outcome or ("FINISHED" if has_ended(events) else "KILLED")
        parent, child = self._ids
        if note := training_note(events, self.job["organs"]):
            self.runs.set_note(child, note)
        tree.set_status(self.store, child, outcome, max(event["time"] for event in events))
        tree.settle_parent(self.store, self.runs.experiment, parent)
        delivered = {**marks, "run": child, "started": events[0]["time"], "outcome": outcome}
        jobs.update_job(self.runs.paths, self.job["key"], delivered=delivered)


def stored_points(store: Store, run_id: str) -> set[tuple[str, int]]:
    """(key, step) of every point that a run has in the store."""
    keys = store.client.get_run(run_id).data.metrics
    return {(key, point.step) for key in keys for point in store.client.get_metric_history(run_id, key)}


def send_pictures(store: Store, run_id: str, events: Iterable[Event], folder: Path) -> None:
    """Deliver pictures for the UI's slider.

    An event ``{"kind": "picture", "step", "name", "file"}`` names a PNG relative to ``folder``. Of events with the same
    name and step the first wins, as with points: a resumed training draws the same picture again, at another time.
    """
    from PIL import Image

    wanted: dict[tuple[str, int], Event] = {}
    for event in events:
        if event["kind"] == "picture":
            # A picture's name in the characters that MLflow takes for one.
            key = "/".join(safe_part(part) for part in str(event["name"]).split("/"))
            wanted.setdefault((key, int(event["step"])), event)
    if not wanted:
        return
    there = store_sqlite.whole_pictures(store.file_names(run_id, "images"))
    for (key, step), event in wanted.items():
        source = folder / event["file"]
        if store_sqlite.picture_name(key, step) not in there and source.is_file():
            with Image.open(source) as image:
                picture = image.convert("RGB")
            # MLflow takes 0 for "now".
            time = round(event["time"] * 1000) or 1
            store.client.log_image(run_id, picture, key=key, step=step, timestamp=time)


def deliver_job(runs: StudyRuns, job: Record) -> bool:
    """Deliver one job that nobody else is delivering, unless the store has it already.

    Returns:
        Whether the store has the whole journal now; false while the training still runs.
    """
    store, paths = runs.store, runs.paths
    # Loaded before the lock is taken, for that takes seconds.
    _ = store.client
    with jobs.lock_job(paths, job["key"]) as held:
        if not held:
            return False
        journal = jobs.journal_of(paths, job)
        if journal is None:
            return True
        before = job.get("delivered") or {}
        if jobs.marks_of(journal, store.uri).items() <= before.items() and _is_active(store, before["run"]):
            return True
        Delivery(runs, job, journal).finish(job["outcome"])
        return True


def _is_active(store: Store, run_id: str) -> bool:
    try:
        return bool(store.client.get_run(run_id).info.lifecycle_stage == "active")
    except TrackingError:
        # Whatever the reason: deliver again, which asks the store anew and says what is wrong with it.
        return False


def deliver_pending(runs: StudyRuns, say: Say) -> int:
    """Deliver all that earlier stages could not, and end runs that a killed process left running.

    Returns:
        The number of journals that still wait.
    """
    waiting = 0
    adopt(runs)
    for job in jobs.all_jobs(runs.paths):
        try:
            deliver_job(runs, job)
        except TrackingError as error:
            waiting += 1
            say(f"tracking: {job['model']} fold {job['fold']} waits: {error}")
    settle(runs.store, runs.experiment, runs.paths)
    return waiting


def adopt(runs: StudyRuns) -> None:
    """Write records of trained models that have none, such as those brought from another machine."""
    study, paths = runs.study, runs.paths
    for model in study.models:
        for fold in range(study.split.folds):
            journal = paths.model(model, fold) / "journal.jsonl"
            if journal.is_file() and paths.plan(model).is_file():
                key = jobs.describe(study, paths, model, fold, journal)["key"]
                if not jobs.job_path(paths, key).is_file():
                    jobs.open_job(study, paths, model, fold, journal)


def settle(store: Store, experiment: str, paths: StudyPaths) -> None:
    """Mark as KILLED every run of a training whose process is gone and whose journal was begun anew or lost.

    Args:
        store: The store.
        experiment: Id of the study's experiment.
        paths: Places of the study.
    """
    running = store.runs(experiment, "attributes.status = 'RUNNING'")
    known = {job["key"] for job in jobs.all_jobs(paths)}
    parents = {run.info.run_id for run in running if run.data.tags.get(tree.ROLE) == "model"}
    for run in running:
        key = run.data.tags.get(tree.JOB)
        if key not in known:
            continue
        with jobs.lock_job(paths, key) as held:
            if held:
                tree.set_status(store, run.info.run_id, "KILLED")
                parents.add(run.data.tags[tree.PARENT_TAG])
    for parent in parents:
        tree.settle_parent(store, experiment, parent)
