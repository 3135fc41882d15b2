"""The leaderboard: what was trained, on how many folds, how good it is, and which of it is in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import InputError
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.study import load_study
from pipeline.tracking import store_sqlite, tree
from pipeline.tracking.delivery import settle
from pipeline.tracking.figures import metric_key
from pipeline.tracking.names import ALL, registered_name
from pipeline.tracking.store import Store, TrackingError, shown

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

#: A mean with the ends of its interval.
Interval = tuple[float, float | None, float | None]
#: Roles that a leaderboard shows, in the order in which equals stand.
ROLES = ("champion", "model", "baseline")


@dataclass(frozen=True)
class Standing:
    """One line of a leaderboard.

    Attributes:
        name: Run's title; for registered champions with version and alias.
        status: MLflow's word for its state.
        test: Mean Dice over organs on the test, with its interval's ends, or ``None`` before the report.
        oof: The same out of fold.
        organs: Organ → Dice on the test, else out of fold.
        folds: Trainings that came to their end, of those begun.
        started: When it began.
    """

    name: str
    status: str
    test: Interval | None
    oof: Interval | None
    organs: dict[str, float] = field(default_factory=dict)
    folds: str = ""
    started: datetime | None = None

    @property
    def rank(self) -> float:
        """What lines are sorted by: the test where it was opened, else out of fold."""
        best = self.test or self.oof
        return best[0] if best else -1.0


@dataclass(frozen=True)
class Board:
    """The leaderboard of one study.

    Attributes:
        study: Name of the study.
        title: Its title.
        lines: Best first.
        link: Page of the experiment in the UI.
    """

    study: str
    title: str
    lines: list[Standing]
    link: str


def boards(study: str | None, root: Path, say: Say = quiet) -> tuple[list[Board], str]:
    """The leaderboards of one study or of all.

    Args:
        study: Name of a study, or ``None``.
        root: Folder that holds ``configs`` and ``results``.
        say: Takes lines for the user, such as that the store was moved.

    Returns:
        The boards, and the command that opens the UI (an address where the store is a server).

    Raises:
        InputError: There is no such study, nothing was tracked yet, or the store does not answer.
    """
    config = load_study(study, root) if study is not None else None
    paths = StudyPaths(study or "", root)
    store = Store.of(config, paths, say)
    if store.file is not None and not store.file.is_file():
        raise InputError("nothing was tracked yet", where=str(store.file), remedy="Train a study first.")
    try:
        found = store.client.search_experiments(max_results=1000)
        chosen = [one for one in found if one.name == study or (study is None and one.name != "Default")]
        if study is not None and not chosen:
            raise InputError(f"{study} was not tracked yet", where=shown(store.uri), remedy="Train it first.")
        result = []
        for one in sorted(chosen, key=lambda one: one.name):
            # Runs of trainings that were killed are ended by whoever looks at them next.
            settle(store, one.experiment_id, StudyPaths(one.name, root))
            result.append(_board(store, one))
    except TrackingError as error:
        raise InputError(str(error), remedy="Start the server, or set MLFLOW_TRACKING_URI.") from None
    how = "organseg ui" if store.file is not None else shown(store.uri)
    return result, how


def _board(store: Store, experiment: Experiment) -> Board:
    runs = store.runs(experiment.experiment_id)
    trained: dict[str, list[str]] = {}
    for run in runs:
        if run.data.tags.get(tree.ROLE) == "fold":
            trained.setdefault(run.data.tags.get(tree.PARENT_TAG, ""), []).append(run.info.status)
    versions = _versions(store, experiment.name)
    lines = [
        _standing(run, trained.get(run.info.run_id, []), versions.get(run.info.run_id, ""))
        for role in ROLES
        for run in runs
        if run.data.tags.get(tree.ROLE) == role
    ]
    lines.sort(key=lambda line: -line.rank)
    title = experiment.tags.get(tree.NOTE_TAG, "").splitlines()[:1]
    link = store_sqlite.page_of(experiment.experiment_id)
    return Board(experiment.name, title[0].strip("* ") if title else "", lines, link)


def _versions(store: Store, study: str) -> dict[str, str]:
    """Run → ``version 2, champion``."""
    condition = f"name = '{registered_name(study)}'"
    registered = store.client.search_registered_models(condition)
    aliases = {str(number): alias for model in registered for alias, number in model.aliases.items()}
    return {
        str(found.run_id): ", ".join(filter(None, (f"version {found.version}", aliases.get(str(found.version)))))
        for found in store.client.search_model_versions(condition)
    }


def _standing(run: Run, trained: list[str], version: str) -> Standing:
    metrics = run.data.metrics
    name = run.info.run_name or run.info.run_id
    if version:
        name = f"{run.data.tags.get('model', name)} ({version})"
    part = "test" if metric_key("test", "dice", ALL) in metrics else "oof"
    prefix = metric_key(part, "dice", "")
    organs = {key.removeprefix(prefix): metrics[key] for key in metrics if key.startswith(prefix)}
    organs.pop(ALL, None)
    return Standing(
        name=name,
        status=run.info.status.lower(),
        test=_interval(metrics, "test"),
        oof=_interval(metrics, "oof"),
        organs=organs,
        folds=f"{trained.count('FINISHED')}/{len(trained)}" if trained else "",
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC) if run.info.start_time else None,
    )


def _interval(metrics: dict[str, float], part: str) -> Interval | None:
    mean, low, high = (metrics.get(metric_key(part, "dice", ALL, end=end)) for end in ("", "low", "high"))
    return None if mean is None else (mean, low, high)
