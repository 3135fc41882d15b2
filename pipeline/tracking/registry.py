"""The model registry: a study's champions, each with its evidence, under the aliases champion and challenger."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pipeline
from pipeline.core.cache import cached, writable
from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_json, sha256_of
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say
from pipeline.core.study import load_study, study_path
from pipeline.metrics.statistics import describe
from pipeline.tracking import facts, tree
from pipeline.tracking.figures import metric_key, model_card
from pipeline.tracking.names import ALL, registered_name
from pipeline.tracking.promotion import judge, oof_scores
from pipeline.tracking.store import Store, TrackingError, shown, take_turn
from pipeline.tracking.tree import StudyRuns

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model

    from pipeline.inference.champion import Champion

SCORES = "evidence/oof_scores.json"
#: What the served model imports, beside the backend that runs its networks.
REQUIRED = (
    *("mlflow", "numpy", "scipy", "pandas", "pillow", "nibabel"),
    *("pydicom", "pydantic", "PyYAML", "SimpleITK", "scikit-image"),
)
BACKENDS = {"onnxruntime": ("onnxruntime",), "openvino": ("openvino",), "torch": ("torch", "monai", "safetensors")}


def champion_key(paths: StudyPaths) -> str:
    """Key of a champion: the same folder with the same content is the same champion."""
    return digest_of([paths.study, "champion", sha256_of(paths.champion)])


def champion_run(runs: StudyRuns) -> Run:
    """The run that stands for the champion: its evidence, and later its test figures and the report."""
    from pipeline.inference.champion import read_champion

    store, paths = runs.store, runs.paths
    champion, manifest = read_champion(paths.champion), facts.manifest_digest(paths)
    tags = {
        tree.ROLE: "champion",
        "model": champion.name,
        "manifest": manifest,
        "split": facts.digest_of_file(paths.splits),
        **facts.source_tags("organseg select"),
    }
    run = runs.ensure(champion_key(paths), "champion", tags)
    run_id = run.info.run_id
    if tree.FILLED not in run.data.tags:
        for file in (paths.champion_yaml, paths.fingerprint):
            if file.is_file():
                store.client.log_artifact(run_id, str(file))
        scores = oof_scores(paths, [member.model for member in champion.members])
        store.client.log_dict(run_id, scores, SCORES)
        store.client.log_batch(run_id, metrics=_oof_figures(scores))
        runs.fill(run_id, manifest, facts.sides(paths, None))
    tree.set_status(store, run_id, "FINISHED")
    return run


def _oof_figures(scores: dict[str, float]) -> list[Any]:
    """The champion's own out-of-fold figure, which no summary holds: clean-up and ensembles are measured in select."""
    from mlflow.entities import Metric

    summary = describe(scores)
    values = {"": summary.mean, "low": summary.low, "high": summary.high}
    now = round(time.time() * 1000)
    return [
        Metric(metric_key("oof", "dice", ALL, end=end), round(value, 6), now, 0)
        for end, value in values.items()
        if math.isfinite(value)
    ]


def register(runs: StudyRuns, say: Say) -> str:
    """Register the champion in ``results``, if it is not registered, and give it its alias.

    Returns:
        Its version.
    """
    # Loaded before the lock is taken, for that takes seconds.
    _ = runs.store.client
    import mlflow.pyfunc  # noqa: F401

    # Two stages at once would each find it missing and make a version of their own.
    with take_turn(runs.paths.tracking / "registry.lock", say):
        name, key = registered_name(runs.paths.study), champion_key(runs.paths)
        version = _version_of(runs.store, name, key)
        if version is None or "promotion" not in version.tags:
            version = _register(runs, version, name, key, say)
        return str(version.version)


def _register(runs: StudyRuns, version: ModelVersion | None, name: str, key: str, say: Say) -> ModelVersion:
    """Make the version unless it is there, and judge whether it is the champion."""
    from pipeline.inference.champion import read_champion

    client, paths = runs.store.client, runs.paths
    champion = read_champion(paths.champion)
    run_id = champion_run(runs).info.run_id
    if version is None:
        version = _log_and_register(runs, run_id, champion, name, key)
    number = str(version.version)
    client.update_model_version(name, number, model_card(runs.study, paths, champion))
    old = _aliased(runs.store, name, "champion")
    if old is not None and str(old.version) == number:
        old = None
    scores = oof_scores(paths, [member.model for member in champion.members])
    verdict = judge(scores, _scores_of(runs.store, old) if old is not None else None, old.version if old else "")
    client.set_registered_model_alias(name, verdict.alias, number)
    if verdict.alias == "champion" and (challenger := _aliased(runs.store, name, "challenger")) is not None:
        # A challenger that lost against an earlier champion says nothing against this one.
        client.set_model_version_tag(name, str(challenger.version), "was", "challenger")
        client.delete_registered_model_alias(name, "challenger")
    if old is not None and verdict.alias == "champion":
        client.set_model_version_tag(name, str(old.version), "replaced_by", number)
    client.set_model_version_tag(name, number, "reason", verdict.reason)
    runs.store.tag(run_id, {"alias": verdict.alias, "reason": verdict.reason})
    # Last: a version without this tag is judged again.
    client.set_model_version_tag(name, number, "promotion", verdict.alias)
    say(f"tracking: {name} version {number} is the {verdict.alias}: {verdict.reason}")
    return version


def describe_version(runs: StudyRuns, card: str) -> None:
    """Give the registered champion its card anew, once there are figures on the test."""
    version = _version_of(runs.store, registered_name(runs.paths.study), champion_key(runs.paths))
    if version is not None and version.description != card:
        runs.store.client.update_model_version(version.name, str(version.version), card)


def _version_of(store: Store, name: str, key: str) -> ModelVersion | None:
    versions = store.client.search_model_versions(f"name = '{name}'")
    return next((version for version in versions if version.tags.get(tree.KEY) == key), None)


def _aliased(store: Store, name: str, alias: str) -> ModelVersion | None:
    number = store.client.get_registered_model(name).aliases.get(alias)
    return store.client.get_model_version(name, str(number)) if number is not None else None


def _scores_of(store: Store, version: ModelVersion) -> dict[str, float]:
    """Out-of-fold figures that were logged with a version; none where they are gone."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(version.run_id, SCORES, folder)
        except TrackingError:
            # An absent artifact is another fault for each kind of store; no scores means: not comparable.
            return {}
        return {str(patient): float(dice) for patient, dice in read_json(path).items()}


def _log_and_register(runs: StudyRuns, run_id: str, champion: Champion, name: str, key: str) -> ModelVersion:
    """Log the champion's folder as a model from code, and register it."""
    from mlflow.entities import LoggedModelOutput

    store, paths = runs.store, runs.paths
    client = store.client
    _ensure_registered_model(store, name, paths.study)
    with tempfile.TemporaryDirectory() as folder:
        # Writing the model takes seconds, and is done before anything is asked of the store.
        model = _save(Path(folder), paths, champion)
        place = client.create_logged_model(runs.experiment, "champion", run_id, tags={tree.KEY: key})
        model.artifact_path, model.run_id = place.artifact_location, run_id
        model.model_uuid = model.model_id = place.model_id
        model.save(str(Path(folder) / "model" / "MLmodel"))
        client.log_model_artifacts(place.model_id, str(Path(folder) / "model"))
    # MLflow notes the path of the program that was started, and with it often a person's name.
    client.set_logged_model_tags(place.model_id, {facts.SOURCE_TAG: "organseg select"})
    client.finalize_logged_model(place.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(place.model_id, step=0)])
    tags = {tree.KEY: key, "study": paths.study}
    # MLflow asks the store that is set in its module where the model's files lie.
    with store.current():
        return client.create_model_version(
            name, f"models:/{place.model_id}", run_id, tags=tags, model_id=place.model_id
        )


def _save(folder: Path, paths: StudyPaths, champion: Champion) -> Model:
    """Write the champion as a model of MLflow, with the code that runs it, into ``folder/model``."""
    import mlflow.pyfunc
    from mlflow.models import Model

    package = Path(pipeline.__file__).parent
    code = folder / "code" / package.name
    shutil.copytree(package, code, ignore=shutil.ignore_patterns("__pycache__", "demo"))
    # MLflow notes where the files came from; that is nobody's business.
    files = folder / "champion"
    shutil.copytree(paths.champion, files)
    model = Model(metadata={"study": paths.study, "organs": list(champion.organs)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=str(folder / "model"),
            mlflow_model=model,
            python_model=str(code / "tracking" / "serve.py"),
            artifacts={"champion": str(files)},
            code_paths=[str(code)],
            signature=_signature(),
            input_example=_example(champion),
            pip_requirements=_requirements(champion),
        )
    return model


def _ensure_registered_model(store: Store, name: str, study: str) -> None:
    condition = f"name = '{name}'"
    if store.client.search_registered_models(condition):
        return
    note = (
        f"Champions of the study **{study}**. The alias `champion` is the model in use, `challenger` one that was not "
        "better beyond its interval; the tag `reason` says why.\n\n"
        f"`organseg predict SCAN --model models:/{name}@champion --out DIR`"
    )
    try:
        store.client.create_registered_model(name, description=note)
    except TrackingError:
        # Another process may have made it in between.
        if not store.client.search_registered_models(condition):
            raise


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

    from pipeline.tracking.serve import OUTPUTS

    inputs = [
        ColSpec(DataType.binary, "image", required=False),
        ColSpec(AnyType(), "voxels", required=False),
        ColSpec(AnyType(), "spacing", required=False),
    ]
    kinds = {"scan": DataType.long, "voxels": DataType.long, "volume": DataType.double, "certainty": DataType.double}
    outputs = [ColSpec(kinds.get(name, DataType.string), name) for name in OUTPUTS]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _example(champion: Champion) -> Any:
    """A ramp of the champion's kind, small enough to be read as JSON."""
    import pandas as pd

    flat = champion.modality in {"xray", "photo"}
    ramp = [[float(x + y) for x in range(16)] for y in range(16)]
    voxels: Any = ramp if flat else [[[value] * 2 for value in row] for row in ramp]
    return pd.DataFrame([{"voxels": voxels, "spacing": [1.0, 1.0, 1.0]}])


def _requirements(champion: Champion) -> list[str]:
    """Pins of what the served model imports."""
    found = facts.installed((*REQUIRED, *BACKENDS[champion.backend.name]))
    # A local build's mark (2.13.0+cpu) is not known to package indexes.
    return [f"{package}=={version.split('+')[0]}" for package, version in found.items()]


def download(uri: str, root: Path) -> Path:
    """Fetch the champion's folder of a registered model; see :func:`pipeline.tracking.download_model`."""
    store = _store_for(uri, root)
    try:
        source = _source(store, uri)
        with store.current() as mlflow:
            if store.file is not None:
                return _champion_in(Path(mlflow.artifacts.download_artifacts(artifact_uri=source)), uri)
            # Versions do not change once they are made, so a folder that was fetched whole is good for ever.
            folder = cached("models", digest_of([store.uri, source]))
            if not folder.is_dir():
                folder = writable(folder)
                with tempfile.TemporaryDirectory(dir=folder.parent) as part:
                    whole = Path(part) / "model"
                    whole.mkdir()
                    mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(whole))
                    try:
                        os.replace(whole, folder)
                    except OSError:
                        # Another process may have been first, with the same files.
                        if not folder.is_dir():
                            raise
            return _champion_in(folder, uri)
    except TrackingError as error:
        raise InputError(str(error), where=uri, remedy="Start the server, or set MLFLOW_TRACKING_URI.") from None
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be fetched from {shown(store.uri)} ({str(error).splitlines()[0][:200]})",
            where=uri,
            remedy="`organseg runs` lists the registered models.",
        ) from None


def _store_for(uri: str, root: Path) -> Store:
    """The store that a model's address refers to: the environment's, else that of the study in its name."""
    name = uri.removeprefix("models:/").split("@")[0].split("/")[0].removeprefix("organseg-")
    study = load_study(name, root) if study_path(name, root).is_file() else None
    return Store.of(study, StudyPaths(name, root))


def _source(store: Store, uri: str) -> str:
    """Where the files of a model's address lie, with its alias resolved: an address that never changes."""
    if not uri.startswith("models:/") or "@" not in uri:
        return uri
    name, alias = uri.removeprefix("models:/").split("@", 1)
    version = store.client.get_model_version_by_alias(name, alias)
    return f"models:/{name}/{version.version}"


def _champion_in(folder: Path, uri: str) -> Path:
    """The champion's own folder inside a logged model."""
    found = sorted(path.parent for path in folder.rglob("champion.yaml"))
    if not found:
        raise InputError("is not a champion of organseg", where=uri, remedy="`organseg select` registers one.")
    return found[0]
