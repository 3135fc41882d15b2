"""Nothing of ours speaks to anybody: a whole delivery, with every connection that it tries written down."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DELIVERY = """
import json, sys, time
from pathlib import Path
called = []
def listen(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        called.append((event, repr(details)))
sys.addaudithook(listen)
from pipeline.tracking import deliver_champion, deliver_report, download_model, follow
from tests.tracking.studies import make_study, write_champion, write_journal, write_metrics, write_scans
study, paths = make_study(Path(sys.argv[1]))
with follow(study, paths, "unet", 0, paths.checkpoints("abc") / "journal.jsonl"):
    write_journal(paths.checkpoints("abc") / "journal.jsonl")
write_scans(study, paths)
write_champion(study, paths)
write_metrics(paths, "oof", {"unet": {f"s{i}": 0.8 for i in range(2, 6)}})
assert deliver_champion(study, paths)
assert deliver_report(study, paths)
assert download_model("models:/organseg-chest@champion", paths.root).is_dir()
import mlflow.telemetry
client = mlflow.telemetry.get_telemetry_client()
print(json.dumps({"called": called, "telemetry": repr(client)}))
"""


@pytest.mark.slow
def test_a_delivery_calls_nobody_and_has_no_telemetry(tmp_path: Path, root: Path) -> None:
    # As a user starts it: without the settings that the tests make.
    unset = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST", "MLFLOW_TRACKING_URI"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", DELIVERY, str(tmp_path)],
        cwd=root,
        env={**environment, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"called": [], "telemetry": "None"}
