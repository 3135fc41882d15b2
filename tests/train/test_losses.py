"""Losses against MONAI's over grids of inputs, and what MONAI does not have."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipeline.core.errors import InputError
from pipeline.train.losses import LOSSES, make_loss, unpack_bits

torch.set_num_threads(1)
SHAPES = [(2, 3, 8, 6), (3, 4, 6, 5, 4), (1, 2, 7, 9)]


def exclusive(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float32) * 2
    return logits, torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)


def overlapping(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * 2
    return logits, (torch.rand(shape, generator=generator) < 0.3).to(torch.uint8)


def one_hot(target: Tensor, count: int) -> Tensor:
    return functional.one_hot(target, count).movedim(-1, 1).float()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_dice_ce_is_monais(shape: tuple[int, ...], batch: bool, background: bool) -> None:
    losses = pytest.importorskip("monai.losses")
    common = {"smooth_nr": 1e-5, "smooth_dr": 1e-5, "batch": batch}
    logits, target = exclusive(shape)
    spec = {"name": "dice_ce", "batch": batch, "background": background}
    dice = losses.DiceLoss(softmax=True, to_onehot_y=True, include_background=background, **common)
    expected = dice(logits, target.unsqueeze(1)) + functional.cross_entropy(logits, target)
    torch.testing.assert_close(make_loss(spec, False)(logits, target), expected, rtol=1e-5, atol=1e-6)

    logits, channels = overlapping(shape)
    dice = losses.DiceLoss(sigmoid=True, **common)
    expected = dice(logits, channels) + functional.binary_cross_entropy_with_logits(logits, channels.float())
    torch.testing.assert_close(make_loss(spec, True)(logits, channels), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_monais(shape: tuple[int, ...], gamma: float) -> None:
    losses = pytest.importorskip("monai.losses")
    spec = {"name": "focal", "gamma": gamma}
    logits, target = exclusive(shape)
    # MONAI's softmax form averages over the classes too: ours sums them, as cross-entropy does.
    expected = losses.FocalLoss(use_softmax=True, gamma=gamma, to_onehot_y=True)(logits, target.unsqueeze(1)) * shape[1]
    torch.testing.assert_close(make_loss(spec, False)(logits, target), expected, rtol=1e-5, atol=1e-6)
    logits, channels = overlapping(shape)
    expected = losses.FocalLoss(gamma=gamma)(logits, channels.float())
    torch.testing.assert_close(make_loss(spec, True)(logits, channels), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [(0.3, 0.7), (0.5, 0.5)])
def test_tversky_is_monais(shape: tuple[int, ...], weights: tuple[float, float]) -> None:
    losses = pytest.importorskip("monai.losses")
    alpha, beta = weights
    common = {"alpha": alpha, "beta": beta, "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    spec = {"name": "tversky", "alpha": alpha, "beta": beta}
    logits, target = exclusive(shape)
    oracle = losses.TverskyLoss(softmax=True, to_onehot_y=True, include_background=False, **common)
    torch.testing.assert_close(make_loss(spec, False)(logits, target), oracle(logits, target.unsqueeze(1)))
    logits, channels = overlapping(shape)
    torch.testing.assert_close(
        make_loss(spec, True)(logits, channels), losses.TverskyLoss(sigmoid=True, **common)(logits, channels.float())
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_generalised_dice_is_monais(shape: tuple[int, ...]) -> None:
    losses = pytest.importorskip("monai.losses")
    logits, target = exclusive(shape)
    oracle = losses.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, include_background=False)
    expected = oracle(logits, target.unsqueeze(1)).mean()
    torch.testing.assert_close(make_loss("generalised_dice", False)(logits, target), expected)
    logits, channels = overlapping(shape)
    channels[0, 0] = 0
    expected = losses.GeneralizedDiceLoss(sigmoid=True)(logits, channels.float()).mean()
    torch.testing.assert_close(make_loss("generalised_dice", True)(logits, channels), expected)


def test_bce_jaccard_is_the_published_formula() -> None:
    logits, channels = overlapping((3, 1, 9, 7))
    p, t = logits.sigmoid(), channels.float()
    both = (p * t).sum()
    jaccard = (both + 1e-5) / (p.sum() + t.sum() - both + 1e-5)
    expected = functional.binary_cross_entropy_with_logits(logits, t) - jaccard.log()
    torch.testing.assert_close(make_loss("bce_jaccard", True)(logits, channels), expected)


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("overlaps", [False, True])
def test_a_right_answer_costs_almost_nothing(name: str, overlaps: bool) -> None:
    _, target = overlapping((2, 3, 8, 8)) if overlaps else exclusive((2, 3, 8, 8))
    truth = target.float() if overlaps else one_hot(target, 3)
    loss = make_loss(name, overlaps)
    assert loss((truth - 0.5) * 40, target) < 1e-4
    assert loss((0.5 - truth) * 40, target) > 0.5


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("overlaps", [False, True])
def test_ignored_voxels_have_no_say(name: str, overlaps: bool) -> None:
    logits, target = overlapping((2, 3, 8, 8)) if overlaps else exclusive((2, 3, 8, 8))
    target[..., 5:, :] = 255
    loss = make_loss(name, overlaps)
    logits.requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert logits.grad is not None
    assert logits.grad[..., 5:, :].abs().max() == 0
    assert logits.grad[..., :5, :].abs().max() > 0
    cropped = loss(logits[..., :5, :], target[..., :5, :])
    torch.testing.assert_close(value, cropped)


@pytest.mark.parametrize("name", list(LOSSES))
def test_unannotated_overlapping_organs_have_no_say(name: str) -> None:
    logits, target = overlapping((2, 3, 8, 8))
    annotated = torch.tensor([[True, False, True], [True, True, True]])
    logits.requires_grad_()
    make_loss(name, True)(logits, target, annotated).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].abs().max() == 0
    assert logits.grad[1, 1].abs().max() > 0


@pytest.mark.parametrize("name", list(LOSSES))
def test_unannotated_exclusive_organ_may_be_either(name: str) -> None:
    _, target = exclusive((1, 4, 8, 8))
    target[target == 2] = 0
    loss = make_loss(name, False)
    annotated = torch.tensor([[True, False, True]])
    background = (one_hot(target, 4) - 0.5) * 20
    organ = background.clone()
    organ[:, [0, 2]] = organ[:, [2, 0]]
    torch.testing.assert_close(loss(background, target, annotated), loss(organ, target, annotated))
    assert loss(organ, target, annotated) < 1e-3
    # Somebody who looked for the organ would call the second answer wrong.
    assert loss(organ, target) > loss(background, target)
    organ.requires_grad_()
    loss(organ, target, torch.zeros(1, 3, dtype=torch.bool)).backward()
    assert organ.grad is not None
    assert torch.isfinite(organ.grad).all()


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("overlaps", [False, True])
def test_annotated_everywhere_is_the_plain_loss(name: str, overlaps: bool) -> None:
    logits, target = overlapping((2, 3, 8, 8)) if overlaps else exclusive((2, 4, 8, 8))
    loss = make_loss(name, overlaps)
    torch.testing.assert_close(loss(logits, target, torch.ones(2, 3, dtype=torch.bool)), loss(logits, target))


def test_deep_supervision_weighs_and_samples() -> None:
    logits, target = exclusive((2, 3, 16, 12))
    half, quarter = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 4, 3)
    loss = make_loss("dice_ce", False)
    parts = [loss(logits, target), loss(half, target[:, ::2, ::2]), loss(quarter, target[:, ::4, ::4])]
    expected = (4 * parts[0] + 2 * parts[1] + parts[2]) / 7
    torch.testing.assert_close(loss([logits, half, quarter], target), expected)


def test_deep_supervision_of_padded_sides_takes_every_second_voxel() -> None:
    _, target = exclusive((1, 3, 9, 5))
    coarse = torch.randn(1, 3, 3, 3)
    loss = make_loss("dice_ce", False)
    expected = (2 * loss(torch.zeros(1, 3, 9, 5), target) + loss(coarse, target[:, ::4, ::2])) / 3
    torch.testing.assert_close(loss([torch.zeros(1, 3, 9, 5), coarse], target), expected)


@given(seed=st.integers(0, 2**31), parts=st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_default_loss_adds_up_over_micro_batches(seed: int, parts: int) -> None:
    logits, target = exclusive((parts * 2, 3, 5, 4), seed)
    target[torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) < 0.2] = 255
    loss = make_loss("dice_ce", False)
    pieces = [loss(x, y) for x, y in zip(logits.chunk(parts), target.chunk(parts), strict=True)]
    torch.testing.assert_close(loss(logits, target), torch.stack(pieces).mean())


@given(seed=st.integers(0, 2**31), name=st.sampled_from(list(LOSSES)), overlaps=st.booleans())
@settings(max_examples=40, deadline=None)
def test_losses_are_finite_with_finite_gradients(seed: int, name: str, overlaps: bool) -> None:
    make: Callable[..., tuple[Tensor, Tensor]] = overlapping if overlaps else exclusive
    logits, target = make((2, 3, 4, 4), seed)
    generator = torch.Generator().manual_seed(seed)
    logits = (logits * 30).requires_grad_()
    target[0] = 0
    target[1][torch.rand(target[1].shape, generator=generator) < 0.5] = 255
    known = torch.rand(2, 3 if overlaps else 2, generator=generator) < 0.5
    value = make_loss(name, overlaps)(logits, target, known)
    value.backward()
    assert math.isfinite(value.item())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_nothing_to_learn_from_costs_nothing() -> None:
    logits, target = overlapping((1, 2, 4, 4))
    assert make_loss("dice_ce", True)(logits, target, torch.zeros(1, 2, dtype=torch.bool)) == 0
    assert make_loss("dice_ce", False)(logits, torch.full((1, 4, 4), 255)) < 1.01


def test_half_precision_logits_are_summed_in_single() -> None:
    logits, target = exclusive((1, 3, 32, 32))
    value = make_loss("dice_ce", False)(logits.bfloat16(), target.to(torch.uint8))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, make_loss("dice_ce", False)(logits, target), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("spec", ["dise", {"name": "dice_ce", "smoth": 1}, {"region": "iou"}, {"pixel": "mse"}])
def test_unknown_losses_are_refused(spec: object) -> None:
    with pytest.raises(InputError):
        make_loss(spec, False)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 7), min_size=6, max_size=6))
def test_bits_unpack_to_channels(values: list[int]) -> None:
    bits = torch.tensor(values, dtype=torch.uint8).view(1, 2, 3)
    bits[0, 0, 0] = 128
    channels = unpack_bits(bits, 3, 7)
    assert channels.shape == (1, 3, 2, 3)
    assert (channels[:, :, 0, 0] == 255).all()
    for organ in range(3):
        assert channels[0, organ].flatten()[1:].tolist() == [value >> organ & 1 for value in values[1:]]
