"""Settings that hold in every process of ours that speaks to MLflow; set before MLflow is imported."""

from __future__ import annotations

import os
from typing import Literal, cast, get_args

from pipeline.core.errors import InputError

Mode = Literal["auto", "required", "offline"]
#: Whether tracking may be absent: ``auto`` goes on without it, ``required`` stops, ``offline`` does not try.
MODE = "ORGANSEG_TRACKING"

#: A server that is away must not hold up anything for minutes; values that the user has set win.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def prepare() -> None:
    """Set the environment that MLflow reads, and keep its own log lines down to errors."""
    import logging

    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    # What goes wrong reaches the user once, in our words; MLflow and alembic would print it with a traceback.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def mode() -> Mode:
    """What the user wants where the store is out of reach.

    Raises:
        InputError: The variable holds another word.
    """
    value = os.environ.get(MODE, "auto").strip().lower() or "auto"
    for known in get_args(Mode):
        if value == known:
            return cast(Mode, known)
    raise InputError(f"is {value!r}", where=MODE, remedy="Set it to auto, required or offline, or leave it out.")
