"""Trainings whose journals are to be delivered: a record of each under ``results/<study>/tracking/jobs``, and its lock.

A record holds all that delivery needs beside the journal, so that a later stage, or the same stage when the server is
back, can deliver a training of a plan that has changed since.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pipeline.core.files import digest_of, read_json, sha256_of, write_json
from pipeline.core.locks import hold_if_free
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import read_plan
from pipeline.core.study import Study
from pipeline.tracking import facts
from pipeline.tracking.events import first_event

#: What is known of one training; its fields are those of :func:`describe`.
Record = dict[str, Any]


def job_path(paths: StudyPaths, key: str) -> Path:
    """Where a job's file lies."""
    return paths.tracking / "jobs" / f"{key}.json"


def lock_path(paths: StudyPaths, key: str) -> Path:
    """The lock that whoever delivers a job holds."""
    return job_path(paths, key).with_suffix(".lock")


def system_journal(paths: StudyPaths, key: str) -> Path:
    """Where a job's load on the machine is written down."""
    return paths.tracking / "jobs" / f"{key}-system.jsonl"


def describe(study: Study, paths: StudyPaths, model: str, fold: int, journal: Path) -> Record:
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
        "model": model,
        "fold": fold,
        "organs": list(plan.organs),
        "plan": plan.model_dump(mode="json", exclude={"reasons"}),
        "plan_digest": plan.digest(),
        "manifest": manifest,
        "split": facts.digest_of_file(paths.splits),
        "sides": facts.sides(paths, fold),
        "source": facts.source_tags("organseg train"),
        "journal": os.path.relpath(journal.absolute(), paths.results.absolute()),
        "outcome": None,
    }


def open_job(study: Study, paths: StudyPaths, model: str, fold: int, journal: Path) -> Record:
    """Write a training's job file at its start; what an earlier start of the same job delivered stays known."""
    job = describe(study, paths, model, fold, journal)
    path = job_path(paths, job["key"])
    if path.is_file():
        job["delivered"] = read_json(path).get("delivered")
    write_json(path, job)
    return job


def update_job(paths: StudyPaths, key: str, **fields: Any) -> None:
    """Change fields of a job's file; the caller holds its lock, or is the training itself."""
    path = job_path(paths, key)
    write_json(path, {**read_json(path), **fields})


def all_jobs(paths: StudyPaths) -> list[Record]:
    """Every job that was ever begun, by name."""
    return [read_json(path) for path in sorted((paths.tracking / "jobs").glob("*.json"))]


def journal_of(paths: StudyPaths, job: Record) -> Path | None:
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


def lock_job(paths: StudyPaths, key: str) -> AbstractContextManager[bool]:
    """Hold a job for delivery unless another process does; gives whether it is held."""
    return hold_if_free(lock_path(paths, key))
