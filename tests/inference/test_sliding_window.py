"""The sliding window, against MONAI's as the reference."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from monai.inferers.utils import compute_importance_map

from pipeline.core.plan import Plan
from pipeline.inference.sliding_window import (
    gaussian_weights,
    predict_probabilities,
    slabs,
    slide,
    torch_forward,
    window_starts,
)
from tests.predict.plans import make_plan

torch.set_num_threads(1)


def network(plan: Plan, seed: int = 0) -> torch.nn.Module:
    """A convolution with zero padding, so that a voxel's answer depends on where it lies in its window."""
    torch.manual_seed(seed)
    kind = torch.nn.Conv3d if plan.spatial_dims == 3 else torch.nn.Conv2d
    return kind(plan.in_channels, plan.out_channels, 5, padding=2).eval()


def reference(net: torch.nn.Module, image: torch.Tensor, plan: Plan) -> torch.Tensor:
    def predictor(x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(net(x)) if plan.overlapping else torch.softmax(net(x), 1)

    with torch.inference_mode():
        return sliding_window_inference(image[None], plan.patch, 2, predictor, plan.overlap, mode="gaussian")[0]


@pytest.mark.parametrize("size", [(16, 16, 16), (33, 20, 17), (40, 16, 50), (10, 30, 7), (9, 9, 9)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
def test_volume_equals_monai(size: tuple[int, int, int], overlap: float) -> None:
    plan = make_plan(overlap=overlap, in_channels=2)
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(2, *size)).astype(np.float32))
    net = network(plan)
    ours = predict_probabilities(net, image, plan, batch=3)
    torch.testing.assert_close(ours, reference(net, image, plan), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("overlapping", [False, True])
def test_picture_equals_monai(overlapping: bool) -> None:
    plan = make_plan(spatial_dims=2, patch=[32, 24], overlapping=overlapping, overlap=0.25)
    image = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 70, 41, 1)).astype(np.float32))
    net = network(plan)
    ours = predict_probabilities(net, image, plan)
    torch.testing.assert_close(ours[..., 0], reference(net, image[..., 0], plan), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_predicted_one_by_one(axis: int) -> None:
    plan = make_plan(spatial_dims=2, patch=[16, 12], slice_axis=axis)
    image = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 14, 18, 20)).astype(np.float32))
    net = network(plan)
    ours = predict_probabilities(net, image, plan)
    for index in range(image.shape[1 + axis]):
        expected = reference(net, image.select(1 + axis, index), plan)
        torch.testing.assert_close(ours.select(1 + axis, index), expected, atol=2e-5, rtol=1e-4)


def test_weights_equal_monai() -> None:
    for patch in [(16, 12, 8), (31, 7), (5,)]:
        theirs = compute_importance_map(patch, mode="gaussian", sigma_scale=0.125)
        np.testing.assert_allclose(gaussian_weights(patch), np.maximum(theirs.numpy(), 1e-3), atol=1e-6)


@given(size=st.integers(1, 200), patch=st.integers(1, 64), overlap=st.floats(0, 0.95))
def test_windows_cover_everything(size: int, patch: int, overlap: float) -> None:
    size = max(size, patch)
    starts = window_starts(size, patch, overlap)
    covered = np.zeros(size, bool)
    for start in starts:
        assert 0 <= start <= size - patch
        covered[start : start + patch] = True
    assert covered.all()
    assert starts == sorted(set(starts))


@settings(max_examples=25, deadline=None)
@given(size=st.tuples(*[st.integers(1, 30)] * 3), patch=st.tuples(*[st.integers(1, 12)] * 3), seed=st.integers(0, 99))
def test_slabs_follow_each_other(size: tuple[int, int, int], patch: tuple[int, int, int], seed: int) -> None:
    """A network that only looks at its own voxel gives that voxel's answer, however it is windowed."""
    plan = make_plan(patch=list(patch), organs=["a"], mirror_pairs=[])
    image = np.random.default_rng(seed).normal(size=(1, *size)).astype(np.float32)

    def forward(batch: np.ndarray) -> np.ndarray:
        return np.concatenate([batch, -batch], 1)

    end = 0
    for axis, start, slab in slabs(forward, image, plan):
        assert start == end
        end = start + slab.shape[1 + axis]
    assert end == size[axis]
    np.testing.assert_allclose(slide(forward, image, plan)[0], image[0], atol=1e-5)


def test_mirroring_swaps_left_and_right() -> None:
    """Organs told apart by the side that they lie on stay on their side when windows are mirrored."""
    plan = make_plan(patch=[16, 8, 8], mirror_axes=[0, 1])

    def forward(batch: np.ndarray) -> np.ndarray:
        answer = np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)
        answer[:, 1, :8], answer[:, 2, 8:] = batch[:, 0, :8], batch[:, 0, 8:]
        answer[:, 0] = 1 - batch[:, 0]
        return answer

    image = np.random.default_rng(0).uniform(size=(1, 16, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(slide(forward, image, plan, mirror=True), slide(forward, image, plan), atol=1e-6)
    unknowing = plan.model_copy(update={"mirror_pairs": []})
    assert np.abs(slide(forward, image, unknowing, mirror=True) - slide(forward, image, plan)).max() > 0.3


def test_mirroring_is_the_mean_of_whole_flips() -> None:
    plan = make_plan(spatial_dims=2, patch=[16, 12], overlapping=True, mirror_axes=[0, 1])
    net = network(plan)
    image = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 16, 12, 1)).astype(np.float32))
    ours = predict_probabilities(net, image, plan, mirror=True)
    expected = torch.zeros_like(ours)
    for axes in [(), (1,), (2,), (1, 2)]:
        one = predict_probabilities(net, image.flip(axes), plan).flip(axes)
        expected += one[[1, 0]] / 4 if 1 in axes else one / 4
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_sagittal_slices_have_no_lateral_axis() -> None:
    plan = make_plan(spatial_dims=2, patch=[8, 8], slice_axis=0, mirror_axes=[0])
    net = network(plan)
    image = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 3, 8, 8)).astype(np.float32))
    ours = predict_probabilities(net, image, plan, mirror=True)
    both = (predict_probabilities(net, image, plan) + predict_probabilities(net, image.flip(2), plan).flip(2)) / 2
    torch.testing.assert_close(ours, both, atol=1e-5, rtol=1e-4)


def test_batch_size_does_not_matter_and_mode_is_restored() -> None:
    plan = make_plan()
    net = network(plan).train()
    image = torch.from_numpy(np.random.default_rng(4).normal(size=(1, 30, 20, 16)).astype(np.float32))
    one, many = predict_probabilities(net, image, plan, batch=1), predict_probabilities(net, image, plan, batch=8)
    torch.testing.assert_close(one, many, atol=1e-5, rtol=1e-4)
    assert net.training
    torch.testing.assert_close(one.sum(0), torch.ones(image.shape[1:]), atol=1e-5, rtol=0)


def test_forward_returns_probabilities() -> None:
    plan = make_plan(overlapping=True)
    batch = np.zeros((2, 1, 16, 16, 16), np.float32)
    assert torch_forward(network(plan), True)(batch).shape == (2, 2, 16, 16, 16)


def test_no_torch_is_imported() -> None:
    code = "import sys, pipeline.inference.sliding_window; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
