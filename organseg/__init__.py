"""organseg in Python: what its commands do, as functions on scans and label maps.

    >>> import organseg
    >>> model = organseg.open_model("results/demo_xray/champion")
    >>> scan = organseg.read_scan("film.dcm", modality="xray")
    >>> model.predict(scan).labels.present()
    ('left_lung', 'right_lung', 'heart')

Importing this costs a few milliseconds; what a name needs is loaded when it is first used. What is exported here stays
as it is from version to version; the package ``pipeline`` behind it may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from organseg._ours import find_ours

find_ours()

if TYPE_CHECKING:
    from organseg import rle
    from organseg.evaluation import Evaluation, evaluate
    from organseg.reading import read_labels, read_scan
    from organseg.studies import load_study, run_stage
    from pipeline import __version__
    from pipeline.core.errors import InputError
    from pipeline.core.labels import LabelMap
    from pipeline.core.scan import Grid, Scan
    from pipeline.core.study import Study
    from pipeline.inference.predictor import Prediction
    from pipeline.predict.model import Model, open_model

__all__ = [
    "Evaluation",
    "Grid",
    "InputError",
    "LabelMap",
    "Model",
    "Prediction",
    "Scan",
    "Study",
    "__version__",
    "evaluate",
    "load_study",
    "open_model",
    "read_labels",
    "read_scan",
    "rle",
    "run_stage",
]

#: Name → the module that has it.
_HOMES = {
    "Evaluation": "organseg.evaluation",
    "Grid": "pipeline.core.scan",
    "InputError": "pipeline.core.errors",
    "LabelMap": "pipeline.core.labels",
    "Model": "pipeline.predict.model",
    "Prediction": "pipeline.inference.predictor",
    "Scan": "pipeline.core.scan",
    "Study": "pipeline.core.study",
    "__version__": "pipeline",
    "evaluate": "organseg.evaluation",
    "load_study": "organseg.studies",
    "open_model": "pipeline.predict.model",
    "read_labels": "organseg.reading",
    "read_scan": "organseg.reading",
    "run_stage": "organseg.studies",
}


def __getattr__(name: str) -> Any:
    if name == "rle":
        return importlib.import_module("organseg.rle")
    if name not in _HOMES:
        raise AttributeError(f"module 'organseg' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
