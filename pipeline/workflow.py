"""What the Snakefile needs to know of the studies: their names to expand, and that they are fit to be worked on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.disk import estimate, say_size
from pipeline.core.errors import EXIT_BAD_INPUT, InputError
from pipeline.core.files import digest_of, sha256_of, sweep_parts
from pipeline.core.form import mark_results
from pipeline.core.locks import hold_for_good
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.private import keep_to_owner, protect
from pipeline.core.shards import write_shards
from pipeline.core.study import Study, data_root, load_study

#: What each stage reads of the config: a changed value runs that stage again, and no other.
SETTINGS: dict[str, tuple[str, ...]] = {
    "demo": ("demo", "organs"),
    "ingest": ("organs",),
    "rle": ("export",),
    "plan": ("organs", "overlapping", "split", "budget", "models", "seed"),
    "evaluate": ("evaluate", "organs", "overlapping", "models", "seed"),
    "select": ("select", "model", "evaluate"),
    "export": ("export", "organs"),
    "report": ("title", "description", "organs", "evaluate"),
}


@dataclass(frozen=True)
class WorkflowStudy:
    """The names that the rules of one study expand.

    Attributes:
        name: Name of the study.
        study: Its config.
    """

    name: str
    study: Study

    @property
    def is_demo(self) -> bool:
        """Whether its scans are made first."""
        return self.study.demo is not None

    @property
    def shards(self) -> list[int]:
        """Its shards."""
        return list(range(self.study.ingest.shards))

    @property
    def models(self) -> list[str]:
        """The models that it trains."""
        return [] if self.study.model else list(self.study.models)

    @property
    def folds(self) -> list[int]:
        """The folds of each model."""
        return list(range(self.study.split.folds))

    @property
    def keeps_probabilities(self) -> bool:
        """Whether the champion's probabilities are to be exported, for which ``predict`` must keep them."""
        return "probabilities" in self.study.export.formats

    def settings(self, stage: str) -> str:
        """Hash of the config's values that a stage reads."""
        values: dict[str, Any] = self.study.model_dump(mode="json", include=set(SETTINGS[stage]))
        return digest_of(values)

    def start(self, model: str) -> str:
        """Hash of the weights that a model's training starts from: once they are others, it is trained again."""
        given = self.study.models[model].init_from
        folder = Path(given) if given else None
        if folder is None or not folder.is_dir():
            return ""
        return digest_of({file.name: sha256_of(file) for file in sorted(folder.rglob("*.safetensors"))})

    def evidence(self, tables: Iterable[str]) -> list[str]:
        """What ``select`` reads: out-of-fold figures, or no more than the scans where a model is only applied."""
        if self.study.model:
            return [f"results/{self.name}/scans.csv"]
        return [str(table).format(study=self.name, part="oof") for table in tables]

    def figures(self, tables: Iterable[str]) -> list[str]:
        """What ``report`` reads: figures of the test, and out-of-fold ones where there was training."""
        parts = ["test"] if self.study.model else ["oof", "test"]
        return [str(table).format(study=self.name, part=part) for part in parts for table in tables]


def open_studies(names: str, main: bool) -> dict[str, WorkflowStudy]:
    """Read the studies, check them whole, and cut their manifests into shards, before any work is done.

    Args:
        names: Names of studies, separated by commas.
        main: Whether this is the workflow itself rather than one of its jobs, which check nothing again.

    Returns:
        The studies by name. On bad input, what is wrong is printed and the process ends with exit code 2.
    """
    studies = {}
    keep_to_owner()
    try:
        for name in [part.strip() for part in str(names).split(",") if part.strip()]:
            study = load_study(name)
            studies[name] = WorkflowStudy(name, study)
            for folder in (StudyPaths(name).results.parent, StudyPaths(name).results):
                protect(folder, study.group, print)
            mark_results(StudyPaths(name))
            if main:
                _hold(name)
                sweep_parts(StudyPaths(name).results)
                _prepare(name, study)
    except InputError as error:
        print(f"organseg: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    return studies


def cards(resources: Mapping[str, Any]) -> int:
    """How many trainings a run may do side by side: its resource ``gpu``, or one where that is not said.

    Args:
        resources: ``workflow.global_resources`` of Snakemake.
    """
    value = getattr(resources.get("gpu"), "value", None)
    return max(value, 1) if isinstance(value, int) else 1


def _hold(name: str) -> None:
    """Lock a study for as long as this process lives; a killed process leaves no lock behind."""
    if not hold_for_good(StudyPaths(name).lock("workflow")):
        raise InputError(
            f"study {name} is being worked on by another process", remedy="Wait for it to end, or stop it."
        )


def _prepare(name: str, study: Study) -> None:
    """Check the manifest, cut it into shards and say what disk the work needs."""
    path = manifest_path(name)
    if study.demo is not None and not path.exists():
        return
    data = data_root(study)
    if not data.is_dir():
        raise InputError(
            "the folder of the study's data does not exist",
            where=str(data),
            remedy="Set ORGANSEG_DATA, or data_root in the study's config, to where it lies.",
        )
    manifest = load_manifest(path, study)
    for note in manifest.notes:
        print(note)
    paths = StudyPaths(name)
    changed = write_shards(paths, study, manifest, data)
    if changed and not study.demo:
        need = estimate(study, manifest, data)
        print(f"{name}: {len(manifest.rows)} scans, about {say_size(need)} of disk under {Path('results') / name}")
