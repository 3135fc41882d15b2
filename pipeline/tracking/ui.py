"""MLflow's UI on this machine: started quietly, on loopback alone, on the store of the studies here."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline.core.errors import InputError
from pipeline.core.say import Say
from pipeline.core.study import load_study
from pipeline.tracking.leaderboard import boards
from pipeline.tracking.store import reach, shown, store_uri

HOST = "127.0.0.1"
FIRST_PORT, PORTS = 5000, 20
#: Seconds that the server may take to answer; it takes about nine on two quiet cores.
PATIENCE = 120.0


def serve_ui(study: str | None, root: Path, port: int | None, say: Say) -> Iterator[str]:
    """Serve the UI until Ctrl-C or SIGTERM. A store that is a server has its own UI: nothing is started then.

    Args:
        study: Open the page of this study, or, where ``None``, of each.
        root: Folder that holds ``configs`` and ``results``.
        port: Port on loopback; ``None`` for the first free one from 5000.
        say: Told what is waited for.

    Yields:
        Addresses of the studies' pages, once they can be opened.

    Raises:
        InputError: Nothing was tracked yet, there is no such study, the port is taken, or the server does not start.
    """
    found, _ = boards(study, root, say)
    uri = store_uri(load_study(study, root) if study is not None else None, root)
    if uri.startswith(("http://", "https://")):
        yield from (f"{shown(uri).rstrip('/')}/{board.link}" for board in found)
        return
    address = f"http://{HOST}:{_port(port)}"
    # However this process is asked to end, the server ends with it.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="organseg-ui-") as folder,
        _server(uri, address, Path(folder)) as server,
    ):
        say("Starting MLflow, about ten seconds …")
        _wait(server, address, Path(folder))
        yield from (f"{address}/{board.link}" for board in found)
        say("Ctrl-C ends it.")
        server.wait()


@contextmanager
def _server(uri: str, address: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server in a session of its own, which ends with the context, workers and all."""
    # Others can read command lines, and the store's address may hold a password: it travels in the environment.
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    words = ["server", "--host", HOST, "--port", address.rpartition(":")[2], "--workers", "1"]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    try:
        yield server
    finally:
        _end(server.pid)
        server.wait()


def _end(pid: int) -> None:
    """End a process and those that it started."""
    try:
        server = psutil.Process(pid)
        family = [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    for one in psutil.wait_procs(family, 10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def _port(wanted: int | None) -> int:
    """The wanted port, or the first free one.

    Raises:
        InputError: It is taken, or all are.
    """
    for port in [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                why = error.strerror
            else:
                return port
    taken = wanted if wanted is not None else f"{FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
    raise InputError(f"port {taken} cannot be used ({why})", where="--port", remedy="Name another one.")


def _wait(server: subprocess.Popen[bytes], address: str, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while (why := reach(address, timeout=2.0)) is not None:
        if server.poll() is not None or time.monotonic() > end:
            last = (folder / "server.log").read_text(errors="replace").strip().splitlines()[-3:]
            raise InputError(
                f"MLflow's server does not answer ({why}): {' / '.join(last)}",
                remedy="Try again, or on another --port.",
            )
        time.sleep(0.2)
