"""What users brought and what is right for it: a folder a case, so that the next report becomes one more entry.

``tests/field/<topic>/<case>/`` holds two files:

``make.py``
    ``make(folder: Path) -> None`` writes the inputs into an empty folder: scans, masks, ``configs/s.yaml``, and arrays
    called ``truth*.npy`` that hold what is right. Phantoms for it are in ``tests/field/making.py``.

``expected.yaml``
    ``what``: the situation in one sentence. ``runs``: commands in turn, each with what must come of it::

        what: One slice whose mask is stored upside down, with the affine that says so.
        runs:
          - command: ingest --study s            # words of `organseg`, started in the folder
            exit: 0                              # 0 unless it is said
            says: [1 scan]                       # each stands in what is printed, whitespace apart
            never_says: [upside]
            tables:                              # each row has these cells, and there are as many rows
              results/s/scans.csv: [{scan_id: a, patient_id: p}]
            holds:                               # each text stands in the file
              results/s/findings.csv: [border]
            arrays:                              # masks and scans, voxel for voxel
              results/s/masks/*/a.nii.gz: truth.npy   # * for a shard's number
            absent: [results/s/scans/*/b.nii.gz]
            env: {ORGANSEG_DATA: data}
"""

from __future__ import annotations

import csv
import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.cli import main

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/*/expected.yaml"))
KEYS = {"command", "exit", "says", "never_says", "tables", "holds", "arrays", "absent", "env"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.relative_to(HERE)))
def test_case(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    expected = yaml.safe_load((case / "expected.yaml").read_text())
    assert set(expected) == {"what", "runs"}
    assert expected["runs"]
    _make(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("ORGANSEG_DATA", "ORGANSEG_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for run in expected["runs"]:
        assert set(run) <= KEYS, f"unknown: {set(run) - KEYS}"
        with monkeypatch.context() as here:
            for name, value in run.get("env", {}).items():
                here.setenv(name, value)
            code = _run(run["command"], here)
        said = "".join(capfd.readouterr())
        assert code == run.get("exit", 0), said
        _check(run, said, tmp_path)


def _make(case: Path, folder: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"field_{case.parent.name}_{case.name}", case / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make(folder)


def _run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A command in this process, as it is typed; its exit code."""
    monkeypatch.setattr(sys, "argv", ["organseg", *shlex.split(command)])
    umask = os.umask(0o022)
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os.umask(umask)
    return 0


def _check(run: dict[str, Any], said: str, folder: Path) -> None:
    plain = " ".join(said.split())
    for words in run.get("says", []):
        assert words in plain, f"{words!r} is not in:\n{said}"
    for words in run.get("never_says", []):
        assert words not in plain, f"{words!r} is in:\n{said}"
    for name, rows in run.get("tables", {}).items():
        with open(_one(folder, name), newline="") as file:
            found = list(csv.DictReader(file))
        columns = {column for row in rows for column in row}
        told = [{column: row.get(column) for column in sorted(columns & set(row))} for row in found]
        assert len(found) == len(rows), f"{name}: {told}"
        for row in rows:
            wanted = {column: "" if cell is None else str(cell) for column, cell in row.items()}
            assert any(wanted.items() <= one.items() for one in found), f"{name} has no {wanted}: {told}"
    for name, texts in run.get("holds", {}).items():
        content = " ".join(_one(folder, name).read_text().split())
        for text in texts:
            assert text in content, f"{text!r} is not in {name}:\n{content}"
    for name, truth in run.get("arrays", {}).items():
        np.testing.assert_array_equal(_array(_one(folder, name)), np.load(folder / truth).squeeze(), err_msg=name)
    for name in run.get("absent", []):
        assert not list(folder.glob(name)), name


def _one(folder: Path, name: str) -> Path:
    found = list(folder.glob(name))
    assert len(found) == 1, f"{name}: {found or sorted(map(str, folder.rglob('*')))}"
    return found[0]


def _array(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path).squeeze()
    if path.name.endswith((".nii", ".nii.gz")):
        import nibabel as nib

        return np.asarray(nib.nifti1.load(path).dataobj).squeeze()
    from PIL import Image

    return np.asarray(Image.open(path)).squeeze()
