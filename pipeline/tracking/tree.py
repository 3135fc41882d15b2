"""The tree of runs: experiment = study, a parent run a plan, a child run a training, found again by their keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.core.files import digest_of
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import facts, store_sqlite
from pipeline.tracking.events import Event
from pipeline.tracking.jobs import Record
from pipeline.tracking.names import flatten
from pipeline.tracking.store import Store, TrackingError, take_turn

if TYPE_CHECKING:
    from mlflow.entities import Run

#: Tags of ours that tell a reader nothing.
KEY = f"{store_sqlite.HIDDEN}.key"
FILLED = f"{store_sqlite.HIDDEN}.filled"
JOB = f"{store_sqlite.HIDDEN}.job"
ROLE = "role"
# System tags of MLflow's documentation.
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
#: Letters of a note that MLflow takes: 8000 of a run, 20000 of an experiment.
NOTE_LENGTH, EXPERIMENT_NOTE_LENGTH = 7900, 19000
ENDED = {"FINISHED", "FAILED", "KILLED"}


@dataclass
class StudyRuns:
    """The runs of one study in a store.

    Attributes:
        store: The store.
        study: The study.
        paths: Its places.
    """

    store: Store
    study: Study
    paths: StudyPaths

    @cached_property
    def experiment(self) -> str:
        """Id of the study's experiment; it is created, or brought back from the bin, where needed."""
        client, name = self.store.client, self.paths.study
        found = client.get_experiment_by_name(name)
        title = f"**{self.study.title}**" if self.study.title else ""
        note = "\n\n".join(part for part in (title, self.study.description) if part)
        tags = {**store_sqlite.EXPERIMENT_KIND, **({NOTE_TAG: note} if note else {})}
        if found is None:
            place = (self.store.artifacts / name).as_uri() if self.store.artifacts is not None else None
            try:
                return str(client.create_experiment(name, artifact_location=place, tags=tags))
            except TrackingError:
                # Another job of another study's folder may have made it between question and answer.
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        # A note that is there may hold the champion's figures; the report writes it anew.
        self.store.tag_experiment(found.experiment_id, {**tags, **found.tags, **store_sqlite.EXPERIMENT_KIND})
        return str(found.experiment_id)

    def find(self, key: str) -> Run | None:
        """The run with a key, the oldest if there should be several."""
        return next(iter(self.store.runs(self.experiment, f"tags.`{KEY}` = '{key}'", 1)), None)

    def ensure(self, key: str, name: str, tags: Mapping[str, str], started: float | None = None) -> Run:
        """The run with a key, made under the study's lock where there is none, so that jobs starting at once make one.

        Args:
            key: Hash of what makes the run what it is.
            name: Title for people.
            tags: Tags to set, also on a run that is there already; empty ones are left out.
            started: Seconds since the epoch.
        """
        wanted = {"study": self.paths.study, **{tag: value for tag, value in tags.items() if value}}
        create, experiment = self.store.client.create_run, self.experiment
        with take_turn(self.paths.tracking / "runs.lock", self.store.say):
            run = self.find(key)
            if run is None:
                begin = round((started or time.time()) * 1000)
                return create(experiment, start_time=begin, run_name=name, tags={KEY: key, **wanted})
            if not wanted.items() <= run.data.tags.items():
                self.store.tag(run.info.run_id, wanted)
            return run

    def parent(self, job: Record, started: float | None = None) -> Run:
        """The run of a study's model, plan and manifest."""
        run = self.ensure(job["parent"], job["model"], {**_common_tags(job), ROLE: "model"}, started)
        if FILLED not in run.data.tags:
            from mlflow.entities import Param

            # Folds share their parent's plan. The UI writes a run's parameters above each of its pictures, and little
            # would be seen of those.
            client, run_id = self.store.client, run.info.run_id
            client.log_batch(run_id, params=[Param(name, value) for name, value in flatten(job["plan"]).items()])
            client.log_dict(run_id, job["plan"], "plan.yaml")
            self.fill(run_id, job["manifest"], facts.sides(self.paths, None))
        return run

    def child(self, parent: str, job: Record, first: Event) -> Run:
        """The run of one training: a journal begun anew is another training, a continued one the same.

        Args:
            parent: Id of the model's run.
            job: The training's record.
            first: First event of its journal.
        """
        tags = {
            **_common_tags(job),
            ROLE: "fold",
            PARENT_TAG: parent,
            "fold": str(job["fold"]),
            "device": str(first.get("device", "")),
            "threads": str(first.get("threads", "")),
            JOB: job["key"],
            **{f"version.{name}": str(version) for name, version in (first.get("versions") or {}).items()},
        }
        key = digest_of([job["parent"], job["fold"], first["time"]])
        run = self.ensure(key, f"{job['model']} · fold {job['fold']}", tags, first["time"])
        if FILLED not in run.data.tags:
            self.fill(run.info.run_id, job["manifest"], job["sides"], f" fold {job['fold']}")
        return run

    def fill(self, run_id: str, manifest: str, sides: facts.Sides, fold: str = "") -> None:
        """Log the data as dataset inputs and, but for a fold, the environment; and that a run has all it begins with.

        Args:
            run_id: The run.
            manifest: The manifest's digest.
            sides: The scans on each side; see :func:`pipeline.tracking.facts.sides`.
            fold: Stands behind the datasets' names; empty for the study as a whole.
        """
        client = self.store.client
        if not fold:
            client.log_text(run_id, facts.environment(), "environment.txt")
        if sides:
            client.log_inputs(run_id, datasets=facts.dataset_inputs(self.paths.study, manifest, sides, fold))
        # Set last: a process killed on the way does it all again, and all of it may be repeated.
        self.store.tag(run_id, {FILLED: "true"})

    def set_note(self, run_id: str, note: str) -> None:
        """Set the Markdown that stands above a run."""
        self.store.tag(run_id, {NOTE_TAG: note[:NOTE_LENGTH]})


def _common_tags(job: Record) -> dict[str, str]:
    """Tags of a parent run and its children. Source and versions are those of the last start."""
    names = {"model": "model", "plan": "plan_digest", "manifest": "manifest", "split": "split"}
    return {**{tag: job[field] for tag, field in names.items()}, **job["source"]}


def set_status(store: Store, run_id: str, status: str, ended: float | None = None) -> None:
    """Set a run's status where it differs; a run that goes on again loses its end time by getting a later one."""
    if store.client.get_run(run_id).info.status == status:
        return
    if status in ENDED:
        store.client.set_terminated(run_id, status, round((ended or time.time()) * 1000))
    else:
        store.client.update_run(run_id, status=status)


def settle_parent(store: Store, experiment_id: str, parent_id: str) -> None:
    """Give a parent run the status that follows from the newest training of each fold."""
    children = store.runs(experiment_id, f"tags.`{PARENT_TAG}` = '{parent_id}'")
    newest = {run.data.tags.get("fold", ""): run.info for run in children}
    states = {info.status for info in newest.values()}
    worst = next((state for state in ("RUNNING", "FAILED", "KILLED") if state in states), "FINISHED")
    ended = max((info.end_time or 0 for info in newest.values()), default=0) / 1000
    set_status(store, parent_id, worst, ended or None)
