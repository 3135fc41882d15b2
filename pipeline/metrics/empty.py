"""What a figure is worth where a mask is empty: our rule, declared, and the rules of others by name."""

from __future__ import annotations

from typing import Literal, get_args

from pipeline.core.errors import InputError

EmptyCase = Literal["both", "empty_reference", "empty_prediction", "both_empty"]
Convention = Literal["organseg", "nnunet", "monai", "smp", "metrics-reloaded", "surface-distance"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

#: The case of a scan that a model has no usable prediction for.
NO_PREDICTION = "no_prediction"
#: Every case in words.
CASE_WORDS = {
    "both": "",
    "empty_reference": "made up",
    "empty_prediction": "missed",
    "both_empty": "absent from both",
    NO_PREDICTION: "without a prediction",
}

_NAN, _INF = float("nan"), float("inf")
_FIGURES = ("dice", "iou", "precision", "recall", "nsd", "hd95", "assd")
#: Convention → case → figures in the order of ``_FIGURES``. What a package does not compute is as its formula has it,
#: undefined where that is 0/0.
_VALUES: dict[Convention, dict[EmptyCase, tuple[float, ...]]] = {
    "organseg": {
        "both_empty": (_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN),
        "empty_reference": (0, 0, 0, _NAN, 0, _NAN, _NAN),
        "empty_prediction": (0, 0, _NAN, 0, 0, _NAN, _NAN),
    },
    # nnunetv2.evaluation.evaluate_predictions: no surface figures.
    "nnunet": {
        "both_empty": (_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN),
        "empty_reference": (0, 0, 0, _NAN, _NAN, _NAN, _NAN),
        "empty_prediction": (0, 0, _NAN, 0, _NAN, _NAN, _NAN),
    },
    # monai.metrics with default arguments (ignore_empty=True); its percentile of infinite distances is NaN.
    "monai": {
        "both_empty": (_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN),
        "empty_reference": (_NAN, _NAN, 0, _NAN, 0, _NAN, _INF),
        "empty_prediction": (0, 0, _NAN, 0, 0, _NAN, _INF),
    },
    # segmentation_models_pytorch.metrics with zero_division=1.0: no surface figures.
    "smp": {
        "both_empty": (1, 1, 1, 1, _NAN, _NAN, _NAN),
        "empty_reference": (0, 0, 0, 1, _NAN, _NAN, _NAN),
        "empty_prediction": (0, 0, 1, 0, _NAN, _NAN, _NAN),
    },
    # MetricsReloaded.metrics.pairwise_measures; distances to an empty mask are undefined there.
    "metrics-reloaded": {
        "both_empty": (1, _NAN, _NAN, _NAN, _NAN, 0, 0),
        "empty_reference": (0, 0, 0, _NAN, _NAN, _NAN, _NAN),
        "empty_prediction": (0, 0, 0, 0, _NAN, _NAN, _NAN),
    },
    # surface-distance 0.1: Dice, surface Dice and distances only.
    "surface-distance": {
        "both_empty": (_NAN, _NAN, _NAN, _NAN, _NAN, _INF, _NAN),
        "empty_reference": (0, 0, 0, _NAN, 0, _INF, _INF),
        "empty_prediction": (0, 0, _NAN, 0, 0, _INF, _INF),
    },
}

#: Figures of :func:`by_presence`.
PRESENCE = (DICE_PRESENT, FALSE_ALARM) = ("dice_present", "false_alarm")
#: Our rule where there is little room.
SHORT_RULE = (
    "Empty masks: an organ absent from both masks is left out; one that is missed or made up counts as Dice and "
    "surface Dice 0."
)
_TEXTS: dict[Convention, str] = {
    "organseg": (
        "organseg: an organ that is absent from both masks is left out of the averages; an organ that is missed or "
        "made up has Dice, IoU and surface Dice 0, and no surface distance; precision is undefined where nothing was "
        "predicted, recall where there is nothing to find. The cases are counted beside the figures."
    ),
    "nnunet": "nnunet: Dice and IoU are left out where both masks are empty, 0 where one is; no surface figures.",
    "monai": (
        "monai (ignore_empty=True): Dice and IoU are left out wherever the reference is empty, 0 where the prediction "
        "is; surface Dice is 0, HD95 left out and ASSD infinite where one mask is empty."
    ),
    "smp": (
        "smp (zero_division=1): every overlap figure is 1 where its formula is 0/0, so Dice and IoU are 1 where both "
        "masks are empty; no surface figures."
    ),
    "metrics-reloaded": (
        "metrics-reloaded: where both masks are empty Dice is 1, IoU left out and distances 0; where one is, Dice and "
        "IoU are 0 and distances left out."
    ),
    "surface-distance": (
        "surface-distance: Dice and surface Dice are left out where both masks are empty, 0 where one is; distances "
        "are infinite where a mask is empty."
    ),
}


def check_convention(name: str) -> Convention:
    """The convention of this name.

    Raises:
        InputError: There is none.
    """
    for convention in CONVENTIONS:
        if convention == name:
            return convention
    raise InputError(
        f"there is no convention {name!r} for empty masks", remedy=f"Choose one of {', '.join(CONVENTIONS)}."
    )


def by_presence(case: EmptyCase, dice: float) -> dict[str, float]:
    """Dice where the reference has the organ, and whether one was made up where it has none; NaN where not asked.

    Means of the two are Dice on the scans that have an organ, and the share of false alarms on those that have not.
    """
    has = case in {"both", "empty_prediction"}
    return {DICE_PRESENT: dice if has else _NAN, FALSE_ALARM: _NAN if has else float(case == "empty_reference")}


def at_empty(convention: Convention, case: EmptyCase) -> dict[str, float]:
    """Dice, IoU, precision, recall, surface Dice, HD95 and ASSD where at least one mask is empty."""
    return dict(zip(_FIGURES, _VALUES[convention][case], strict=True))


def rule_text(convention: Convention = "organseg") -> str:
    """The rule in words, to be printed with every table."""
    return _TEXTS[convention]
