"""The stage ``predict``, alone and followed by ``select`` and the champion."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import predict, select
from pipeline.core.errors import InputError
from pipeline.core.files import read_table, write_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.inference.agreement import AGREEMENT
from pipeline.inference.champion import read_champion
from pipeline.inference.model_files import load_model, save_model
from pipeline.inference.predictor import open_champion
from pipeline.metrics.overlap import dice
from pipeline.quality.judge import Verdict
from tests.predict.studies import make_study

Made = tuple[Study, StudyPaths]


def names(paths: StudyPaths, part: str, model: str) -> list[str]:
    return [row["scan_id"] for row in read_table(paths.predictions(part, model) / "predictions.csv")]


def test_oof_and_test_predict_who_they_should(volumes: Made) -> None:
    study, paths = volumes
    predict.run(study, paths, "oof", "unet")
    predict.run(study, paths, "test", "unet")
    rows = read_table(paths.predictions("oof", "unet") / "predictions.csv")
    assert [(r["scan_id"], r["fold"]) for r in rows] == [
        ("s0", "0"),
        ("s1", "1"),
        ("s2", "0"),
        ("s3", "1"),
        ("s6", "0"),
    ]
    assert names(paths, "test", "unet") == ["s4", "s5"]
    for name in ("s4", "s5"):
        scan = read_scan(paths.scan(int(name[1]) % 2, name))
        reference = read_labels(paths.mask(int(name[1]) % 2, name))
        found = read_labels(paths.predictions("test", "unet") / f"{name}.nii.gz")
        assert found.grid.same_place(scan.grid)
        for organ in study.organs:
            assert dice(found.mask(organ), reference.mask(organ)) > 0.8


def test_agreement_of_passes_lies_beside_oof(pictures: Made) -> None:
    """Only where windows are mirrored, and only where ``select`` reads it."""
    study, paths = pictures
    folder = paths.model("other", 0)
    network, plan, facts = load_model(folder)
    save_model(folder, network, plan.model_copy(update={"mirror_axes": [0]}), facts)
    for model in study.models:
        predict.run(study, paths, "oof", model)
    assert read_table(paths.predictions("oof", "unet") / AGREEMENT) == []
    rows = read_table(paths.predictions("oof", "other") / AGREEMENT)
    scans = names(paths, "oof", "other")
    assert [(row["scan_id"], row["organ"], row["between"]) for row in rows] == [
        (name, organ, "passes") for name in scans for organ in study.organs
    ]
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)
    predict.run(study, paths, "test", "other")
    assert not (paths.predictions("test", "other") / AGREEMENT).exists()


def test_probabilities_agree_with_masks(pictures: Made) -> None:
    study, paths = pictures
    predict.run(study, paths, "oof", "unet")
    folder = paths.predictions("oof", "unet")
    for name in names(paths, "oof", "unet"):
        labels = read_labels(folder / f"{name}.nii.gz")
        with np.load(folder / "probabilities" / f"{name}.npz") as content:
            probabilities = content["probabilities"]
        assert probabilities.dtype == np.uint8
        assert np.mean((probabilities >= 127.5) != labels.masks()) < 0.001


def test_select_predict_champion(chosen_pictures: Made) -> None:
    _, paths = chosen_pictures
    champion = read_champion(paths.champion)
    assert champion == read_champion(paths.champion_yaml)
    assert champion.backend.name == "onnxruntime"  # pictures
    assert max(champion.backend.parity.values()) < 1e-3
    assert sum(row["chosen"] for row in champion.evidence["candidates"]) == 1
    # The test's scans and the one that nobody labelled.
    assert names(paths, "test", "champion") == ["s4", "s5", "s6"]
    torch_predictor, _ = open_champion(paths.champion, backend="torch")
    for name in ("s4", "s6"):
        found = read_labels(paths.predictions("test", "champion") / f"{name}.nii.gz")
        other = torch_predictor.predict(read_scan(paths.scan(int(name[1]) % 2, name)))
        assert np.mean(found.data != other.labels.data) < 0.002


def test_a_bad_scan_is_a_row(volumes: Made) -> None:
    study, paths = volumes
    paths.scan(0, "s2").write_bytes(b"not a scan")
    predict.run(study, paths, "oof", "unet")
    rows = {row["scan_id"]: row for row in read_table(paths.predictions("oof", "unet") / "predictions.csv")}
    assert rows["s2"]["status"] == "failed"
    assert rows["s2"]["reason"]
    assert str(paths.root) not in rows["s2"]["reason"]
    assert [rows[name]["status"] for name in ("s0", "s1", "s3", "s6")] == ["ok"] * 4
    assert not (paths.predictions("oof", "unet") / "s2.nii.gz").exists()


def test_every_scan_bad_is_an_error(volumes: Made) -> None:
    study, paths = volumes
    for name in ("s4", "s5"):
        paths.scan(int(name[1]) % 2, name).unlink()
    with pytest.raises(InputError, match="not one of 2"):
        predict.run(study, paths, "test", "unet")


def test_again_gives_the_same_bytes_and_drops_what_is_gone(volumes: Made) -> None:
    study, paths = volumes
    out = paths.predictions("oof", "unet")
    predict.run(study, paths, "oof", "unet")
    first = {p.name: p.read_bytes() for p in out.rglob("*") if p.suffix in {".gz", ".npz"}}
    (out / "gone.nii.gz").write_bytes(b"")
    (out / "probabilities" / "gone.npz").write_bytes(b"")
    predict.run(study, paths, "oof", "unet")
    assert {p.name: p.read_bytes() for p in out.rglob("*") if p.suffix in {".gz", ".npz"}} == first


def test_alone_or_among_others(chosen_volumes: Made) -> None:
    _, paths = chosen_volumes
    predictor, _ = open_champion(paths.champion)
    for name in ("s6", "s4"):
        alone = predictor.predict(read_scan(paths.scan(int(name[1]) % 2, name))).labels
        among = read_labels(paths.predictions("test", "champion") / f"{name}.nii.gz")
        np.testing.assert_array_equal(alone.data, among.data)


def test_a_large_scan_gives_the_same(chosen_volumes: Made) -> None:
    """Sums in a file, worked on in chunks, are those in memory."""
    study, paths = chosen_volumes
    predictor, _ = open_champion(paths.champion)
    scan = read_scan(paths.scan(0, "s4"))
    small = predictor.predict(scan)
    predictor.room = 0
    large = predictor.predict(scan)
    assert isinstance(large.probabilities, np.memmap)
    np.testing.assert_array_equal(small.labels.data, large.labels.data)
    assert small.certainty == pytest.approx(large.certainty)
    assert set(small.agreement) == {"folds"}
    assert set(small.agreement["folds"]) == set(study.organs)
    assert min(small.agreement["folds"].values()) > 0.5


def test_another_kind_of_scan_is_refused(chosen_volumes: Made) -> None:
    _, paths = chosen_volumes
    predictor, _ = open_champion(paths.champion)
    flat = read_scan(paths.scan(0, "s4"))
    with pytest.raises(InputError, match="picture"):
        predictor.predict(replace(flat, voxels=flat.voxels[..., :1]))


def test_a_study_that_trains_nothing(chosen_volumes: Made, tmp_path: Path) -> None:
    """A study that names a model takes it over and applies it to all its scans, masks or not."""
    trained, paths = chosen_volumes
    study = make_study(model=str(paths.champion), split=trained.split.model_dump())
    applied = StudyPaths("applied", tmp_path)
    rows = read_table(paths.scans_csv)
    for row in rows:
        row["labelled"] = "0"
        target = applied.scan(row["shard"], row["scan_id"])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths.scan(row["shard"], row["scan_id"]), target)
    write_table(applied.scans_csv, rows, list(rows[0]))
    select.run(study, applied)
    predict.run(study, applied, "test", "champion")
    assert names(applied, "test", "champion") == [row["scan_id"] for row in rows]
    one = read_labels(paths.predictions("test", "champion") / "s4.nii.gz")
    two = read_labels(applied.predictions("test", "champion") / "s4.nii.gz")
    np.testing.assert_array_equal(one.data, two.data)


def test_the_champion_judges(chosen_volumes: Made) -> None:
    study, paths = chosen_volumes
    rows = read_table(paths.predictions("test", "champion") / "quality.csv")
    assert [(row["scan_id"], row["organ"]) for row in rows] == [
        (name, organ) for name in ("s4", "s5", "s6") for organ in study.organs
    ]
    assert {row["verdict"] for row in rows} <= {"good", "look", "fail"}
    assert all(float(row["risk"]) >= 0 for row in rows)


def test_doubtful_scans_without_masks_are_put_aside(chosen_volumes: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the scans that nobody labelled those with a doubtful organ; again without doubt, and nothing is left."""
    study, paths = chosen_volumes
    doubt = Verdict("look", 1.5, ("its size is unusual",))
    sure = Verdict("good", 0.2, ())
    said: list[str] = []
    for verdict in (doubt, sure):
        monkeypatch.setattr(predict, "open_judge", lambda _, v=verdict: lambda scan, found: {"left": v, "right": sure})
        predict.run(study, paths, "test", "champion", say=said.append)
        folder = paths.results / "correction"
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.nii.gz"))
        assert found == (["images/s6.nii.gz", "masks/s6.nii.gz"] if verdict is doubt else [])
    assert sum("to be corrected" in line for line in said) == 1


@pytest.mark.parametrize("which", ["chosen_volumes", "chosen_pictures"])
def test_probabilities_are_kept_for_a_study_that_exports_them(which: str, request: pytest.FixtureRequest) -> None:
    from pipeline import export

    study, paths = request.getfixturevalue(which)
    assert not (paths.predictions("test", "champion") / "probabilities").exists()
    asks = Study.model_validate({**study.model_dump(), "export": {"formats": ["nifti", "probabilities"]}})
    predict.run(asks, paths, "test", "champion")
    export.run(asks, paths)
    rows = [row for row in read_table(paths.exports / "checks.csv") if row["format"] == "probabilities"]
    assert {row["scan_id"] for row in rows} == {"s4", "s5", "s6"}
    assert {row["status"] for row in rows} == {"ok"}, rows
    predict.run(study, paths, "test", "champion")
    assert not list((paths.predictions("test", "champion") / "probabilities").iterdir())
