"""All shards of a part brought together: every scan's figures, and the tables over patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import Cells, number, read_table, write_json, write_table
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.splits import Assignment, Part
from pipeline.core.study import Study
from pipeline.evaluate.rows import BASELINE, MEAN, study_columns, written
from pipeline.evaluate.shard import extra_columns, known_splits, measured_scans, models_of
from pipeline.evaluate.tables import (
    HEADLINE,
    TABLES,
    Bootstrap,
    Record,
    agreement_of_ratios,
    agreement_of_sizes,
    compare_models,
    defined,
    metric_names,
    summarise,
    under_conventions,
    with_means,
)
from pipeline.imaging.components import LESION_OVERLAP
from pipeline.metrics.empty import NO_PREDICTION, rule_text
from pipeline.metrics.statistics import few_patients_note

#: What each figure is, for whoever prints it.
DEFINITIONS = {
    "dice": "2 TP / (2 TP + FP + FN)",
    "dice_present": "Dice on the scans whose reference has the organ",
    "false_alarm": "share of the scans whose reference lacks the organ in which one was predicted",
    "iou": "TP / (TP + FP + FN)",
    "precision": "TP / (TP + FP)",
    "recall": "TP / (TP + FN)",
    "accuracy": "share of all voxels that agree on this organ, background included",
    "pixel_accuracy": "share of all voxels whose organs are all right, background included",
    "hd95": "larger of the two directed 95th percentiles of the distances between boundary voxels",
    "assd": "mean distance between boundary voxels, over the boundary voxels of both masks",
    "nsd": "share of both surfaces' area within the organ's tolerance of the other surface (surfels)",
    "volume_difference": "(predicted - reference) / reference",
    "centroid_distance": "distance between centres of gravity",
    "mean_iou": "mean IoU of the probabilities cut at 0.50, 0.55 … 0.95",
    "lost_border": "Dice lost at the surface of components that were found",
    "lost_missed": "Dice lost to components of the reference that no voxel of the prediction meets",
    "lost_spurious": "Dice lost to predicted components that meet no voxel of the reference",
    "lost_swap": "Dice lost where prediction and reference name different organs, away from their shared border",
    "lesion_f1": f"2 found / (2 found + missed + spurious); a lesion counts from {LESION_OVERLAP:.0%} of its voxels",
    MEAN: "mean over the organs of a scan, background never included; then over a patient's scans; then over patients",
}


def gather(study: Study, paths: StudyPaths, part: Part, say: Say = quiet) -> dict[str, Any]:
    """Bring the shards of a part together under ``metrics/<part>/``.

    Writes ``per_scan.csv``, ``summary.csv``, ``summary.json``, ``paired.csv``, ``volumes.csv`` (Bland–Altman),
    ``conventions.csv`` (the same scans by others' rules for empty masks) and, where the study asks for it, ``ctr.csv``.

    Returns:
        What ``summary.json`` holds.

    Raises:
        InputError: A shard was not measured, or its rows are not those of the scans that are there now.
    """
    table = read_table(paths.scans_csv)
    splits = known_splits(study, paths)
    scans = measured_scans(study, table, splits, part)
    rows = _read_shards(study, paths, part, scans)
    order = {name: i for i, name in enumerate([*models_of(study, part), BASELINE])}
    organ_order = {name: i for i, name in enumerate(study.organs)}
    rows.sort(key=lambda row: (order[row["model"]], row["scan_id"], organ_order[row["organ"]]))
    folder = paths.metrics(part)
    write_table(folder / "per_scan.csv", rows, study_columns(study, extra_columns(study, table)))

    bootstrap = Bootstrap(study.evaluate.bootstrap, study.seed)
    everything = with_means(rows, metric_names(rows, study.evaluate.tolerances))
    own, other_sites = _own_sites(study, everything, table, splits, part)
    tables = _tables(study, own, everything, bootstrap)
    for name, columns in TABLES.items():
        if name != "ctr" or study.evaluate.cardiothoracic_ratio:
            found = tables[name] + (tables["subgroups"] if name == "summary" else [])
            cells = [{k: written(v) if isinstance(v, float) else v for k, v in row.items()} for row in found]
            write_table(folder / f"{name}.csv", cells, columns)
    facts = {
        **_facts(study, part, own, bootstrap),
        "other_sites": other_sites,
        **{name: defined(found) for name, found in tables.items()},
        "below_limit": _below_limit(rows, study.evaluate.dice_limit),
        "without_prediction": sorted({f"{r['model']}/{r['scan_id']}" for r in rows if r["case"] == NO_PREDICTION}),
    }
    write_json(folder / "summary.json", facts)
    say(f"{part}: {len(scans)} scans of {facts['n_patients']} patients")
    return facts


def _tables(
    study: Study, own: Sequence[Cells], everything: Sequence[Cells], bootstrap: Bootstrap
) -> dict[str, list[Record]]:
    """All tables over patients by name: of the sites developed on, and subgroups of all sites."""
    metrics = metric_names(own, study.evaluate.tolerances)
    return {
        "summary": summarise(own, metrics, bootstrap),
        "subgroups": _subgroups(study, everything, bootstrap),
        "paired": compare_models(own, bootstrap),
        "volumes": agreement_of_sizes(own, bootstrap),
        "ctr": agreement_of_ratios(own) if study.evaluate.cardiothoracic_ratio else [],
        "conventions": under_conventions([row for row in own if row["organ"] != MEAN], bootstrap),
    }


def _facts(study: Study, part: Part, own: Sequence[Cells], bootstrap: Bootstrap) -> dict[str, Any]:
    """What the figures are and rest on."""
    patients = {row["patient_id"] for row in own}
    return {
        "part": part,
        "organs": list(study.organs),
        "models": list(models_of(study, part)),
        "baseline": BASELINE,
        "n_patients": len(patients),
        "n_scans": len({row["scan_id"] for row in own}),
        "note": few_patients_note(len(patients)),
        "rule": rule_text(),
        "tolerances": study.evaluate.tolerances,
        "bootstrap": {"draws": bootstrap.draws, "seed": bootstrap.seed, "interval": "95 % percentile, patients drawn"},
        "definitions": DEFINITIONS,
        "dice_limit": study.evaluate.dice_limit,
    }


def _read_shards(study: Study, paths: StudyPaths, part: Part, scans: Sequence[Mapping[str, str]]) -> list[Cells]:
    rows: list[Cells] = []
    for shard in range(study.ingest.shards):
        file = paths.metrics(part) / "shards" / f"{shard}.csv"
        if not file.is_file():
            raise InputError(
                f"shard {shard} of the {part} scans was not measured",
                where=str(file),
                remedy=f"Run `organseg evaluate --study {paths.study} --part {part} --shard {shard}` first.",
            )
        rows += read_table(file)
    expected = {(row["scan_id"], model) for row in scans for model in models_of(study, part)}
    # A scan in which no organ was annotated has nothing to measure and no rows.
    unannotated = {row["scan_id"] for row in scans if not row["annotated"]}
    found = {(row["scan_id"], row["model"]) for row in rows if row["model"] != BASELINE}
    off = sorted({name for name, _ in expected ^ found} - unannotated)
    if off:
        raise InputError(
            f"the measured scans are not those of scans.csv and splits.csv: {', '.join(off[:5])}",
            where=str(paths.metrics(part) / "shards"),
            remedy=f"Measure the {part} shards again.",
        )
    return rows


def _own_sites(
    study: Study,
    rows: Sequence[Cells],
    table: Sequence[Mapping[str, str]],
    splits: Mapping[str, Assignment],
    part: Part,
) -> tuple[list[Cells], list[str]]:
    """Rows of the sites that models were developed on, and the names of the other sites: those are reported apart."""
    site = study.evaluate.site
    if part == "oof" or not site or not splits or not table or site not in table[0]:
        return list(rows), []
    developed = {
        row[site]
        for row in table
        if row["patient_id"] in splits and splits[row["patient_id"]].split == "development" and row["labelled"] == "1"
    }
    return [row for row in rows if row[site] in developed], sorted({row[site] for row in rows} - developed)


def _subgroups(study: Study, rows: Sequence[Cells], bootstrap: Bootstrap) -> list[Record]:
    columns = dict.fromkeys([*study.evaluate.subgroups, *([study.evaluate.site] if study.evaluate.site else [])])
    blocks: list[Record] = []
    for column in columns:
        if rows and column not in rows[0]:
            raise InputError(
                f"there is no column {column!r} to report apart",
                where=f"configs: evaluate of {study.title or 'the study'}",
                remedy="Name columns of the manifest in evaluate.subgroups and evaluate.site.",
            )
        groups: dict[str, list[Cells]] = defaultdict(list)
        for row in rows:
            groups[row[column]].append(row)
        for group in sorted(groups):
            blocks += summarise(groups[group], HEADLINE, bootstrap, column, group)
    return blocks


def _below_limit(rows: Sequence[Cells], limit: float) -> dict[str, list[str]]:
    """Model → scans in which some organ's Dice is below the limit: those need a look."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["model"] != BASELINE and number(row["dice"]) < limit:
            found[row["model"]].add(row["scan_id"])
    return {model: sorted(scans) for model, scans in found.items()}
