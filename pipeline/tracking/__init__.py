"""MLflow as the reading room: journals, champions and reports are delivered there, and nothing depends on it.

MLflow is imported by the functions that speak to it, when they run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.study import Study
from pipeline.tracking import delivery, env, jobs
from pipeline.tracking.background import follow
from pipeline.tracking.store import Store, TrackingError, check_reach
from pipeline.tracking.tree import StudyRuns

__all__ = ["deliver_champion", "deliver_fold", "deliver_report", "download_model", "follow"]


def deliver_fold(study: Study, paths: StudyPaths, model: str, fold: int, say: Say = quiet) -> bool:
    """Deliver the journals of one model and fold that are not in the store yet.

    Returns:
        Whether nothing of it waits any more.
    """

    def action(runs: StudyRuns) -> bool:
        delivery.adopt(runs)
        chosen = [job for job in jobs.all_jobs(paths) if (job["model"], job["fold"]) == (model, fold)]
        done = [delivery.deliver_job(runs, job) for job in chosen]
        return all(done)

    return _deliver(study, paths, action, say)


def deliver_champion(study: Study, paths: StudyPaths, say: Say = quiet) -> bool:
    """Register the champion as ``organseg-<study>``, and deliver what earlier stages could not.

    Returns:
        Whether the store took it; if not, the next stage does it.
    """
    from pipeline.tracking.registry import register

    def action(runs: StudyRuns) -> bool:
        waiting = delivery.deliver_pending(runs, say)
        register(runs, say)
        return waiting == 0

    return _deliver(study, paths, action, say)


def deliver_report(study: Study, paths: StudyPaths, say: Say = quiet) -> bool:
    """Deliver the final figures, the worst cases' pictures and the report, and what earlier stages could not.

    Returns:
        Whether the store took it; if not, running the stage again does it.
    """
    from pipeline.tracking.registry import register
    from pipeline.tracking.results import Results

    def action(runs: StudyRuns) -> bool:
        waiting = delivery.deliver_pending(runs, say)
        if paths.champion_yaml.is_file():
            register(runs, say)
        Results(runs).deliver()
        return waiting == 0

    return _deliver(study, paths, action, say)


def _deliver(study: Study, paths: StudyPaths, action: Callable[[StudyRuns], bool], say: Say) -> bool:
    """Run a delivery; no trouble with the store stops the stage whose results lie on disk already.

    Raises:
        InputError: ``ORGANSEG_TRACKING=required`` and the server does not answer.
    """
    if env.mode() == "offline":
        return False
    env.prepare()
    check_reach(study, paths)
    try:
        store = Store.of(study, paths, say)
        done = action(StudyRuns(store, study, paths))
        store.flush()
        return done
    except TrackingError as error:
        say(f"tracking: {error}; the next stage delivers it")
    except Exception as error:
        say(f"tracking: not delivered ({type(error).__name__}: {str(error)[:200]})")
    return False


def download_model(uri: str, root: Path | None = None) -> Path:
    """Fetch a registered model's champion folder.

    Args:
        uri: ``models:/<name>@<alias>``, ``models:/<name>/<version>``, or ``runs:/…`` of a logged champion.
        root: Folder that holds ``configs`` and ``results``.

    Returns:
        The folder; for a store on this machine the stored files themselves, which are not to be changed.

    Raises:
        InputError: The store does not answer or has no such model.
    """
    from pipeline.tracking.registry import download

    return download(uri, root or Path())
