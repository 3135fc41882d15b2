"""A decoder that crashes, hangs or swallows memory costs ``organseg predict`` one row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli.predict import predict_files
from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Ingest, Study
from pipeline.formats.pictures import reader as raster
from pipeline.predict import inputs
from tests.predict.studies import phantom


def crash() -> None:
    os.abort()


def hang() -> None:
    time.sleep(600)


def swallow() -> None:
    held = [bytearray(1 << 27) for _ in range(64)]
    raise AssertionError(len(held))


@pytest.mark.parametrize(
    ("end", "seconds", "reason"),
    [(crash, 60, "crashed (SIGABRT)"), (hang, 3, "longer than 3 s"), (swallow, 60, "more than 1 GiB of memory")],
    ids=["crash", "hang", "memory"],
)
def test_a_decoder_that_ends_badly_is_a_row(
    chosen_pictures: tuple[Study, StudyPaths],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[], None],
    seconds: float,
    reason: str,
) -> None:
    _, paths = chosen_pictures
    folder, out = tmp_path / "inputs", tmp_path / "out"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "c", "d")):
        voxels = phantom(number, flat=True)[0].voxels[0, :, :, 0].T
        Image.fromarray(np.clip(voxels + 120, 0, 255).astype(np.uint8)).save(folder / f"{name}.jpg", quality=95)
    decoded = raster._pixels

    def odd(path: Path, options: Ingest, palette_as_index: bool) -> np.ndarray:
        if path.name == "b.jpg":
            end()
        return decoded(path, options, palette_as_index)

    monkeypatch.setattr(raster, "_pixels", odd)
    monkeypatch.setattr(inputs, "options_for", lambda reading: Ingest(seconds=seconds, memory_gib=1))
    assert predict_files([folder], str(paths.champion), out) == 3
    rows = read_table(out / "predictions.csv")
    failed = [(row["scan_id"], row["findings"]) for row in rows if row["status"] == "failed"]
    assert [scan for scan, _ in failed] == ["b"]
    assert reason in failed[0][1]
    assert {row["scan_id"] for row in rows if row["status"] == "ok"} == {"a", "c", "d"}
