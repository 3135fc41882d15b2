"""What can be wrong with a study and be known before any work: its networks, its plans' keys, the model it applies.

``organseg manifest check``, the workflow (its dry run too) and ``organseg ingest`` ask here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from pipeline.core.errors import InputError
from pipeline.core.explain import nearest
from pipeline.core.plan import Plan
from pipeline.core.study import ModelConfig, Study
from pipeline.inference.champion import check_fits, read_champion
from pipeline.networks import check, entry_of
from pipeline.plan.planner import FIXED


def check_study(study: Study, root: Path | None = None) -> None:
    """Check what a study names: networks and plan keys of the models that it trains, or the model that it applies.

    Raises:
        InputError: There is no such network, key or model, or the model is for other organs or another kind of scan.
    """
    if study.model is not None:
        check_fits(study, read_champion(_model_folder(study, study.model, root or Path())))
        return
    for name, config in study.models.items():
        _check_model(name, config)
        if config.init_from and not (root or Path()).joinpath(config.init_from).exists():
            raise InputError(
                f"there is no model {config.init_from!r} to start from",
                where=f"study config, models.{name}.init_from",
                remedy="Name a champion's folder, or a folder under results/<study>/models.",
            )


def _check_model(name: str, config: ModelConfig) -> None:
    where = f"study config, models.{name}"
    network = config.network or name
    try:
        able = entry_of(network).dims
        own = config.plan.get("network", {})
        spec = {"name": network, **own} if isinstance(own, dict) else {"name": network}
        check(spec, spatial_dims=config.dims or config.plan.get("spatial_dims") or able[0])
    except InputError as error:
        raise InputError(error.what, where=where, remedy=error.remedy) from None
    free = [key for key in Plan.model_fields if key not in FIXED]
    for key, value in config.plan.items():
        place = f"{where}.plan"
        if key in FIXED:
            raise InputError(f"{key} cannot be set here", where=place, remedy="The study's own keys set it.")
        if key not in free:
            raise InputError(f"{key} is not a key of a plan", where=place, remedy=nearest(key, free, "keys"))
        field = Plan.model_fields[key]
        try:
            TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
        except ValidationError as error:
            raise InputError(f"{key}: {error.errors()[0]['msg']}, not {value!r}", where=place) from None


def _model_folder(study: Study, model: str, root: Path) -> Path:
    if model.startswith(("models:/", "runs:/")):
        served = study.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
        store = root / "results" / "mlflow.db"
        if not served and not store.is_file():
            raise InputError(
                f"there is no model {model!r}: nothing was registered here yet",
                where="model",
                remedy=f"Set MLFLOW_TRACKING_URI to where it is; it was looked for in {store.absolute()}.",
            )
        from pipeline.tracking import download_model

        return download_model(model, root)
    folder = root / model
    if not folder.exists():
        known = [str(path.parent.relative_to(root)) for path in (root / "results").glob("*/champion/champion.yaml")]
        raise InputError(
            f"there is no model {model!r}",
            where="model",
            remedy=nearest(model, known, "models") if known else f"It was looked for in {folder.absolute()}.",
        )
    return folder
