"""Stage ``plan``: look at the development patients' scans, split the patients, and plan each model, with reasons."""

from __future__ import annotations

from pipeline.core.files import read_table, write_json, write_table
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.splits import COLUMNS
from pipeline.core.study import Study
from pipeline.plan.fingerprint import measure
from pipeline.plan.planner import make_plan
from pipeline.plan.splitting import split_patients

__all__ = ["make_plan", "measure", "run", "split_patients"]


def run(study: Study, paths: StudyPaths, say: Say = quiet) -> None:
    """Write ``splits.csv``, ``fingerprint.json`` and ``plans/<model>.yaml``.

    Only labelled scans of development patients are looked at; no test scan decides anything.

    Raises:
        InputError: There are too few labelled patients, or a value that the study sets does not fit.
    """
    rows = read_table(paths.scans_csv)
    splits = split_patients(rows, study)
    table = [
        {"patient_id": patient, "split": place.split, "fold": place.fold, "origin": place.origin}
        for patient, place in splits.items()
    ]
    write_table(paths.splits, table, COLUMNS)
    tested = sum(place.split == "test" for place in splits.values())
    say(f"{len(splits)} patients: {tested} for the test, {len(splits) - tested} for development")
    seen = [row for row in rows if row["labelled"] == "1" and splits[row["patient_id"]].split == "development"]
    fingerprint = measure(seen, study, paths, say)
    write_json(paths.fingerprint, fingerprint)
    for name in study.models:
        plan = make_plan(study, name, fingerprint)
        plan.write(paths.plan(name))
        say(f"{name}: {plan.spatial_dims}-D, patch {'×'.join(map(str, plan.patch))}, batch {plan.batch}")
