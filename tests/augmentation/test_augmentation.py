"""Augmentation: one draw for image and labels, sides of the patient, determinism, and what each operation does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional

from pipeline.augmentation.presets import PRESETS, AugmentationSpec, augmentation_spec
from pipeline.augmentation.splines import smooth_field
from pipeline.augmentation.transforms import Augmenter
from pipeline.core.errors import InputError

torch.set_num_threads(1)
MOVES = {"affine": 1, "rotation": 30, "scale": [0.8, 1.3], "shift": 0.1, "shear": 0.1, "elastic": 1}
SIDES = {2: (40, 32), 3: (20, 24, 16)}


def seeds(seed: int, batch: Tensor) -> list[int]:
    """A seed for each scan of a batch."""
    return [1000 * seed + place for place in range(len(batch))]


def blob(dims: int, batch: int = 3) -> Tensor:
    """``(B, *spatial)`` smooth half-space-free body: an ellipsoid off the centre, 1 inside."""
    axes = [torch.linspace(-1, 1, n) for n in SIDES[dims]]
    mesh = torch.meshgrid(*axes, indexing="ij")
    inside = sum(((m - 0.2) / r) ** 2 for m, r in zip(mesh, (0.5, 0.4, 0.6), strict=False)) < 1
    return inside.to(torch.uint8).expand(batch, *SIDES[dims]).clone()


def augmenter(spec: object, dims: int = 2, lateral: int | None = 0, overlapping: bool = False) -> Augmenter:
    return Augmenter(spec, dims, lateral, [(0, 1)], overlapping)  # type: ignore[arg-type]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_presets_keep_shape_type_and_values(preset: str, dims: int) -> None:
    images, labels = torch.randn(3, 2, *SIDES[dims]), blob(dims) * 2
    new_images, new_labels, _ = augmenter(preset, dims)(images, labels, seeds(1, images))
    assert new_images.shape == images.shape
    assert new_images.dtype == images.dtype
    assert torch.isfinite(new_images).all()
    assert new_labels.dtype == labels.dtype
    assert set(new_labels.unique().tolist()) <= {0, 1, 2}
    assert torch.equal(new_images, images) == (preset == "none")


def test_preset_none_changes_nothing() -> None:
    images, labels = torch.randn(2, 1, 8, 8), torch.randint(0, 3, (2, 8, 8))
    new_images, new_labels, _ = augmenter("none")(images, labels, seeds(0, images))
    assert torch.equal(new_images, images)
    assert torch.equal(new_labels, labels)


@given(seed=st.integers(0, 2**31), dims=st.sampled_from([2, 3]), mirror=st.sampled_from(["none", "lateral", "all"]))
@settings(max_examples=30, deadline=None)
def test_image_and_mask_share_the_draw(seed: int, dims: int, mirror: str) -> None:
    mask = blob(dims)
    aug = Augmenter({**MOVES, "mirror": mirror}, dims, 0, [], False)
    image, moved, _ = aug(mask.unsqueeze(1).float(), mask, seeds(seed, mask))
    # Linear and nearest agree but where a voxel lies on the border of the body.
    certain = (image[:, 0] - 0.5).abs() > 0.499
    assert certain.float().mean() > 0.5
    assert torch.equal((image[:, 0] > 0.5)[certain], (moved == 1)[certain])
    inner = (image[:, 0] > 0.5) != (moved == 1)
    assert inner.float().mean() < 0.02


@given(seed=st.integers(0, 2**31), preset=st.sampled_from(list(PRESETS)))
@settings(max_examples=20, deadline=None)
def test_a_batch_is_a_function_of_the_seed(seed: int, preset: str) -> None:
    images, labels = torch.randn(2, 1, *SIDES[2], generator=Generator().manual_seed(seed)), blob(2, 2)
    kept = images.clone(), labels.clone()
    torch.manual_seed(1)
    first = augmenter(preset)(images, labels, seeds(seed, images))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = augmenter(preset)(images, labels, seeds(seed, images))
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])


@given(seed=st.integers(0, 2**31), preset=st.sampled_from(list(PRESETS)), dims=st.sampled_from([2, 3]))
@settings(max_examples=20, deadline=None)
def test_who_shares_the_batch_changes_nothing(seed: int, preset: str, dims: int) -> None:
    images, labels = torch.randn(5, 1, *SIDES[dims], generator=Generator().manual_seed(seed)), blob(dims, 5)
    whole = augmenter(preset, dims)(images, labels, seeds(seed, images))
    for place in (slice(0, 1), slice(1, 5, 2)):
        part = augmenter(preset, dims)(images[place], labels[place], seeds(seed, images)[place])
        torch.testing.assert_close(part[0], whole[0][place], atol=1e-5, rtol=1e-5)
        assert torch.equal(part[1], whole[1][place])


def test_another_seed_is_another_batch() -> None:
    images, labels = torch.randn(2, 1, *SIDES[2]), blob(2, 2)
    aug = augmenter("mri")
    assert not torch.equal(aug(images, labels, seeds(1, images))[0], aug(images, labels, seeds(2, images))[0])


@pytest.mark.parametrize("lateral", [0, 1])
@pytest.mark.parametrize("form", ["values", "channels", "bits"])
def test_a_mirrored_patient_has_his_organs_swapped(form: str, lateral: int) -> None:
    # Organs 1 and 2 are left and right, organ 3 lies in the middle; one voxel is to be ignored.
    values = torch.zeros(2, 12, 12, dtype=torch.int64)
    values.select(1 + lateral, 2)[:, 3:9] = 1
    values.select(1 + lateral, 8)[:, 3:9] = 2
    values.select(1 + lateral, 5)[:, 3:9] = 3
    labels = values
    if form == "channels":
        labels = torch.stack([values == organ for organ in (1, 2, 3)], 1).to(torch.uint8)
    elif form == "bits":
        labels = torch.where(values > 0, 1 << (values - 1).clamp_min(0), 0).to(torch.uint8)
        labels[:, 0, 0] = 128
    aug = Augmenter({"mirror": "lateral", "mirror_p": 1.0}, 2, lateral, [(0, 1)], form != "values")
    image, moved, _ = aug(values.unsqueeze(1).float(), labels, seeds(0, values))
    assert torch.allclose(image[:, 0], values.flip(1 + lateral).float(), atol=1e-5)
    if form == "bits":
        assert moved.flip(1 + lateral)[0, 0, 0] == 128
        moved = moved & 127
        found = [(moved >> organ) & 1 == 1 for organ in range(3)]
    elif form == "channels":
        found = [moved[:, organ] == 1 for organ in range(3)]
    else:
        found = [moved == organ for organ in (1, 2, 3)]
    mirrored = values.flip(1 + lateral)
    for organ, was in enumerate((2, 1, 3)):
        assert torch.equal(found[organ], mirrored == was)


def test_only_mirrored_scans_are_swapped() -> None:
    labels = torch.zeros(64, 6, 6, dtype=torch.uint8)
    labels[:, 1] = 1
    image, moved, _ = augmenter({"mirror": "lateral"})(labels.unsqueeze(1).float(), labels, seeds(3, labels))
    flipped = image[:, 0, 4, 0] > 0.5
    assert 10 < int(flipped.sum()) < 54
    assert (moved[flipped][:, 4] == 2).all()
    assert (moved[~flipped][:, 1] == 1).all()


def test_unknown_sides_are_never_mirrored() -> None:
    assert Augmenter({"mirror": "all"}, 3, None, [(0, 1)], False).mirror_axes == ()
    assert Augmenter({"mirror": "lateral"}, 3, None, [], False).mirror_axes == ()
    assert Augmenter({"mirror": "all"}, 3, None, [], False).mirror_axes == (0, 1, 2)
    assert Augmenter({"mirror": "lateral"}, 3, 2, [(0, 1)], False).mirror_axes == (2,)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_wide_bits_survive_the_sampling(dtype: torch.dtype) -> None:
    top = 2 ** (torch.iinfo(dtype).bits - 2 if dtype != torch.int64 else 50)
    labels = torch.full((1, 8, 8), top + 5, dtype=dtype)
    _, moved, _ = Augmenter({**MOVES}, 2, None, [], True)(torch.zeros(1, 1, 8, 8), labels, seeds(0, labels))
    assert (moved == top + 5).all()


def test_rotation_turns_the_patient_not_the_array() -> None:
    # A disc of voxels of 1 × 4 mm stays a disc in millimetres.
    rows = (torch.arange(64) - 31.5) * 1.0
    columns = (torch.arange(32) - 15.5) * 4.0
    distance = (rows[:, None] ** 2 + columns[None] ** 2).sqrt()
    disc = ((30 - distance) / 4).clamp(0, 1).view(1, 1, 64, 32)
    spec = {"affine": 1, "rotation": 80, "fill": "zeros"}
    moved, _, _ = Augmenter(spec, 2, None, [], False, (1.0, 4.0))(disc, torch.zeros(1, 64, 32), seeds(4, disc))
    assert (moved - disc).abs().mean() < 0.02
    naive, _, _ = Augmenter(spec, 2, None, [], False)(disc, torch.zeros(1, 64, 32), seeds(4, disc))
    assert (naive - disc).abs().mean() > 0.05


def test_zoom_enlarges() -> None:
    mask = blob(2, 8)
    aug = Augmenter({"affine": 1, "scale": [1.3, 1.3], "fill": "zeros"}, 2, None, [], False)
    _, moved, _ = aug(mask.unsqueeze(1).float(), mask, seeds(0, mask))
    assert moved.sum() / mask.sum() == pytest.approx(1.69, rel=0.08)


def test_tutorial_preset_is_the_tutorial() -> None:
    spec = augmentation_spec("tutorial")
    assert (spec.rotation, spec.shift, spec.shear, spec.scale, spec.fill) == (15, 0.1, 0.01, (0.9, 1.25), "reflection")
    assert (spec.mirror, spec.gain_range) == ("lateral", (0.5, 1.2))
    image = torch.rand(64, 1, 8, 8, generator=Generator().manual_seed(0))
    image[:, :, 0, 0] = 0
    only = AugmentationSpec(gain=1.0, gain_range=spec.gain_range)
    changed, _, _ = augmenter(only)(image, torch.zeros(64, 8, 8), seeds(0, image))
    factor = (changed / image.clamp_min(1e-6)).amax((1, 2, 3))
    assert 0.49 < factor.min() < 0.6
    assert 1.1 < factor.max() < 1.21


@pytest.mark.parametrize(
    "operation", ["brightness", "contrast", "window", "gain", "gamma", "noise", "blur", "low_resolution", "bias_field"]
)
@pytest.mark.parametrize("dims", [2, 3])
def test_an_intensity_operation_leaves_labels_and_unchosen_scans(operation: str, dims: int) -> None:
    images, labels = torch.randn(32, 1, *(10,) * dims), torch.ones(32, *(10,) * dims)
    changed, same, _ = augmenter({operation: 0.5}, dims)(images, labels, seeds(1, images))
    assert torch.equal(same, labels)
    touched = (changed != images).flatten(1).any(1)
    assert 6 < int(touched.sum()) < 27


def test_blur_and_low_resolution_smooth_and_keep_the_mean() -> None:
    images = torch.randn(4, 1, 32, 32, generator=Generator().manual_seed(0))
    for spec, near in (({"blur": 1.0}, 0.06), ({"low_resolution": 1.0, "low_resolution_range": [0.4, 0.5]}, 0.2)):
        changed, _, _ = augmenter(spec)(images, torch.zeros(4, 32, 32), seeds(0, images))
        assert (changed.std((1, 2, 3)) < 0.9 * images.std((1, 2, 3))).all()
        assert (changed.mean((1, 2, 3)) - images.mean((1, 2, 3))).abs().max() < near


def test_blur_is_a_gaussian() -> None:
    scipy = pytest.importorskip("scipy.ndimage")
    image = torch.randn(1, 1, 20, 24)
    changed, _, _ = augmenter({"blur": 1.0, "blur_range": [1.0, 1.0]})(image, torch.zeros(1, 20, 24), seeds(0, image))
    expected = scipy.gaussian_filter(image[0, 0].numpy(), 1.0, mode="nearest", radius=3)
    torch.testing.assert_close(changed[0, 0], torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_gamma_keeps_the_extremes_and_the_order() -> None:
    image = torch.linspace(-2, 3, 64).view(1, 1, 8, 8)
    changed, _, _ = augmenter({"gamma": 1.0})(image, torch.zeros(1, 8, 8), seeds(2, image))
    torch.testing.assert_close(changed.flatten()[[0, -1]], image.flatten()[[0, -1]])
    assert (changed.flatten().diff() > 0).all()


def test_a_window_cuts_off_both_ends_and_is_normalised_again() -> None:
    image = torch.linspace(0, 1, 400).view(1, 1, 20, 20) ** 2
    changed, _, _ = augmenter({"window": 1.0, "window_range": [0.1, 0.2]})(
        image, torch.zeros(1, 20, 20), seeds(2, image)
    )
    flat = changed.flatten()
    torch.testing.assert_close(torch.stack(torch.std_mean(flat)), torch.stack(torch.std_mean(image)))
    assert (flat.diff() >= 0).all()
    # A square root of the share lies below it, and what is left of one lies above.
    assert 0.1**0.5 < (flat == flat[0]).float().mean() < 0.2**0.5 + 0.01
    assert 1 - 0.9**0.5 < (flat == flat[-1]).float().mean() < 1 - 0.8**0.5 + 0.01
    inside = (flat > flat[0]) & (flat < flat[-1])
    slopes = (flat.diff() / image.flatten().diff())[1:][inside[1:-1] & inside[2:]]
    torch.testing.assert_close(slopes, slopes[:1].expand_as(slopes), rtol=0.02, atol=0)
    level = torch.full((1, 1, 8, 8), 3.0)
    same, _, _ = augmenter({"window": 1.0})(level, torch.zeros(1, 8, 8), seeds(0, level))
    torch.testing.assert_close(same, level)
    with pytest.raises(InputError, match="window_range"):
        augmentation_spec({"window_range": (0.1, 0.5)})


@given(st.integers(4, 9), st.integers(3, 20), st.integers(3, 12))
@settings(max_examples=20, deadline=None)
def test_splines_of_equal_control_points_are_constant(points: int, rows: int, columns: int) -> None:
    field = smooth_field(torch.full((2, 1, points, points), 3.0), (rows, columns))
    assert field.shape == (2, 1, rows, columns)
    torch.testing.assert_close(field, torch.full_like(field, 3.0))


def test_splines_are_scipys() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    controls = torch.randn(1, 1, 6, 6, 6, dtype=torch.float64)
    field = smooth_field(controls, (12, 1, 1))
    knots = torch.arange(-3, 7).numpy()
    line = torch.einsum("ijk,j,k->i", controls[0, 0], *[smooth_middle(6)] * 2)
    at = ((torch.arange(12) + 0.5) / 12 * 3).numpy()
    expected = interpolate.BSpline(knots, line.numpy(), 3)(at)
    torch.testing.assert_close(field[0, 0, :, 0, 0], torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


def smooth_middle(points: int) -> Tensor:
    """Weights of the control points at the middle of an axis."""
    return smooth_field(torch.eye(points, dtype=torch.float64).unsqueeze(1), (1,))[:, 0, 0]


def test_rotation_is_a_rotation() -> None:
    image = functional.pad(torch.ones(8, 1, 8, 8), (8, 8, 8, 8))
    aug = Augmenter({"affine": 1, "rotation": 90, "fill": "zeros"}, 2, None, [], False)
    moved, _, _ = aug(image, torch.zeros(8, 24, 24), seeds(0, image))
    assert (moved.sum((1, 2, 3)) / image.sum((1, 2, 3)) - 1).abs().max() < 0.02


@pytest.mark.parametrize(
    "spec",
    [
        "mrt",
        {"preset": "xrai"},
        {"rotate": 3},
        {"affine": 2},
        {"scale": [1.2, 0.8]},
        {"scale": [0, 1]},
        {"scale": 3},
        {"mirror": "left"},
        {"fill": "wrap"},
        {"elastic_points": 3},
        {"low_resolution_range": [0.5, 1.5]},
    ],
)
def test_wrong_settings_are_refused(spec: object) -> None:
    with pytest.raises(InputError):
        augmentation_spec(spec)  # type: ignore[arg-type]


def test_a_setting_overrides_its_preset() -> None:
    assert augmentation_spec({"preset": "mri", "rotation": 5}).rotation == 5
    assert augmentation_spec(None) == AugmentationSpec()
    with pytest.raises(InputError, match="no axis 2"):
        Augmenter("mri", 2, 2, [], False)
    with pytest.raises(InputError, match="spacing"):
        Augmenter("mri", 3, 0, [], False, (1.0, 1.0))
