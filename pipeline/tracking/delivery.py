"""From a job's journal to its run: delivering a part, the rest, or all of it once more ends in the same run."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.core.journal import read_journal
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import jobs, tree
from pipeline.tracking.jobs import Job
from pipeline.tracking.names import ALL, metric_names, safe_part
from pipeline.tracking.points import Point, first_event, has_ended, new_points
from pipeline.tracking.store import Store, TrackingError
from pipeline.tracking.tail import Tail
from pipeline.tracking.training import training_note

#: Points a request; MLflow takes 1000 and a megabyte.
BATCH = 500
#: How the name of a picture's small copy ends; it is written last.
COMPRESSED = "+compressed.webp"
Say = Callable[[str], None]


class Delivery:
    """Delivers one journal; an object of it remembers what the store has, so that only news are sent.

    Args:
        store: The store.
        paths: Places of the study.
        job: The training's job file.
        journal: Its journal.
    """

    def __init__(self, store: Store, paths: StudyPaths, job: Job, journal: Path) -> None:
        self.store = store
        self.paths = paths
        self.job = job
        self.journal = journal
        self.organs = metric_names([ALL, *job["organs"]])
        self._begin(None)

    def _begin(self, first: dict[str, Any] | None) -> None:
        self._first = first
        self._tails = [Tail(self.journal), Tail(jobs.system_journal(self.paths, self.job["key"]))]
        self._queue: list[dict[str, Any]] = []
        self._known: set[tuple[str, int]] | None = None
        self._ids: tuple[str, str, str] | None = None

    def first(self) -> dict[str, Any] | None:
        """The journal's first event. A journal that was begun anew is another training, with another run."""
        first = first_event(self.journal)
        if first is not None and first != self._first:
            self._begin(first)
        return first

    def run_ids(self, first: dict[str, Any]) -> tuple[str, str, str]:
        """Ids of experiment, parent run and child run, made where needed."""
        if self._ids is None:
            job = self.job
            experiment = tree.experiment(self.store, job["study"], job["title"], job["description"])
            parent = tree.parent_run(self.store, self.paths, experiment, job, first["time"])
            child = tree.child_run(self.store, self.paths, experiment, parent, job, first)
            self._ids = experiment, parent.info.run_id, child.info.run_id
        return self._ids

    def resume(self) -> None:
        """Say in the store that the training is running (again)."""
        first = self.first()
        if first is not None:
            _, parent, child = self.run_ids(first)
            tree.set_status(self.store, child, "RUNNING")
            tree.set_status(self.store, parent, "RUNNING")

    def send(self) -> int:
        """Deliver what the store does not have yet.

        Returns:
            The number of points that were sent.

        Raises:
            TrackingError: The store took only a part, or nothing; call again later.
        """
        first = self.first()
        if first is None:
            return 0
        for tail in self._tails:
            # The load of an earlier training of the same plan stands in the same file.
            self._queue += [event for event in tail.read() if event["time"] >= first["time"]]
        if not self._queue and self._ids is not None:
            return 0
        _, _, run_id = self.run_ids(first)
        if self._known is None:
            self._known = stored_points(self.store, run_id)
        known = set(self._known)
        points = new_points(self._queue, self.organs, known)
        try:
            for start in range(0, len(points), BATCH):
                self._send_batch(run_id, points[start : start + BATCH])
            send_pictures(self.store, run_id, self._queue, self.journal.parent)
        except TrackingError:
            # Perhaps the batch arrived and only the answer was lost: ask the store next time.
            self._known = None
            raise
        self._known = known
        self._queue = []
        return len(points)

    def _send_batch(self, run_id: str, points: list[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        client = self.store.client
        self.store.write(lambda: client.log_batch(run_id, metrics=metrics))

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
        experiment, parent, child = self._ids
        ended = max(event["time"] for event in events)
        if note := training_note(events, self.job["organs"]):
            tree.set_note(self.store, child, note)
        tree.set_status(self.store, child, outcome, ended)
        tree.settle_parent(self.store, experiment, parent)
        delivered = {**marks, "run": child, "started": events[0]["time"], "outcome": outcome}
        jobs.update_job(self.paths, self.job["key"], delivered=delivered)


def stored_points(store: Store, run_id: str) -> set[tuple[str, int]]:
    """(key, step) of every point that a run has in the store."""
    client = store.client
    known = set()
    for key in store.read(lambda: client.get_run(run_id)).data.metrics:
        history = store.read(lambda key=key: client.get_metric_history(run_id, key))  # type: ignore[misc]
        known |= {(key, metric.step) for metric in history}
    return known


def send_pictures(store: Store, run_id: str, events: Iterable[dict[str, Any]], folder: Path) -> None:
    """Deliver pictures for the UI's slider, which knows them by their file names.

    An event ``{"kind": "picture", "step", "name", "file"}`` names a PNG relative to ``folder``. Of events with the same
    name and step the first wins, as with points: a resumed training draws the same picture again, at another time.
    """
    pictures = [event for event in events if event.get("kind") == "picture"]
    if not pictures:
        return
    client = store.client
    there = {Path(item.path).name for item in store.read(lambda: client.list_artifacts(run_id, "images"))}
    # A picture is whole with its small copy; without it, a process was killed on the way.
    known = {_slider_place(name) for name in there if name.endswith(COMPRESSED)}
    for event in pictures:
        source, name = folder / event["file"], picture_name(event)
        if _slider_place(name) not in known and source.is_file():
            _send_picture(store, run_id, source, name)
            known.add(_slider_place(name))


def picture_name(event: dict[str, Any]) -> str:
    """Artifact name of a picture as MLflow's ``log_image`` would make it, without suffix.

    There its last part is drawn; here the whole name is a function of the event, so that a delivery that was cut off
    and is repeated overwrites rather than adds.
    """
    key = re.sub(r"[^A-Za-z0-9_\-. ]", "~", "/".join(safe_part(part) for part in str(event["name"]).split("/")))
    step, time = int(event["step"]), round(event["time"] * 1000)
    return f"{key}+step+{step}+timestamp+{time}+{uuid.uuid5(uuid.NAMESPACE_OID, f'{key} {step}')}"


def _slider_place(name: str) -> str:
    """Key and step in a picture's name: its place in the slider."""
    return name.split("+timestamp+")[0]


def _send_picture(store: Store, run_id: str, source: Path, name: str) -> None:
    import tempfile

    from PIL import Image

    client = store.client
    with tempfile.TemporaryDirectory() as folder, Image.open(source) as image:
        picture = image.convert("RGB")
        whole, small = Path(folder) / f"{name}.png", Path(folder) / f"{name}{COMPRESSED}"
        picture.save(whole)
        picture.thumbnail((256, 256))
        picture.save(small)
        for file in (whole, small):
            store.write(lambda file=file: client.log_artifact(run_id, str(file), "images"))  # type: ignore[misc]
    store.write(lambda: client.set_tag(run_id, "mlflow.loggedImages", "True"))


def deliver_job(store: Store, paths: StudyPaths, job: Job) -> bool:
    """Deliver one job that nobody else is delivering, unless the store has it already.

    Returns:
        Whether the store has the whole journal now; false while the training still runs.
    """
    with jobs.lock_job(paths, job["key"], wait=False) as held:
        if not held:
            return False
        journal = jobs.journal_of(paths, job)
        if journal is None:
            return True
        before = job.get("delivered") or {}
        if jobs.marks_of(journal, store.uri).items() <= before.items() and _has_run(store, before.get("run")):
            return True
        Delivery(store, paths, job, journal).finish(job.get("outcome"))
        return True


def _has_run(store: Store, run_id: str | None) -> bool:
    if run_id is None:
        return False
    client = store.client
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except Exception:
        # Whatever the reason: deliver again, which asks the store anew and says what is wrong with it.
        return False


def deliver_pending(store: Store, study: Study, paths: StudyPaths, say: Say) -> int:
    """Deliver all that earlier stages could not, and end runs that a killed process left running.

    Returns:
        The number of journals that still wait.
    """
    waiting = 0
    adopt(study, paths)
    for job in jobs.all_jobs(paths):
        try:
            deliver_job(store, paths, job)
        except TrackingError as error:
            waiting += 1
            say(f"tracking: {job['model']} fold {job['fold']} waits: {error}")
    settle(store, paths)
    return waiting


def adopt(study: Study, paths: StudyPaths) -> None:
    """Make job files for trained models that have none, such as those brought from another machine."""
    for model in study.models:
        for fold in range(study.split.folds):
            journal = paths.model(model, fold) / "journal.jsonl"
            if journal.is_file() and paths.plan(model).is_file():
                job = jobs.describe(study, paths, model, fold, journal)
                if not jobs.job_path(paths, job["key"]).is_file():
                    jobs.open_job(study, paths, model, fold, journal)


def settle(store: Store, paths: StudyPaths) -> None:
    """Mark as KILLED every run of a training whose process is gone and whose journal was begun anew or lost."""
    client = store.client
    found = store.read(lambda: client.get_experiment_by_name(paths.study))
    if found is None:
        return
    experiment = found.experiment_id
    running = store.read(lambda: client.search_runs([experiment], "attributes.status = 'RUNNING'"))
    known = {job["key"] for job in jobs.all_jobs(paths)}
    parents = {run.info.run_id for run in running if run.data.tags.get(tree.ROLE) == "model"}
    for run in running:
        key = run.data.tags.get(tree.JOB)
        if key not in known:
            continue
        with jobs.lock_job(paths, key, wait=False) as held:
            if held:
                tree.set_status(store, run.info.run_id, "KILLED")
                parents.add(run.data.tags.get(tree.PARENT_TAG, ""))
    for parent in parents - {""}:
        tree.settle_parent(store, experiment, parent)
