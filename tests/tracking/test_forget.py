"""A patient is found wherever it lies, and taken out without a trace; nobody else loses anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.study import forget as command
from pipeline.core.errors import InputError, TryAgainError
from pipeline.core.files import read_json, read_table, write_json, write_table, write_text
from pipeline.core.locks import hold_if_free
from pipeline.core.paths import StudyPaths
from pipeline.inference.champion import Champion, Member, read_champion
from pipeline.tracking.forget import find_traces, remove

OTHERS = ("a1-b", "b1", "a10")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """Results with traces of the scans a1 and a2 of patient A in every kind of file, and of three other patients."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    paths = StudyPaths("s")
    ids = {"a1": "A", "a2": "A", "a1-b": "B", "b1": "C", "a10": "A0"}
    rows = [{"scan_id": scan, "patient_id": patient, "image": f"img/{scan}.png"} for scan, patient in ids.items()]
    write_table(Path("data_manifests/s.csv"), rows, ("scan_id", "patient_id", "image"))
    write_text(Path("configs/s.yaml"), "modality: xray\norgans: [heart]\n")
    write_table(paths.scans_csv, rows, ("scan_id", "patient_id"))
    write_table(paths.splits, [{"patient_id": p, "fold": 0} for p in sorted(set(ids.values()))], ("patient_id", "fold"))
    artefacts = Path("results/mlartifacts/s/0123/artifacts")
    for scan in ids:
        write_text(paths.scan(0, scan), "voxels")
        write_text(paths.exports / "dicom_seg" / scan / "seg.dcm", "bits")
        write_text(artefacts / "images" / f"validation scans~{scan}+step+1.png", "picture")
    write_text(paths.report, "a page that shows all")
    write_text(artefacts / "report.html", "a page that shows all")
    write_text(paths.results / "logs" / "train.log", "scan a1 took long")
    write_text(paths.results / "logs" / "plan.log", "scan a10 took long")
    facts = {"plan": {}, "facts": {"training_scans": ["a1", "a10"], "validation_scans": ["b1"]}}
    write_json(paths.model("unet", 0) / "model.json", facts)
    write_json(paths.model("unet", 1) / "model.json", {"plan": {}, "facts": {"training_scans": ["b1"]}})
    member = paths.champion / "members" / "unet-fold0"
    write_json(member / "model.json", facts)
    champion = Champion(
        name="unet", study="s", modality="xray", organs=["heart"], overlapping=False, colors={},
        members=[Member(model="unet", fold=0, folder="members/unet-fold0")],
    )  # fmt: skip
    for place in (paths.champion / "champion.yaml", paths.champion_yaml):
        champion.sealed(paths.champion).write(place)
    return paths


def test_a_patient_is_taken_out_without_a_trace(paths: StudyPaths) -> None:
    found = find_traces(paths, "A")
    assert found.scans == ["a1", "a2"]
    assert found.sources == ["img/a1.png", "img/a2.png"]
    assert [path.as_posix() for path in found.models] == [
        "results/s/champion/members/unet-fold0", "results/s/models/unet/fold0",
    ]  # fmt: skip
    remove(paths, found)
    left = [path for path in Path().rglob("*") if path.is_file()]
    for path in left:
        assert not {"a1.", "a2.", "~a1+", "~a2+"} & {
            part for part in ("a1.", "a2.", "~a1+", "~a2+") if part in str(path)
        }
        words = path.read_text().replace('"', " ").replace(",", " ").split()
        assert not {"a1", "a2", "A"} & set(words), path
    assert not paths.report.exists()
    assert not (paths.results / "logs" / "train.log").exists()
    (record,) = read_table(paths.results / "forgotten.csv")
    assert (record["scans"], record["models_trained_on_them"]) == ("2", "2")


def test_nobody_else_loses_anything(paths: StudyPaths) -> None:
    remove(paths, find_traces(paths, "A"))
    assert [row["scan_id"] for row in read_table(Path("data_manifests/s.csv"))] == list(OTHERS)
    for scan in OTHERS:
        assert paths.scan(0, scan).is_file()
        assert (paths.exports / "dicom_seg" / scan / "seg.dcm").is_file()
    assert (paths.results / "logs" / "plan.log").is_file()
    facts = read_json(paths.model("unet", 0) / "model.json")["facts"]
    assert facts == {"training_scans": ["forgotten", "a10"], "validation_scans": ["b1"]}
    champion = read_champion(paths.champion)
    champion.verify(paths.champion, champion.files)
    assert champion.is_untouched()
    assert champion == read_champion(paths.champion_yaml)


def test_without_yes_nothing_is_removed(paths: StudyPaths, capsys: pytest.CaptureFixture) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    command("A", "s", yes=False)
    said = capsys.readouterr().out
    assert "a1, a2" in said
    assert "results/s/scans/0/a1.nii.gz" in said
    assert {
        path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.suffix != ".lock"
    } == before
    command("A", "s", yes=True)
    assert not paths.scan(0, "a1").exists()


def test_who_is_not_there_and_a_study_at_work(paths: StudyPaths) -> None:
    with pytest.raises(InputError, match="no scan is of a patient 'nobody'"):
        find_traces(paths, "nobody")
    with hold_if_free(paths.lock("workflow")), pytest.raises(TryAgainError, match="is being worked on"):
        command("A", "s", yes=True)
    assert paths.scan(0, "a1").exists()


def test_a_champion_that_cannot_be_read_stops_it_before_anything_is_removed(paths: StudyPaths) -> None:
    write_text(paths.champion / "champion.yaml", "format: 1\n")
    with pytest.raises(InputError, match="version 1"):
        remove(paths, find_traces(paths, "A"))
    assert paths.scan(0, "a1").exists()
