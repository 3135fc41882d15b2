"""The tree of runs: experiment = study, a parent run a plan, a child run a training, found again by their keys."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.core.files import digest_of
from pipeline.core.locks import hold
from pipeline.core.paths import StudyPaths
from pipeline.tracking.facts import dataset_inputs, environment
from pipeline.tracking.jobs import Job
from pipeline.tracking.names import flatten
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

#: Marks of ours. The UI hides tags that begin like its own, and these tell a reader nothing.
KEY = "mlflow.organseg.key"
FILLED = "mlflow.organseg.filled"
JOB = "mlflow.organseg.job"
ROLE = "role"
#: Name of the view of runs that a study's page opens with.
VIEW = "organseg"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
NOTE_LENGTH = 7900
SOURCE_TAG = "mlflow.source.name"
ENDED = {"FINISHED", "FAILED", "KILLED"}


def experiment(store: Store, study: str, title: str = "", description: str = "") -> str:
    """Id of a study's experiment; it is created, or brought back from the bin, where needed."""
    client = store.client
    found = store.read(lambda: client.get_experiment_by_name(study))
    note = "\n\n".join(part for part in (f"**{title}**" if title else "", description) if part)
    # The kind opens the pages for trained models; without it the UI guesses, and may show those for chat bots.
    tags = {"mlflow.experimentKind": "custom_model_development", **({NOTE_TAG: note} if note else {})}
    if found is None:
        place = (store.artifacts / study).as_uri() if store.artifacts is not None else None
        try:
            return str(store.write(lambda: client.create_experiment(study, artifact_location=place, tags=tags)))
        except Exception:
            # Another job of another study's folder may have made it between question and answer.
            found = store.read(lambda: client.get_experiment_by_name(study))
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        store.write(lambda: client.restore_experiment(found.experiment_id))
    for name, value in tags.items():
        if found.tags.get(name) != value:
            store.write(lambda name=name, value=value: client.set_experiment_tag(found.experiment_id, name, value))  # type: ignore[misc]
    return str(found.experiment_id)


def page_of(experiment_id: str) -> str:
    """The UI's page of a study: its pages for trained models, with the columns of :func:`set_view`."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&workflowType=machine_learning"


def set_view(store: Store, experiment_id: str, columns: Sequence[str], order: str) -> None:
    """Keep a view of the list of runs in the store, the way the UI keeps views that are shared.

    Args:
        store: The store.
        experiment_id: The study's experiment.
        columns: Columns beside the name, such as ``metrics.`test Dice/heart` ``.
        order: The column that runs are sorted by, highest first.
    """
    view = {
        "searchFilter": "",
        "orderByKey": order,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
    }
    client, name, value = store.client, f"mlflow.sharedViewState.{VIEW}", json.dumps(view)
    if store.read(lambda: client.get_experiment(experiment_id)).tags.get(name) != value:
        store.write(lambda: client.set_experiment_tag(experiment_id, name, value))


def find_run(store: Store, experiment_id: str, key: str) -> Run | None:
    """The run with a key, the oldest if there should be several."""
    client = store.client
    runs = store.read(
        lambda: client.search_runs(
            [experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1, order_by=["attributes.start_time ASC"]
        )
    )
    return runs[0] if runs else None


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
        tags: Tags to set, also on a run that is there already.
        started: Seconds since the epoch.
    """
    client = store.client
    with hold(paths.tracking / "runs.lock"):
        run = find_run(store, experiment_id, key)
        if run is None:
            begin = round((started or time.time()) * 1000)
            return store.write(
                lambda: client.create_run(experiment_id, start_time=begin, run_name=name, tags={KEY: key, **tags})
            )
        run_id = run.info.run_id
        for tag, value in tags.items():
            if run.data.tags.get(tag) != value:
                store.write(lambda tag=tag, value=value: client.set_tag(run_id, tag, value))  # type: ignore[misc]
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


def child_run(store: Store, paths: StudyPaths, experiment_id: str, parent: Run, job: Job, first: dict[str, Any]) -> Run:
    """The run of one training.

    Args:
        store: The store.
        paths: Places of the study.
        experiment_id: The study's experiment.
        parent: Run of the model.
        job: The training's job file.
        first: First event of its journal.
    """
    tags = {
        **_common_tags(job),
        ROLE: "fold",
        PARENT_TAG: parent.info.run_id,
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
        tags={name: value for name, value in tags.items() if value},
        started=first["time"],
    )
    _fill(store, run, job, fold=True)
    return run


def _common_tags(job: Job) -> dict[str, str]:
    """Tags of a parent run and its children. Git and versions are those of the last start."""
    tags = {
        "study": job["study"],
        "model": job["model"],
        "plan": job["plan_digest"],
        "manifest": job["manifest"],
        "split": job["split"],
        SOURCE_TAG: "organseg train",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": job["git"].get("commit", ""),
        "mlflow.source.git.dirty": job["git"].get("dirty", ""),
        **{f"version.{name}": value for name, value in job["versions"].items()},
    }
    return {name: value for name, value in tags.items() if value}


def _fill(store: Store, run: Run, job: Job, fold: bool) -> None:
    """Log what does not change: the plan's values as parameters, the plan as a file, the data as dataset inputs."""
    from mlflow.entities import Param

    client, run_id = store.client, run.info.run_id
    if FILLED in run.data.tags:
        return
    # Folds share their parent's plan. The UI writes a run's parameters above each of its pictures, and little would be
    # seen of those.
    params = [] if fold else [Param(name, value) for name, value in flatten(job["plan"]).items()]
    for start in range(0, len(params), 100):
        chunk = params[start : start + 100]
        store.write(lambda chunk=chunk: client.log_batch(run_id, params=chunk))  # type: ignore[misc]
    if not fold:
        store.write(lambda: client.log_dict(run_id, job["plan"], "plan.yaml"))
        store.write(lambda: client.log_text(run_id, environment(), "environment.txt"))
    if job["sides"]:
        inputs = dataset_inputs(job if fold else {**job, "fold": None, "sides": _development(job["sides"])})
        store.write(lambda: client.log_inputs(run_id, datasets=inputs))
    # Set last: a process killed on the way does it all again, and all of it may be repeated.
    store.write(lambda: client.set_tag(run_id, FILLED, "true"))


def _development(sides: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Sides of the study as a whole: what one fold validates on another one trains on."""
    train, validation = sides.get("train"), sides.get("validation")
    if train is None or validation is None:
        return sides
    both = {name: train[name] + validation[name] for name in train}
    return {"train": both, **{side: counts for side, counts in sides.items() if side == "test"}}


def set_note(store: Store, run_id: str, note: str) -> None:
    """Set the Markdown that stands above a run, where it differs; MLflow takes 8000 letters."""
    client = store.client
    if store.read(lambda: client.get_run(run_id)).data.tags.get(NOTE_TAG) != note[:NOTE_LENGTH]:
        store.write(lambda: client.set_tag(run_id, NOTE_TAG, note[:NOTE_LENGTH]))


def set_status(store: Store, run_id: str, status: str, ended: float | None = None) -> None:
    """Set a run's status where it differs; a run that goes on again loses its end time by getting a later one."""
    client = store.client
    info = store.read(lambda: client.get_run(run_id)).info
    if info.status == status:
        return
    if status in ENDED:
        store.write(lambda: client.set_terminated(run_id, status, round((ended or time.time()) * 1000)))
    else:
        store.write(lambda: client.update_run(run_id, status=status))


def settle_parent(store: Store, experiment_id: str, parent_id: str) -> None:
    """Give a parent run the status that follows from the newest training of each fold."""
    client = store.client
    children = store.read(
        lambda: client.search_runs(
            [experiment_id], f"tags.`{PARENT_TAG}` = '{parent_id}'", order_by=["attributes.start_time ASC"]
        )
    )
    newest = {run.data.tags.get("fold", ""): run.info for run in children}
    states = {info.status for info in newest.values()}
    if "RUNNING" in states:
        set_status(store, parent_id, "RUNNING")
    else:
        ended = max((info.end_time or 0 for info in newest.values()), default=0) / 1000
        worst = next((state for state in ("FAILED", "KILLED") if state in states), "FINISHED")
        set_status(store, parent_id, worst, ended or None)
