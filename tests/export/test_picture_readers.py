"""Pictures are read back: an organ's colour in the wrong place, slice or size fails that scan's export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Study
from pipeline.export import forms
from tests.predict.studies import ORGANS, make_study, phantom

Turn = Callable[[LabelMap], LabelMap]


def job_of(out: Path, **changes: Any) -> forms.Job:
    study: Study = make_study(export={"formats": ["overlays", "spotlight"]}, **changes)
    return forms.Job(study, "unet", "small", out)


def scan_and_labels(flat: bool, empty: bool = False) -> tuple[Scan, LabelMap]:
    scan, masks = phantom(4, flat)
    kept = {organ: mask & (not empty) for organ, mask in masks.items()}
    # A part of "left" lies under "right" where organs may overlap.
    kept["left"] |= np.roll(kept["right"], -2, axis=0) & flat
    return scan, LabelMap.from_masks(kept, scan.affine, ORGANS, overlapping=flat)


def statuses(rows: list[forms.Check]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["format"], set()).add(row["status"])
    return found


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_pictures_agree(tmp_path: Path, flat: bool, empty: bool) -> None:
    scan, labels = scan_and_labels(flat, empty)
    job = job_of(tmp_path, overlapping=flat)
    rows = forms.export_scan(job, "s", scan, labels)
    assert statuses(rows) == {"overlays": {"ok"}, "spotlight": {"ok"}}
    sides = {row["organ"]: row["side_read"] for row in rows}
    assert sides == (dict.fromkeys(ORGANS, "") if empty else {"left": "L", "right": "R"} if not flat else sides)


def turned(change: Callable[[np.ndarray], np.ndarray]) -> Turn:
    return lambda labels: replace(labels, data=np.ascontiguousarray(change(labels.data)))


WRONG: dict[str, Turn] = {
    "mirrored": turned(lambda data: data[::-1]),
    "upside down": turned(lambda data: data[:, ::-1]),
    "shifted": turned(lambda data: np.roll(data, 1, axis=0)),
    "swapped": turned(lambda data: np.array([0, 2, 1, 3], data.dtype)[data]),
    "empty": turned(np.zeros_like),
}


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_pictures_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, flat: bool) -> None:
    scan, labels = scan_and_labels(flat)
    wrong, draw, light = WRONG[name], forms.overlay, forms.spotlight
    monkeypatch.setattr(forms, "overlay", lambda s, one, *rest, **more: draw(s, wrong(one), *rest, **more))
    monkeypatch.setattr(forms, "spotlight", lambda s, one, *rest, **more: light(s, wrong(one), *rest, **more))
    found = statuses(forms.export_scan(job_of(tmp_path, overlapping=flat), "s", scan, labels))
    assert "failed" in found["overlays"]
    assert "failed" in found["spotlight"]


def test_another_slice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, labels = scan_and_labels(False)
    data = labels.data.copy()
    data[:, 9:, 3] = 0
    draw = forms.overlay
    monkeypatch.setattr(forms, "overlay", lambda s, *rest, **more: draw(s, rest[0], None, rest[2], 3, **more))
    rows = forms.export_scan(job_of(tmp_path), "s", scan, replace(labels, data=data))
    assert statuses(rows) == {"overlays": {"failed"}, "spotlight": {"ok"}}


def test_photographs_keep_their_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (3, 40, 30, 1)).astype(np.uint8)
    scan = Scan(voxels, FRONTAL_AFFINE, "photo", "unknown")
    mask = np.zeros((40, 30, 1), bool)
    mask[5:15, 8:20] = True
    labels = LabelMap.from_masks({"cat": mask}, FRONTAL_AFFINE, ["cat"], overlapping=False)
    job = job_of(tmp_path, modality="photo", organs=["cat"])
    assert statuses(forms.export_scan(job, "s", scan, labels)) == {"overlays": {"ok"}, "spotlight": {"ok"}}
    light = forms.spotlight
    monkeypatch.setattr(
        forms, "spotlight", lambda s, one, *rest, **more: light(s, WRONG["mirrored"](one), *rest, **more)
    )
    assert "failed" in statuses(forms.export_scan(job, "s", scan, labels))["spotlight"]


def test_a_cut_picture_is_a_failed_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, labels = scan_and_labels(False)
    monkeypatch.setattr(forms, "overlay", lambda *_, **__: Image.new("RGB", (100, 90)))
    rows = forms.export_scan(job_of(tmp_path), "s", scan, labels)
    reason = next(row["reason"] for row in rows if row["status"] == "failed")
    assert reason.startswith("the picture is 100 × 90")


def test_another_reader_sees_the_same(tmp_path: Path) -> None:
    """Pillow wrote the file; the PNG reader of SimpleITK finds the same pixels."""
    scan, labels = scan_and_labels(True)
    forms.export_scan(job_of(tmp_path, overlapping=True), "s", scan, labels)
    for folder in ("overlays", "spotlight"):
        path = tmp_path / folder / "s.png"
        np.testing.assert_array_equal(
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), np.asarray(Image.open(path))
        )


def in_colours(left: str, right: str) -> dict[str, Any]:
    return {"left": {"mirror": "right", "color": left}, "right": {"mirror": "left", "color": right}}


def test_a_grey_organ_is_said_not_to_be_checked(tmp_path: Path) -> None:
    """White or grey cannot be told from the scan: the picture is written, and nothing is claimed of it."""
    scan, labels = scan_and_labels(True)
    job = job_of(tmp_path, overlapping=True, organs=in_colours("#ffffff", "#009e73"))
    rows = forms.export_scan(job, "s", scan, labels)
    assert {(row["organ"], row["status"]) for row in rows} == {("left", "not checked"), ("right", "ok")}
    assert all("grey" in str(row["reason"]) for row in rows if row["organ"] == "left")


def test_organs_of_one_colour_agree_and_are_not_taken_for_each_other(tmp_path: Path) -> None:
    scan, labels = scan_and_labels(False)
    job = job_of(tmp_path, organs=in_colours("#009e73", "#009e73"))
    assert statuses(forms.export_scan(job, "s", scan, labels))["spotlight"] == {"ok"}


def test_a_contact_sheet_shows_every_picture_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    job, folder = job_of(tmp_path), tmp_path / "overlays"
    for number in range(7):
        rough = Image.fromarray(rng.integers(0, 255, (8, 6, 3), np.uint8))
        size = (512, 401) if number == 3 else (300 + 40 * number, 512 - 60 * number)
        grainy = np.asarray(rough.resize(size), float) + rng.normal(0, 40, (size[1], size[0], 1))
        forms.write_png(folder / f"{number}.png", Image.fromarray(grainy.clip(0, 255).astype(np.uint8)))
    rows = forms.export_tables(job, lambda: [])
    assert [(row["scan_id"], row["status"]) for row in rows] == [(str(number), "ok") for number in range(7)]
    drawn = forms.contact_sheet
    monkeypatch.setattr(forms, "contact_sheet", lambda tiles: drawn([*tiles[1::-1], *tiles[2:]]))
    assert [row["scan_id"] for row in forms.export_tables(job, lambda: []) if row["status"] == "failed"] == ["0", "1"]
    monkeypatch.setattr(forms, "contact_sheet", lambda tiles: drawn(tiles).crop((0, 0, 1316, 280)))
    failed = [row for row in forms.export_tables(job, lambda: []) if row["status"] == "failed"]
    assert [row["reason"] for row in failed] == ["the sheet ends before its tile"] * 2
