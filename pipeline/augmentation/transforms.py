"""Augmentation of whole batches on the device; each scan's is a function of itself and of one seed.

All changes of place are composed into one sampling grid, which image and labels share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.augmentation.draws import Draws
from pipeline.augmentation.presets import AugmentationSpec, augmentation_spec
from pipeline.augmentation.splines import smooth_field
from pipeline.core.errors import InputError


class Augmenter:
    """Draws and applies augmentations.

    Args:
        spec: Preset name, mapping or specification.
        spatial_dims: 2 or 3.
        lateral_axis: The spatial axis (0, 1 or 2) that runs from one side of the patient to the other; ``None`` where
            it is not among the axes.
        organ_swaps: Pairs of organs, by index from 0, that trade places in a mirrored patient.
        overlapping: Labels are channels or bits an organ, rather than one integer a voxel.
        spacing: Size of a voxel along each axis, so that a rotation turns the patient rather than the array.

    Raises:
        InputError: The specification is wrong.
    """

    def __init__(
        self,
        spec: AugmentationSpec | Mapping[str, Any] | str | None,
        spatial_dims: int,
        lateral_axis: int | None,
        organ_swaps: Sequence[tuple[int, int]],
        overlapping: bool,
        spacing: Sequence[float] | None = None,
    ) -> None:
        self.spec = spec if isinstance(spec, AugmentationSpec) else augmentation_spec(spec)
        self.dims = spatial_dims
        self.lateral_axis = lateral_axis
        self.swaps = tuple((int(a), int(b)) for a, b in organ_swaps)
        self.overlapping = overlapping
        self.spacing = tuple(spacing) if spacing is not None else (1.0,) * spatial_dims
        if len(self.spacing) != spatial_dims or spatial_dims not in (2, 3):
            raise InputError(f"a spacing of {len(self.spacing)} axes in {spatial_dims}-D", where="augmentation")
        if lateral_axis is not None and not 0 <= lateral_axis < spatial_dims:
            raise InputError(f"there is no axis {lateral_axis} in {spatial_dims}-D", where="augmentation")

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Spatial axes that may be mirrored. None, where organs have sides and the axis between them is unknown."""
        if self.spec.mirror == "none" or (self.lateral_axis is None and self.swaps):
            return ()
        if self.spec.mirror == "all":
            return tuple(range(self.dims))
        return () if self.lateral_axis is None else (self.lateral_axis,)

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Augment a batch; the inputs stay as they are.

        Args:
            images: ``(B, C, *spatial)`` float, on any device.
            labels: ``(B, *spatial)`` integers (values, or bits where organs overlap), or ``(B, K, *spatial)`` uint8.
            seeds: One a scan: what is drawn for a scan does not depend on the others.

        Returns:
            Images and labels of the same shapes and dtypes; either may be the input itself where nothing changed. And
            which scans changed sides, ``(B,)`` boolean on the CPU: there the organs of a pair traded places, and so did
            what is known of them.
        """
        draws = Draws(seeds)
        images, labels, mirrored = self._move(images, labels, draws)
        return self._change(images, draws), labels, mirrored

    def _move(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        batch, spatial = images.shape[0], tuple(images.shape[2:])
        matrices, mirrored = self._matrices(batch, spatial, draws)
        elastic = draws.chosen(self.spec.elastic)
        moved = (matrices != torch.eye(self.dims, self.dims + 1)).flatten(1).any(1) | elastic
        shifts = None
        if bool(elastic.any()):
            points = (self.spec.elastic_points,) * self.dims
            shifts = torch.zeros(batch, self.dims, *points)
            # A share of the side is twice as much in the sampler's coordinates, which run from -1 to 1.
            shifts[elastic] = draws.of(elastic).normal(self.dims, *points) * 2 * self.spec.elastic_size
        if not bool(moved.any()):
            return images, labels, mirrored
        some = None if bool(moved.all()) else moved.nonzero().flatten().to(images.device)
        part = moved if some is not None else slice(None)
        picked = (images, labels) if some is None else (images[some], labels[some])
        grid = functional.affine_grid(
            matrices[part].to(images.device), [int(picked[0].shape[0]), 1, *spatial], align_corners=False
        )
        if shifts is not None:
            grid += smooth_field(shifts[part].to(images.device), spatial).movedim(1, -1)
        new_images = functional.grid_sample(
            picked[0], grid.to(picked[0].dtype), mode="bilinear", padding_mode=self.spec.fill, align_corners=False
        )
        new_labels = self._swap(self._sample_labels(picked[1], grid), mirrored[part].to(labels.device))
        if some is None:
            return new_images, new_labels, mirrored
        return images.index_copy(0, some, new_images), labels.index_copy(0, some, new_labels), mirrored

    def _matrices(self, batch: int, spatial: Sequence[int], draws: Draws) -> tuple[Tensor, Tensor]:
        """``(B, dims, dims + 1)`` from output to input in the sampler's coordinates, and which scans changed sides."""
        spec, dims = self.spec, self.dims
        linear = torch.eye(dims).repeat(batch, 1, 1)
        offset = torch.zeros(batch, dims)
        if spec.affine > 0:
            on = draws.chosen(spec.affine).float()
            angles = draws.uniform(-1, 1, dims * (dims - 1) // 2) * math.radians(spec.rotation)
            zoom = draws.log_uniform(spec.scale, 1)
            zoom = zoom * (1 + spec.scale_axes * draws.uniform(-1, 1, dims))
            shear = torch.eye(dims) + (1 - torch.eye(dims)) * spec.shear * draws.uniform(-1, 1, dims, dims)
            offset = 2 * spec.shift * draws.uniform(-1, 1, dims) * on.view(-1, 1)
            drawn = _rotation(angles * on.view(-1, 1), dims) @ shear @ torch.diag_embed(1 / zoom)
            linear = torch.where(on.view(-1, 1, 1) > 0, drawn, linear)
        side = torch.zeros(batch, dtype=torch.bool)
        for axis in self.mirror_axes:
            flip = draws.chosen(spec.mirror_p)
            linear[:, :, axis] *= 1 - 2 * flip.float().view(-1, 1)
            if axis == self.lateral_axis:
                side = flip
        half = torch.tensor([n * s for n, s in zip(spatial, self.spacing, strict=True)]) / 2
        linear = linear * half.view(1, 1, -1) / half.view(1, -1, 1)
        # The sampler names the last axis first.
        return torch.cat((linear.flip(1, 2), offset.flip(1).unsqueeze(2)), 2), side

    def _sample_labels(self, labels: Tensor, grid: Tensor) -> Tensor:
        channels = labels if labels.ndim == self.dims + 2 else labels.unsqueeze(1)
        # float32 counts to 2**24: enough for values and for bits of 16, not for wider ones.
        exact = torch.float32 if labels.dtype.itemsize <= 2 else torch.float64
        sampled = functional.grid_sample(
            channels.to(exact), grid.to(exact), mode="nearest", padding_mode=self.spec.fill, align_corners=False
        ).to(labels.dtype)
        return sampled if labels.ndim == self.dims + 2 else sampled.squeeze(1)

    def _swap(self, labels: Tensor, mirrored: Tensor) -> Tensor:
        if not self.swaps or not bool(mirrored.any()):
            return labels
        swapped = labels.clone()
        for a, b in self.swaps:
            if labels.ndim == self.dims + 2:
                swapped[:, a], swapped[:, b] = labels[:, b], labels[:, a]
            elif self.overlapping:
                differs = ((labels >> a) ^ (labels >> b)) & 1
                swapped ^= (differs << a) | (differs << b)
            else:
                swapped[labels == a + 1] = b + 1
                swapped[labels == b + 1] = a + 1
        return torch.where(mirrored.view(-1, *[1] * (labels.ndim - 1)), swapped, labels)

    def _change(self, images: Tensor, draws: Draws) -> Tensor:
        """Intensities, in the order in which they are spoiled: field, window, curve, level, blur, noise."""
        spec = self.spec
        images = _apply(images, spec.bias_field, draws, self._bias_field)
        images = _apply(images, spec.window, draws, lambda x, own: _window(x, spec, own))
        images = _apply(images, spec.gamma, draws, lambda x, own: _gamma(x, spec, own))
        images = self._levels(images, draws)
        images = _apply(images, spec.blur, draws, lambda x, own: _blur(x, spec, own))
        images = _apply(images, spec.low_resolution, draws, lambda x, own: _coarsen(x, spec, own))
        return _apply(images, spec.noise, draws, lambda x, own: _noise(x, spec, own))

    def _bias_field(self, x: Tensor, draws: Draws) -> Tensor:
        points = draws.normal(1, *[4] * self.dims) * self.spec.bias_field_size
        field = smooth_field(points.to(x.device), x.shape[2:]).exp_().to(x.dtype)
        low = _low(x)
        return torch.addcmul(low, x - low, field)

    def _levels(self, images: Tensor, draws: Draws) -> Tensor:
        """Brightness, contrast and gain, as one multiplication and addition."""
        spec = self.spec
        if max(spec.brightness, spec.contrast, spec.gain) == 0:
            return images
        shape = (-1, 1, *[1] * self.dims)

        def drawn(probability: float, low: float, high: float, neutral: float) -> Tensor:
            values = draws.uniform(low, high)
            on = draws.chosen(probability)
            return torch.where(on, values, torch.full_like(values, neutral)).view(shape).to(images)

        add = drawn(spec.brightness, -spec.brightness_size, spec.brightness_size, 0.0)
        contrast = drawn(spec.contrast, *spec.contrast_range, 1.0)
        gain = drawn(spec.gain, *spec.gain_range, 1.0)
        if spec.contrast > 0:
            add = add + images.mean(tuple(range(2, images.ndim)), keepdim=True) * (1 - contrast)
        if spec.gain > 0:
            add = add * gain + _low(images) * (1 - gain)
        return torch.addcmul(add, images, contrast * gain)


def _rotation(angles: Tensor, dims: int) -> Tensor:
    """``(B, 1)`` or ``(B, 3)`` angles in radians → ``(B, dims, dims)``, the planes turned one after another."""
    result = torch.eye(dims).repeat(angles.shape[0], 1, 1)
    planes = [(0, 1)] if dims == 2 else [(0, 1), (0, 2), (1, 2)]
    for index, (a, b) in enumerate(planes):
        turn = torch.eye(dims).repeat(angles.shape[0], 1, 1)
        cos, sin = angles[:, index].cos(), angles[:, index].sin()
        turn[:, a, a], turn[:, b, b], turn[:, a, b], turn[:, b, a] = cos, cos, -sin, sin
        result = result @ turn
    return result


def _apply(images: Tensor, probability: float, draws: Draws, change: Callable[[Tensor, Draws], Tensor]) -> Tensor:
    """Change some scans of a batch, each with a probability."""
    chosen = draws.chosen(probability)
    if not bool(chosen.any()):
        return images
    if bool(chosen.all()):
        return change(images, draws)
    rows = chosen.nonzero().flatten().to(images.device)
    return images.index_copy(0, rows, change(images[rows], draws.of(chosen)))


def _low(x: Tensor) -> Tensor:
    return x.amin(tuple(range(2, x.ndim)), keepdim=True)


def _window(x: Tensor, spec: AugmentationSpec, draws: Draws) -> Tensor:
    """Cut off what is darkest and what is brightest, each by its own share; mean and spread stay."""
    axes = tuple(range(2, x.ndim))
    cut = draws.uniform(*spec.window_range, 2, 1, *[1] * len(axes)).to(x)
    low, high = _low(x), x.amax(axes, keepdim=True)
    span = high - low
    kept = torch.minimum(torch.maximum(x, low + cut[:, 0] * span), high - cut[:, 1] * span)
    spread, mean = torch.std_mean(x, axes, keepdim=True)
    own_spread, own_mean = torch.std_mean(kept, axes, keepdim=True)
    return torch.addcmul(mean, kept - own_mean, spread / own_spread.clamp_min(1e-6))


def _gamma(x: Tensor, spec: AugmentationSpec, draws: Draws) -> Tensor:
    power = draws.log_uniform(spec.gamma_range, 1, *[1] * (x.ndim - 2)).to(x)
    low = _low(x)
    span = (x.amax(tuple(range(2, x.ndim)), keepdim=True) - low).clamp_min(1e-6)
    return torch.addcmul(low, ((x - low) / span).clamp_(0, 1).pow_(power), span)


def _blur(x: Tensor, spec: AugmentationSpec, draws: Draws) -> Tensor:
    """Gaussian blur, one width a scan, along one axis after another."""
    sigma = draws.uniform(*spec.blur_range, 1).clamp_min(1e-3)
    radius = max(1, math.ceil(2.5 * spec.blur_range[1]))
    offsets = torch.arange(-radius, radius + 1)
    kernels = torch.softmax(-0.5 * (offsets / sigma) ** 2, 1).to(x)
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        total = torch.zeros_like(x)
        for column, offset in enumerate(offsets.tolist()):
            weight = kernels[:, column].view(-1, *[1] * (x.ndim - 1))
            index = torch.arange(offset, size + offset, device=x.device).clamp_(0, size - 1)
            total.addcmul_(x.index_select(axis, index), weight)
        x = total
    return x


def _coarsen(x: Tensor, spec: AugmentationSpec, draws: Draws) -> Tensor:
    """Keep a share of the voxels, then interpolate, as of a scan of lower resolution."""
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    shares = draws.uniform(*spec.low_resolution_range).tolist()
    rows = []
    for row, share in zip(x.split(1), shares, strict=True):
        coarse = [max(1, round(size * share)) for size in x.shape[2:]]
        small = functional.interpolate(row, size=coarse, mode="nearest-exact")
        rows.append(functional.interpolate(small, size=x.shape[2:], mode=mode, align_corners=False))
    return torch.cat(rows)


def _noise(x: Tensor, spec: AugmentationSpec, draws: Draws) -> Tensor:
    sigma = draws.uniform(*spec.noise_range, 1, *[1] * (x.ndim - 2)).to(x)
    return torch.addcmul(x, draws.normal_like(x), sigma)
