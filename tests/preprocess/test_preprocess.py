"""The stage ``preprocess``: prepared once, prepared again only where a scan changed, shared by equal recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import plan, preprocess
from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.plan import read_plan
from pipeline.core.splits import read_splits
from pipeline.formats.store import read_labels, read_scan, write_scan
from pipeline.imaging.preprocessing import prepare
from tests.train.studies import chest_picture, chest_study, head_study


def stamps(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_development_scans_lie_ready(tmp_path: Path) -> None:
    study, paths = head_study(tmp_path)
    plan.run(study, paths)
    preprocess.run(study, paths, "unet", threads=1)
    made = read_json(paths.preprocessed_for("unet"))
    splits = read_splits(paths.splits)
    assert made["scans"] == sorted(f"h{n}" for n in range(8) if splits[f"p-h{n}"].split == "development")
    assert made["skipped"] == {}
    folder = paths.preprocessed(made["recipe"])
    name = made["scans"][0]
    image = np.load(folder / f"{name}.image.npy", mmap_mode="r")
    expected = prepare(read_scan(paths.scan(0, name)), read_plan(paths.plan("unet"))).image
    np.testing.assert_allclose(image, expected, atol=5e-3)
    labels = np.load(folder / f"{name}.labels.npy")
    np.testing.assert_array_equal(labels, read_labels(paths.mask(0, name)).data)
    places = np.load(folder / f"{name}.places.npy")
    for value, voxels in enumerate(places, 1):
        assert (labels[tuple(voxels.T)] == value).all() or (voxels == -1).all()


def test_only_what_changed_is_prepared_again(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path, models={"unet": {}, "unet_classic": {}})
    plan.run(study, paths)
    preprocess.run(study, paths, "unet", threads=1)
    before = read_json(paths.preprocessed_for("unet"))
    folder = paths.preprocessed(before["recipe"])
    first = stamps(folder)
    preprocess.run(study, paths, "unet_classic", threads=2)
    assert read_json(paths.preprocessed_for("unet_classic")) == before
    changed = before["scans"][1]
    write_scan(paths.scan(0, changed), chest_picture(77)[0])
    preprocess.run(study, paths, "unet", threads=1)
    second = stamps(folder)
    assert {name for name in first if first[name] != second[name]} == {
        f"{changed}.{kind}" for kind in ("image.npy", "labels.npy", "places.npy", "json")
    }
    assert read_json(paths.preprocessed_for("unet"))["digest"] != before["digest"]


def test_a_bad_scan_is_left_out_and_named(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path)
    plan.run(study, paths)
    splits = read_splits(paths.splits)
    bad = next(f"x{n}" for n in range(8) if splits[f"p-x{n}"].split == "development")
    paths.scan(0, bad).write_bytes(b"not a scan")
    said: list[str] = []
    preprocess.run(study, paths, "unet", threads=1, say=said.append)
    made = read_json(paths.preprocessed_for("unet"))
    assert bad not in made["scans"]
    assert list(made["skipped"]) == [bad]
    assert str(tmp_path) not in made["skipped"][bad]
    assert any(bad in line for line in said)
    for file in (paths.results / "scans" / "0").iterdir():
        file.write_bytes(b"not a scan")
    with pytest.raises(InputError, match="no scan could be prepared"):
        preprocess.run(study, paths, "unet", threads=1)
