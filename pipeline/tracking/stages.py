"""What other stages call: deliver a fold, the champion, the report; fetch a registered model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say
from pipeline.core.study import Study
from pipeline.tracking import env
from pipeline.tracking.store import Store, check_reach
from pipeline.tracking.turns import TrackingError


def deliver_fold(study: Study, paths: StudyPaths, model: str, fold: int, say: Say = lambda line: None) -> bool:
    """Deliver the journals of one model and fold that are not in the store yet.

    Returns:
        Whether nothing of it waits any more.
    """
    from pipeline.tracking import delivery, jobs

    def deliver(store: Store) -> bool:
        delivery.adopt(study, paths)
        chosen = [job for job in jobs.all_jobs(paths) if (job["model"], job["fold"]) == (model, fold)]
        done = [delivery.deliver_job(store, paths, job) for job in chosen]
        return all(done)

    return _deliver(study, paths, deliver, say)


def deliver_champion(study: Study, paths: StudyPaths, say: Say = lambda line: None) -> bool:
    """Register the champion as ``organseg-<study>``, and deliver what earlier stages could not.

    Returns:
        Whether the store took it; if not, the next stage does it.
    """
    from pipeline.tracking import delivery, registry

    def deliver(store: Store) -> bool:
        waiting = delivery.deliver_pending(store, study, paths, say)
        registry.register(store, study, paths, say)
        return waiting == 0

    return _deliver(study, paths, deliver, say)


def deliver_report(study: Study, paths: StudyPaths, say: Say = lambda line: None) -> bool:
    """Deliver the final figures, the worst cases' pictures and the report, and what earlier stages could not.

    Returns:
        Whether the store took it; if not, running the stage again does it.
    """
    from pipeline.tracking import delivery, registry, results

    def deliver(store: Store) -> bool:
        waiting = delivery.deliver_pending(store, study, paths, say)
        if paths.champion_yaml.is_file():
            registry.register(store, study, paths, say)
        results.deliver(store, study, paths)
        return waiting == 0

    return _deliver(study, paths, deliver, say)


def _deliver(study: Study, paths: StudyPaths, action: Callable[[Store], bool], say: Say) -> bool:
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
        done = action(store)
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
