"""The tree of runs: experiment = study, a parent run a plan, a child run a training, found again by their keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.core.files import digest_of
from pipeline.core.paths import StudyPaths
from pipeline.tracking import store_sqlite
from pipeline.tracking.facts import dataset_inputs, environment
from pipeline.tracking.jobs import Job
from pipeline.tracking.names import flatten
from pipeline.tracking.store import Store
from pipeline.tracking.turns import TrackingError, take_turn

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
SOURCE_TAG = "mlflow.source.name"
NOTE_LENGTH = 7900
EXPERIMENT_NOTE_LENGTH = 19000
ENDED = {"FINISHED", "FAILED", "KILLED"}


def experiment(store: Store, study: str, title: str = "", description: str = "") -> str:
    """Id of a study's experiment; it is created, or brought back from the bin, where needed."""
    client = store.client
    found = store.read(client.get_experiment_by_name, study)
    note = "\n\n".join(part for part in (f"**{title}**" if title else "", description) if part)
    tags = {**store_sqlite.EXPERIMENT_KIND, **({NOTE_TAG: note} if note else {})}
    if found is None:
        place = (store.artifacts / study).as_uri() if store.artifacts is not None else None
        try:
            return str(store.write(client.create_experiment, study, artifact_location=place, tags=tags))
        except TrackingError:
            # Another job of another study's folder may have made it between question and answer.
            found = store.read(client.get_experiment_by_name, study)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        store.write(client.restore_experiment, found.experiment_id)
    store.tag_experiment(found.experiment_id, tags)
    return str(found.experiment_id)


def find_run(store: Store, experiment_id: str, key: str) -> Run | None:
    """The run with a key, the oldest if there should be several."""
    return next(iter(store.runs(experiment_id, f"tags.`{KEY}` = '{key}'", 1)), None)


def source_tags(command: str, git: Mapping[str, str], versions: Mapping[str, str]) -> dict[str, str]:
    """Tags that say what made a run: MLflow's system tags for its source, and the versions of packages.

    Args:
        command: Such as ``organseg train``.
        git: See :func:`pipeline.tracking.facts.git_state`.
        versions: See :func:`pipeline.tracking.facts.versions`.
    """
    return {
        SOURCE_TAG: command,
        "mlflow.source.type": "LOCAL",
        **{f"mlflow.source.git.{name}": value for name, value in git.items()},
        **{f"version.{name}": str(value) for name, value in versions.items()},
    }


def ensure_run(
    store: Store,
    paths: StudyPaths,
    experiment_id: str,
    key: str,
    *,
    name: str,
    tags: Mapping[str, str],
    started: float | None = None,
) -> Run:
    """The run with a key, made under the study's lock where there is none, so that jobs starting at once make one.

    Args:
        store: The store.
        paths: Places of the study, for the lock.
        experiment_id: The study's experiment.
        key: Hash of what makes the run what it is.
        name: Title for people.
        tags: Tags to set, also on a run that is there already; empty ones are left out.
        started: Seconds since the epoch.
    """
    create = store.client.create_run
    wanted = {tag: value for tag, value in tags.items() if value}
    with take_turn(paths.tracking / "runs.lock", store.say):
        run = find_run(store, experiment_id, key)
        if run is None:
            begin = round((started or time.time()) * 1000)
            return store.write(create, experiment_id, start_time=begin, run_name=name, tags={KEY: key, **wanted})
        for tag, value in wanted.items():
            if run.data.tags.get(tag) != value:
                store.tag(run.info.run_id, tag, value)
        return run


def parent_run(store: Store, paths: StudyPaths, experiment_id: str, job: Job, started: float | None = None) -> Run:
    """The run of a study's model, plan and manifest."""
    run = ensure_run(
        store,
        paths,
        experiment_id,
        job["parent"],
        name=job["model"],
        tags={**_common_tags(job), ROLE: "model"},
        started=started,
    )
    _fill(store, run, job, fold=False)
    return run


def child_key(job: Job, started: float) -> str:
    """Key of the run of one training: a journal begun anew is another training, a continued one the same."""
    return digest_of([job["parent"], job["fold"], started])


def child_run(store: Store, paths: StudyPaths, experiment_id: str, parent: str, job: Job, first: dict[str, Any]) -> Run:
    """The run of one training.

    Args:
        store: The store.
        paths: Places of the study.
        experiment_id: The study's experiment.
        parent: Id of the model's run.
        job: The training's job file.
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
        **{f"version.{name}": str(v) for name, v in (first.get("versions") or {}).items()},
    }
    run = ensure_run(
        store,
        paths,
        experiment_id,
        child_key(job, first["time"]),
        name=f"{job['model']} · fold {job['fold']}",
        tags=tags,
        started=first["time"],
    )
    _fill(store, run, job, fold=True)
    return run


def _common_tags(job: Job) -> dict[str, str]:
    """Tags of a parent run and its children. Git and versions are those of the last start."""
    return {
        "study": job["study"],
        "model": job["model"],
        "plan": job["plan_digest"],
        "manifest": job["manifest"],
        "split": job["split"],
        **source_tags("organseg train", job["git"], job["versions"]),
    }


def _fill(store: Store, run: Run, job: Job, fold: bool) -> None:
    """Log what does not change: the plan's values as parameters, the plan as a file, the data as dataset inputs."""
    from mlflow.entities import Param

    run_id = run.info.run_id
    if FILLED in run.data.tags:
        return
    if not fold:
        # Folds share their parent's plan. The UI writes a run's parameters above each of its pictures, and little would
        # be seen of those.
        store.log(run_id, params=[Param(name, value) for name, value in flatten(job["plan"]).items()])
        store.write(store.client.log_dict, run_id, job["plan"], "plan.yaml")
        store.text(run_id, environment(), "environment.txt")
    if job["sides"]:
        inputs = dataset_inputs(job if fold else {**job, "fold": None, "sides": _development(job["sides"])})
        store.write(store.client.log_inputs, run_id, datasets=inputs)
    # Set last: a process killed on the way does it all again, and all of it may be repeated.
    store.tag(run_id, FILLED, "true")


def _development(sides: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Sides of the study as a whole: what one fold validates on another one trains on."""
    train, validation = sides.get("train"), sides.get("validation")
    if train is None or validation is None:
        return sides
    both = {name: train[name] + validation[name] for name in train}
    return {"train": both, **{side: counts for side, counts in sides.items() if side == "test"}}


def set_note(store: Store, run_id: str, note: str) -> None:
    """Set the Markdown that stands above a run, where it differs; MLflow takes 8000 letters."""
    if store.run(run_id).data.tags.get(NOTE_TAG) != note[:NOTE_LENGTH]:
        store.tag(run_id, NOTE_TAG, note[:NOTE_LENGTH])


def set_status(store: Store, run_id: str, status: str, ended: float | None = None) -> None:
    """Set a run's status where it differs; a run that goes on again loses its end time by getting a later one."""
    if store.run(run_id).info.status == status:
        return
    if status in ENDED:
        store.write(store.client.set_terminated, run_id, status, round((ended or time.time()) * 1000))
    else:
        store.write(store.client.update_run, run_id, status=status)


def settle_parent(store: Store, experiment_id: str, parent_id: str) -> None:
    """Give a parent run the status that follows from the newest training of each fold."""
    children = store.runs(experiment_id, f"tags.`{PARENT_TAG}` = '{parent_id}'")
    newest = {run.data.tags.get("fold", ""): run.info for run in children}
    states = {info.status for info in newest.values()}
    if "RUNNING" in states:
        set_status(store, parent_id, "RUNNING")
    else:
        ended = max((info.end_time or 0 for info in newest.values()), default=0) / 1000
        worst = next((state for state in ("FAILED", "KILLED") if state in states), "FINISHED")
        set_status(store, parent_id, worst, ended or None)
