"""Outlines, slices and the overview figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from pipeline.cli import overview_figure
from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.report.montage import overview
from pipeline.report.views import MOST_SLICES, outline_path, scan_view, telling_slice


def filled(path: str, shape: tuple[int, int]) -> np.ndarray:
    """The inside of a path, drawn by another program, on a grid four times as fine; pieces take turns (even-odd)."""
    inside = np.zeros((shape[0] * 4, shape[1] * 4), bool)
    for piece in path.split("M")[1:]:
        points = [tuple(float(v) * 4 for v in pair.split(",")) for pair in piece.rstrip("Z").split("L")]
        canvas = Image.new("1", (shape[1] * 4, shape[0] * 4))
        ImageDraw.Draw(canvas).polygon(points, fill=1)
        inside ^= np.asarray(canvas)
    return inside


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(8, 40), st.integers(8, 40))
def test_outline_encloses_its_mask(seed: int, rows: int, columns: int) -> None:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(rows, columns)), 2)
    mask = np.kron(noise > 0, np.ones((3, 3))).astype(bool)
    inside = filled(outline_path(mask), mask.shape)
    expected = np.kron(mask, np.ones((4, 4))).astype(bool)
    # Corners are cut by less than half a pixel on either side of the border.
    border = expected ^ np.roll(expected, 1, 0) | expected ^ np.roll(expected, 1, 1)
    assert np.count_nonzero(inside ^ expected) <= 6 * np.count_nonzero(border) + 8


def test_outline_of_a_box_is_its_border() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    numbers = [tuple(map(float, pair.split(","))) for pair in outline_path(mask)[1:-1].split("L")]
    xs, ys = zip(*numbers, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (3, 9, 2, 5)
    assert outline_path(np.zeros((4, 4), bool)) == ""


def volume(depth: int) -> tuple[Scan, LabelMap]:
    voxels = np.random.default_rng(0).normal(size=(1, 20, 16, depth)).astype(np.float32)
    mask = np.zeros((20, 16, depth), bool)
    mask[2:6, 3:8, depth // 3] = True
    scan = Scan(voxels, np.eye(4), "mri")
    return scan, LabelMap.from_masks({"spot": mask}, scan.affine, ["spot"], overlapping=False)


def test_scroller_starts_at_the_slice_with_the_organ_and_patients_right_is_on_the_left() -> None:
    scan, labels = volume(9)
    view = scan_view("a", scan, labels, None, size=80)
    assert [one.number for one in view.slices] == list(range(1, 10))
    assert view.slices[view.start].number == 9 // 3 + 1
    assert view.left == "R"
    xs = [float(pair.split(",")[0]) for pair in view.slices[view.start].prediction["spot"][1:-1].split("L")]
    # x grows to the patient's left in a RAS+ array; small x lies on the right of the picture's mirror.
    assert min(xs) > view.width / 2
    assert view.slices[0].prediction == {}


def test_long_volumes_are_thinned_and_keep_the_slice_shown() -> None:
    scan, labels = volume(200)
    view = scan_view("a", scan, None, labels, size=32)
    assert len(view.slices) <= MOST_SLICES + 1
    assert view.slices[view.start].number == 200 // 3 + 1
    assert view.slices[view.start].reference
    assert view.slices[0].number == 1
    assert view.slices[-1].number == 200


def test_overview_shows_images_segmentations_and_outlines(finished: tuple[Study, StudyPaths], tmp_path: Path) -> None:
    study, paths = finished
    shown = overview(study, paths, tmp_path / "overview.png", masks="reference", most=4)
    assert len(shown) == 4
    with Image.open(tmp_path / "overview.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    third = picture.shape[1] // 3
    grey = [np.ptp(block, axis=-1).max() for block in (picture[40:-40, :third], picture[40:-40, third : 2 * third])]
    assert grey[0] < 30 < grey[1]
    champion = overview(study, paths, tmp_path / "champion.png")
    assert set(champion) <= {f.name.split(".")[0] for f in paths.predictions("test", "champion").glob("*.nii.gz")}


def test_overview_without_masks_says_what_to_do(finished: tuple[Study, StudyPaths], tmp_path: Path) -> None:
    study, paths = finished
    empty = StudyPaths(paths.study, tmp_path)
    empty.results.mkdir(parents=True)
    empty.scans_csv.write_text("scan_id,shard\na,0\n", encoding="utf-8")
    with pytest.raises(InputError, match="no scan has a mask") as caught:
        overview(study, empty, tmp_path / "o.png")
    assert "organseg" in (caught.value.remedy or "")


def test_the_telling_slice_shows_small_organs_too() -> None:
    large, small = np.zeros((30, 30, 8), bool), np.zeros((30, 30, 8), bool)
    large[2:28, 2:28, 1:7] = True
    large[2:29, 2:28, 2] = True
    small[10:12, 10:12, 5] = True
    masks = {"large": large & ~small, "small": small}
    labels = LabelMap.from_masks(masks, np.eye(4), ["large", "small"], overlapping=False)
    assert telling_slice(labels, 8) == 5
    assert telling_slice(None, 8) == 4


def test_overview_command(finished: tuple[Study, StudyPaths], monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = finished
    monkeypatch.chdir(paths.root)
    app = typer.Typer()
    overview_figure.register(app)
    done = CliRunner().invoke(app, ["--study", paths.study, "--most", "2"])
    assert done.exit_code == 0, done.output
    assert "2 scans" in done.output
    assert (paths.results / "overview.png").is_file()
    assert CliRunner().invoke(app, ["--study", paths.study, "--masks", "both"]).exit_code == 2
