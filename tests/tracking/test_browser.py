"""What a reader sees: MLflow's pages in headless Chromium, with the columns that he needs first.

Pictures go to the folder that ``ORGANSEG_SCREENSHOTS`` names, for the README.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import StudyPaths
from pipeline.tracking import deliver_champion, deliver_report, store_sqlite
from pipeline.tracking.store import Store
from tests.tracking.servers import mlflow_server
from tests.tracking.studies import (
    make_study,
    write_champion,
    write_journal,
    write_metrics,
    write_overlays,
    write_scans,
)

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("ORGANSEG_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """A delivered study and the address of the UI over its own SQLite file."""
    root = tmp_path_factory.mktemp("reviewed")
    study, paths = make_study(root, "chest")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "ORGANSEG_TRACKING"):
            patch.delenv(name, raising=False)
        for fold in range(2):
            journal = paths.model("unet", fold) / "journal.jsonl"
            write_journal(journal, range(0, 400, 10), fold=fold, end=False)
            write_overlays(study, journal)
            write_journal(journal, range(400, 410, 10), fold=fold, start=False)
        write_scans(study, paths)
        write_champion(study, paths)
        write_metrics(paths, "oof", {"unet": {f"s{i}": 0.8 + i / 100 for i in range(2, 6)}})
        write_metrics(paths, "test", {m: {"s0": 0.93, "s1": 0.74} for m in ("champion", "unet", "mean shape")})
        paths.report.write_text("<h1>Report of the chest study</h1>")
        said: list[str] = []
        assert deliver_champion(study, paths, said.append), said
        assert deliver_report(study, paths, said.append), said
        store = Store.of(study, StudyPaths("chest", root))
        with mlflow_server(store.uri, root / "server") as server:
            yield store, server.uri


@pytest.fixture(scope="module")
def page(tool: Any) -> Iterator[Any]:
    program = tool("chromium", "chromium-browser", "google-chrome")
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright, which is not installed")
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(90_000)
        yield page
        browser.close()


def close_assistant(page: Any) -> None:
    """MLflow opens a panel beside the first page that a new browser asks for."""
    panel = page.get_by_text("MLflow Assistant")
    page.wait_for_timeout(2000)
    if panel.count():
        box = panel.first.bounding_box()
        page.mouse.click(1600 - 34, box["y"] + box["height"] / 2)
        page.wait_for_timeout(1000)


def open_curves(page: Any, store: Store, address: str, name: str) -> None:
    """Open the page of a run's metrics."""
    run = next(run for run in store.client.search_runs(["1"]) if run.info.run_name == name)
    page.goto(f"{address}/#/experiments/1/runs/{run.info.run_id}/model-metrics?workflowType=machine_learning")
    page.get_by_text("validation Dice").first.wait_for()
    close_assistant(page)
    page.mouse.move(800, 600)


def test_the_list_of_runs_opens_with_dice_per_organ(reviewed: tuple[Store, str], page: Any, pictures: Path) -> None:
    _, address = reviewed
    page.goto(f"{address}/{store_sqlite.page_of('1')}")
    page.get_by_text("mean shape (baseline)").first.wait_for()
    close_assistant(page)
    page.get_by_text("test Dice/all organs").first.wait_for()
    page.screenshot(path=pictures / "mlflow-runs.png")
    heads = page.locator(".ag-header").inner_text()
    for column in ("test Dice/all organs", "test Dice/heart", "test Dice/left lung upper"):
        assert column in heads
    assert "champion" in page.locator(".ag-root").inner_text()


def test_a_run_shows_its_curves(reviewed: tuple[Store, str], page: Any, pictures: Path) -> None:
    store, address = reviewed
    open_curves(page, store, address, "unet · fold 0")
    # Charts are drawn when they come into sight.
    for _ in range(20):
        if page.get_by_text("learning_rate").first.is_visible():
            break
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(500)
    page.get_by_text("learning_rate").first.wait_for()
    page.wait_for_timeout(4000)
    page.screenshot(path=pictures / "mlflow-curves.png")
    assert "loss" in page.locator("body").inner_text()


def test_a_run_shows_the_same_scans_along_the_training(reviewed: tuple[Store, str], page: Any, pictures: Path) -> None:
    store, address = reviewed
    open_curves(page, store, address, "unet · fold 1")
    page.mouse.wheel(0, 420)
    page.get_by_text("validation scans/s2").first.wait_for()
    for slider in page.locator("[role=slider]").all():
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2 + 263, box["y"] + box["height"] / 2)
    shown = page.locator("img[src^='data:'], img[src^='blob:'], img[src*='get-artifact']")
    shown.nth(1).wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=pictures / "mlflow-slider.png")
    assert shown.count() == 2


def test_the_champion_shows_headline_and_report(reviewed: tuple[Store, str], page: Any, pictures: Path) -> None:
    store, address = reviewed
    run = next(run for run in store.client.search_runs(["1"]) if run.info.run_name == "champion")
    page.goto(f"{address}/#/experiments/1/runs/{run.info.run_id}?workflowType=machine_learning")
    page.get_by_text("mean of organs").first.wait_for()
    page.screenshot(path=pictures / "mlflow-champion.png")
    text = page.locator("body").inner_text()
    assert "organseg-chest" in text
    assert "mlflow.organseg" not in text
    page.goto(f"{address}/#/experiments/1/runs/{run.info.run_id}/artifacts/report.html?workflowType=machine_learning")
    page.frame_locator("iframe").get_by_text("Report of the chest study").wait_for()
    page.goto(f"{address}/#/experiments/1/runs/{run.info.run_id}/artifacts?workflowType=machine_learning")
    page.get_by_text("worst cases").first.click()
    page.get_by_text("01 s1").first.click()
    page.wait_for_timeout(3000)
    page.screenshot(path=pictures / "mlflow-worst.png")


def test_the_model_page_shows_its_alias(reviewed: tuple[Store, str], page: Any, pictures: Path) -> None:
    _, address = reviewed
    page.goto(f"{address}/#/models/organseg-chest?workflowType=machine_learning")
    page.get_by_text("Version 1").first.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=pictures / "mlflow-model.png")
    assert "@ champion" in page.locator("body").inner_text().replace("\xa0", " ")
