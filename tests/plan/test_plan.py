"""The stage ``plan``: the fingerprint tells the truth, patients stay together, the rules give what they promise."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import plan
from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.plan import read_plan
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.core.splits import read_splits
from pipeline.plan import rules
from tests.train.studies import chest_picture, chest_study, head_study, head_volume, store

MODELS = {"unet": {}, "ternausnet11": {}, "unet_classic": {}}


def test_pictures_are_planned_in_2d_with_a_reason_for_each_value(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path, models=MODELS)
    plan.run(study, paths)
    for name in MODELS:
        made = read_plan(paths.plan(name))
        assert (made.spatial_dims, made.slice_axis, made.spacing) == (2, None, None)
        assert made.size == [128, 128]
        assert made.mirror_pairs == [("left_lung", "right_lung")]
        assert made.mirror_axes == []
        assert made.augmentation["mirror"] == "none"
        assert made.normalisation["name"] == "percentile_zscore"
        chosen = set(made.model_dump()) - {"reasons"}
        assert {field for field in chosen if not made.reasons[field]} == set()


def test_volumes_are_planned_in_3d_and_for_slices(tmp_path: Path) -> None:
    study, paths = head_study(tmp_path, models=MODELS)
    plan.run(study, paths)
    volume, slices = read_plan(paths.plan("unet")), read_plan(paths.plan("ternausnet11"))
    assert (volume.spatial_dims, volume.slice_axis, volume.spacing) == (3, None, [1.0, 1.0, 4.0])
    assert volume.network["strides"][1] == [2, 2, 1]
    assert volume.network["kernel_sizes"][0] == [3, 3, 1]
    assert volume.normalisation["region"] == "head"
    assert (slices.spatial_dims, slices.slice_axis) == (2, 2)
    assert all(side % 32 == 0 for side in slices.patch)
    assert volume.recipe_hash() == slices.recipe_hash()


def test_the_fingerprint_describes_the_scans(tmp_path: Path) -> None:
    study, paths = head_study(tmp_path, 9)
    plan.run(study, paths)
    found = read_json(paths.fingerprint)
    splits = read_splits(paths.splits)
    mine = [n for n in range(9) if splits[f"p-h{n}"].split == "development"]
    assert found["scans"] == len(mine)
    labels = [head_volume(n, n % 3 != 0)[1] for n in mine]
    assert found["organs"]["tumour"]["present"] == sum("tumour" in one.present() for one in labels)
    assert found["organs"]["tumour"]["annotated"] == len(mine)
    cores = [int(one.mask("core").sum()) for one in labels]
    assert found["organs"]["core"]["voxels"][2] == np.median(cores)
    assert found["organs"]["core"]["volume"][2] == pytest.approx(np.median(cores) * 4)
    assert found["size"]["max"] == np.max([one.data.shape for one in labels], axis=0).tolist()
    assert found["unit"] == "mm"
    assert found["zero_share"] == 0
    assert 0.4 < found["air_share"] < 0.8


def test_millimetres_and_pixels_are_not_mixed(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path, 2)
    scans: dict[str, Any] = {}
    for number in range(12):
        scan, labels = chest_picture(number)
        if number % 2:
            pixels = FRONTAL_AFFINE.copy()
            scan = replace(scan, affine=pixels, spacing_source="unknown")
            labels = replace(labels, affine=pixels)
        scans[f"x{number:02d}"] = (scan, labels)
    store(paths, scans)
    plan.run(study, paths)
    found = read_json(paths.fingerprint)
    assert (found["unit"], found["spacing"]["max"][:2]) == ("mm", [0.5, 0.5])
    assert 0 < found["measured"] < found["scans"]
    assert found["extent"]["median"][:2] == [36.0, 30.0]
    for facts in found["organs"].values():
        assert facts["volume"][4] <= 0.25 * facts["voxels"][4]


def test_patients_stay_together_and_the_manifest_wins(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path, 2)
    scans: dict[str, Any] = {f"x{n}": chest_picture(n) for n in range(20)}
    scans["alone"] = (chest_picture(30)[0], None)
    store(paths, scans, {f"x{n}": f"p{n // 2}" for n in range(20)})
    plan.run(study, paths)
    splits = read_splits(paths.splits)
    assert set(splits) == {f"p{n}" for n in range(10)} | {"p-alone"}
    assert sum(place.split == "test" for place in splits.values()) == 2
    assert splits["p-alone"].split == "development"
    assert splits["p-alone"].fold is None
    table = paths.scans_csv.read_text().replace("p3,0,,", "p3,0,test,")
    paths.scans_csv.write_text(table)
    plan.run(study, paths)
    splits = read_splits(paths.splits)
    assert [p for p, place in splits.items() if place.split == "test"] == ["p3"]
    assert splits["p3"].origin == "manifest"


def test_the_study_sets_any_value(tmp_path: Path) -> None:
    given = {"patch": [24, 24, 8], "batch": 3, "network": {"features": [8, 16]}, "optimiser": {"ema": 0.5}}
    study, paths = head_study(tmp_path, models={"unet": {"plan": given, "minutes": 2}})
    plan.run(study, paths)
    made = read_plan(paths.plan("unet"))
    assert (made.patch, made.batch, made.network["features"]) == ([24, 24, 8], 3, [8, 16])
    assert len(made.network["strides"]) == 2
    assert made.optimiser["ema"] == 0.5
    assert made.optimiser["name"] == "muon"
    assert (made.steps, made.minutes) == (None, 2)
    assert "ema: set in the study's config" in made.reasons["optimiser"]
    assert made.reasons["batch"] == "set in the study's config"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"unet": {"plan": {"pach": [3]}}}, "did you mean 'patch'"),
        ({"unet": {"plan": {"patch": [16, 16]}}}, "patch has 2 axes"),
        ({"unet": {"plan": {"organs": ["x"]}}}, "cannot be set here"),
        ({"unet": {"plan": {"network": {"featuers": [8]}}}}, "Did you mean features"),
        ({"ternausnet12": {}}, "ternausnet11"),
        ({"ternausnet11": {"dims": 3}}, "2-D only"),
        ({"unet": {"plan": {"batch": 0}}}, "batch"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, models: dict[str, Any], message: str) -> None:
    study, paths = head_study(tmp_path, models=models)
    with pytest.raises(InputError) as caught:
        plan.run(study, paths)
    assert message in str(caught.value)


def test_a_study_of_two_kinds_or_of_none_is_refused(tmp_path: Path) -> None:
    study, paths = head_study(tmp_path)
    store(paths, {f"h{n}": head_volume(n) for n in range(6)} | {"x": (chest_picture(1)[0], head_volume(1)[1])})
    with pytest.raises(InputError, match="mixed in one study"):
        plan.run(study, paths)
    store(paths, {f"h{n}": (head_volume(n)[0], None) for n in range(4)})
    with pytest.raises(InputError, match="no scan has a mask"):
        plan.run(study, paths)


def test_plan_loads_no_torch() -> None:
    code = "import pipeline.plan, pipeline.preprocess, sys; assert not {'torch', 'monai', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@given(
    st.lists(st.integers(1, 700), min_size=2, max_size=3),
    st.lists(st.floats(0.2, 8), min_size=3, max_size=3),
)
def test_every_patch_halves_evenly(sides: list[int], spacing: list[float]) -> None:
    shape = rules.topology(sides, spacing[: len(sides)])
    assert len(shape.strides) == len(shape.kernels) <= rules.MOST_LEVELS
    for axis, side in enumerate(sides):
        step = int(np.prod([stride[axis] for stride in shape.strides]))
        assert shape.patch[axis] % step == 0
        assert side <= shape.patch[axis] < side + step
        assert step == 1 or shape.patch[axis] // step >= rules.LEAST_SIDE - 1


@given(st.lists(st.integers(1, 600), min_size=3, max_size=3), st.lists(st.floats(0.2, 8), min_size=3, max_size=3))
def test_patches_stay_within_their_voxels_and_the_scan(size: list[int], spacing: list[float]) -> None:
    sides, _ = rules.patch_sides(size, [2 * side for side in size], spacing, 96**3)
    assert np.prod(sides) <= 96**3
    assert all(1 <= side <= 2 * own for side, own in zip(sides, size, strict=True))


def test_anisotropic_scans_keep_their_fine_slices() -> None:
    spacing, reason = rules.target_spacing([1, 1, 6], [0.9, 0.9, 3], [200, 220, 120])
    assert spacing == [1, 1, 3]
    assert "anisotropic" in reason
    assert rules.target_spacing([1, 1, 1.2], [0.9, 0.9, 1], [200, 220, 120])[0] == [1, 1, 1.2]


def test_pictures_are_as_large_as_their_smallest_organ_needs() -> None:
    assert rules.picture_side(2000, 0.1)[0] == 256
    assert rules.picture_side(2000, 0.002)[0] == 768
    assert rules.picture_side(300, 0.002)[0] == 256
    assert rules.picture_side(60, None)[0] == 128


def test_the_patch_holds_the_largest_scan_only_where_scans_are_alike() -> None:
    assert rules.patch_sides([40, 40, 40], [42, 42, 42], [1, 1, 1], 96**3)[0] == [42, 42, 42]
    assert rules.patch_sides([35, 50, 35.5], [43, 59, 47], [1, 1, 1], 96**3)[0] == [35, 50, 36]


def test_optimisers_suit_the_network(tmp_path: Path) -> None:
    models: dict[str, Any] = {"unet": {}, "ternausnet11": {}, "other": {"network": "monai:SegResNet"}}
    models["given"] = {"network": "ternausnet11", "plan": {"network": {"weights": "imagenet"}}}
    study, paths = chest_study(tmp_path, models=models)
    plan.run(study, paths)
    names = {name: read_plan(paths.plan(name)).optimiser["name"] for name in models}
    assert read_plan(paths.plan("unet")).network["skip"] == "add"
    assert "decoder" in read_plan(paths.plan("unet")).reasons["network"]
    assert names == {"unet": "muon", "ternausnet11": "muon", "other": "adamw", "given": "adamw"}


def test_small_organs_take_the_loss_that_finds_them(tmp_path: Path) -> None:
    study, paths = head_study(tmp_path)
    plan.run(study, paths)
    fingerprint = read_json(paths.fingerprint)
    chest, places = chest_study(tmp_path)
    plan.run(chest, places)
    assert read_plan(places.plan("unet")).loss == {"name": "dice_ce"}
    fingerprint["organs"]["tumour"]["share"] = [0.004] * 5
    made = plan.make_plan(study, "unet", fingerprint)
    assert made.loss["region"] == "log_jaccard"
    assert "tumour is 0.4%" in made.reasons["loss"]
    plain, _ = head_study(tmp_path, models={"unet": {"plan": {"loss": {"name": "dice_ce"}}}})
    assert plan.make_plan(plain, "unet", fingerprint).loss == {"name": "dice_ce"}


def test_short_budgets_take_small_networks() -> None:
    assert rules.feature_counts(4, 3)[0] == [8, 32, 64, 128]
    assert rules.feature_counts(4, 3, short=True)[0] == [8, 16, 32, 64]
    assert rules.feature_counts(6, 2, short=True)[0] == [16, 32, 64, 128, 256, 256]
    assert rules.is_short(500, None)
    assert rules.is_short(None, 3)
    assert not rules.is_short(501, None)


def _like(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The fingerprint of a study of volumes with some of its figures changed."""
    study, paths = head_study(tmp_path)
    plan.run(study, paths)
    return read_json(paths.fingerprint) | changes


@pytest.mark.parametrize(
    ("shares", "region", "said"),
    [((0.4, 0.5), "nonzero", "40%"), ((0.0, 0.5), "head", "50%"), ((0.0, 0.0), "all", "next to no air")],
)
def test_mri_is_normalised_where_the_patient_is(
    tmp_path: Path, shares: tuple[float, float], region: str, said: str
) -> None:
    fingerprint = _like(tmp_path, zero_share=shares[0], air_share=shares[1])
    made = plan.make_plan(head_study(tmp_path)[0], "unet", fingerprint)
    assert made.normalisation == {"name": "zscore_foreground", "region": region, "clip": [0.5, 99.5]}
    assert said in made.reasons["normalisation"]


def test_ct_takes_the_hounsfield_units_of_its_organs(tmp_path: Path) -> None:
    fingerprint = _like(tmp_path)
    made = plan.make_plan(head_study(tmp_path, modality="ct")[0], "unet", fingerprint)
    assert made.normalisation == {"name": "ct_window", **fingerprint["organ_intensity"][0]}
    assert (made.augmentation["preset"], made.augmentation["bias_field"], made.augmentation["gamma"]) == ("mri", 0, 0)


def test_colour_takes_the_encoders_statistics_and_mirrors(tmp_path: Path) -> None:
    study, paths = chest_study(tmp_path)
    plan.run(study, paths)
    fingerprint = read_json(paths.fingerprint) | {"channels": 3}
    made = plan.make_plan(chest_study(tmp_path, modality="photo")[0], "unet", fingerprint)
    assert made.normalisation == {"name": "encoder"}
    assert (made.in_channels, made.mirror_axes, made.augmentation["preset"]) == (3, [0], "photo")


def test_the_plan_says_how_often_it_validates_and_on_which_kernels(tmp_path: Path) -> None:
    fingerprint = _like(tmp_path)
    counted = plan.make_plan(head_study(tmp_path, budget={"steps": 400})[0], "unet", fingerprint)
    timed = plan.make_plan(head_study(tmp_path, budget={"minutes": 4})[0], "unet", fingerprint)
    assert (counted.validate_every, timed.validate_every) == (100, 250)
    assert "four times" in counted.reasons["validate_every"]
    assert "every 250 steps" in timed.reasons["validate_every"]
    models = {"unet": {"plan": {"deterministic": True}}}
    asked = plan.make_plan(head_study(tmp_path, models=models)[0], "unet", fingerprint)
    assert (counted.deterministic, asked.deterministic) == (False, True)
    assert asked.reasons["deterministic"] == "set in the study's config"


def test_patients_are_spread_by_the_organs_that_they_show(tmp_path: Path) -> None:
    """Every third head has no tumour: each fold, and the test, gets its share of them."""
    study, paths = head_study(tmp_path, 30, split={"folds": 4, "test_fraction": 0.2})
    plan.run(study, paths)
    splits = read_splits(paths.splits)
    parts: dict[Any, list[bool]] = {}
    for patient, place in splits.items():
        parts.setdefault("test" if place.split == "test" else place.fold, []).append(
            int(patient.removeprefix("p-h")) % 3 == 0
        )
    assert sorted(parts, key=str) == [0, 1, 2, 3, "test"]
    for shown in parts.values():
        assert len(shown) == 6
        assert sum(shown) == 2
