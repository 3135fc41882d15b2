"""What a run was made of: versions, git state, digests of plan, manifest and split, and the scans on each side."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.files import read_table, sha256_of
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import rows_digest
from pipeline.core.splits import read_splits

#: Side of a split → how many ``scans`` and ``patients`` it has.
Sides = dict[str, dict[str, int]]
SOURCE_TAG = "mlflow.source.name"
#: What results depend on, besides Python.
PACKAGES = ("organseg", "torch", "monai", "numpy", "mlflow")
DIGEST_LENGTH = 12


@cache
def installed(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Version of each package that is installed; nothing is imported for it."""
    found = {}
    for package in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def environment() -> str:
    """Every installed package with its version, as a requirements file, under the version of Python."""
    pins = {
        f"{item.metadata['Name']}=={item.version}"
        for item in importlib.metadata.distributions()
        if item.metadata["Name"]
    }
    return "\n".join([f"# python {platform.python_version()}", *sorted(pins, key=str.casefold)]) + "\n"


@cache
def git_state() -> dict[str, str]:
    """``commit`` and ``dirty`` of the checkout that this code runs from; empty where it is an installed package."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    # A package inside somebody else's checkout (a virtual environment in it) is not that checkout's code.
    if not commit or git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return {}
    return {"commit": commit, "dirty": "true" if git("status", "--porcelain", "--untracked-files=no") else "false"}


def source_tags(command: str) -> dict[str, str]:
    """Tags that say what made a run: the system tags that MLflow documents for a source, and versions of packages.

    Args:
        command: Such as ``organseg train``.
    """
    return {
        SOURCE_TAG: command,
        "mlflow.source.type": "LOCAL",
        **{f"mlflow.source.git.{name}": value for name, value in git_state().items()},
        "version.python": platform.python_version(),
        **{f"version.{name}": value for name, value in installed().items()},
    }


def digest_of_file(path: Path) -> str:
    """Start of a file's sha256, or ``absent``."""
    return sha256_of(path)[:DIGEST_LENGTH] if path.is_file() else "absent"


def manifest_digest(paths: StudyPaths) -> str:
    """Digest of the manifest's rows as ingestion took them, whatever the manifest holds by now."""
    return (rows_digest(paths) or "absent")[:DIGEST_LENGTH]


def sides(paths: StudyPaths, fold: int | None) -> Sides:
    """How many labelled scans and patients a fold trains on and validates on, and how many are kept for the test.

    Args:
        paths: Places of the study.
        fold: The fold, or ``None`` for development as a whole.
    """
    if not (paths.scans_csv.is_file() and paths.splits.is_file()):
        return {}
    splits = read_splits(paths.splits)
    found: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for row in read_table(paths.scans_csv):
        place = splits.get(row["patient_id"])
        if place is None or row.get("labelled") != "1":
            continue
        validates = fold is not None and place.fold == fold
        found["test" if place.split == "test" else "validation" if validates else "train"].append(row["patient_id"])
    return {side: {"scans": len(own), "patients": len(set(own))} for side, own in found.items() if own}


def dataset_inputs(study: str, manifest: str, sides: Sides, fold: str = "") -> list[Any]:
    """A run's data as MLflow dataset inputs, one a side.

    Args:
        study: Name of the study.
        manifest: The manifest's digest.
        sides: See :func:`sides`.
        fold: Stands behind the names of sides that depend on the fold.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": f"data_manifests/{study}.csv"})
    return [
        DatasetInput(
            dataset=Dataset(
                name=f"{study} {side}{fold if side != 'test' else ''}",
                digest=manifest,
                source_type="local",
                source=source,
                profile=json.dumps(counts),
            ),
            tags=[InputTag("mlflow.data.context", side)],
        )
        for side, counts in sides.items()
    ]
