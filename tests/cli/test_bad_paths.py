"""Every command on every kind of path that cannot be used: one line, an exit code that is true, and never a wait."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: Powers of root that would make every path readable and writable.
POWERS = "-dac_override,-dac_read_search,-fowner"
#: Trials that end well: a new key is made where there is none, any 16 bytes are a key, and run lengths that are none
#: are what `detect` is asked about.
FINE = {"manifest pseudonymise, key", "rle detect"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """A row a trial. Root's powers are laid down, and where a disk can be made, it is a full one."""
    place = tmp_path_factory.mktemp("paths")
    command = [sys.executable, "-m", "tests.cli.bad_paths", str(place / "trials")]
    if os.getuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed, and root may do everything")
        command = ["setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}", *command]
        full = place / "full"
        full.mkdir()
        fill = f"mount -t tmpfs -o size=16k,mode=777 tmpfs {full} && ! dd if=/dev/zero of={full}/x bs=1k count=99 2>&1"
        if subprocess.run(["unshare", "-m", "bash", "-c", fill], capture_output=True, check=False).returncode == 0:
            command = ["unshare", "-m", "bash", "-c", f'{fill}; exec "$@"', "bash", *command, str(full)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=900, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_nothing_is_our_fault_and_nothing_hangs(rows: list[dict[str, str]]) -> None:
    assert len(rows) > 300
    wrong = [row for row in rows if row["code"] in {1, "hung"} or "fault of ours" in row["said"]]
    assert wrong == []
    assert [row for row in rows if "Traceback" in row["said"] + row["out"]] == []


def test_exit_codes_say_what_it_was(rows: list[dict[str, str]]) -> None:
    odd = [row for row in rows if row["command"] not in FINE and row["code"] not in {2, 3, 75}]
    assert odd == []
    full = [row for row in rows if row["kind"] == "full"]
    assert {row["code"] for row in full} <= {75}
    if not full:
        pytest.skip("no disk can be filled here")


def test_what_is_wrong_is_said_in_a_line(rows: list[dict[str, str]]) -> None:
    for row in rows:
        if row["code"] in {2, 75}:
            lines = [line for line in row["said"].splitlines() if line.startswith("organseg: ")]
            usage = row["said"].lstrip().startswith("Usage")
            assert len(lines) == 1 or usage, row
