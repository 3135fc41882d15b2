"""Jobs whose journals are to be delivered: a small file each under ``results/<study>/tracking/``, and its lock.

A job file holds all that delivery needs beside the journal, so that a later stage, or the same stage when the server is
back, can deliver a training of a plan that has changed since.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_json, sha256_of, write_json
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import read_plan
from pipeline.core.study import Study
from pipeline.tracking import facts
from pipeline.tracking.points import first_event

Job = dict[str, Any]


def job_path(paths: StudyPaths, key: str) -> Path:
    """Where a job's file lies."""
    return paths.tracking / "jobs" / f"{key}.json"


def system_journal(paths: StudyPaths, key: str) -> Path:
    """Where a job's load on the machine is written down."""
    return paths.tracking / "jobs" / f"{key}-system.jsonl"


def describe(study: Study, paths: StudyPaths, model: str, fold: int, journal: Path) -> Job:
    """All that delivery needs of a training, from its plan and the study's tables.

    Raises:
        InputError: The plan is absent or is not one.
    """
    plan = read_plan(paths.plan(model))
    manifest = facts.manifest_digest(paths)
    parent = digest_of({"study": paths.study, "model": model, "plan": plan.digest(), "manifest": manifest})
    return {
        "key": f"{model}-fold{fold}-{digest_of([parent, fold])}",
        "parent": parent,
        "study": paths.study,
        "title": study.title,
        "description": study.description,
        "model": model,
        "fold": fold,
        "folds": study.split.folds,
        "organs": list(plan.organs),
        "plan": plan.model_dump(mode="json", exclude={"reasons"}),
        "plan_digest": plan.digest(),
        "manifest": manifest,
        "split": facts.digest_of_file(paths.splits),
        "sides": facts.sides(paths, fold),
        "git": facts.git_state(),
        "versions": facts.versions(),
        "journal": os.path.relpath(journal.absolute(), paths.results.absolute()),
        "outcome": None,
    }


def open_job(study: Study, paths: StudyPaths, model: str, fold: int, journal: Path) -> Job:
    """Write a training's job file at its start; what an earlier start of the same job delivered stays known."""
    job = describe(study, paths, model, fold, journal)
    path = job_path(paths, job["key"])
    if path.is_file():
        job["delivered"] = read_json(path).get("delivered")
    write_json(path, job)
    return job


def read_job(paths: StudyPaths, key: str) -> Job:
    """A job's file.

    Raises:
        InputError: There is no such job.
    """
    job: Job = read_json(job_path(paths, key))
    return job


def close_job(paths: StudyPaths, key: str, outcome: str) -> None:
    """Note how a training ended: ``FINISHED``, ``FAILED`` or ``KILLED``."""
    update_job(paths, key, outcome=outcome)


def update_job(paths: StudyPaths, key: str, **fields: Any) -> Job:
    """Change fields of a job file."""
    path = job_path(paths, key)
    with _guard(path):
        job: Job = {**read_json(path), **fields}
        write_json(path, job)
    return job


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Training and follower both change a job's file, for a moment each."""
    descriptor = os.open(path.with_suffix(".guard"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def all_jobs(paths: StudyPaths) -> list[Job]:
    """Every job that was ever begun, by name."""
    jobs = []
    for path in sorted((paths.tracking / "jobs").glob("*.json")):
        try:
            job = read_json(path)
        except InputError:
            continue
        if isinstance(job, dict) and job.get("study") == paths.study:
            jobs.append(job)
    return jobs


def journal_of(paths: StudyPaths, job: Job) -> Path | None:
    """A job's journal: the live one, or the copy beside the model once checkpoints have been cleaned away."""
    live = paths.results / str(job["journal"])
    if live.is_file():
        return live
    copy = paths.model(job["model"], job["fold"]) / "journal.jsonl"
    started = (job.get("delivered") or {}).get("started")
    first = first_event(copy)
    if first is None or (started is not None and first.get("time") != started):
        return None
    return copy


def marks_of(journal: Path, uri: str) -> dict[str, Any]:
    """What tells whether a journal was delivered as it is, to this store."""
    return {"store": digest_of(uri), "journal": sha256_of(journal)[:12]}


@contextmanager
def lock_job(paths: StudyPaths, key: str, wait: bool) -> Iterator[bool]:
    """Hold a job for delivery; the kernel lets go when the process ends.

    Args:
        paths: Places of the study.
        key: The job.
        wait: Wait for another process that holds it.

    Yields:
        Whether it is held.
    """
    path = job_path(paths, key).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(descriptor)
