"""Tables over patients from the rows of single scans: summaries, comparisons of models, agreement of sizes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, cast

import numpy as np

from pipeline.core.files import Cells, number
from pipeline.evaluate.rows import (
    BASELINE,
    CAUSES,
    MEAN,
    SIZES,
    figure_columns,
    written,
)
from pipeline.metrics.clinical import HEART, agreement
from pipeline.metrics.empty import CASE_WORDS, CONVENTIONS, NO_PREDICTION, Convention, EmptyCase, at_empty
from pipeline.metrics.statistics import bland_altman, compare_paired, describe, holm, patient_means

#: Figures in a unit of length, or that depend on one through their tolerance: never averaged over two units.
LENGTHS = ("hd95", "assd", "nsd", "centroid_distance")
#: Figures that subgroups and comparisons of models are given for.
HEADLINE = ("dice", "nsd", "hd95")

SUMMARY_COLUMNS = (
    *("model", "organ", "metric", "unit", "subgroup", "group", "n_patients", "n_scans"),
    *("mean", "median", "q1", "q3", "low", "high", "undefined", *CASE_WORDS),
)
PAIRED_COLUMNS = (
    *("first", "second", "organ", "metric", "unit", "n_patients"),
    *("difference", "low", "high", "p", "p_holm"),
)
VOLUME_COLUMNS = ("model", "organ", "unit", "n_scans", "n_patients", "bias", "low", "high", "lower", "upper")
CONVENTION_COLUMNS = ("convention", "model", "organ", "metric", "unit", "n_patients", "n_scans", "mean", "low", "high")
RATIO_COLUMNS = ("measured", "against", "n_scans", "mean_absolute_error", "bias", "correlation")
#: The manifest's column of cardiothoracic ratios that a person measured.
BY_HAND = "ctr"
#: Files under ``metrics/<part>/`` and their columns; ``summary.csv`` holds the subgroups too.
TABLES = {
    "summary": SUMMARY_COLUMNS,
    "conventions": CONVENTION_COLUMNS,
    "paired": PAIRED_COLUMNS,
    "volumes": VOLUME_COLUMNS,
    "ctr": RATIO_COLUMNS,
}

#: One row of a table over patients: column → value.
Record = dict[str, Any]


@dataclass(frozen=True)
class Bootstrap:
    """How the bootstrap over patients is drawn."""

    draws: int = 2000
    seed: int = 0


def metric_names(rows: Sequence[Cells], tolerances: Sequence[float]) -> list[str]:
    """The figures that get a summary, in order."""
    names = [*figure_columns(tolerances), "mean_iou", "pixel_accuracy", "volume_difference", "centroid_distance"]
    names += [f"lost_{cause}" for cause in CAUSES]
    if rows and "lesion_f1" in rows[0]:
        names.append("lesion_f1")
    return names


def with_means(rows: Sequence[Cells], metrics: Sequence[str]) -> list[Cells]:
    """The rows, and after each scan's organs one row ``mean``: the mean over its organs, background never included.

    An organ whose figure is undefined is left out of the mean.
    """
    gathered: dict[tuple[str, str], list[Cells]] = defaultdict(list)
    for row in rows:
        gathered[row["model"], row["scan_id"]].append(row)
    result = []
    for organs in gathered.values():
        mean = dict(organs[0]) | {"organ": MEAN, "case": "", **dict.fromkeys(SIZES, "")}
        for metric in metrics:
            values = [number(row.get(metric, "")) for row in organs]
            defined = [value for value in values if math.isfinite(value)]
            mean[metric] = repr(float(np.mean(defined))) if defined else ""
        result += [*organs, mean]
    return result


def summarise(
    rows: Sequence[Cells], metrics: Sequence[str], bootstrap: Bootstrap, subgroup: str = "", group: str = ""
) -> list[Record]:
    """One row for each model, organ, figure and unit; pixels and millimetres are never averaged together."""
    gathered: dict[tuple[str, str], list[Cells]] = defaultdict(list)
    for row in rows:
        gathered[row["model"], row["organ"]].append(row)
    summary: list[Record] = []
    for (model, organ), members in gathered.items():
        for metric in metrics:
            # Pixel accuracy is a figure of the whole scan, and a distance between centres one of a single organ.
            if metric == ("centroid_distance" if organ == MEAN else "pixel_accuracy"):
                continue
            for unit, alike in by_unit(members, metric).items():
                figure = describe(patient_means(values_of(alike, metric)), bootstrap.draws, bootstrap.seed)
                undefined = sum(not math.isfinite(value) for _, value in values_of(alike, metric))
                if undefined == len(alike) and metric in {"lesion_f1", "mean_iou"}:
                    continue
                counts = Counter(row["case"] for row in alike)
                summary.append(
                    {
                        "model": model,
                        "organ": organ,
                        "metric": metric,
                        "unit": unit,
                        "subgroup": subgroup,
                        "group": group,
                        "n_patients": figure.n,
                        "n_scans": len(alike) - undefined,
                        **{k: v for k, v in asdict(figure).items() if k != "n"},
                        "undefined": undefined,
                        **({case: counts[case] for case in CASE_WORDS} if organ != MEAN else {}),
                    }
                )
    return summary


def by_unit(rows: Sequence[Cells], metric: str) -> dict[str, list[Cells]]:
    """Rows by the unit of a figure; empty text for a pure number."""
    if metric not in LENGTHS and not metric.startswith("nsd_"):
        return {"": list(rows)}
    apart: dict[str, list[Cells]] = defaultdict(list)
    for row in rows:
        apart[row["unit"]].append(row)
    return dict(apart)


def values_of(rows: Iterable[Cells], metric: str) -> list[tuple[str, float]]:
    """``(patient, value)`` of each row; undefined values are NaN."""
    return [(row["patient_id"], number(row.get(metric, ""))) for row in rows]


def compare_models(rows: Sequence[Cells], bootstrap: Bootstrap) -> list[Record]:
    """Every pair of models on the patients that both measured, Holm-adjusted over the organs of a pair and figure.

    The mean over organs is one question of its own and is not adjusted; the baseline is no model and is not compared.
    """
    models = [model for model in dict.fromkeys(row["model"] for row in rows) if model != BASELINE]
    organs = list(dict.fromkeys(row["organ"] for row in rows))
    table: list[Record] = []
    for first, second in combinations(models, 2):
        for metric in HEADLINE:
            for unit, alike in by_unit(rows, metric).items():
                block = [_pair(alike, first, second, organ, metric, unit, bootstrap) for organ in organs]
                single = [row for row in block if row["organ"] != MEAN]
                for row, adjusted in zip(single, holm([row["p"] for row in single]), strict=True):
                    row["p_holm"] = adjusted
                table += block
    return table


def _pair(
    rows: Sequence[Cells], first: str, second: str, organ: str, metric: str, unit: str, bootstrap: Bootstrap
) -> Record:
    sides = [
        patient_means(values_of((r for r in rows if (r["model"], r["organ"]) == (model, organ)), metric))
        for model in (first, second)
    ]
    result = compare_paired(sides[0], sides[1], bootstrap.draws, bootstrap.seed)
    return {
        "first": first,
        "second": second,
        "organ": organ,
        "metric": metric,
        "unit": unit,
        "n_patients": result.n,
        **{k: v for k, v in asdict(result).items() if k != "n"},
        "p_holm": result.p,
    }


def agreement_of_sizes(rows: Sequence[Cells], bootstrap: Bootstrap) -> list[Record]:
    """Bland–Altman limits of predicted against reference volume (area), by model, organ and unit."""
    gathered: dict[tuple[str, str, str], list[tuple[str, float, float]]] = defaultdict(list)
    for row in rows:
        if row["organ"] != MEAN:
            pair = (row["patient_id"], number(row.get("volume_pred", "")), number(row.get("volume_ref", "")))
            gathered[row["model"], row["organ"], row["volume_unit"]].append(pair)
    table: list[Record] = []
    for (model, organ, unit), pairs in gathered.items():
        limits = bland_altman(pairs, bootstrap.draws, bootstrap.seed)
        table.append(
            {
                "model": model,
                "organ": organ,
                "unit": unit,
                "n_scans": limits.n,
                "n_patients": limits.patients,
                **{k: v for k, v in asdict(limits).items() if k not in {"n", "patients"}},
            }
        )
    return table


def agreement_of_ratios(rows: Sequence[Cells]) -> list[Record]:
    """Cardiothoracic ratios of the reference masks and of each model's, against each other and those measured by hand.

    The rows of the heart hold the ratios; the manifest's column ``ctr``, where there is one, those measured by hand.
    """
    hearts = [row for row in rows if row["organ"] == HEART]
    models = list(dict.fromkeys(row["model"] for row in hearts))
    table = []
    if hearts and BY_HAND in hearts[0]:
        # Every model's rows repeat the reference's ratio.
        table.append(_ratio(hearts, models[0], "ctr_ref", BY_HAND, "reference masks", "measured by hand"))
        table += [_ratio(hearts, model, "ctr_pred", BY_HAND, model, "measured by hand") for model in models]
    table += [_ratio(hearts, model, "ctr_pred", "ctr_ref", model, "reference masks") for model in models]
    return table


def _ratio(rows: Sequence[Cells], model: str, column: str, other: str, measured: str, against: str) -> Record:
    own = [row for row in rows if row["model"] == model]
    pairs = np.array([[number(row.get(column, "")), number(row.get(other, ""))] for row in own])
    return {"measured": measured, "against": against, **agreement(pairs[:, 0], pairs[:, 1])}


def under_conventions(rows: Sequence[Cells], bootstrap: Bootstrap) -> list[Record]:
    """Dice, IoU and surface Dice as others would average the same scans, by their rules for empty masks.

    Args:
        rows: Rows of single scans, without means.
        bootstrap: How the bootstrap is drawn.

    Returns:
        One row for each convention, model, organ and figure; none where no mask is empty, because all rules then agree.
    """
    if all(row["case"] in {"both", NO_PREDICTION} for row in rows):
        return []
    names = ("dice", "iou", "nsd")
    table: list[Record] = []
    for convention in CONVENTIONS:
        ruled = [row | _ruled(row["case"], convention, names) for row in rows]
        for row in summarise(with_means(ruled, names), names, bootstrap):
            table.append({"convention": convention, **{key: row[key] for key in CONVENTION_COLUMNS[1:]}})
    return table


def _ruled(case: str, convention: Convention, names: Sequence[str]) -> Cells:
    if case in {"both", NO_PREDICTION}:
        return {}
    values = at_empty(convention, cast(EmptyCase, case))
    return {name: written(values[name]) for name in names}


def defined(rows: Iterable[Mapping[str, Any]]) -> list[Record]:
    """The same rows with ``None`` for what is undefined or infinite, as JSON and CSV cells want it."""
    return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows]
