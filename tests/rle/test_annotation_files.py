"""COCO's polygons, Label Studio's JSON and CVAT's XML, against pycocotools and against packers written here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from pipeline.core.errors import InputError
from pipeline.formats.rle import EntryReader, RleTable, open_masks
from pipeline.formats.rle.detection import detect
from pipeline.formats.rle.dialects import READ_ONLY
from tests.field.rle.shapes import brush, counts, organ, packed

from .phantoms import SHAPES, random_mask

IMAGE = {"id": 1, "file_name": "a.png", "height": 60, "width": 50}


def coco_file(path: Path, *segmentations: object, image: dict[str, object] | None = None) -> Path:
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": one} for n, one in enumerate(segmentations, 1)
    ]
    categories = [{"id": 1, "name": "organ"}]
    path.write_text(
        json.dumps({"images": [image or IMAGE], "categories": categories, "annotations": annotations}), "utf-8"
    )
    return path


def mask_of(path: Path, image: str = "a.png", organ: str = "organ") -> np.ndarray:
    return RleTable(path).masks(image, [organ], (50, 60, 1))[organ][:, :, 0].T


def test_polygons_are_those_of_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        polygons = [
            rng.uniform(-3, 63, 2 * rng.integers(3, 9)).round(int(rng.integers(0, 3))).tolist() for _ in range(3)
        ]
        path = coco_file(tmp_path / "a.json", polygons)
        truth = coco.decode(coco.merge(coco.frPyObjects(polygons, 60, 50))) > 0
        assert np.array_equal(mask_of(path), truth)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "has no outline"),
        (None, "has no outline"),
        ([[1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"),
        ([[1, 2, 3, 4, 5, True]], "else than numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "else than numbers"),
        ([[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]], "fractions of the picture"),
        ([[1, 2, 300, 4, 5, 6]], "300 in a picture that is 50 wide"),
        ([[1, 2, 3, 4, 5, 1e12]], "in a picture that is 60 high"),
        ({"size": [50, 60], "counts": [3000]}, "its image one of 60×50"),
        ({"size": [60], "counts": [3000]}, "lacks counts or size"),
    ],
)
def test_segmentations_that_are_no_masks(tmp_path: Path, segmentation: object, words: str) -> None:
    path = coco_file(tmp_path / "a.json", [[10, 5, 22, 5, 22, 30, 10, 30]], segmentation)
    with pytest.raises(InputError, match=words) as caught:
        mask_of(path)
    assert "row 2" in str(caught.value)
    said: list[str] = []
    kept = [cell.row for cell, _ in EntryReader(path, lenient=True, report=said.append).entries()]
    assert kept == [1]
    assert len(said) == 1
    assert words in said[0]


def test_a_wrong_annotation_keeps_no_other_image_from_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    images = [IMAGE, {**IMAGE, "id": 2, "file_name": "b.png"}]
    annotations = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"image_id": 2, "category_id": 1, "segmentation": {"size": [60, 50], "counts": counts(organ())}},
    ]
    categories = [{"id": 1, "name": "organ"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    assert np.array_equal(mask_of(path, "b.png"), organ())
    with pytest.raises(InputError, match="has no segmentation"):
        mask_of(path)


def test_detectron2_keeps_annotations_with_their_images(tmp_path: Path) -> None:
    one = {"category_id": 0, "bbox": [0, 0, 1, 1], "segmentation": {"size": [60, 50], "counts": counts(organ())}}
    record = {"file_name": "x/a.png", "height": 60, "width": 50, "image_id": "q", "annotations": [one]}
    (tmp_path / "a.json").write_text(json.dumps([record]))
    assert np.array_equal(mask_of(tmp_path / "a.json", "a", "0"), organ())


def labelstudio(path: Path, *annotations: object, **task: object) -> Path:
    tasks = [{"id": 1, "data": {"image": "/data/upload/3/0a1b2c3d-a.png"}, "annotations": list(annotations), **task}]
    path.write_text(json.dumps(tasks))
    return path


def made_by(person: object, *results: object, number: int = 5) -> dict[str, object]:
    return {"id": number, "completed_by": person, "result": list(results)}


@pytest.mark.parametrize("kind", SHAPES)
def test_brushes_are_unpacked(tmp_path: Path, kind: str) -> None:
    mask = random_mask(np.random.default_rng(1), 60, 50, kind)
    path = labelstudio(tmp_path / "a.json", made_by(1, brush(mask, "organ")))
    assert detect(path).dialect == "labelstudio"
    assert np.array_equal(mask_of(path), mask)


def test_a_smoothed_edge_counts_from_half(tmp_path: Path) -> None:
    opacity = np.zeros((60, 50), np.uint8)
    opacity[10:20, 10:20] = 255
    opacity[20, 10:20], opacity[9, 10:20] = 128, 127
    result = brush(organ(), "organ")
    result["value"] = {**result["value"], "rle": packed(np.repeat(opacity[:, :, None], 4, axis=2))}
    assert np.array_equal(mask_of(labelstudio(tmp_path / "a.json", made_by(1, result))), opacity >= 128)


def test_annotators_are_kept_apart(tmp_path: Path) -> None:
    other = np.roll(organ(), 3, axis=0)
    path = labelstudio(
        tmp_path / "a.json",
        made_by({"id": 4, "email": "x@y.z"}, brush(organ(), "organ")),
        made_by(7, brush(other, "organ")),
    )
    table = RleTable(path)
    masks = table.masks("a.png", ["organ@4", "organ@7"], (50, 60, 1))
    assert np.array_equal(masks["organ@4"][:, :, 0].T, organ())
    assert np.array_equal(masks["organ@7"][:, :, 0].T, other)
    with pytest.raises(InputError, match="'organ@"):
        table.masks("a.png", ["organ"], (50, 60, 1))


def test_the_short_export_repeats_a_task_for_each_annotator(tmp_path: Path) -> None:
    shapes = []
    for mask in (organ(), np.roll(organ(), 3, axis=0)):
        result = brush(mask, "organ")
        shapes.append({**result["value"], "original_width": 50, "original_height": 60})
    tasks = [{"id": 1, "image": "a.png", "tag": [one], "annotator": n} for n, one in enumerate(shapes, 1)]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    assert [cell.organ for cell in RleTable(tmp_path / "a.json").cells("a.png")] == ["organ@1", "organ@2"]


def test_two_tasks_about_one_picture_are_not_united(tmp_path: Path) -> None:
    task = {"data": {"image": "/data/upload/3/0a1b2c3d-a.png"}, "annotations": [made_by(1, brush(organ(), "organ"))]}
    again = {**task, "id": 2, "data": {"image": "/data/upload/3/ffffffff-a.png"}}
    (tmp_path / "a.json").write_text(json.dumps([{**task, "id": 1}, again]))
    with pytest.raises(InputError, match=r"several tasks of the file are about 'a\.png'"):
        mask_of(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_rotation": 90}, "turned by 90 degrees"),
        ({"original_width": None}, "lacks original_width"),
        ({"original_width": 49}, "not the 4 × 60 × 49"),
        ({"value": {"format": "rle", "rle": [0, 0, 46], "brushlabels": ["organ"]}}, "end too early"),
        ({"value": {"format": "rle", "rle": [0, 300], "brushlabels": ["organ"]}}, "not a list of bytes"),
        ({"value": {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["organ"]}}, "no mask"),
    ],
)
def test_results_that_are_no_masks(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = labelstudio(tmp_path / "a.json", made_by(1, {**brush(organ(), "organ"), **change}))
    with pytest.raises(InputError, match=words):
        mask_of(path)


def test_points_in_percent_are_polygons(tmp_path: Path) -> None:
    value = {"points": [[20, 10], [44, 10], [44, 50], [20, 50]], "polygonlabels": ["organ"], "closed": True}
    path = labelstudio(tmp_path / "a.json", made_by(1, {**brush(organ(), "organ"), "value": value}))
    truth = coco.decode(coco.frPyObjects([[10, 6, 22, 6, 22, 30, 10, 30]], 60, 50))[:, :, 0] > 0
    assert np.array_equal(mask_of(path), truth)


def cvat(path: Path, body: str) -> Path:
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{body}</annotations>')
    return path


def boxed(mask: np.ndarray, **more: object) -> str:
    rows, columns = np.nonzero(mask)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    runs = ", ".join(map(str, counts(mask[top:bottom, left:right], "rows")))
    place = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
    words = " ".join(f'{key}="{value}"' for key, value in more.items())
    return f'<mask label="organ" rle="{runs}" {place} {words}/>'


@pytest.mark.parametrize("kind", SHAPES)
def test_masks_lie_in_their_boxes(tmp_path: Path, kind: str) -> None:
    mask = random_mask(np.random.default_rng(2), 60, 50, kind)
    path = cvat(tmp_path / "a.xml", f'<image id="0" name="a.png" width="50" height="60">{boxed(mask)}</image>')
    assert detect(path).dialect == "cvat"
    assert np.array_equal(mask_of(path), mask)


def test_frames_are_slices_and_leave_when_it_is_said(tmp_path: Path) -> None:
    meta = "<meta><task><size>4</size><original_size><width>50</width><height>60</height></original_size></task></meta>"
    frames = (
        boxed(organ(), frame=1, outside=0) + boxed(organ(), frame=2, outside=1) + boxed(organ(), frame=3, outside=0)
    )
    path = cvat(tmp_path / "a.xml", f'{meta}<track id="0" label="organ">{frames}</track>')
    found = RleTable(path).masks("video", ["organ"], (50, 60, 4))["organ"]
    assert found.any(axis=(0, 1)).tolist() == [False, True, False, True]
    assert np.array_equal(found[:, :, 1].T, organ())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<box label='organ' xtl='1' ytl='1' xbr='4' ybr='4'/>", "no mask"),
        ("<mask label='organ' rle='3, 4' left='1' top='1' width='4' height='2'/>", "do not add up to the 8"),
        ("<mask label='organ' rle='8' left='48' top='1' width='4' height='2'/>", "reaches to 52"),
        ("<mask label='organ' rle='8' left='1' top='1' width='4'/>", "lacks left, top, width or height"),
        ("<polygon label='organ' points='1,2;3;4,5'/>", "5 numbers"),
        ("<polygon label='organ' points='1,2;x,3;4,5'/>", "not pairs of numbers"),
    ],
)
def test_shapes_that_are_no_masks(tmp_path: Path, body: str, words: str) -> None:
    path = cvat(tmp_path / "a.xml", f'<image id="0" name="a.png" width="50" height="60">{body}</image>')
    with pytest.raises(InputError, match=words):
        mask_of(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY b "bb">]><annotations>&b;</annotations>', "document type"),
        ("<annotation/>", "XML of another kind"),
        ("<annotations>", "not readable as XML"),
    ],
)
def test_xml_that_is_not_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=words):
        RleTable(tmp_path / "a.xml")


@pytest.mark.parametrize("dialect", sorted(READ_ONLY))
def test_dialects_that_are_only_read_are_not_written(tmp_path: Path, dialect: str) -> None:
    with pytest.raises(InputError, match="is read and not written"), open_masks(tmp_path / "a.csv", dialect):
        pass
    assert not list(tmp_path.iterdir())


def spots(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """The way to every part of a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*path, key)
        yield from spots(part, (*path, key))


JUNK = (None, True, -1, 1e308, float("nan"), "", [], {}, "x", [1], {"a": 1}, 10**30, [[]], [None], 2**40)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    segmentation = {"size": [60, 50], "counts": counts(organ())}
    polygon = [[10, 5, 22, 5, 22, 30, 10, 30]]
    annotations = [{"image_id": 1, "category_id": 1, "segmentation": one} for one in (segmentation, polygon)]
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [made_by(1, brush(organ(), "organ"))]}
    whole = [{"images": [IMAGE], "annotations": annotations, "categories": [{"id": 1, "name": "organ"}]}, [task]]
    path = tmp_path / "a.json"
    refused = 0
    for _ in range(100):
        value = json.loads(json.dumps(draw.choice(whole)))
        *way, last = draw.choice(list(spots(value)))
        part = value
        for key in way:
            part = part[key]
        part[last] = draw.choice(JUNK)
        path.write_text(json.dumps(value))
        try:
            list(EntryReader(path).entries())
        except InputError:
            refused += 1
    assert 0 < refused < 100
