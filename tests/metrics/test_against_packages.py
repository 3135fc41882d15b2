"""Our figures against MONAI, surface-distance, scikit-learn and torchmetrics; where a convention differs, how."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.imaging.surfaces import surface_distances
from pipeline.metrics.organs import MetricSettings, OrganMetrics
from tests.metrics.organ import organ_metrics

torch = pytest.importorskip("torch")
monai = pytest.importorskip("monai.metrics")
sklearn = pytest.importorskip("sklearn.metrics")
torchmetrics = pytest.importorskip("torchmetrics.functional")

Mask = NDArray[np.bool_]
Case = tuple[Mask, Mask, tuple[float, ...]]
TOLERANCES = (0.5, 1.0, 2.5)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def deepmind() -> Any:
    """surface-distance 0.1 speaks of names that numpy 2 and scipy 1.15 dropped."""
    pytest.importorskip("surface_distance")
    patch = pytest.MonkeyPatch()
    for module, name, value in (
        (np, "NaN", np.nan),
        (np, "Inf", np.inf),
        (ndimage, "filters", ndimage),
        (ndimage, "morphology", ndimage),
    ):
        if not hasattr(module, name):
            patch.setattr(module, name, value, raising=False)
    import surface_distance  # type: ignore[import-untyped]

    yield surface_distance
    patch.undo()


def agrees(value: Any, rel: float = 1e-6, nan_ok: bool = False) -> Any:
    """Equal to one in a million, of the value or of one."""
    return pytest.approx(value, rel=rel, abs=rel, nan_ok=nan_ok)


def blob(rng: np.random.Generator, shape: tuple[int, ...], smooth: float, share: float) -> Mask:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), smooth)
    return np.asarray(noise > np.quantile(noise, 1 - share))


def make_cases() -> dict[str, Case]:
    rng = np.random.default_rng(5)
    cases: dict[str, Case] = {}
    grids: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
        "isotropic": ((20, 22, 18), (1.0, 1.0, 1.0)),
        "anisotropic": ((24, 20, 9), (0.7, 0.9, 5.0)),
        "fine slices": ((12, 14, 30), (2.0, 2.0, 0.5)),
        "picture": ((40, 32, 1), (0.35, 0.5, 1.0)),
    }
    for name, (shape, spacing) in grids.items():
        for smooth in (0.0, 1.5):
            reference = blob(rng, shape, smooth, 0.2)
            cases[f"{name}, unrelated, {smooth}"] = (blob(rng, shape, smooth, 0.2), reference, spacing)
            shifted = np.roll(reference, 1, axis=0)
            cases[f"{name}, shifted, {smooth}"] = (shifted, reference, spacing)
            cases[f"{name}, some noise, {smooth}"] = (reference ^ (rng.random(shape) < 0.02), reference, spacing)
            cases[f"{name}, same, {smooth}"] = (reference.copy(), reference, spacing)
    whole = np.ones((9, 8, 7), bool)
    corner = np.zeros_like(whole)
    corner[:2, :2, :2] = True
    other = np.zeros_like(whole)
    other[-1, -1, -1] = True
    cases["whole image against a corner"] = (whole, corner, (1.0, 1.5, 2.0))
    cases["corner against one far voxel"] = (corner, other, (1.0, 1.5, 2.0))
    plate = np.zeros((30, 30, 30), bool)
    plate[5:25, 5:25, 12] = True
    touching = np.zeros_like(plate)
    touching[5:25, 5:25, 13:15] = True
    cases["touching plates"] = (touching, plate, (0.8, 0.8, 1.25))
    far = np.zeros((60, 12, 12), bool)
    far[:3, 3:9, 3:9] = True
    cases["far apart"] = (far[::-1].copy(), far, (1.1, 0.9, 2.0))
    return cases


CASES = make_cases()
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def ours(case: Case, **settings: Any) -> OrganMetrics:
    return organ_metrics(*case, MetricSettings(tolerances=TOLERANCES, **settings))


def tensors(case: Case) -> tuple[Any, Any, list[float]]:
    prediction, reference, spacing = case
    if reference.shape[-1] == 1:
        prediction, reference, spacing = prediction[..., 0], reference[..., 0], spacing[:2]
    return (
        torch.from_numpy(prediction.astype(np.float32))[None, None],
        torch.from_numpy(reference.astype(np.float32))[None, None],
        list(spacing),
    )


@every_case
def test_overlap_is_that_of_monai_sklearn_and_torchmetrics(case: Case) -> None:
    mine = ours(case)
    prediction, reference, _ = tensors(case)
    assert mine.dice == agrees(float(monai.compute_dice(prediction, reference)))
    assert mine.iou == agrees(float(monai.compute_iou(prediction, reference)))
    flat_p, flat_r = case[0].ravel(), case[1].ravel()
    assert mine.dice == agrees(sklearn.f1_score(flat_r, flat_p))
    assert mine.iou == agrees(sklearn.jaccard_score(flat_r, flat_p))
    assert mine.precision == agrees(sklearn.precision_score(flat_r, flat_p))
    assert mine.recall == agrees(sklearn.recall_score(flat_r, flat_p))
    assert mine.accuracy == agrees(sklearn.accuracy_score(flat_r, flat_p))
    tensor_p, tensor_r = torch.from_numpy(flat_p).int(), torch.from_numpy(flat_r).int()
    assert mine.iou == agrees(float(torchmetrics.jaccard_index(tensor_p, tensor_r, task="binary")))
    assert mine.precision == agrees(float(torchmetrics.precision(tensor_p, tensor_r, task="binary")))
    assert mine.recall == agrees(float(torchmetrics.recall(tensor_p, tensor_r, task="binary")))


@every_case
def test_distances_are_those_of_monai(case: Case) -> None:
    mine = ours(case)
    prediction, reference, spacing = tensors(case)
    shared: dict[str, Any] = {"include_background": True, "spacing": spacing}
    hd95 = monai.compute_hausdorff_distance(prediction, reference, percentile=95, **shared)
    assd = monai.compute_average_surface_distance(prediction, reference, symmetric=True, **shared)
    assert mine.hd95 == agrees(float(hd95))
    assert mine.assd == agrees(float(assd))


@every_case
def test_surface_dice_is_that_of_surface_distance_and_of_monai_with_subvoxels(case: Case, deepmind: Any) -> None:
    mine = ours(case)
    prediction, reference, spacing = tensors(case)
    theirs = deepmind.compute_surface_distances(
        reference[0, 0].bool().numpy(), prediction[0, 0].bool().numpy(), spacing
    )
    for tolerance in TOLERANCES:
        expected = deepmind.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert mine.nsd[tolerance] == agrees(expected)
        third = monai.compute_surface_dice(
            prediction, reference, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
        )
        assert mine.nsd[tolerance] == agrees(float(third), rel=2e-6)


@every_case
def test_centroid_distance_is_that_of_scipy(case: Case) -> None:
    apart = np.subtract(ndimage.center_of_mass(case[0]), ndimage.center_of_mass(case[1])) * np.array(case[2])
    assert ours(case).centroid_distance == agrees(float(np.linalg.norm(apart)))


def test_surface_dice_of_voxels_is_another_figure(deepmind: Any) -> None:
    """MONAI's default counts boundary voxels; ours weighs surfels by area, as surface-distance does."""
    case = CASES["anisotropic, shifted, 1.5"]
    prediction, reference, spacing = tensors(case)
    voxels = float(monai.compute_surface_dice(prediction, reference, [0.5], include_background=True, spacing=spacing))
    assert abs(ours(case).nsd[0.5] - voxels) > 0.01


def test_hd95_of_surfels_is_another_figure(deepmind: Any) -> None:
    """surface-distance weighs its 95th percentile by area and takes no rank between; ours is that of MONAI and ITK."""
    case = CASES["anisotropic, unrelated, 1.5"]
    theirs = deepmind.compute_surface_distances(case[1], case[0], list(case[2]))
    assert abs(deepmind.compute_robust_hausdorff(theirs, 95) - ours(case).hd95) > 0.05
    # The distances themselves, from corners to corners of voxels, are the same as ours between surfels.
    mine = surface_distances(*case)
    np.testing.assert_allclose(np.sort(mine.surfels_to_reference), theirs["distances_pred_to_gt"], atol=1e-9)
    np.testing.assert_allclose(np.sort(mine.surfels_to_prediction), theirs["distances_gt_to_pred"], atol=1e-9)


def test_a_tolerance_stored_as_32_bit_counts_as_within() -> None:
    reference = np.zeros((12, 12, 12), bool)
    reference[3:8, 3:8, 3:8] = True
    spacing = tuple(float(np.float32(s)) for s in (0.8, 0.8, 0.8))
    measured = organ_metrics(np.roll(reference, 2, axis=0), reference, spacing, MetricSettings(tolerances=(1.6,)))
    assert measured.nsd[1.6] == 1.0
    assert measured.hd95 > 1.6


EMPTY = np.zeros((6, 6, 6), bool)
FULL = np.zeros((6, 6, 6), bool)
FULL[2:4, 2:4, 2:4] = True
EMPTY_CASES = {"both_empty": (EMPTY, EMPTY), "empty_reference": (FULL, EMPTY), "empty_prediction": (EMPTY, FULL)}
every_empty_case = pytest.mark.parametrize("name", EMPTY_CASES)


@every_empty_case
def test_convention_monai_is_what_monai_returns(name: str) -> None:
    pair = EMPTY_CASES[name]
    mine = ours((*pair, (1.0, 1.0, 1.0)), convention="monai")
    prediction, reference, spacing = tensors((*pair, (1.0, 1.0, 1.0)))
    shared: dict[str, Any] = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "dice": monai.compute_dice(prediction, reference),
            "iou": monai.compute_iou(prediction, reference),
            "hd95": monai.compute_hausdorff_distance(prediction, reference, percentile=95, **shared),
            "assd": monai.compute_average_surface_distance(prediction, reference, symmetric=True, **shared),
        }
        nsd = monai.compute_surface_dice(prediction, reference, [1.0], use_subvoxels=True, **shared)
    assert mine.case == name
    assert mine.nsd[1.0] == agrees(float(nsd), nan_ok=True)
    for figure, value in expected.items():
        assert getattr(mine, figure) == agrees(float(value), nan_ok=True), figure


@every_empty_case
def test_convention_surface_distance_is_what_it_returns(name: str, deepmind: Any) -> None:
    prediction, reference = EMPTY_CASES[name]
    mine = ours((prediction, reference, (1.0, 1.0, 1.0)), convention="surface-distance")
    with np.errstate(invalid="ignore"):
        theirs = deepmind.compute_surface_distances(reference, prediction, [1.0, 1.0, 1.0])
        nsd = deepmind.compute_surface_dice_at_tolerance(theirs, 1.0)
    assert mine.dice == agrees(deepmind.compute_dice_coefficient(reference, prediction), nan_ok=True)
    assert mine.nsd[1.0] == agrees(float(nsd), nan_ok=True)
    assert mine.hd95 == deepmind.compute_robust_hausdorff(theirs, 95)


@pytest.mark.parametrize(
    ("convention", "both", "spurious"),
    [
        ("organseg", (np.nan, np.nan), (0, 0)),
        ("nnunet", (np.nan, np.nan), (0, 0)),
        ("monai", (np.nan, np.nan), (np.nan, np.nan)),
        ("smp", (1, 1), (0, 0)),
        ("metrics-reloaded", (1, np.nan), (0, 0)),
        ("surface-distance", (np.nan, np.nan), (0, 0)),
    ],
)
def test_dice_and_iou_at_empty_masks(convention: Any, both: tuple[float, float], spurious: tuple[float, float]) -> None:
    spacing = (1.0, 1.0, 1.0)
    absent = ours((*EMPTY_CASES["both_empty"], spacing), convention=convention)
    made_up = ours((*EMPTY_CASES["empty_reference"], spacing), convention=convention)
    missed = ours((*EMPTY_CASES["empty_prediction"], spacing), convention=convention)
    assert (absent.dice, absent.iou) == agrees(both, nan_ok=True)
    assert (made_up.dice, made_up.iou) == agrees(spurious, nan_ok=True)
    assert (missed.dice, missed.iou) == (0, 0)


def test_smp_at_empty_masks_is_sklearn_with_zero_division_one() -> None:
    for pair in EMPTY_CASES.values():
        mine = ours((*pair, (1.0, 1.0, 1.0)), convention="smp")
        prediction, reference = pair[0].ravel(), pair[1].ravel()
        for name, score in (
            ("dice", sklearn.f1_score),
            ("iou", sklearn.jaccard_score),
            ("precision", sklearn.precision_score),
            ("recall", sklearn.recall_score),
        ):
            assert getattr(mine, name) == score(reference, prediction, zero_division=1)
