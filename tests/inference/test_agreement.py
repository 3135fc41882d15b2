"""How far mirrored passes, models and folds agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.core.labels import LabelMap
from pipeline.core.plan import Plan
from pipeline.core.scan import Array, Scan
from pipeline.inference.agreement import Passes, between_members, least_dice
from pipeline.inference.predictor import Predictor
from pipeline.inference.sliding_window import Forward, slabs, slide, swapped_channels, torch_forward
from pipeline.metrics.overlap import dice
from tests.predict.plans import make_plan


def agreed(forward: Forward, image: Array, plan: Plan, batch: int = 4, mirror: bool = True) -> dict[str, float]:
    passes = Passes(plan)
    for _ in slabs(forward, image, plan, mirror=mirror, batch=batch, passes=passes):
        pass
    return passes.dice()


def network(plan: Plan) -> Forward:
    """A convolution that is not symmetric."""
    torch.manual_seed(0)
    kind = torch.nn.Conv3d if plan.spatial_dims == 3 else torch.nn.Conv2d
    return torch_forward(kind(plan.in_channels, plan.out_channels, 5, padding=2).eval(), plan.overlapping)


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("axes", [[0], [0, 1]])
def test_one_window_gives_the_dice_of_the_masks(overlapping: bool, axes: list[int]) -> None:
    plan = make_plan(overlapping=overlapping, mirror_axes=axes, organs=["left", "right", "middle"])
    forward, image = network(plan), noise(16, 16, 16)

    def masks(flips: tuple[int, ...]) -> Array:
        p = np.flip(slide(forward, np.flip(image, flips), plan), flips)
        p = p[swapped_channels(plan)] if 1 in flips else p
        return p >= 0.5 if overlapping else p.argmax(0) == np.array([1, 2, 3])[:, None, None, None]

    turned = [masks(flips) for flips in ([(1,)] if axes == [0] else [(1,), (2,), (1, 2)])]
    expected = [min(dice(one, other[i]) for other in turned) for i, one in enumerate(masks(()))]
    assert list(agreed(forward, image, plan).values()) == pytest.approx(expected, abs=1e-6)
    assert 0 < min(expected) < 1


def test_left_and_right_are_swapped_back() -> None:
    plan = make_plan(patch=[16, 8, 8], mirror_axes=[0])

    def by_side(batch: Array) -> Array:
        answer = np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)
        answer[:, 1, :8], answer[:, 2, 8:] = 0.9, 0.8
        return answer

    assert agreed(by_side, noise(16, 8, 8), plan) == {"left": 1, "right": 1}
    unknowing = plan.model_copy(update={"mirror_pairs": []})
    assert agreed(by_side, noise(16, 8, 8), unknowing) == {"left": 0, "right": 0}


def test_many_windows_weigh_as_they_are_averaged() -> None:
    """However they are batched; and what two passes say of the border of a window hardly counts."""
    plan = make_plan(mirror_axes=[0], patch=[16, 16, 16], organs=["a"], mirror_pairs=[])
    image = noise(40, 20, 17)
    forward = network(plan)
    one = agreed(forward, image, plan, batch=1)
    assert one == pytest.approx(agreed(forward, image, plan, batch=8))
    assert 0 < one["a"] < 1

    def unsure_border(batch: Array) -> Array:
        inside = np.zeros(batch.shape[2:], np.float32)
        inside[4:12, 4:12, 4:12] = 1
        inside[0] = 1
        return np.stack([1 - inside, inside])[None].repeat(len(batch), 0)

    assert agreed(unsure_border, image, plan)["a"] > 0.95
    # Of a single window, which is not weighted, it counts as any other part.
    assert agreed(unsure_border, image[:, :16, :16, :16], plan)["a"] == pytest.approx(512 / 768)


def test_padding_does_not_count() -> None:
    plan = make_plan(mirror_axes=[0], organs=["a"], mirror_pairs=[])

    def one_end(batch: Array) -> Array:
        answer = np.zeros((len(batch), 2, *batch.shape[2:]), np.float32)
        answer[:, 0] = 0.5
        answer[:, 1, :3] = answer[:, 1, 6:10] = 1
        return answer

    assert agreed(one_end, noise(10, 16, 16), plan) == {"a": 1}
    assert agreed(one_end, noise(16, 16, 16), plan)["a"] < 1


def test_slices_and_empty_masks() -> None:
    plan = make_plan(spatial_dims=2, patch=[16, 12], mirror_axes=[0], slice_axis=2)
    found = agreed(network(plan), noise(20, 18, 5), plan)
    assert 0 < min(found.values()) <= max(found.values()) < 1

    def nothing(batch: Array) -> Array:
        answer = np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)
        answer[:, 0] = 1
        return answer

    assert agreed(nothing, noise(20, 18, 5), plan) == {"left": 1, "right": 1}


def test_without_mirroring_there_is_no_figure() -> None:
    plan = make_plan(mirror_axes=[0])
    assert agreed(network(plan), noise(16, 16, 16), plan, mirror=False) == {}
    plain = make_plan()
    assert agreed(network(plain), noise(16, 16, 16), plain) == {}


def test_scans_side_by_side_keep_their_own_figures() -> None:
    """Both are prepared before either is asked, as the threads of a folder do it."""
    plan = make_plan(mirror_axes=[0])
    predictor = Predictor([(plan, network(plan))], mirror=True)
    scans = [Scan(noise(16, 20, 16) * 3 + shift, np.eye(4), "mri") for shift in (noise(16, 20, 16)[:, ::-1], 0)]
    alone = [predictor.predict(scan).agreement for scan in scans]
    cases = [predictor.open(scan) for scan in scans]
    for case in cases:
        predictor.ask(case)
    assert [predictor.conclude(case).agreement for case in cases] == alone
    assert set(alone[0]) == {"passes"}
    assert alone[0] != alone[1]


def test_the_passes_of_several_networks_are_the_mean_of_each() -> None:
    plan = make_plan(mirror_axes=[0])
    first, second = network(plan), network(plan.model_copy(update={"in_channels": 1}))

    def other(batch: Array) -> Array:
        return second(-batch)

    scan = Scan(noise(16, 20, 16), np.eye(4), "mri")
    each = [Predictor([(plan, one)], mirror=True).predict(scan).agreement["passes"] for one in (first, other)]
    both = Predictor([(plan, first), (plan, other)], mirror=True).predict(scan).agreement
    assert both["passes"] == pytest.approx({o: (each[0][o] + each[1][o]) / 2 for o in plan.organs})
    assert set(both) == {"passes", "folds"}


def labels(*numbers: int) -> LabelMap:
    """One organ that holds the given voxels of ten."""
    data = np.zeros((10, 1, 1), np.uint8)
    data[list(numbers)] = 1
    return LabelMap(data, np.eye(4), ("a",), False, frozenset("a"))


def test_least_dice_of_any_two() -> None:
    assert least_dice([labels(0, 1), labels(0, 1), labels(1)])["a"] == pytest.approx(2 / 3)
    assert least_dice([labels(), labels()]) == {"a": 1}
    assert least_dice([labels(1), labels()]) == {"a": 0}


def test_models_are_compared_fold_by_fold() -> None:
    """Fold 0: the models agree; fold 1: they have nothing in common. Within a model the folds differ."""
    one, other = labels(0, 1), labels(5, 6)
    found = between_members([("unet", one), ("unet", one), ("tern", one), ("tern", other)])
    assert found == {"models": {"a": 0.5}, "folds": {"a": 0}}
    assert between_members([("unet", one), ("tern", other)]) == {"models": {"a": 0}}
    assert between_members([("unet", one), ("unet", labels(1, 2))]) == {"folds": {"a": 0.5}}
    assert between_members([("unet", one)]) == {}
