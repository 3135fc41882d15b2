"""The champion is registered once, as code and plain weights, and can be had back and served."""

import base64
import io
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.rle.codec import decode
from pipeline.tracking import deliver_champion, deliver_report, download_model
from pipeline.tracking.leaderboard import boards
from pipeline.tracking.store import Store, take_turn
from tests.tracking.servers import model_server
from tests.tracking.studies import (
    ORGANS,
    make_study,
    picture,
    write_champion,
    write_journal,
    write_metrics,
    write_scans,
)

Ready = tuple[Study, StudyPaths, Store]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Ready]:
    """A study with a champion and figures, delivered once."""
    root = tmp_path_factory.mktemp("champion")
    (root / "results").mkdir()
    shutil.copy(empty_store, root / "results" / "mlflow.db")
    study, paths = make_study(root)
    (root / "configs").mkdir()
    config = {"modality": "xray", "overlapping": True, "organs": ORGANS, "split": {"folds": 2}}
    (root / "configs" / "chest.yaml").write_text(json.dumps(config))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "ORGANSEG_TRACKING"):
            patch.delenv(name, raising=False)
        let_others_write_meanwhile(patch, paths)
        write_journal(paths.model("unet", 0) / "journal.jsonl")
        write_scans(study, paths)
        write_champion(study, paths)
        write_metrics(paths, "oof", {"unet": {f"s{i}": 0.8 + i / 100 for i in range(2, 6)}})
        said: list[str] = []
        assert deliver_champion(study, paths, said.append), said
        write_metrics(paths, "test", {m: {"s0": 0.9, "s1": 0.7} for m in ("champion", "unet", "mean shape")})
        paths.report.write_text("<h1>Report</h1>")
        assert deliver_report(study, paths, said.append), said
        yield study, paths, Store.of(study, paths)


def let_others_write_meanwhile(patch: pytest.MonkeyPatch, paths: StudyPaths) -> None:
    """Let the seconds in which MLflow writes the model's files fail where nobody else could write to the store."""
    import mlflow.pyfunc

    save = mlflow.pyfunc.save_model

    def save_model(**arguments: Any) -> None:
        with take_turn(paths.root / "results" / ".mlflow.db.lock", limit=0):
            save(**arguments)

    patch.setattr(mlflow.pyfunc, "save_model", save_model)


def version(store: Store, alias: str) -> Any:
    return store.client.get_model_version_by_alias("organseg-chest", alias)


def run_of(store: Store, role: str) -> Any:
    return next(run for run in store.client.search_runs(["1"]) if run.data.tags.get("role") == role)


def test_the_first_champion_has_alias_reason_card_and_signature(ready: Ready) -> None:
    _, _, store = ready
    found = version(store, "champion")
    assert str(found.version) == "1"
    assert "first champion" in found.tags["reason"]
    assert "Not a medical device" in found.description
    with store.current() as mlflow:
        info = mlflow.models.get_model_info("models:/organseg-chest@champion")
    assert {column.name for column in info.signature.inputs} == {"image", "voxels", "spacing"}
    assert {column.name for column in info.signature.outputs} > {"scan", "organ", "runs", "volume", "unit"}


def test_final_figures_stand_with_their_intervals(ready: Ready) -> None:
    _, _, store = ready
    champion = run_of(store, "champion").data
    assert champion.metrics["test Dice/left lung upper"] == pytest.approx(0.8)
    assert champion.metrics["test Dice interval/all organs low"] < champion.metrics["test Dice/all organs"]
    assert champion.metrics["out of fold Dice/all organs"] == pytest.approx(0.81)
    assert champion.metrics["test HD95 mm interval/heart high"] == 5.0
    assert run_of(store, "model").data.metrics["out of fold Dice/heart"] == pytest.approx(0.785)
    assert run_of(store, "baseline").data.metrics["test Dice/all organs"] == pytest.approx(0.775)
    assert "| **mean of organs** | 0.775 (0.755–0.795) |" in champion.tags["mlflow.note.content"]
    assert "left lung (upper)" in store.client.get_experiment("1").tags["mlflow.note.content"]


def test_tables_report_and_worst_cases_are_there(ready: Ready) -> None:
    _, _, store = ready
    run = run_of(store, "champion")
    names = {item.path for item in store.client.list_artifacts(run.info.run_id)}
    assert {"report.html", "per_scan_test.json", "dice_test.svg", "champion.yaml", "environment.txt"} <= names
    with store.current():
        table = store.client.load_table("1", "per_scan_test.json", [run.info.run_id])
    assert len(table) == 4
    assert "patient_id" not in table.columns
    worst = [item.path for item in store.client.list_artifacts(run.info.run_id, "worst cases")]
    model = run_of(store, "model").info.run_id
    assert "curves.svg" in {item.path for item in store.client.list_artifacts(model)}
    assert worst == ["worst cases/01 s1 dice 0.675.png", "worst cases/02 s0 dice 0.875.png"]


def test_nothing_that_is_logged_names_a_patient_or_is_a_pickle(ready: Ready) -> None:
    _, paths, _ = ready
    files = [p for p in (paths.root / "results" / "mlartifacts").rglob("*") if p.is_file()]
    assert len(files) > 20
    assert [p.name for p in files if p.suffix in {".pkl", ".pickle", ".pt", ".pth"}] == []
    own = [p for p in files if "code" not in p.parts and p.suffix in {".json", ".yaml", ".svg", ".html", ".md", ".txt"}]
    assert [p.name for p in own if any(f'"p{i}"' in p.read_text() for i in range(6))] == []
    with sqlite3.connect(paths.root / "results" / "mlflow.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert not any(f"'p{i}'" in dump for i in range(6))
    assert "python_model.pkl" not in dump
    assert str(Path(sys.executable).parent) not in dump, "where the program lies is nobody's business"


def test_delivering_again_changes_nothing(ready: Ready) -> None:
    study, paths, _ = ready

    def content() -> Any:
        with sqlite3.connect(paths.root / "results" / "mlflow.db") as connection:
            tables = (
                "runs",
                "metrics",
                "params",
                "tags",
                "model_versions",
                "logged_models",
                "registered_model_aliases",
            )
            rows = {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=str) for table in tables}
        connection.close()
        return rows, sorted(str(p) for p in (paths.root / "results" / "mlartifacts").rglob("*"))

    before = content()
    assert deliver_champion(study, paths)
    assert deliver_report(study, paths)
    assert content() == before


def test_the_champion_can_be_had_back(ready: Ready) -> None:
    _, paths, _ = ready
    folder = download_model("models:/organseg-chest@champion", paths.root)
    same = sorted(p.relative_to(paths.champion) for p in paths.champion.rglob("*") if p.is_file())
    assert sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file()) == same
    assert (folder / "champion.yaml").read_bytes() == (paths.champion / "champion.yaml").read_bytes()
    assert download_model("models:/organseg-chest/1", paths.root) == folder
    with pytest.raises(InputError, match="alias"):
        download_model("models:/organseg-chest@nobody", paths.root)


def test_the_served_model_finds_what_the_predictor_finds(ready: Ready) -> None:
    import pandas as pd

    _, _, store = ready
    values, masks = picture(3)
    grey = np.clip(values.T + 128, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    with store.current() as mlflow:
        model = mlflow.pyfunc.load_model("models:/organseg-chest@champion")
        rows = pd.DataFrame(
            [{"image": stream.getvalue()}, {"voxels": values.T.tolist(), "spacing": [0.5, 2.0]}], dtype=object
        )
        found = model.predict(rows)
        with pytest.raises(Exception, match="neither image nor voxels"):
            model.predict(pd.DataFrame([{"spacing": [1.0, 1.0]}]))
    assert list(found["organ"]) == ORGANS * 2
    for row in found.to_dict(orient="records"):
        mask = decode(row["runs"], 64, 64).T
        assert np.array_equal(mask, masks[row["organ"]])
        assert row["voxels"] == masks[row["organ"]].sum()
        size = row["voxels"] if row["scan"] == 0 else row["voxels"] / 100
        assert (row["volume"], row["unit"]) == (pytest.approx(size), "px²" if row["scan"] == 0 else "cm²")


def requests() -> dict[str, Any]:
    """Bodies in every form that ``mlflow models serve`` documents, all of the same picture."""
    grey = np.clip(picture(3)[0].T + 128, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    png, rows = base64.b64encode(stream.getvalue()).decode(), grey.tolist()
    return {
        "inputs image": {"inputs": {"image": png}},
        "inputs images": {"inputs": {"image": [png]}},
        "inputs records": {"inputs": [{"image": png}]},
        "instances": {"instances": [{"image": png}]},
        "table": {"dataframe_split": {"columns": ["image"], "data": [[png]]}},
        "records": {"dataframe_records": [{"image": png}]},
        "inputs voxels": {"inputs": {"voxels": rows}},
        "inputs list of voxels": {"inputs": {"voxels": [rows]}},
        "records voxels": {"dataframe_records": [{"voxels": rows}]},
    }


def assert_found(rows: list[dict[str, Any]]) -> None:
    masks = picture(3)[1]
    assert [row["organ"] for row in rows] == ORGANS
    for row in rows:
        assert np.array_equal(decode(row["runs"], 64, 64).T, masks[row["organ"]])


@pytest.mark.parametrize("form", requests())
def test_every_form_of_request_is_understood(ready: Ready, form: str) -> None:
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    _, _, store = ready
    with store.current() as mlflow:
        model = mlflow.pyfunc.load_model("models:/organseg-chest@champion")
        found = model.predict(infer_and_parse_data(requests()[form], model.metadata.get_input_schema()))
    assert_found(found.to_dict(orient="records"))


@pytest.mark.server
@pytest.mark.slow
def test_mlflow_serves_the_champion(ready: Ready, tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    _, _, store = ready
    with model_server("models:/organseg-chest@champion", store.uri, tmp_path) as address:

        def ask(body: dict[str, Any]) -> Any:
            head = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/invocations", json.dumps(body).encode(), head)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["predictions"]

        for body in requests().values():
            assert_found(ask(body))
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask({"inputs": {"image": "no picture"}})
        assert "not base64" in caught.value.read().decode()


def test_the_command_predicts_with_the_registered_model(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths, _ = ready
    monkeypatch.chdir(paths.root)
    assert_predicts("models:/organseg-chest@champion", paths.root)


def assert_predicts(model: str, root: Path) -> None:
    """``organseg predict --model`` finds the organs of a picture."""
    import nibabel

    from pipeline.cli.predict import predict_files

    values, masks = picture(3)
    Image.fromarray(np.clip(values.T + 128, 0, 255).astype(np.uint8)).save(root / "picture.png")
    assert predict_files([root / "picture.png"], model, root / "out", formats=["nifti"]) == 0
    for organ in ORGANS:
        found = nibabel.load(root / "out" / "nifti" / "picture" / f"{organ}.nii.gz")
        assert np.array_equal(np.asarray(found.dataobj)[..., 0] > 0, masks[organ])


def test_the_leaderboard_shows_the_best_first(ready: Ready) -> None:
    _, paths, _ = ready
    (board,), how = boards("chest", paths.root)
    assert {line.name for line in board.lines} == {"unet (version 1, champion)", "unet", "mean shape (baseline)"}
    assert [line.rank for line in board.lines] == sorted((line.rank for line in board.lines), reverse=True)
    assert next(line for line in board.lines if line.name == "unet").folds == "1/1"
    assert board.lines[0].organs == pytest.approx({"left lung upper": 0.8, "heart": 0.75})
    # Not MLflow's own command, which calls home.
    assert how == "organseg ui"


def test_the_command_prints_it(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer
    from typer.testing import CliRunner

    from pipeline.cli import runs

    _, paths, _ = ready
    monkeypatch.chdir(paths.root)
    app = typer.Typer()
    runs.register(app)
    printed = CliRunner().invoke(app, ["--study", "chest"])
    assert printed.exit_code == 0, printed.output
    assert "unet (version 1, champion)" in printed.output
    assert "0.755–0.795" in printed.output
    assert json.loads(CliRunner().invoke(app, ["--json"]).output)[0]["study"] == "chest"


def test_worst_cases_of_new_figures_take_the_place_of_the_old(ready: Ready) -> None:
    study, paths, store = ready
    write_metrics(paths, "test", {m: {"s0": 0.6, "s1": 0.7} for m in ("champion", "unet", "mean shape")})
    assert deliver_report(study, paths)
    run = run_of(store, "champion").info.run_id
    worst = [item.path for item in store.client.list_artifacts(run, "worst cases")]
    assert worst == ["worst cases/01 s0 dice 0.575.png", "worst cases/02 s1 dice 0.675.png"]
    pictures = [Path(item.path).name for item in store.client.list_artifacts(run, "images")]
    assert len(pictures) == 4
    first = next(name for name in pictures if "+step+1+" in name and name.endswith(".png"))
    shown = store.client.download_artifacts(run, f"images/{first}", str(paths.root))
    file = store.client.download_artifacts(run, worst[0], str(paths.root))
    assert np.array_equal(np.asarray(Image.open(shown)), np.asarray(Image.open(file).convert("RGB")))


def test_nothing_tracked_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was tracked"):
        boards(None, tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_worse_one_becomes_challenger_and_a_better_one_champion(ready: Ready) -> None:
    study, paths, store = ready
    write_champion(study, paths, brightness=1.9, note="worse")
    write_metrics(paths, "oof", {"unet": {f"s{i}": 0.7 + i / 100 for i in range(2, 6)}})
    assert deliver_champion(study, paths)
    assert str(version(store, "champion").version) == "1"
    assert str(version(store, "challenger").version) == "2"
    assert "not better" in version(store, "challenger").tags["reason"]
    write_champion(study, paths, brightness=1.8, note="better")
    write_metrics(paths, "oof", {"unet": {f"s{i}": 0.9 + i / 200 for i in range(2, 6)}})
    assert deliver_champion(study, paths)
    assert str(version(store, "champion").version) == "3"
    assert "version 1" in version(store, "champion").tags["reason"]
    assert store.client.get_model_version("organseg-chest", "1").tags["replaced_by"] == "3"
    with pytest.raises(Exception, match="challenger"):
        version(store, "challenger")
