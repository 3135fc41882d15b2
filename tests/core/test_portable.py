"""What only Linux has is asked for where it is there: everything can be imported, and scans read, without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

#: Hides what Windows and macOS do not have, then runs a command.
WITHOUT = """
import os, signal, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {"resource", "fcntl", "grp", "pwd"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

# What other packages ask for when they are imported, and we do not, is theirs.
import asyncio, multiprocessing.connection, shutil, tempfile, subprocess, ssl, psutil, filelock, pandas
for name in ("resource", "fcntl", "grp", "pwd"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
for name in ("sched_getaffinity", "posix_fallocate", "getuid", "killpg"):
    delattr(os, name)
for name in ("alarm", "SIGALRM"):
    delattr(signal, name)
from pipeline.cli import main
{then}
"""
IMPORTS = """
import importlib, pkgutil, pipeline
for found in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
    if not found.name.startswith(("pipeline.train", "pipeline.networks", "pipeline.tracking.serve")):
        importlib.import_module(found.name)
"""


def run(then: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.replace("{then}", then)
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    done = run(IMPORTS, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_scan_can_be_read(tmp_path: Path) -> None:
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "a.png")
    done = run("sys.argv = ['organseg', 'ingest', 'a.png', '--out', 'out']\nmain()", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "scans" / "scan_0001.nii.gz").is_file()
