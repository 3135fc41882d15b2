"""Batches: a function of seed and step, every scan seen equally often, organs taking turns."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.plan import Plan
from pipeline.train.augment import Augmentation, targets_of
from pipeline.train.data import Batch, Batches, PreparedScan

CPU = torch.device("cpu")


def make_plan(**changes: object) -> Plan:
    values: dict[str, object] = {
        "model": "unet",
        "modality": "mri",
        "organs": ["a", "b"],
        "overlapping": False,
        "in_channels": 1,
        "spatial_dims": 3,
        "normalisation": {"name": "zscore_foreground"},
        "patch": [8, 8, 4],
        "batch": 4,
        "network": {"name": "unet"},
        "loss": {"name": "dice_ce"},
        "augmentation": {"preset": "mri"},
        "optimiser": {"name": "adamw", "learning_rate": 1e-3},
        "steps": 10,
        "validate_every": 5,
        "seed": 3,
    }
    return Plan.model_validate(values | changes)


def make_scan(number: int, size: tuple[int, int, int] = (16, 12, 6)) -> PreparedScan:
    labels = torch.zeros(size, dtype=torch.uint8)
    labels[1, 1, 1], labels[-2, -2, -2] = 1, 2
    image = torch.arange(labels.numel(), dtype=torch.float16).reshape(1, *size) + number
    places = np.array([[[1, 1, 1]] * 4, [[s - 2 for s in size]] * 4], np.int32)
    return PreparedScan(f"s{number}", image, labels, (True, True), places, (1.0, 1.0, 1.0))


@given(step=st.integers(0, 10**6), seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_batch_depends_on_seed_and_step_alone(step: int, seed: int) -> None:
    plan = make_plan(seed=seed)
    scans = [make_scan(n) for n in range(3)]
    fresh = Batches(scans, plan, CPU).at(step)
    used = Batches(scans, plan, CPU)
    used.at(step + 7)
    used.at(max(step - 1, 0))
    again = used.at(step)
    assert fresh.scans == again.scans
    assert torch.equal(fresh.images, again.images)
    assert torch.equal(fresh.labels, again.labels)
    augment = Augmentation(plan)
    assert torch.equal(augment(fresh, step).images, augment(again, step).images)


def test_processes_share_a_batch_without_overlap() -> None:
    plan, scans = make_plan(), [make_scan(n) for n in range(5)]
    whole = Batches(scans, plan, CPU).at(9)
    parts = [Batches(scans, plan, CPU, rank=rank, world=2).at(9) for rank in range(2)]
    assert torch.equal(whole.images[0::2], parts[0].images)
    assert torch.equal(whole.images[1::2], parts[1].images)
    augment = Augmentation(plan)
    changed = augment(whole, 9)
    for rank in range(2):
        own = augment(parts[rank], 9, range(rank, plan.batch, 2))
        torch.testing.assert_close(own.images, changed.images[rank::2], atol=1e-5, rtol=1e-5)
        assert torch.equal(own.labels, changed.labels[rank::2])
    with pytest.raises(InputError, match="cannot be shared"):
        Batches(scans, plan, CPU, world=3)


def test_every_scan_is_seen_equally_often() -> None:
    batches = Batches([make_scan(n) for n in range(6)], make_plan(), CPU)
    seen = Counter(scan for step in range(12) for scan in batches.at(step).scans)
    assert set(seen.values()) == {8}


def test_patches_are_centred_on_organs_as_often_as_planned() -> None:
    batches = Batches([make_scan(0)], make_plan(foreground_share=1.0, patch=[4, 4, 4]), CPU)
    found = Counter(frozenset(patch.unique().tolist()) for step in range(20) for patch in batches.at(step).labels)
    assert set(found) == {frozenset({0, 1}), frozenset({0, 2})}
    assert min(found.values()) > 20
    none = Batches([make_scan(0, (40, 40, 40))], make_plan(foreground_share=0.0, patch=[4, 4, 4]), CPU)
    empty = sum(not patch.any() for step in range(20) for patch in none.at(step).labels)
    assert empty > 70


def test_a_scan_smaller_than_the_patch_lies_as_in_the_sliding_window() -> None:
    batch = Batches([make_scan(0, (5, 8, 3))], make_plan(batch=1), CPU).at(0)
    assert batch.images.shape == (1, 1, 8, 8, 4)
    inside = batch.images[0, 0, 1:6, :, 0:3]
    assert torch.equal(inside, make_scan(0, (5, 8, 3)).image[0].float())
    assert batch.images.sum() == inside.sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_across_any_axis(axis: int) -> None:
    plan = make_plan(spatial_dims=2, slice_axis=axis, patch=[16, 16], foreground_share=1.0)
    batch = Batches([make_scan(0)], plan, CPU).at(0)
    assert batch.images.shape == (4, 1, 16, 16)
    assert all(patch.any() for patch in batch.labels)


def test_scans_on_disk_give_the_same_batches_made_ahead() -> None:
    from dataclasses import replace

    scans = [make_scan(n) for n in range(3)]
    held = Batches(scans, make_plan(), CPU)
    fetched = Batches([replace(scan, fetched=True) for scan in scans], make_plan(), CPU)
    for step in (0, 1, 2, 7, 8):
        assert torch.equal(held.at(step).images, fetched.at(step).images)


def test_no_scans_is_an_error() -> None:
    with pytest.raises(InputError, match="no scan to train on"):
        Batches([], make_plan(), CPU)


def test_targets_mark_what_is_ignored() -> None:
    exclusive = targets_of(torch.tensor([[[0, 1, 2, 65535]]]), make_plan())
    assert exclusive.flatten().tolist() == [0, 1, 2, 255]
    overlapping = targets_of(torch.tensor([[[0, 1, 3, 128]]], dtype=torch.uint8), make_plan(overlapping=True))
    assert overlapping[0, :, 0].tolist() == [[0, 1, 1, 255], [0, 0, 1, 255]]


def test_augmentation_moves_image_and_labels_together() -> None:
    plan = make_plan(
        augmentation={
            "preset": "mri",
            "brightness": 0,
            "contrast": 0,
            "gamma": 0,
            "noise": 0,
            "blur": 0,
            "low_resolution": 0,
            "bias_field": 0,
            "elastic": 0,
        }
    )
    labels = torch.zeros((2, 24, 24, 24), dtype=torch.uint8)
    labels[:, 6:18, 8:16, 9:15] = 1
    batch = Batch(labels[:, None].float(), labels, torch.ones(2, 2, dtype=torch.bool), ("x", "y"))
    moved = Augmentation(plan)(batch, 5)
    assert not torch.equal(moved.labels, labels)
    assert ((moved.images[:, 0] > 0.5) != (moved.labels > 0)).float().mean() < 0.02


@pytest.mark.parametrize("overlapping", [False, True])
def test_in_a_mirror_the_other_side_is_known(overlapping: bool) -> None:
    """Where only the right one was looked for, a mirrored scan shows a left one, and the right is unknown."""
    plan = make_plan(
        organs=["left", "right", "middle"],
        overlapping=overlapping,
        mirror_pairs=[("left", "right")],
        mirror_axes=[0],
        augmentation={"preset": "none", "mirror": "lateral", "mirror_p": 0.5},
    )
    labels = torch.zeros((32, 8, 8, 8), dtype=torch.uint8)
    labels[:, 1:3, 2:6, 2:6] = 2  # the right one, as value and as bit
    known = torch.tensor([False, True, True]).repeat(32, 1)
    batch = Batch(torch.rand(32, 1, 8, 8, 8), labels, known, tuple("s" * 32))
    moved = Augmentation(plan)(batch, 3)
    shown = moved.labels.flatten(1).amax(1)
    assert set(shown.tolist()) == {1, 2}
    expected = torch.where((shown == 1)[:, None], torch.tensor([True, False, True]), known)
    assert torch.equal(moved.annotated, expected)
