"""The MLflow store: which one it is, whether it is there, and writes that take turns where it is a SQLite file."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pipeline.core.errors import InputError, TryAgainError
from pipeline.core.locks import hold
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.study import Study
from pipeline.tracking import env, store_sqlite

P = ParamSpec("P")
T = TypeVar("T")
ATTEMPTS = 5
#: Seconds that a turn is waited for at most.
LIMIT = 300.0


class TrackingError(Exception):
    """The store cannot take anything now; what is to be delivered waits in the journal."""


@contextmanager
def take_turn(path: Path, say: Say = quiet, limit: float = LIMIT) -> Iterator[None]:
    """Hold a lock file, for what one process at a time may do: writing to a SQLite store, making or delivering a run.

    Args:
        path: The lock file; it and its folder are made and stay.
        say: Takes the line that another process is waited for, after five seconds.
        limit: Seconds to wait at most.

    Raises:
        TrackingError: Another process has not let go within the limit.
    """
    try:
        with hold(path, lambda line: say(f"tracking: {line}"), limit):
            yield
    except TryAgainError as error:
        raise TrackingError(str(error)) from None


def store_uri(study: Study | None, root: Path) -> str:
    """``MLFLOW_TRACKING_URI``, else the study's, else a SQLite file in ``results``.

    Raises:
        InputError: The folder's path has a ``?``, which ends the path in the address of a SQLite file.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI") or (study.tracking.uri if study else None)
    if given:
        return given
    path = (root / "results" / "mlflow.db").resolve()
    if "?" in str(path):
        raise InputError(
            "the path has a '?', which no address of MLflow's store can hold",
            where=str(path.parent),
            remedy="Rename the folder, or set MLFLOW_TRACKING_URI.",
        )
    return f"sqlite:///{path}"


def shown(uri: str) -> str:
    """A store's address without the password it may hold."""
    return re.sub(r"//[^/@]*@", "//", uri)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store, or ``None``."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(match[1]) if match else None


def reach(uri: str, timeout: float = 3.0) -> str | None:
    """Why a server does not answer, or ``None`` if it does (or if the store is no server)."""
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        # The scheme was checked, so this opens no file.
        with urllib.request.urlopen(f"{shown(uri).rstrip('/')}/health", timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        # A server that wants a login, or hides this page, is there all the same.
        return None if error.code < 500 else f"it answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def check_reach(study: Study | None, paths: StudyPaths) -> str | None:
    """Why the study's store is out of reach, or ``None``.

    Raises:
        InputError: It is, and ``ORGANSEG_TRACKING`` is ``required``.
    """
    uri = store_uri(study, paths.root)
    reason = reach(uri)
    if reason is not None and env.mode() == "required":
        raise InputError(
            f"the MLflow server does not answer ({reason})",
            where=shown(uri),
            remedy=f"Start it, or set {env.MODE}=auto to go on and deliver later, or {env.MODE}=offline.",
        )
    return reason


class Store:
    """One MLflow store.

    Args:
        uri: Tracking URI.
        artifacts: Folder for artifacts of experiments that are created here; a server has its own place.
        say: Takes lines for the user: the store was moved or is broken, or another process is writing to it.
    """

    def __init__(self, uri: str, artifacts: Path | None, say: Say = quiet) -> None:
        self.uri = uri
        self.say = say
        self.file = sqlite_file(uri)
        self.artifacts = artifacts.resolve() if artifacts is not None and self.file is not None else None

    @classmethod
    def of(cls, study: Study | None, paths: StudyPaths, say: Say = quiet) -> Store:
        """The store of a study."""
        return cls(store_uri(study, paths.root), paths.root / "results" / "mlartifacts", say)

    @cached_property
    def client(self) -> Any:
        """MLflow's client, made when it is first asked for; see :class:`GuardedClient`.

        Raises:
            TrackingError: The store is away or has another schema.
        """
        env.prepare()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        reason = reach(self.uri)
        if reason is not None:
            raise TrackingError(f"the MLflow server at {shown(self.uri)} does not answer ({reason})")
        try:
            if self.file is not None:
                self._ensure_file(self.file)
            client = MlflowClient(self.uri, registry_uri=self.uri)
            # The store is opened with the first question, not with the client.
            client.search_experiments(max_results=1)
            if self.file is not None:
                self._settle_in(self.file)
        except (MlflowException, SQLAlchemyError, OSError, sqlite3.Error, store_sqlite.UnknownSchemaError) as error:
            raise TrackingError(self._why(error)) from None
        return GuardedClient(self, client)

    @property
    def _is_ours(self) -> bool:
        """Whether the store lies beside its files, so that no other folder's results depend on it."""
        return (
            self.file is not None and self.artifacts is not None and self.file.resolve().parent == self.artifacts.parent
        )

    def _ensure_file(self, file: Path) -> None:
        """Make a SQLite store that is absent; one of ours that is broken is set aside and made anew."""
        if file.is_file() and not (self._is_ours and store_sqlite.is_broken(file)):
            return
        store_sqlite.load_libraries()
        with self._turn():
            if file.is_file() and store_sqlite.is_broken(file):
                kept = store_sqlite.set_aside(file)
                self.say(
                    f"tracking: {file} is broken and was set aside as {kept.name}. A new one is filled from the "
                    "journals: run `organseg report` for each study"
                )
            if not file.is_file():
                store_sqlite.make(file)

    def _settle_in(self, file: Path) -> None:
        """Set how the file is written, and let a store of ours that was moved look for its files where they are."""
        with self._turn():
            store_sqlite.use_write_ahead_log(file)
            moved = self.artifacts is not None and self._is_ours and store_sqlite.relocate(file, self.artifacts)
        if moved:
            self.say(f"tracking: the store was moved here; its files are looked for in {self.artifacts}")

    def flush(self) -> None:
        """Bring everything that was written into a SQLite store's file, so that a copy of it is whole."""
        if self.file is not None and self.file.is_file():
            with self._turn():
                store_sqlite.flush(self.file)

    def write(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what writes; on a SQLite file no two processes of ours write at once.

        Raises:
            TrackingError: The store was locked or away, also at the last of several attempts.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._turn():
                    return action(*args, **kwargs)
            except TrackingError:
                raise
            except Exception as error:
                # MLflow raises its own exceptions, those of requests and those of SQLAlchemy, all through its client.
                if not _is_passing(error) or self.file is None or attempt == ATTEMPTS - 1:
                    raise TrackingError(self._why(error)) from error
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def read(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what asks the store something, or copies files to it.

        Raises:
            TrackingError: It gave no answer.
        """
        try:
            return action(*args, **kwargs)
        except Exception as error:
            raise TrackingError(self._why(error)) from error

    def runs(self, experiment_id: str, condition: str = "", count: int = 5000) -> list[Any]:
        """Runs of an experiment, the oldest first, that meet a condition in MLflow's words."""
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([experiment_id], condition, max_results=count, order_by=order))

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set those tags of an experiment that differ."""
        there = self.client.get_experiment(experiment_id).tags
        for key, value in tags.items():
            if there.get(key) != value:
                self.client.set_experiment_tag(experiment_id, key, value)

    def file_names(self, run_id: str, folder: str | None = None) -> list[str]:
        """Names of a run's artifacts in a folder of it."""
        return [Path(item.path).name for item in self.client.list_artifacts(run_id, folder)]

    def remove_files(self, run_id: str, *names: str) -> None:
        """Remove those files and folders that are among a run's artifacts."""
        for name in set(names) & set(self.file_names(run_id)):
            self.write(store_sqlite.remove_artifacts, self.client.get_run(run_id).info.artifact_uri, self.uri, name)

    @contextmanager
    def current(self) -> Iterator[Any]:
        """The ``mlflow`` module with this store set in it, for its functions that take no client."""
        _ = self.client
        import mlflow

        # MLflow writes the address into the environment too, where a later Store would take it for the user's wish.
        names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
        before = {name: os.environ.get(name) for name in names}
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield mlflow
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def _turn(self) -> AbstractContextManager[Any]:
        """A turn to write: a lock beside a SQLite file, nothing for a server."""
        if self.file is None:
            return nullcontext()
        return take_turn(self.file.with_name(f".{self.file.name}.lock"), self.say)

    def _why(self, error: BaseException) -> str:
        schema = store_sqlite.schema_trouble(self.file) if self.file is not None else None
        if schema is not None:
            return f"{shown(self.uri)}: {schema}"
        first = str(error).strip().splitlines()[:1]
        return f"the MLflow store {shown(self.uri)} refused: {first[0] if first else type(error).__name__}"[:500]


class GuardedClient:
    """``MlflowClient`` whose methods fail with :class:`TrackingError` and take turns at the store where they write.

    Nobody waits for what only asks, or only copies files to where a run's or model's files lie.
    """

    READS = ("get_", "search_", "list_", "download_", "load_")
    FILES = frozenset({"log_artifact", "log_artifacts", "log_dict", "log_text", "log_model_artifacts"})

    def __init__(self, store: Store, client: Any) -> None:
        self._store = store
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        free = name.startswith(self.READS) or name in self.FILES
        guard = self._store.read if free else self._store.write
        return partial(guard, getattr(self._client, name))


def _is_passing(error: BaseException) -> bool:
    text = str(error)
    return "database is locked" in text or "database table is locked" in text or "disk I/O error" in text
