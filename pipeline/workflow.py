"""What the Snakefile needs to know of the studies: their names to expand, and that they are fit to be worked on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.core.disk import estimate, say_size
from pipeline.core.errors import EXIT_BAD_INPUT, InputError
from pipeline.core.explain import nearest
from pipeline.core.files import digest_of, sha256_of, sweep_parts, write_text
from pipeline.core.form import mark_results
from pipeline.core.locks import hold_for_good
from pipeline.core.manifest import Manifest, load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.private import keep_to_owner, protect
from pipeline.core.shards import check_data, shard_lists, write_shards
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
        lists: Shard → its list of rows, of a dry run that would write it.
    """

    name: str
    study: Study
    lists: dict[int, str] = field(default_factory=dict)

    @property
    def is_demo(self) -> bool:
        """Whether its scans are made first."""
        return self.study.demo is not None

    @property
    def shards(self) -> list[int]:
        """Its shards."""
        return list(range(self.study.ingest.shards))

    def rows_of(self, shard: int | str) -> str:
        """The list of rows that a shard ingests."""
        return self.lists.get(int(shard), f"results/{self.name}/shards/{shard}.csv")

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


def open_studies(
    settings: dict[str, object], main: bool, *, dry: bool = False, files: Iterable[Path] = ()
) -> dict[str, WorkflowStudy]:
    """Read the studies, check them whole, and cut their manifests into shards, before any work is done.

    Args:
        settings: Snakemake's configuration: ``study`` holds names of studies, separated by commas.
        main: Whether this is the workflow itself rather than one of its jobs, which check nothing again.
        dry: Whether it is a dry run, which writes nothing into the working folder.
        files: Files of ``--configfile``, for messages.

    Returns:
        The studies by name. On bad input, what is wrong is printed and the process ends with exit code 2.
    """
    studies = {}
    keep_to_owner()
    try:
        for name in check_settings(settings, files).split(","):
            study = load_study(name)
            studies[name] = WorkflowStudy(name, study)
            manifest = _checked(name, study) if main else None
            if dry:
                studies[name].lists.update(_lists_to_be(name, study, manifest) if manifest else {})
                continue
            for folder in (StudyPaths(name).results.parent, StudyPaths(name).results):
                protect(folder, study.group, print)
            mark_results(StudyPaths(name))
            if main:
                _hold(name)
                sweep_parts(StudyPaths(name).results)
            if manifest is not None:
                _prepare(name, study, manifest)
    except InputError as error:
        print(f"organseg: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    return studies


def check_settings(settings: dict[str, object], files: Iterable[Path] = ()) -> str:
    """The studies that Snakemake was given, from ``--config`` and ``--configfile``.

    Args:
        settings: Snakemake's configuration, which knows the key ``study`` alone.
        files: Files of ``--configfile``.

    Returns:
        The names, separated by commas; those of the demos where nothing was given.

    Raises:
        InputError: There is another key, or no name.
    """
    odd = [key for key in settings if key != "study"]
    if odd and set(odd) <= set(Study.model_fields):
        names = [Path(file).stem for file in files] or ["NAME"]
        raise InputError(
            f"{odd[0]!r} is a key of a study's config, which is not given to Snakemake",
            where=", ".join(map(str, files)) or "--config",
            remedy=f"Name the study instead: --config study={names[0]}",
        )
    if odd:
        raise InputError(
            f"{odd[0]!r} is not a key of --config", where="--config", remedy=nearest(str(odd[0]), ["study"], "keys")
        )
    given = settings.get("study", "demo_xray,demo_mri")
    words = given if isinstance(given, list) else str("" if given is None else given).split(",")
    names = [str(word).strip() for word in words if str(word).strip()]
    if not names:
        raise InputError("names no study", where="--config study=", remedy="Give --config study=NAME.")
    return ",".join(names)


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


def _checked(name: str, study: Study) -> Manifest | None:
    """Check all that can be known before any work; ``None`` where a demo's scans are not made yet."""
    # Loaded by the workflow alone: every job reads the Snakefile again, and needs none of it.
    from pipeline.early import check_study

    check_study(study)
    if study.demo is not None and not manifest_path(name).exists():
        return None
    manifest = load_manifest(manifest_path(name), study)
    for note in manifest.notes:
        print(note)
    check_data(StudyPaths(name), study, manifest)
    return manifest


def _prepare(name: str, study: Study, manifest: Manifest) -> None:
    """Cut the manifest into shards and say what disk the work needs."""
    data, paths = data_root(study), StudyPaths(name)
    changed = write_shards(paths, study, manifest, data)
    if changed and not study.demo:
        need = estimate(study, manifest, data)
        print(f"{name}: {len(manifest.rows)} scans, about {say_size(need)} of disk under {Path('results') / name}")


def _lists_to_be(name: str, study: Study, manifest: Manifest) -> dict[int, str]:
    """Lists of shards that a run would write, in a folder of their own that goes when the process ends."""
    found = {}
    for path, text in shard_lists(StudyPaths(name), study, manifest, data_root(study)).items():
        if not (path.is_file() and path.read_text(encoding="utf-8") == text):
            aside = Path(_aside().name) / name / path.name
            write_text(aside, text)
            found[int(path.stem)] = str(aside)
    return found


@lru_cache(maxsize=1)
def _aside() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="organseg-dry-run-")
