"""The stage on a drawn study: every scan has its row, parts stay apart, and tables follow from the rows."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, write_table
from pipeline.core.splits import read_splits
from pipeline.evaluate import gather, run_shard
from pipeline.evaluate.baseline import mean_shape, training_rows
from pipeline.evaluate.rows import BASELINE
from pipeline.formats.store import write_labels
from pipeline.metrics.organs import MetricSettings, compare_labels
from pipeline.metrics.statistics import compare_paired, holm, patient_means
from pipeline.quality.evidence import Evidence
from pipeline.select.choice import choose_models

Drawn = Any  # the drawn study of conftest.py
Make = Callable[..., Drawn]


def run(drawn: Drawn, part: Any) -> dict[str, Any]:
    for shard in range(drawn.study.ingest.shards):
        run_shard(drawn.study, drawn.paths, part, shard)
    return gather(drawn.study, drawn.paths, part)


def per_scan(drawn: Drawn, part: str) -> list[dict[str, str]]:
    return read_table(drawn.paths.metrics(part) / "per_scan.csv")


def one(rows: list[dict[str, Any]], **cells: str) -> dict[str, Any]:
    found = [row for row in rows if all(row[k] == v for k, v in cells.items())]
    assert len(found) == 1, found
    return found[0]


def test_every_scan_model_and_organ_has_one_row_and_parts_are_apart(make: Make) -> None:
    drawn = make()
    run(drawn, "oof")
    run(drawn, "test")
    splits = read_splits(drawn.paths.splits)
    for part, models in (("oof", {"good", "poor", BASELINE}), ("test", {"good", "poor", "champion", BASELINE})):
        rows = per_scan(drawn, part)
        scans = {r["scan_id"] for r in drawn.rows if (splits[r["patient_id"]].split == "test") == (part == "test")}
        keys = [(r["scan_id"], r["model"], r["organ"]) for r in rows]
        assert len(keys) == len(set(keys)) == len(scans) * len(models) * len(drawn.organs)
        assert {key[0] for key in keys} == scans
        assert {key[1] for key in keys} == models


def test_rows_hold_what_the_mechanics_say(make: Make) -> None:
    drawn = make()
    run(drawn, "test")
    rows = per_scan(drawn, "test")
    truth = drawn.truth(0)
    expected = compare_labels(
        drawn.labels(drawn.shifted(truth, 4)),
        drawn.labels(truth),
        drawn.spacing,
        MetricSettings(tolerances=(3.0, 1.0, 2.0), lesions=True),
    )
    row = one(rows, scan_id="s00a", model="poor", organ="liver")
    for name in ("dice", "iou", "hd95", "assd", "volume_ref", "centroid_distance"):
        assert float(row[name]) == pytest.approx(getattr(expected["liver"], name), rel=1e-8)
    assert float(row["nsd"]) == pytest.approx(expected["liver"].nsd[3.0])
    assert float(row["nsd_1"]) == pytest.approx(expected["liver"].nsd[1.0])
    assert (row["unit"], row["volume_unit"], row["case"], row["nsd_tolerance"]) == ("mm", "mL", "both", "3")
    lost = sum(float(row[f"lost_{cause}"]) for cause in ("border", "missed", "spurious", "swap"))
    assert lost == pytest.approx(1 - float(row["dice"]))
    assert row["lesions_found"] == ""
    lesion = one(rows, scan_id="s00a", model="champion", organ="lesion")
    assert (lesion["lesions_found"], lesion["lesions_missed"], lesion["lesion_f1"]) == ("1", "0", "1")
    assert row["sex"] == "F"


def test_only_the_manifests_own_columns_travel_into_the_figures(make: Make) -> None:
    drawn = make()
    measured = {"greys": "256", "border": "liver", "components_liver": "1", "components_lesion": "1"}
    rows = [{**row, **measured, "volume_control": "3"} for row in drawn.rows]
    write_table(drawn.paths.scans_csv, rows, list(rows[0]))
    run(drawn, "test")
    columns = set(per_scan(drawn, "test")[0])
    assert not columns & measured.keys()
    assert {"sex", "hospital", "volume_control"} <= columns


def test_absent_organs_are_left_out_and_counted(make: Make) -> None:
    drawn = make()
    facts = run(drawn, "oof")
    row = one(facts["summary"], model="good", organ="lesion", metric="dice")
    absent = [r for r in per_scan(drawn, "oof") if r["model"] == "good" and r["case"] == "both_empty"]
    assert len(absent) > 0
    assert row["both_empty"] == row["undefined"] == len(absent)
    assert row["n_scans"] + row["undefined"] == 16
    assert all(r["dice"] == "" for r in absent)
    assert "left out of the averages" in facts["rule"]


def test_select_shows_the_figures_of_evaluate(make: Make) -> None:
    drawn = make(seed=3, select={"ensembles": False})
    truth = drawn.truth(3) | {"lesion": drawn.truth(3)["liver"] & False}
    truth["lesion"][5:8, 6:9, 3:5] = True
    # Scan 3 has no lesion, and one model makes it up.
    write_labels(drawn.paths.predictions("oof", "good") / "s01b.nii.gz", drawn.labels(drawn.shifted(truth, 1)))
    facts = run(drawn, "oof")
    for model in ("good", "poor"):
        names = [
            {"scan_id": path.name[:-7], "status": "ok"} for path in drawn.paths.predictions("oof", model).glob("*")
        ]
        write_table(drawn.paths.predictions("oof", model) / "predictions.csv", names, ("scan_id", "status"))
    _, rows = choose_models(drawn.study, Evidence(drawn.study, drawn.paths), lambda line: None)
    for row in rows:
        for figure in ("dice", "dice_present", "false_alarm"):
            measured = one(facts["summary"], model=row["models"][0], organ="mean", metric=figure)
            assert row[figure] == pytest.approx(measured["mean"], abs=1e-5)
            if figure == "dice":
                assert (row["low"], row["high"]) == pytest.approx((measured["low"], measured["high"]), abs=1e-5)
    assert [row["false_alarm"] > 0 for row in rows] == [True, False]
    lesion = one(facts["summary"], model="good", organ="lesion", metric="false_alarm")
    without = [r for r in per_scan(drawn, "oof") if (r["model"], r["organ"]) == ("good", "lesion") and r["false_alarm"]]
    assert lesion["mean"] == pytest.approx(
        np.mean(list(patient_means((r["patient_id"], float(r["false_alarm"])) for r in without).values()))
    )
    assert {(r["case"], r["false_alarm"], r["dice_present"]) for r in without} == {
        ("both_empty", "0", ""),
        ("empty_reference", "1", ""),
    }


def test_other_conventions_average_the_same_scans_by_their_rules(make: Make) -> None:
    drawn = make()
    facts = run(drawn, "oof")
    rows = [r for r in per_scan(drawn, "oof") if (r["model"], r["organ"]) == ("good", "lesion")]
    chosen = {"model": "good", "organ": "lesion", "metric": "dice"}
    by_name = {r["convention"]: r for r in facts["conventions"] if chosen.items() <= r.items()}
    assert by_name["organseg"]["mean"] == one(facts["summary"], **chosen)["mean"]
    assert by_name["nnunet"]["mean"] == by_name["organseg"]["mean"]
    as_one = patient_means((r["patient_id"], float(r["dice"] or 1)) for r in rows)
    assert by_name["smp"]["mean"] == pytest.approx(np.mean(list(as_one.values())))
    assert by_name["smp"]["n_scans"] == by_name["metrics-reloaded"]["n_scans"] == len(rows)


def test_probabilities_give_the_mean_iou_over_thresholds(make: Make) -> None:
    drawn = make()
    folder = drawn.paths.predictions("oof", "good") / "probabilities"
    folder.mkdir()
    masks = drawn.truth(2)
    truth = masks["liver"] & ~masks["lesion"]
    kept = np.zeros((3, *truth.shape), np.uint8)
    kept[1][truth] = 190  # 0.745: inside up to 0.70
    np.savez_compressed(folder / "s01a.npz", probabilities=kept)
    facts = run(drawn, "oof")
    row = one(per_scan(drawn, "oof"), scan_id="s01a", model="good", organ="liver")
    assert float(row["mean_iou"]) == pytest.approx(0.5)
    assert one(facts["summary"], model="good", organ="liver", metric="mean_iou")["n_scans"] == 1
    assert not any(r["metric"] == "mean_iou" and r["model"] == "poor" for r in facts["summary"])


def test_a_mean_is_over_organs_then_scans_then_patients(make: Make) -> None:
    drawn = make()
    facts = run(drawn, "test")
    rows = [r for r in per_scan(drawn, "test") if r["model"] == "poor"]
    scans: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["dice"]:
            scans.setdefault((row["patient_id"], row["scan_id"]), []).append(float(row["dice"]))
    patients: dict[str, list[float]] = {}
    for (patient, _), values in scans.items():
        patients.setdefault(patient, []).append(float(np.mean(values)))
    expected = float(np.mean([np.mean(values) for values in patients.values()]))
    row = one(facts["summary"], model="poor", organ="mean", metric="dice")
    assert row["mean"] == pytest.approx(expected)
    assert row["n_patients"] == len(patients) == 4
    assert row["low"] <= row["mean"] <= row["high"]
    assert "4 patients" in facts["note"]


def test_models_are_compared_by_patient_with_holm_over_organs(make: Make) -> None:
    drawn = make(patients=24)
    facts = run(drawn, "oof")
    rows = per_scan(drawn, "oof")
    sides = [
        patient_means((r["patient_id"], float(r["dice"])) for r in rows if r["model"] == m and r["organ"] == "liver")
        for m in ("good", "poor")
    ]
    expected = compare_paired(sides[0], sides[1], drawn.study.evaluate.bootstrap, drawn.study.seed)
    row = one(facts["paired"], first="good", second="poor", organ="liver", metric="dice")
    assert row["difference"] == pytest.approx(expected.difference)
    assert row["p"] == pytest.approx(expected.p)
    lesion = one(facts["paired"], first="good", second="poor", organ="lesion", metric="dice")
    assert [row["p_holm"], lesion["p_holm"]] == pytest.approx(holm([row["p"], lesion["p"]]))
    assert max(row["p_holm"] / row["p"], lesion["p_holm"] / lesion["p"]) == pytest.approx(2)
    assert row["low"] > 0
    assert {r["organ"] for r in facts["paired"]} == {*drawn.organs, "mean"}
    assert not any(BASELINE in (r["first"], r["second"]) for r in facts["paired"])


def test_the_baseline_is_made_from_the_training_patients_of_the_fold_alone(make: Make) -> None:
    drawn = make()
    splits = read_splits(drawn.paths.splits)
    table = read_table(drawn.paths.scans_csv)
    inside = {row["patient_id"] for row in training_rows(table, splits, 0)}
    assert inside
    assert all(splits[p].split == "development" and splits[p].fold == 1 for p in inside)
    assert {splits[r["patient_id"]].split for r in training_rows(table, splits, None)} == {"development"}
    facts = run(drawn, "test")
    baseline = one(facts["summary"], model=BASELINE, organ="liver", metric="dice")
    assert 0.5 < baseline["mean"] < 1


def test_the_mean_shape_is_the_most_frequent_label(tmp_path: Path, make: Make) -> None:
    drawn = make()
    files = []
    for number, width in enumerate((4, 4, 12)):
        mask = np.zeros((24, 20, 10), bool)
        mask[2 : 2 + width, 3:15, 2:8] = True
        files.append(tmp_path / f"{number}.nii.gz")
        write_labels(files[-1], drawn.labels({"liver": mask}))
    shape = mean_shape(files, drawn.study)
    along = np.flatnonzero((shape == 1).any(axis=(1, 2)))
    assert (along[0], along[-1] + 1) == (2 * 4, 6 * 4)


def test_a_missing_or_unusable_prediction_is_a_row_and_stops_nobody(make: Make) -> None:
    drawn = make()
    folder = drawn.paths.predictions("test", "good")
    (folder / "s00a.nii.gz").unlink()
    (folder / "s00b.nii.gz").write_bytes(b"nothing")
    said: list[str] = []
    for shard in range(3):
        run_shard(drawn.study, drawn.paths, "test", shard, say=said.append)
    facts = gather(drawn.study, drawn.paths, "test")
    assert facts["without_prediction"] == ["good/s00a", "good/s00b"]
    assert sum("s00a, good" in line or "s00b, good" in line for line in said) == 2
    summary = one(facts["summary"], model="good", organ="liver", metric="dice")
    assert (summary["no_prediction"], summary["n_patients"], summary["undefined"]) == (2, 3, 2)
    assert one(per_scan(drawn, "test"), scan_id="s00a", model="good", organ="liver")["dice"] == ""


def test_a_prediction_on_another_grid_is_not_measured(make: Make) -> None:
    drawn = make()
    wrong = drawn.labels(drawn.truth(0))
    moved = type(wrong)(wrong.data, wrong.affine + np.diag([0, 0, 1.0], 1), wrong.organs, False, wrong.annotated)
    write_labels(drawn.paths.predictions("test", "good") / "s00a.nii.gz", moved)
    assert run(drawn, "test")["without_prediction"] == ["good/s00a"]


def test_organs_that_nobody_looked_for_are_not_measured(make: Make) -> None:
    drawn = make()
    scan = next(row for row in drawn.rows if row["scan_id"] == "s00a")
    write_labels(drawn.paths.mask(scan["shard"], "s00a"), drawn.labels(drawn.truth(0), frozenset({"liver"})))
    run(drawn, "test")
    rows = [row for row in per_scan(drawn, "test") if row["scan_id"] == "s00a"]
    assert {row["organ"] for row in rows} == {"liver"}
    assert {row["pixel_accuracy"] for row in rows} == {""}


def test_other_sites_and_subgroups_are_reported_apart(make: Make) -> None:
    drawn = make(evaluate={"site": "hospital", "subgroups": ["sex"]})
    facts = run(drawn, "test")
    assert facts["other_sites"] == ["south"]
    rows = per_scan(drawn, "test")
    assert facts["n_patients"] == len({r["patient_id"] for r in rows if r["hospital"] == "north"})
    groups = {(r["subgroup"], r["group"]) for r in facts["subgroups"]}
    assert groups == {("sex", "F"), ("sex", "M"), ("hospital", "north"), ("hospital", "south")}
    with pytest.raises(InputError, match="no column 'scanner'"):
        run(make(evaluate={"subgroups": ["scanner"]}), "test")


def test_pixels_and_millimetres_are_never_averaged_together(make: Make) -> None:
    drawn = make()
    for row in drawn.rows[:2]:
        row["spacing_source"] = "unknown"
    write_table(drawn.paths.scans_csv, drawn.rows, [*drawn.rows[0]])
    facts = run(drawn, "test")
    rows = [r for r in facts["summary"] if (r["model"], r["organ"], r["metric"]) == ("good", "liver", "hd95")]
    assert {(r["unit"], r["n_scans"]) for r in rows} == {("mm", 6), ("px", 2)}
    assert {r["unit"] for r in facts["volumes"] if r["organ"] == "liver"} == {"mL", "voxels"}


def test_volumes_have_bland_altman_limits(make: Make) -> None:
    facts = run(make(), "test")
    row = one(facts["volumes"], model="champion", organ="liver")
    assert (row["bias"], row["lower"], row["upper"], row["unit"], row["n_scans"]) == (0, 0, 0, "mL", 8)


def test_running_again_gives_the_same_bytes(make: Make) -> None:
    drawn = make()
    run(drawn, "test")
    folder = drawn.paths.metrics("test")
    before = {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    run(drawn, "test")
    assert before == {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    json.loads(before["summary.json"])
    assert not any("nan" in text.decode().lower().split(",") for name, text in before.items() if name.endswith(".csv"))


def test_stale_or_absent_shards_are_named(make: Make) -> None:
    drawn = make()
    with pytest.raises(InputError, match="shard 0 of the test scans was not measured"):
        gather(drawn.study, drawn.paths, "test")
    run(drawn, "test")
    write_table(drawn.paths.scans_csv, drawn.rows[1:], [*drawn.rows[0]])
    with pytest.raises(InputError, match="s00a"):
        gather(drawn.study, drawn.paths, "test")


def test_a_model_without_predictions_is_named(make: Make) -> None:
    drawn = make(models=["good", "other"])
    with pytest.raises(InputError, match="'other' has no oof predictions"):
        run(drawn, "oof")


def test_a_study_that_applies_a_model_has_no_baseline_and_no_split(make: Make) -> None:
    drawn = make(model="results/else/champion")
    drawn.paths.splits.unlink()
    champion = drawn.paths.predictions("test", "champion")
    for row in drawn.rows:
        if not (champion / f"{row['scan_id']}.nii.gz").exists():
            write_labels(champion / f"{row['scan_id']}.nii.gz", drawn.labels({}))
    facts = run(drawn, "test")
    assert facts["models"] == ["champion"]
    assert {row["model"] for row in per_scan(drawn, "test")} == {"champion"}
    assert facts["n_scans"] == 24


def test_unlabelled_scans_are_no_scans_to_measure(make: Make) -> None:
    drawn = make()
    for row in drawn.rows:
        row["labelled"] = 0
    write_table(drawn.paths.scans_csv, drawn.rows, [*drawn.rows[0]])
    facts = run(drawn, "test")
    assert (facts["n_scans"], facts["summary"]) == (0, [])
    assert per_scan(drawn, "test") == []


def test_ratios_are_compared_with_those_measured_by_hand() -> None:
    from pipeline.evaluate.tables import agreement_of_ratios

    rows = [
        {"organ": "heart", "model": model, "ctr_ref": str(ref), "ctr_pred": str(ref + off), "ctr": str(ref + 0.01)}
        for model, off in (("unet", 0.02), (BASELINE, -0.1))
        for ref in (0.4, 0.5, 0.62, math.nan)
    ]
    table = agreement_of_ratios(rows)
    assert [(row["measured"], row["against"]) for row in table] == [
        ("reference masks", "measured by hand"),
        ("unet", "measured by hand"),
        (BASELINE, "measured by hand"),
        ("unet", "reference masks"),
        (BASELINE, "reference masks"),
    ]
    assert table[0]["mean_absolute_error"] == pytest.approx(0.01)
    assert table[1]["mean_absolute_error"] == pytest.approx(0.01)
    assert (table[3]["bias"], table[3]["correlation"], table[3]["n_scans"]) == (
        pytest.approx(0.02),
        pytest.approx(1),
        3,
    )


def test_the_stage_imports_no_torch() -> None:
    import subprocess

    code = "import sys, pipeline.evaluate; sys.exit(bool({'torch', 'monai', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
