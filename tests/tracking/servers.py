"""Real servers on loopback for tests: MLflow's own, and PostgreSQL as Debian packages it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: No helper processes for jobs that are not tested here.
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """``mlflow server`` with one worker, which can be killed and started again on the same port."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts")]
        words += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        self.process = launch(["server", *words], f"{self.uri}/health", self.folder, environment)

    def kill(self) -> None:
        if self.process is not None:
            kill(self.process)
            self.process = None


def launch(words: list[str], health: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start an ``mlflow`` command and wait until it answers."""
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env={**environment, **NO_JOBS},
        )
    for _ in range(720):
        try:
            with urllib.request.urlopen(health, timeout=2):
                return process
        except OSError:
            time.sleep(0.25)
    kill(process)
    raise TimeoutError((folder / "server.log").read_text()[-2000:])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command with all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def model_server(model: str, store: str, folder: Path) -> Iterator[str]:
    """``mlflow models serve`` of a registered model in this environment; its address."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    words = ["models", "serve", "-m", model, "--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]
    process = launch(words, f"{address}/ping", folder, {**os.environ, "MLFLOW_TRACKING_URI": store})
    try:
        yield address
    finally:
        kill(process)


@contextmanager
def mlflow_server(backend: str, folder: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(backend, folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def postgres(initdb: str, program: str) -> Iterator[str]:
    """A fresh PostgreSQL cluster on loopback; its address for SQLAlchemy.

    Root may not run it, so there it runs as the user that Debian's package makes.
    """
    folder = Path(tempfile.mkdtemp(prefix="organseg-postgres-"))
    user = "postgres" if os.getuid() == 0 else None
    if user is not None:
        about = pwd.getpwnam(user)
        os.chown(folder, about.pw_uid, about.pw_gid)
    port = free_port()
    data = folder / "data"
    # Durability is not what is tested here.
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "fsync=off"]
    options += ["-c", f"unix_socket_directories={folder}"]
    try:
        subprocess.run(
            [initdb, "-D", str(data), "-U", "organseg", "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        process = subprocess.Popen(
            [program, "-D", str(data), *options],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            yield f"postgresql+psycopg2://organseg@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("PostgreSQL did not come up")
