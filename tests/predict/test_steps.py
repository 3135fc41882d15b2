"""A scan's steps in threads: one that is large goes alone, one that fails is one row, and nothing is held for long."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from pipeline import predict
from pipeline.core.errors import InputError
from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.store import read_scan
from pipeline.inference import predictor as predictor_module
from pipeline.inference.flow import predict_scans
from pipeline.inference.predictor import Predictor, open_folds

Made = tuple[Study, StudyPaths]


def rows_of(paths: StudyPaths) -> dict[str, dict[str, str]]:
    return {row["scan_id"]: row for row in read_table(paths.predictions("oof", "unet") / "predictions.csv")}


@pytest.mark.parametrize("large", [False, True])
def test_a_large_scan_is_not_prepared_beside_another(
    volumes: Made, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    study, paths = volumes
    threads: list[int] = []
    prepare = Predictor.prepare

    def noted(self: Predictor, scan: Any) -> Any:
        threads.append(threading.get_ident())
        return prepare(self, scan)

    monkeypatch.setattr(Predictor, "prepare", noted)
    if large:
        monkeypatch.setattr(predictor_module, "LARGE", 0)
    predict.run(study, paths, "oof", "unet")
    assert len(threads) == 5
    # The first scan of each fold is read here, as there is nothing to read it beside.
    here = threads.count(threading.get_ident())
    assert here == (5 if large else 2)


def test_what_the_networks_see_counts_too(volumes: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "LARGE", 1_000_000)
    _, paths = volumes
    scan = read_scan(paths.scan(0, "s0")).canonical()
    one = open_folds([paths.model("unet", 0)], threads=1)
    assert not one.is_large(scan)
    plan, forward = one.members[0]
    fine = plan.model_copy(update={"spacing": [0.2, 0.2, 0.2]})
    assert Predictor([(fine, forward)]).is_large(scan)


@pytest.mark.parametrize("step", ["prepare", "ask", "conclude"])
def test_a_failing_step_is_one_row(volumes: Made, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    study, paths = volumes
    whole, calls = getattr(Predictor, step), []

    def fails_once(self: Predictor, argument: Any) -> Any:
        calls.append(step)
        if len(calls) == 2:
            raise MemoryError
        return whole(self, argument)

    monkeypatch.setattr(Predictor, step, fails_once)
    predict.run(study, paths, "oof", "unet")
    rows = rows_of(paths)
    assert sorted(row["status"] for row in rows.values()) == ["failed", "ok", "ok", "ok", "ok"]
    assert {row["reason"] for row in rows.values()} == {"", "MemoryError while predicting"}


def test_each_step_lets_go_of_what_came_before(volumes: Made) -> None:
    _, paths = volumes
    predictor = open_folds([paths.model("unet", 0)], threads=1)
    case = predictor.open(read_scan(paths.scan(0, "s0")))
    assert case.prepared is not None
    image = weakref.ref(next(iter(case.prepared.values())).image)
    predictor.ask(case)
    gc.collect()
    assert image() is None
    found = predictor.conclude(case)
    assert case.probabilities is None
    np.testing.assert_array_equal(found.labels.data, predictor.predict(case.scan).labels.data)
    with pytest.raises(ValueError, match="not asked"):
        predictor.conclude(case)


def test_a_scan_that_failed_is_not_held(volumes: Made) -> None:
    """Of its error only the words stay: a traceback would keep the scan, and the networks, until Python collects."""
    _, paths = volumes
    predictor = open_folds([paths.model("unet", 0)], threads=1)
    held: list[weakref.ref[Any]] = []

    def read(name: str) -> Any:
        scan = read_scan(paths.scan(0, name))
        held.append(weakref.ref(scan))
        return scan

    def fails(name: str, scan: Any, prediction: Any) -> None:
        raise InputError("it cannot be written")

    gc.collect()
    gc.disable()
    try:
        outcomes = list(predict_scans(["s0", "s0"], predictor, read, fails))
        assert [one.reason for one in outcomes] == ["it cannot be written"] * 2
        assert [one() for one in held] == [None, None]
    finally:
        gc.enable()
